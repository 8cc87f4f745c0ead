//! The conformance suite of `conformance/` over the loop, over sockets, in both roles.
#[path = "../../../../tests/support/conforms.rs"]
mod suite;

use crate::common::Running;
use std::{
    cell::Cell,
    io::{ErrorKind, Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    sync::mpsc::channel,
    thread,
    time::{Duration, Instant},
};
use suite::{Tried, none_failed, probed, tried};
use testkit::PATIENCE;
use tickwire::{Config, handshake::server::Accept};
use tickwire_loop::{Dial, Door, Event, Net};
use wsconform_cases::{Action, Case, End, Role, Session};

/// In memory, where waits take no time, the core and the adapters have these: a peer passes F-387
/// by three seconds of silence, and a refusal's body without a length may last a second. One with
/// such a body, HC-027, stays.
const SLOW: [&str; 10] = [
    "F-387", "HC-304", "HC-305", "HC-306", "HC-307", "HC-308", "HC-309", "HC-310", "HC-311",
    "HC-312",
];

fn chosen(case: &Case) -> bool {
    !SLOW.contains(&&*case.id)
}

fn echo(net: &mut Net<'_, ()>, event: Event<'_, ()>) {
    match event {
        Event::Request { answer, .. } => answer.accept(Accept::default(), ()),
        Event::Message { from, message, .. } => drop(net.send(from, message)),
        _ => {}
    }
}

/// Runs a session over a connection to the loop.
fn over(mut session: Session, mut stream: TcpStream) -> Session {
    stream.set_nodelay(true).unwrap();
    let mut writing = stream.try_clone().unwrap();
    let (write, to_write) = channel::<Action>();
    // It writes while we read: neither end waits for the other.
    let writer = thread::spawn(move || {
        for action in to_write {
            // Reading says more of a stream that is over.
            let _ = match action {
                Action::Send(bytes) => writing.write_all(&bytes),
                _ => writing.shutdown(Shutdown::Write),
            };
        }
    });
    let mut buf = vec![0; 64 << 10];
    let ended = Cell::new(false);
    let end = |session: &mut Session, end: End| {
        ended.set(true);
        session.ended(end);
    };
    let mut read = |session: &mut Session, wait: Duration| -> bool {
        stream.set_read_timeout(Some(wait)).unwrap();
        match stream.read(&mut buf) {
            Ok(0) => end(session, End::Fin),
            Ok(n) => session.received(&buf[..n]),
            Err(error) => match error.kind() {
                ErrorKind::WouldBlock | ErrorKind::TimedOut => return false,
                ErrorKind::Interrupted => {}
                _ => end(session, End::Reset),
            },
        }
        true
    };
    loop {
        match session.next_action() {
            Action::Pause(wait) => {
                let until = Instant::now() + wait.duration(Duration::from_millis(1));
                while let Some(left) = until.checked_duration_since(Instant::now()) {
                    match ended.get() {
                        true => thread::sleep(left), // a read would return at once
                        false => _ = read(&mut session, left.max(Duration::from_millis(1))),
                    }
                }
            }
            Action::Receive(_) => {
                if !read(&mut session, PATIENCE) {
                    session.timed_out();
                }
            }
            Action::Done => break,
            action => write.send(action).unwrap(),
        }
    }
    drop(write);
    let _ = stream.shutdown(Shutdown::Both);
    writer.join().unwrap();
    session
}

/// Several sessions at the same time, because many have to wait.
fn passes(role: Role, run: impl Fn(Session) -> Session + Sync) {
    let env = &probed(role, &run);
    let run = &run;
    let all: Vec<Tried> = thread::scope(|scope| {
        let parts = [0, 1, 2, 3].map(|part| {
            let chosen = move |case: &Case| {
                let id = case.id.bytes().map(usize::from).sum::<usize>();
                id % 4 == part && chosen(case)
            };
            scope.spawn(move || tried(role, env, chosen, run))
        });
        parts.into_iter().flat_map(|part| part.join().unwrap()).collect()
    });
    none_failed("loop", &all);
}

#[test]
fn a_server_passes_the_suite() {
    let server = Running::at(Door::new(Config::default()), echo);
    passes(Role::Server, |session| over(session, TcpStream::connect(server.address).unwrap()));
}

#[test]
fn a_client_passes_the_suite() {
    let client = Running::at(Door::new(Config::default()), echo);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("ws://{}/", listener.local_addr().unwrap());
    passes(Role::Client, |session| {
        let dial = Dial::to(&url).unwrap().config(Config::default());
        client.call(|net| net.dial(dial, ()).unwrap());
        over(session, listener.accept().unwrap().0)
    });
}
