//! Writes to a peer that is gone, where SIGPIPE has its default action.
use crate::common::{next, telling};
use std::io;
use testkit::sigpipe::each_survives;
use tickwire::{Config, Prepared};
use tickwire_loop::{Door, Event};

fn to_a_peer_that_is_gone() -> io::Error {
    let (server, told) = telling::<(), _>(Door::new(Config::default()), |_, event| match event {
        Event::Open(handle) | Event::Closed { handle, .. } => Some(handle),
        _ => None,
    });
    let stream = server.raw_open();
    let handle = next(&told);
    // The loop writes before it looks for input again. The first write does not take all, and the
    // peer answers it with a reset.
    server.call(move |net| {
        drop(stream);
        net.send(handle, Prepared::new(vec![7; 12 << 20])).unwrap();
    });
    // Its event names the end of the input, which the loop found next.
    next(&told);
    io::ErrorKind::BrokenPipe.into()
}

#[test]
fn no_loop_raises_sigpipe() {
    each_survives("sigpipe::no_loop_raises_sigpipe", &[("loop", to_a_peer_that_is_gone)]);
}
