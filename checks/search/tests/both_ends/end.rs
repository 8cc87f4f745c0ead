//! One end: the real connection, the application with its script, and a record of what both did.
//! All that it does depends on what is handed in alone.
use crate::{
    scenario::Scenario,
    wire::{BAD, Wire},
};
use bytes::Buf;
use std::{fmt::Write as _, io::IoSlice, time::Duration};
use tickwire::{
    Chunk, CloseCode, Connection, DataKind, Ending, Entropy, Event, Negotiated, Position,
    ReadyState, RecvError, Report, Role, SendError, Step, order,
};

/// What an application does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Op {
    Message,
    First,
    Last,
    Ping,
    Close,
    Abort,
    Fail,
    /// It breaks the protocol, past its connection.
    Violate,
}

/// What is handed in, but for the bytes that are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Input {
    App,
    /// The stream takes the rest of a frame, or its first byte.
    Write {
        inside: bool,
    },
    Block,
    FailWrite,
    Read,
    EndOfStream,
    Step,
    ShutDown,
    /// It drops the stream.
    Drop,
    Tell(Duration),
    Kill,
}

/// Always the same masking key, so that a state does not depend on how many were used.
struct OneKey;

impl Entropy for OneKey {
    fn fill(&mut self, dest: &mut [u8]) {
        dest.iter_mut().zip([0x37, 0xfa, 0x21, 0x3d].iter().cycle()).for_each(|(to, k)| *to = *k);
    }
}

/// A data frame that was fed.
pub(crate) struct Fed {
    pub(crate) position: Position,
    pub(crate) b0: u8,
    pub(crate) payload: Vec<u8>,
    pub(crate) wire_len: usize,
}

/// What the connection handed out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    Message(Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(Option<u16>),
}

/// Where stepping stopped last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stopped {
    NeedInput,
    Closed,
    Failed(RecvError),
}

pub(crate) struct End {
    pub(crate) role: Role,
    pub(crate) conn: Connection,
    script: &'static [Op],
    at: usize,
    /// What it wrote.
    pub(crate) out: Wire,
    /// What it read.
    pub(crate) came: Wire,
    pub(crate) stopped: Stopped,
    /// Something came in that was not stepped over.
    pub(crate) dirty: bool,
    eof: bool,
    pub(crate) shut: bool,
    /// It dropped the stream.
    pub(crate) gone: bool,
    pub(crate) killed: bool,
    /// It goes a way on which everything held.
    pub(crate) again: bool,
    /// The stream refuses bytes.
    blocked: bool,
    /// When it was told the time first after that.
    stalled_at: Option<Duration>,
    pub(crate) seen: Vec<Seen>,
    pub(crate) fed: Vec<Fed>,
    pub(crate) pings: Vec<Vec<u8>>,
    /// How far the stream was written when it aborted: no data frame begins from there on.
    pub(crate) aborted_at: usize,
    /// Its `fail` was taken.
    pub(crate) failed: bool,
    pub(crate) last_state: ReadyState,
    /// What the outgoing buffer held when it was last looked at, less what was written since.
    rest: Vec<u8>,
    /// What touched the sender since nothing waited in it: where frames lie there depends on that.
    pub(crate) since: Vec<u8>,
}

/// What the stream, the time and the other end have to know of an end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Facts {
    pub(crate) out: Wire,
    pub(crate) delivered: Vec<Vec<u8>>,
    pub(crate) stopped: Stopped,
    /// As the decision has it; of an end that dropped the stream, `Starved`.
    pub(crate) input: order::Input,
    pub(crate) deadline: Option<Duration>,
    pub(crate) next_op: Option<Op>,
    pub(crate) closing: bool,
    /// The peer's Close came, and the application has not answered it.
    pub(crate) unanswered: bool,
    pub(crate) outgoing: bool,
    pub(crate) eof: bool,
    pub(crate) gone: bool,
    pub(crate) killed: bool,
    pub(crate) blocked: bool,
    pub(crate) clean: bool,
    /// `closed` has an error.
    pub(crate) erred: bool,
}

impl Facts {
    /// Something came in that was not stepped over.
    pub(crate) fn is_dirty(&self) -> bool {
        self.input == order::Input::New
    }

    /// What is to be done with the stream, if anything but reading and writing.
    pub(crate) fn end_due(&self) -> Option<Ending> {
        match self.input {
            order::Input::Ended(due @ (Ending::ShutDown | Ending::Done)) => Some(due),
            _ => None,
        }
    }

    /// Whether it has something to do without the stream.
    pub(crate) fn is_busy(&self) -> bool {
        self.is_dirty() || self.end_due().is_some()
    }
}

fn closed_with(role: Role, op: Op) -> CloseCode {
    let code = 4000 + 100 * op as u16 + u16::from(role == Role::Server);
    CloseCode::new(code).unwrap()
}

impl End {
    pub(crate) fn new(role: Role, scenario: &Scenario) -> Self {
        let config = scenario.config();
        let (mut conn, script) = match role {
            Role::Server => (Connection::server(&config, Negotiated::default()), scenario.server),
            Role::Client => {
                (Connection::client(&config, Negotiated::default(), OneKey), scenario.client)
            }
        };
        conn.sender_mut().lend(vec![0; 256]); // else it takes 16 KiB for the first frame
        Self {
            role,
            conn,
            script,
            at: 0,
            out: Wire::default(),
            came: Wire::default(),
            stopped: Stopped::NeedInput,
            dirty: false,
            eof: false,
            shut: false,
            gone: false,
            killed: false,
            again: false,
            blocked: false,
            stalled_at: None,
            seen: Vec::new(),
            fed: Vec::new(),
            pings: Vec::new(),
            aborted_at: usize::MAX,
            failed: false,
            last_state: ReadyState::Open,
            rest: Vec::new(),
            since: Vec::new(),
        }
    }

    // What it can do.

    pub(crate) fn facts(&self) -> Facts {
        let (closed, here) = (self.conn.closed().filter(|_| !self.killed), !self.gone);
        let delivered = self.delivered().filter(|_| !self.killed);
        Facts {
            out: self.out.clone(),
            delivered: delivered.cloned().collect(),
            stopped: if self.killed { Stopped::NeedInput } else { self.stopped },
            input: if here { self.input() } else { order::Input::Starved },
            deadline: self.deadline(),
            next_op: self.next_op(),
            closing: self.conn.ready_state() != ReadyState::Open || self.gone,
            unanswered: here && self.is_unanswered(),
            outgoing: here && self.conn.sender().has_outgoing(),
            eof: here && self.eof,
            gone: self.gone,
            killed: self.killed,
            blocked: here && self.blocked,
            clean: closed.is_some_and(|closed| closed.clean),
            erred: closed.is_some_and(|closed| closed.error.is_some()),
        }
    }

    fn next_op(&self) -> Option<Op> {
        let op = self.script.get(self.at).copied()?;
        let at_boundary = self.out.at_boundary() && !self.shut;
        (!self.gone && (op != Op::Violate || at_boundary)).then_some(op)
    }

    fn is_unanswered(&self) -> bool {
        self.stopped == Stopped::Closed && !self.conn.sender().is_closed()
    }

    /// While the application has not answered the peer's Close, the end is not over.
    fn input(&self) -> order::Input {
        match (self.stopped, self.conn.ending()) {
            _ if self.dirty => order::Input::New,
            (Stopped::NeedInput, _) => order::Input::Starved,
            (_, Ending::Done) if self.is_unanswered() => order::Input::Ended(Ending::Flush),
            (_, ending) => order::Input::Ended(ending),
        }
    }

    fn deadline(&self) -> Option<Duration> {
        if self.gone { None } else { self.conn.poll_timeout().map(|at| at - tickwire::Time::ZERO) }
    }

    // What it does. What is returned is what is wrong with it.

    /// `bytes` are those that are read.
    pub(crate) fn apply(&mut self, input: Input, bytes: &[u8]) -> Result<(), String> {
        match input {
            Input::App => self.next_op().map_or(Ok(()), |op| self.act(op))?,
            Input::Write { inside } => self.write(inside)?,
            Input::Block => {
                self.look();
                self.conn.report(Report::WriteBlocked);
                self.blocked = true;
            }
            Input::FailWrite => {
                self.conn.report(Report::WriteFailed);
                self.since.push(b'!');
            }
            Input::Read => {
                let room = self.conn.receiver_mut().spare_mut();
                room[..bytes.len()].copy_from_slice(bytes);
                self.conn.receiver_mut().commit(bytes.len());
                self.came.push(bytes);
                self.dirty = true;
            }
            Input::EndOfStream => {
                self.conn.receiver_mut().end_of_stream();
                (self.dirty, self.eof) = (true, true);
            }
            Input::Step => self.step()?,
            Input::ShutDown => {
                // The peer did not take the rest in time. Behind our Close it discards everything
                // (§1.4).
                let overdue = self.stopped == Stopped::Failed(RecvError::CloseTimeout);
                if !self.out.at_boundary() && !overdue && !self.again {
                    return Err("the stream is to be shut in the middle of a frame".into());
                }
                self.conn.report(Report::ShutDown);
                self.shut = true;
            }
            Input::Drop => self.gone = true,
            Input::Tell(now) => self.tell(now)?,
            Input::Kill => (self.gone, self.killed) = (true, true),
        }
        let result = if self.killed || self.again { Ok(()) } else { self.check() };
        self.last_state = self.conn.ready_state();
        if self.conn.sender().buffered_amount() == 0 {
            self.since.clear();
        }
        result
    }

    fn act(&mut self, op: Op) -> Result<(), String> {
        let (name, role) = (self.at as u8, self.role);
        self.at += 1;
        self.since.push(name);
        let payload = [b'a' + name, role as u8, b'.'];
        let was_closed = self.conn.sender().is_closed();
        let code = closed_with(role, op);
        let tx = self.conn.sender_mut();
        let chunk = |first| Chunk { kind: DataKind::Binary, first, data: &payload, last: !first };
        let (b0, result) = match op {
            Op::Message => (0x82, tx.feed(&payload[..])),
            Op::First => (0x02, tx.feed_chunk(chunk(true))),
            Op::Last => (0x80, tx.feed_chunk(chunk(false))),
            Op::Ping => {
                match tx.ping(&payload[..2]) {
                    Ok(()) => self.pings.push(payload[..2].to_vec()),
                    Err(SendError::Closed) if was_closed => {}
                    Err(error) => return Err(format!("a Ping is refused with {error}")),
                }
                return Ok(());
            }
            Op::Close | Op::Abort => {
                let result = if op == Op::Close { tx.close(code) } else { tx.abort(code) };
                if result.is_ok() == was_closed {
                    return Err(format!("closing when closed is {was_closed}: {result:?}"));
                }
                if op == Op::Abort && result.is_ok() {
                    self.aborted_at = self.out.bytes.len();
                }
                return Ok(());
            }
            Op::Fail => {
                let over = self.conn.closed().is_some();
                self.failed = self.conn.fail(code).is_ok();
                self.dirty |= self.failed;
                let right = self.failed != over;
                return if right { Ok(()) } else { Err(format!("failing when over is {over}")) };
            }
            Op::Violate => {
                let masked =
                    if role == Role::Client { &[BAD, 0x80, 1, 2, 3, 4][..] } else { &[BAD, 0] };
                self.out.push(masked);
                return Ok(());
            }
        };
        match result {
            Ok(_) if was_closed => Err("data is taken behind our Close".into()),
            Ok(position) => {
                let wire_len = payload.len() + if role == Role::Client { 6 } else { 2 };
                self.fed.push(Fed { position, b0, payload: payload.to_vec(), wire_len });
                Ok(())
            }
            Err(SendError::Closed) if was_closed => Ok(()),
            Err(error) => Err(format!("{op:?} is refused with {error}")),
        }
    }

    /// Looks at what is to be written, which gives everything that waits its place.
    fn look(&mut self) {
        let out = self.conn.sender_mut().outgoing();
        let mut slices = [IoSlice::new(&[]); 32];
        let n = out.chunks_vectored(&mut slices);
        self.rest = slices[..n].iter().flat_map(|slice| slice.iter().copied()).collect();
        self.since.push(b'|');
    }

    /// Writes the rest of the frame under way, or of the next one; or, of that, one byte.
    fn write(&mut self, inside: bool) -> Result<(), String> {
        self.look();
        let (n, begun) = self.out.next(&self.rest);
        if self.rest.is_empty() {
            return Ok(()); // dropped, and not yet noticed
        }
        let n = if inside { 1 } else { n };
        if n > self.rest.len() {
            return Err("a frame is not all there".into());
        }
        if self.shut {
            return Err("something is to be written to a stream that was shut".into());
        }
        if !begun && !self.again {
            self.may_begin(self.rest[0])?;
        }
        self.out.push(&self.rest[..n]);
        self.rest.drain(..n);
        self.conn.sender_mut().outgoing().advance(n);
        self.since.extend([b'>', n as u8]);
        (self.blocked, self.stalled_at) = (false, None);
        if self.again { Ok(()) } else { self.written() }
    }

    /// Steps until input is needed.
    fn step(&mut self) -> Result<(), String> {
        self.dirty = false;
        loop {
            let before = self.stopped;
            self.stopped = match self.conn.step() {
                Ok(Step::NeedInput) => Stopped::NeedInput,
                Ok(Step::Closed) => Stopped::Closed,
                Err(error) => Stopped::Failed(error),
                Ok(_) => {
                    let seen = match self.conn.receiver().event() {
                        Some(Event::Message(message)) => Seen::Message(message.as_bytes().to_vec()),
                        Some(Event::Ping(payload)) => Seen::Ping(payload.to_vec()),
                        Some(Event::Pong(payload)) => Seen::Pong(payload.to_vec()),
                        Some(Event::Close(frame)) => Seen::Close(frame.map(|f| f.code.get())),
                        other => return Err(format!("an event for nothing: {other:?}")),
                    };
                    if !matches!(seen, Seen::Message(_)) {
                        self.since.push(b'?');
                    }
                    self.seen.push(seen);
                    if !self.again {
                        self.expected()?;
                    }
                    continue;
                }
            };
            if before != Stopped::NeedInput && before != self.stopped {
                return Err(format!("it ended twice: {before:?}, {:?}", self.stopped));
            }
            return Ok(());
        }
    }

    fn tell(&mut self, now: Duration) -> Result<(), String> {
        let (before, waited) = (self.deadline(), self.conn.sender().buffered_amount());
        let mut result = self.conn.handle_timeout(tickwire::Time::new(now));
        if self.conn.must_read() {
            self.conn.report(Report::ReadBlocked); // as if it had read, and nothing was there
            result = self.conn.handle_timeout(tickwire::Time::new(now));
        }
        if self.conn.sender().buffered_amount() != waited {
            self.since.push(b'~');
            self.since.extend(now.as_nanos().to_be_bytes()); // what a Ping of the heartbeat's says
        }
        if self.blocked && self.stalled_at.is_none() {
            self.stalled_at = Some(now);
        }
        self.dirty |= result.is_err() && self.stopped == Stopped::NeedInput;
        match self.deadline() {
            after if result.is_ok() && after == before => {
                Err(format!("told the time, {now:?}, and it is due still: {after:?}"))
            }
            _ => Ok(()),
        }
    }

    /// The connection as text. Left out: after how many reads the clock is looked at, which takes
    /// more reads than a scenario has.
    fn shown(&self) -> String {
        let text = format!("{:?}", self.conn);
        let Some((before, behind)) = text.split_once(" looks_at: ") else { return text };
        format!("{before}{}", behind.trim_start_matches(|c: char| c.is_ascii_digit()))
    }

    /// All that its future, and what is asked of it later, depends on.
    pub(crate) fn project(&self, out: &mut String) {
        let _ = write!(out, "{:?} wrote {:02x?}", self.role, self.out.bytes);
        if self.killed {
            out.push_str(" killed"); // nobody asks what it was at
            return;
        }
        let _ = write!(
            out,
            " read {:02x?} saw {:?} stopped {:?} {:?}",
            self.came.bytes,
            self.seen,
            self.stopped,
            self.conn.closed(),
        );
        if self.gone {
            out.push_str(" gone");
            return;
        }
        let tx = self.conn.sender();
        let written: Vec<_> = self.fed.iter().map(|fed| tx.is_written(fed.position)).collect();
        let _ = write!(
            out,
            " op {} {:?} {:?} deadline {:?} buffered {} outgoing {} dropped {} written {written:?} \
             dirty {} eof {} shut {} stalled {} {:?} failed {} aborted {} \
             rest {:02x?} since {:?}\n  {}",
            self.at,
            self.conn.ready_state(),
            self.conn.ending(),
            self.deadline(),
            tx.buffered_amount(),
            tx.has_outgoing(),
            tx.dropped(),
            self.dirty,
            self.eof,
            self.shut,
            self.blocked,
            self.stalled_at,
            self.failed,
            self.aborted_at,
            self.rest,
            self.since,
            self.shown(),
        );
    }
}
