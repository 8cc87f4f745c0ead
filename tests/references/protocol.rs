//! The core and the adapters, held to the table of the protocol: `docs/PROTOCOL.md`.

#[cfg(feature = "blocking")]
mod adapters;
#[path = "../support/protocol.rs"]
mod table;

use crate::support::wire::connection;
use bytes::Buf;
use table::{
    Chunk, End, Held, Seen,
    calls::{closed, frame, heard, recv_error, send, send_error},
    is_of_halves,
};
use testkit::{Rng, sampled};
use tickwire::{Config, Connection, Next, Report, Time};
use wsconform_cases::{
    Role,
    protocol::{Call, Event},
};

const ROLES: [Role; 2] = [Role::Server, Role::Client];

fn this(role: Role) -> tickwire::Role {
    match role {
        Role::Server => tickwire::Role::Server,
        Role::Client => tickwire::Role::Client,
    }
}

// The core.

/// How bytes arrive.
#[derive(Clone, Copy, Debug)]
enum Pieces {
    Whole,
    /// One at a time; the middle of what is longer than 1 KiB at once.
    Bytes,
    Random,
}

/// Driven by what `next` says.
struct Core {
    conn: Connection,
    pieces: Pieces,
    rng: Rng,
    input: Vec<u8>,
    read: usize,
    /// The peer's stream has ended; by a reset.
    end: Option<bool>,
    refuses: bool,
    over: bool,
    /// The end has said why receiving is over.
    told: bool,
}

impl Core {
    fn new(conn: Connection, pieces: Pieces, seed: u64) -> Self {
        let rng = Rng::new(seed);
        Self {
            conn,
            pieces,
            rng,
            input: Vec::new(),
            read: 0,
            end: None,
            refuses: false,
            over: false,
            told: false,
        }
    }
}

impl End for Core {
    fn arrives(&mut self, bytes: &[u8]) {
        self.input.clear();
        self.input.extend_from_slice(bytes);
        self.read = 0;
    }

    fn ends(&mut self, reset: bool) {
        self.end = Some(reset);
    }

    fn calls(&mut self, event: &Event, call: &Call, chunk: Chunk) -> Result<(), &'static str> {
        let result = match event.kind {
            "fail" => self.conn.fail(frame(call).unwrap()),
            _ => send(self.conn.sender_mut(), Time::ZERO, event, call, chunk),
        };
        self.refuses = event.kind == "write fails" && result.is_ok();
        result.map_err(send_error)
    }

    fn settle(&mut self, seen: &mut Seen) {
        loop {
            match self.conn.next(Time::ZERO) {
                Next::Event(event, _) => seen.delivered.push(heard(event)),
                Next::Write(_) if self.refuses => {
                    self.refuses = false;
                    self.conn.report(Report::WriteFailed);
                }
                Next::Write(mut out) => {
                    seen.wire.extend_from_slice(out.chunk());
                    let n = out.chunk().len();
                    out.advance(n);
                }
                Next::Read(rx) => {
                    let left = &self.input[self.read..];
                    if left.is_empty() {
                        match self.end {
                            None => self.conn.report(Report::ReadBlocked),
                            Some(false) => rx.end_of_stream(),
                            Some(true) => self.conn.report(Report::ReadFailed),
                        }
                        continue;
                    }
                    let spare = rx.spare_mut();
                    let most = match self.pieces {
                        Pieces::Whole => left.len(),
                        Pieces::Bytes if self.read > 512 && left.len() > 512 => left.len() - 512,
                        Pieces::Bytes => 1,
                        Pieces::Random => 1 + self.rng.below(left.len()),
                    };
                    let n = most.min(spare.len());
                    spare[..n].copy_from_slice(&left[..n]);
                    rx.commit(n);
                    self.read += n;
                }
                Next::ShutDown => {
                    seen.fin = true;
                    self.conn.report(Report::ShutDown);
                }
                Next::Wait(wait) if wait.until.is_some_and(|at| at <= Time::ZERO) => {}
                Next::Wait(_) => break,
                Next::Over(_) => {
                    seen.dropped = !self.over;
                    self.over = true;
                    break;
                }
            }
        }
        let end = self.conn.closed();
        seen.closed = end.as_ref().map(closed);
        if !self.told {
            seen.error = end.and_then(|end| end.error).map(recv_error);
            self.told = end.is_some();
        }
    }
}

/// Ends that agreed on permessage-deflate, or not. Only the peer's messages refer to earlier ones.
#[cfg(feature = "deflate")]
fn made_with(role: Role, agreed: bool, config: Config) -> Connection {
    use crate::support::{
        deflate::{agreed as both, with_takeover},
        wire::{agreeing, peer},
    };
    let role = this(role);
    if !agreed {
        return connection(role, &config);
    }
    let deflate = Some(tickwire::deflate::Deflate::default());
    let config = Config { deflate, ..config };
    agreeing(with_takeover(both(false), peer(role)), || connection(role, &config))
}

#[cfg(not(feature = "deflate"))]
fn made_with(role: Role, _: bool, config: Config) -> Connection {
    connection(this(role), &config)
}

fn made(role: Role, agreed: bool) -> Connection {
    made_with(role, agreed, Config::default())
}

const AGREED: &[bool] = if cfg!(feature = "deflate") { &[false, true] } else { &[false] };

fn core(pieces: Pieces, joined: bool) {
    for role in ROLES {
        for &agreed in AGREED {
            let words = sampled(None, Some(1_000));
            let held = Held { words, joined, ..Held::new("core", (role, agreed), inflate) };
            held.hold(|| Core::new(made(role, agreed), pieces, 1));
        }
    }
}

#[test]
fn the_core_is_the_table_in_one_piece() {
    core(Pieces::Whole, false);
}

#[test]
fn the_core_is_the_table_with_frames_that_come_together() {
    core(Pieces::Whole, true);
}

#[test]
fn the_core_is_the_table_byte_by_byte() {
    core(Pieces::Bytes, false);
}

#[test]
fn the_core_is_the_table_cut_at_random() {
    core(Pieces::Random, true);
}

#[test]
fn the_core_is_the_table_where_the_application_answers_a_close() {
    for role in ROLES {
        for &agreed in AGREED {
            let may = |event: &Event| event.kind != "Close" && !is_of_halves(event);
            let held = Held { may, joined: true, ..Held::new("core", (role, agreed), inflate) };
            let config = Config { auto_close: false, ..Config::default() };
            held.hold(|| Core::new(made_with(role, agreed, config.clone()), Pieces::Random, 1));
        }
    }
}

#[cfg(feature = "deflate")]
fn inflate(fragments: &[u8]) -> Vec<u8> {
    crate::inflating::Stream::default().message(fragments).unwrap()
}

#[cfg(not(feature = "deflate"))]
fn inflate(_: &[u8]) -> Vec<u8> {
    unreachable!("nothing was agreed")
}
