//! Writes to a peer that is gone, where SIGPIPE has its default action.
use crate::{
    common::{Running, next, say},
    support::each_survives,
};
use std::{io, sync::mpsc::channel};
use tickwire::{Config, Prepared, handshake::server::Accept};
use tickwire_loop::{Door, Event, Settings};

fn to_a_peer_that_is_gone() -> io::Error {
    let (open, opened) = channel();
    let (tell, told) = channel();
    let door = Door::new(Config::default());
    let server = Running::<()>::with(Settings::default(), door, move |_, event| match event {
        Event::Request { answer, .. } => answer.accept(Accept::default(), ()),
        Event::Open(handle) => say(&open, handle),
        Event::Closed { .. } => say(&tell, ()),
        _ => {}
    });
    let stream = server.raw_open();
    let handle = next(&opened);
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
