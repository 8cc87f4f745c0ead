//! The loop, held to the table of the protocol over sockets: `docs/PROTOCOL.md`. The loop's thread
//! is the test's, turn by turn.
#[allow(dead_code)] // others use more of it
#[path = "../../../../tests/support/protocol/calls.rs"]
mod calls;
#[path = "../../../../tests/support/protocol/heads.rs"]
mod heads;

use crate::common::listening;
use calls::{closed, error, frame, heard, message, recv_error, send, send_error};
use heads::{request, response};
use std::{
    cell::RefCell,
    io::{self, ErrorKind, Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    time::Duration,
};
use testkit::{
    sampled,
    table::{
        Chunk, Closed, End, Held, Seen, is_of_a_whole, is_refusal,
        returns::{Form, Profile, Receives, Sends, Value, by},
    },
};
use tickwire::{Config, Event as Heard, handshake::server::Accept};
use tickwire_loop::{Dial, Door, Event, Handle, Loop, SendError, Settings};
use wsconform_cases::{
    Role,
    protocol::{Call, Event as Said},
};

/// A thread's loop, its door, and where its peers listen.
struct Thread {
    net: Loop<()>,
    address: SocketAddr,
    peers: TcpListener,
}

fn config(agreed: bool) -> Config {
    let deflate = agreed.then(tickwire::deflate::Deflate::default);
    Config { deflate, ..Config::default() }
}

thread_local! {
    static THREAD: RefCell<Thread> = RefCell::new({
        let (net, address) = listening(Settings::default(), Door::new(config(true)));
        Thread { net, address, peers: TcpListener::bind("127.0.0.1:0").unwrap() }
    });
}

/// A connection of this thread's loop.
struct Looped {
    handle: Handle,
    /// None once the peer has reset it.
    peer: Option<TcpStream>,
    /// The peer reads no more: our side of the stream has ended.
    ended: bool,
    /// The loop has reported the end, and has dropped the socket.
    over: bool,
    dropped: bool,
    closed: Option<Closed>,
    /// Calls that follow each other come in one turn.
    late: bool,
}

impl Thread {
    /// Turns until it gives something.
    fn until<R>(&mut self, mut so: impl FnMut(Event<'_, ()>) -> Option<R>) -> R {
        loop {
            let mut found = None;
            let turn = self.net.turn(Duration::ZERO, |_, event| {
                if let Some(it) = so(event) {
                    found = Some(it);
                }
            });
            turn.unwrap();
            if let Some(found) = found {
                return found;
            }
        }
    }

    /// Reads a head.
    fn head(&mut self, peer: &mut TcpStream) -> String {
        peer.set_nonblocking(true).unwrap();
        let mut head = Vec::new();
        let mut some = [0; 1024];
        while !head.ends_with(b"\r\n\r\n") {
            match peer.read(&mut some) {
                Ok(n) => head.extend_from_slice(&some[..n]),
                Err(_) => drop(self.net.turn(Duration::ZERO, |_, _| {}).unwrap()),
            }
        }
        String::from_utf8(head).unwrap()
    }

    fn open(&mut self, role: Role, agreed: bool, late: bool) -> Looped {
        let (handle, peer) = match role {
            Role::Server => {
                let mut peer = TcpStream::connect(self.address).unwrap();
                peer.write_all(request(agreed).as_bytes()).unwrap();
                let handle = self.until(|event| match event {
                    Event::Request { answer, .. } => {
                        answer.accept(Accept::default(), ());
                        None
                    }
                    Event::Open(handle) => Some(handle),
                    _ => None,
                });
                self.head(&mut peer);
                (handle, peer)
            }
            Role::Client => {
                let url = format!("ws://{}/", self.peers.local_addr().unwrap());
                let dial = Dial::to(&url).unwrap().config(config(agreed));
                let handle = self.net.net().dial(dial, ()).unwrap();
                self.peers.set_nonblocking(true).unwrap();
                let mut peer = loop {
                    self.net.turn(Duration::ZERO, |_, _| {}).unwrap();
                    if let Ok((peer, _)) = self.peers.accept() {
                        break peer;
                    }
                };
                let response = response(&self.head(&mut peer), agreed);
                peer.write_all(response.as_bytes()).unwrap();
                self.until(|event| matches!(event, Event::Open(_)).then_some(()));
                (handle, peer)
            }
        };
        peer.set_nodelay(true).unwrap();
        Looped {
            handle,
            peer: Some(peer),
            ended: false,
            over: false,
            dropped: false,
            closed: None,
            late,
        }
    }
}

impl End for Looped {
    fn is_late(&self) -> bool {
        self.late
    }

    fn arrives(&mut self, mut bytes: &[u8]) {
        let Some(peer) = &mut self.peer else { return };
        while !bytes.is_empty() {
            match peer.write(bytes) {
                Ok(n) => bytes = &bytes[n..],
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(_) => return, // it is over
            }
        }
    }

    fn ends(&mut self, reset: bool) {
        let Some(peer) = &self.peer else { return };
        if reset {
            socket2::SockRef::from(peer).set_linger(Some(Duration::ZERO)).unwrap();
            self.peer = None;
        } else {
            let _ = peer.shutdown(Shutdown::Write);
        }
    }

    fn calls(
        &mut self,
        event: &Said,
        call: &Call,
        chunk: Chunk,
        profile: Profile,
    ) -> Result<(), &'static str> {
        THREAD.with_borrow_mut(|thread| {
            let mut net = thread.net.net();
            let now = net.now();
            let form = match (profile.sends, event.kind) {
                (Sends::Net(form), "send") => {
                    return net.send(self.handle, message(call, form)).map_err(
                        |error| match error {
                            SendError::Refused(error) => send_error(error),
                            SendError::NotOpen => "closed",
                            _ => "another error",
                        },
                    );
                }
                (Sends::Net(_), "close") if event.name != "abort" => {
                    net.close(self.handle, frame(call));
                    return Ok(());
                }
                (Sends::Sender(form) | Sends::Net(form), _) => form,
                _ => unreachable!("it has no others"),
            };
            match net.sender(self.handle) {
                Some(tx) => send(tx, now, event, call, chunk, form).map_err(send_error),
                None if event.kind == "leave" => Ok(()),
                None => Err("closed"),
            }
        })
    }

    fn settle(&mut self, _: Profile, seen: &mut Seen) {
        THREAD.with_borrow_mut(|thread| {
            let turn = thread.net.turn(Duration::ZERO, |_, event| match event {
                Event::Message { from, message, .. } if from == self.handle => {
                    seen.values.push(Value::Got(heard(Heard::Message(message))));
                }
                Event::Control { from, event, .. } if from == self.handle => {
                    seen.values.push(Value::Got(heard(event)));
                }
                Event::Closed { handle, end, .. } if handle == self.handle => {
                    let over = match &end {
                        tickwire_loop::End::Closed(end) => {
                            self.closed = Some(closed(end));
                            end.error.map_or(Ok(()), |error| Err(recv_error(error)))
                        }
                        tickwire_loop::End::Failed(failed) => Err(error(failed)),
                        _ => Err("another end"),
                    };
                    seen.values.push(Value::Over(over));
                    self.over = true;
                }
                _ => {}
            });
            turn.unwrap();
            let mut net = thread.net.net();
            if let Some(end) = net.connection(self.handle).and_then(|conn| conn.closed()) {
                self.closed = Some(closed(&end));
            }
            seen.closed.clone_from(&self.closed);
        });
        let mut buf = [0; 4096];
        while let Some(peer) = self.peer.as_mut().filter(|_| !self.ended) {
            match peer.read(&mut buf) {
                Ok(n @ 1..) => seen.wire.extend_from_slice(&buf[..n]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                end => {
                    self.ended = true;
                    seen.fin = end.is_ok();
                }
            }
        }
        let gone = self.over && (self.ended || self.peer.is_none());
        seen.dropped |= gone && !self.dropped;
        self.dropped = gone;
    }
}

impl Drop for Looped {
    fn drop(&mut self) {
        if let Some(peer) = self.peer.take() {
            let _: io::Result<()> = socket2::SockRef::from(&peer).set_linger(Some(Duration::ZERO));
        }
        THREAD.with_borrow_mut(|thread| {
            let _ = thread.net.net().remove(self.handle);
        });
    }
}

/// The loop has no `fail`, and a socket takes what is written.
fn may(event: &Said) -> bool {
    is_of_a_whole(event) && !is_refusal(event) && event.kind != "fail"
}

/// Its own calls, and those of the `Sender` that it lends.
const PROFILES: [Profile; 8] = {
    let profiles = [
        by(Receives::Event, Sends::Net(Form::Borrowed)),
        by(Receives::Event, Sends::Sender(Form::Borrowed)),
        by(Receives::Event, Sends::Net(Form::Prepared)),
        by(Receives::Event, Sends::Net(Form::Owned)),
    ];
    let [a, b, c, d] = profiles;
    [a, b, c, d, a, b, c, d]
};

#[test]
fn the_loop_is_the_table() {
    for role in [Role::Server, Role::Client] {
        for agreed in [false, true] {
            let held = Held {
                may,
                rows: &["loop"],
                carrier: 7,
                turns: (0, sampled(1, 101)),
                real_time: true,
                sockets: true,
                ..Held::new("loop", PROFILES, (role, agreed))
            };
            held.hold(|number| {
                let late = number / PROFILES.len() % 2 == 1;
                THREAD.with_borrow_mut(|thread| thread.open(role, agreed, late))
            });
        }
    }
}
