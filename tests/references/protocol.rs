//! The core and the adapters, held to the table of the protocol: `docs/PROTOCOL.md`.

#[cfg(feature = "blocking")]
mod adapters;
#[path = "../support/protocol/calls.rs"]
mod calls;
#[path = "../support/protocol/pipe.rs"]
mod pipe;
mod suite;

use crate::support::wire::connection;
use bytes::Buf;
use calls::{closed, frame, heard, piece, recv_error, send, send_error};
use testkit::{
    Rng, sampled,
    table::{
        Chunk, End, Held, Seen, is_of_a_whole, is_of_halves,
        returns::{Form, PROFILES, Profile, Receives, Sends, Value, by},
    },
};
use tickwire::{Config, Connection, Ending, Next, ReadyState, Report, Step, Time};
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
    /// Frames that follow each other at once.
    Joined,
    /// One at a time; the middle of what is longer than 1 KiB at once.
    Bytes,
    Random,
}

/// Driven by what `next` says, or by `step` or `step_chunk` and `ending`.
struct Core {
    conn: Connection,
    takes_over: bool,
    pieces: Pieces,
    rng: Rng,
    input: Vec<u8>,
    read: usize,
    /// The peer's stream has ended; by a reset.
    end: Option<bool>,
    refuses: bool,
    over: bool,
}

/// What there is to read.
enum Input<'a> {
    Some(&'a [u8]),
    None,
    End { reset: bool },
}

impl Core {
    fn new(conn: Connection, takes_over: bool, pieces: Pieces) -> Self {
        let rng = Rng::new(1);
        let (input, read, end) = (Vec::new(), 0, None);
        Self { conn, takes_over, pieces, rng, input, read, end, refuses: false, over: false }
    }

    /// Reads once, and tells the connection; whether there was anything.
    fn read(&mut self) -> bool {
        let left = &self.input[self.read..];
        let input = match (left, self.end) {
            ([], None) => Input::None,
            ([], Some(reset)) => Input::End { reset },
            _ => Input::Some(left),
        };
        match input {
            Input::None => self.conn.report(Report::ReadBlocked),
            Input::End { reset: false } => self.conn.receiver_mut().end_of_stream(),
            Input::End { reset: true } => self.conn.report(Report::ReadFailed),
            Input::Some(left) => {
                let most = match self.pieces {
                    Pieces::Whole | Pieces::Joined => left.len(),
                    Pieces::Bytes if self.read > 512 && left.len() > 512 => left.len() - 512,
                    Pieces::Bytes => 1,
                    Pieces::Random => 1 + self.rng.below(left.len()),
                };
                let rx = self.conn.receiver_mut();
                let spare = rx.spare_mut();
                let n = most.min(spare.len());
                spare[..n].copy_from_slice(&left[..n]);
                rx.commit(n);
                self.read += n;
            }
        }
        !matches!(input, Input::None)
    }

    fn asked(&mut self, seen: &mut Seen) {
        loop {
            match self.conn.next(Time::ZERO) {
                Next::Event(event, _) => seen.values.push(Value::Got(heard(event))),
                Next::Write(_) if self.refuses => {
                    self.refuses = false;
                    self.conn.report(Report::WriteFailed);
                }
                Next::Write(mut out) => {
                    seen.wire.extend_from_slice(out.chunk());
                    let n = out.chunk().len();
                    out.advance(n);
                }
                Next::Read(_) => _ = self.read(),
                Next::ShutDown => {
                    seen.fin = true;
                    self.conn.report(Report::ShutDown);
                }
                Next::Wait(wait) if wait.until.is_some_and(|at| at <= Time::ZERO) => {}
                Next::Wait(_) => break,
                Next::Over(error) => {
                    self.ends(error.map_or(Ok(()), Err), seen);
                    break;
                }
            }
        }
    }

    fn ends(&mut self, result: Result<(), tickwire::RecvError>, seen: &mut Seen) {
        if !self.over {
            seen.values.push(Value::Over(result.map_err(recv_error)));
            seen.dropped = true;
            self.over = true;
        }
    }

    /// By the fine calls.
    fn stepped(&mut self, chunks: bool, seen: &mut Seen) {
        loop {
            let step = if chunks { self.conn.step_chunk() } else { self.conn.step() };
            let rx = self.conn.receiver();
            match step {
                Ok(Step::Message) if chunks => seen.values.extend(rx.chunk().map(piece)),
                Ok(Step::Ping | Step::Pong | Step::Close) if chunks => {}
                Ok(Step::Message | Step::Ping | Step::Pong | Step::Close) => {
                    seen.values.extend(rx.event().map(|event| Value::Got(heard(event))));
                }
                Ok(Step::NeedInput) => {
                    self.write(seen);
                    if !self.read() {
                        return;
                    }
                }
                Ok(Step::Closed) => return self.leave(Ok(()), seen),
                Err(error) => return self.leave(Err(error), seen),
            }
        }
    }

    fn write(&mut self, seen: &mut Seen) {
        while self.conn.sender().has_outgoing() {
            if self.refuses {
                self.refuses = false;
                return self.conn.report(Report::WriteFailed);
            }
            let mut out = self.conn.sender_mut().outgoing();
            seen.wire.extend_from_slice(out.chunk());
            let n = out.chunk().len();
            out.advance(n);
        }
    }

    fn leave(&mut self, result: Result<(), tickwire::RecvError>, seen: &mut Seen) {
        loop {
            match self.conn.ending() {
                Ending::Flush => self.write(seen),
                Ending::ShutDown => {
                    seen.fin = true;
                    self.conn.report(Report::ShutDown);
                }
                Ending::Discard => {
                    if !self.read() {
                        return;
                    }
                }
                Ending::Done if self.conn.ready_state() == ReadyState::Closed => {
                    return self.ends(result, seen);
                }
                Ending::Done if self.conn.sender().has_outgoing() => self.write(seen),
                Ending::Done => return, // the application has to answer
            }
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

    fn calls(
        &mut self,
        event: &Event,
        call: &Call,
        chunk: Chunk,
        profile: Profile,
    ) -> Result<(), &'static str> {
        let result = match event.kind {
            "fail" => self.conn.fail(frame(call).unwrap()),
            _ => {
                let Sends::Sender(form) = profile.sends else { unreachable!("it has no others") };
                send(self.conn.sender_mut(), Time::ZERO, event, call, chunk, form)
            }
        };
        self.refuses = event.kind == "write fails" && result.is_ok();
        result.map_err(send_error)
    }

    fn is_cut(&self) -> bool {
        matches!(self.pieces, Pieces::Bytes | Pieces::Random)
    }

    fn is_joined(&self) -> bool {
        matches!(self.pieces, Pieces::Joined)
    }

    fn takes_over(&self) -> [bool; 2] {
        [true, self.takes_over]
    }

    fn refuses(&mut self) {
        self.refuses = true;
    }

    fn settle(&mut self, profile: Profile, seen: &mut Seen) {
        match profile.receives {
            Receives::Step | Receives::Chunk => {
                self.stepped(profile.receives == Receives::Chunk, seen);
            }
            _ => self.asked(seen),
        }
        seen.closed = self.conn.closed().as_ref().map(closed);
    }
}

/// The core's own calls: by what it says to do, or by the fine calls.
const CORE: [Profile; 8] = [
    by(Receives::Event, Sends::Sender(Form::Borrowed)),
    by(Receives::Step, Sends::Sender(Form::Borrowed)),
    by(Receives::Chunk, Sends::Sender(Form::Borrowed)),
    by(Receives::Event, Sends::Sender(Form::Owned)),
    by(Receives::Step, Sends::Sender(Form::Prepared)),
    by(Receives::Chunk, Sends::Sender(Form::Owned)),
    by(Receives::Event, Sends::Sender(Form::Prepared)),
    by(Receives::Step, Sends::Sender(Form::Owned)),
];

/// Ends that agreed on permessage-deflate, or not. The peer's messages may refer to earlier ones, and
/// those of some ends too: `true` says so.
#[cfg(feature = "deflate")]
fn made_with(number: usize, role: Role, agreed: bool, config: Config) -> (Connection, bool) {
    use crate::support::{
        deflate::{agreed as both, with_takeover},
        wire::{agreeing, peer},
    };
    let role = this(role);
    if !agreed {
        return (connection(role, &config), false);
    }
    // Each such end has a compressor of its own, which is large.
    let takes_over = number / PROFILES % 16 == 7;
    let deflate = tickwire::deflate::Deflate::default();
    let min_size = if takes_over { 1 } else { deflate.min_size };
    let deflate = Some(tickwire::deflate::Deflate { min_size, ..deflate });
    let config = Config { deflate, ..config };
    let agreed = with_takeover(both(takes_over), peer(role));
    (agreeing(agreed, || connection(role, &config)), takes_over)
}

#[cfg(not(feature = "deflate"))]
fn made_with(_: usize, role: Role, _: bool, config: Config) -> (Connection, bool) {
    (connection(this(role), &config), false)
}

/// Buffers of the usual sizes, or small ones, or such that a long frame fits into one read.
fn sized(number: usize) -> Config {
    let config = Config::default();
    match number / PROFILES / 5 % 3 {
        0 => config,
        1 => Config { read_buffer: 512, max_read: 512, cork_limit: 1, min_vectored: 1, ..config },
        _ => Config { read_buffer: 72 << 10, max_read: 1 << 20, ..config },
    }
}

const AGREED: &[bool] = if cfg!(feature = "deflate") { &[false, true] } else { &[false] };

/// Word n in one of these ways, in turn.
fn core(ways: &[Pieces], may: fn(&Event) -> bool, config: &Config) {
    let turns = if let [_] = ways { 1 } else { ways.len() * sampled(1, 3) };
    for role in ROLES {
        for &agreed in AGREED {
            for (carrier, &pieces) in ways.iter().enumerate() {
                let held = Held::new("core", CORE, (role, agreed));
                let held = Held {
                    may,
                    rows: &["core"],
                    carrier,
                    members: if ways.len() == 1 { |_| true } else { |_| false },
                    turns: (carrier, turns),
                    ..held
                };
                held.hold(|number| {
                    let config = Config { auto_close: config.auto_close, ..sized(number) };
                    let (conn, takes_over) = made_with(number, role, agreed, config);
                    Core::new(conn, takes_over, pieces)
                });
            }
        }
    }
}

#[test]
fn the_core_is_the_table_in_one_piece() {
    core(&[Pieces::Whole], is_of_a_whole, &Config::default());
}

#[test]
fn the_core_is_the_table_however_the_wire_is_cut() {
    let ways = [Pieces::Joined, Pieces::Bytes, Pieces::Random];
    core(&ways, is_of_a_whole, &Config::default());
}

#[test]
fn the_core_is_the_table_where_the_application_answers_a_close() {
    let may =
        |event: &Event| !["Close", "Close refused"].contains(&event.kind) && !is_of_halves(event);
    let config = Config { auto_close: false, ..Config::default() };
    core(&[Pieces::Joined, Pieces::Random], may, &config);
}
