//! One end: the real connection, the application with its script, and a record of what both did,
//! against which the connection's own account is held.
use crate::wire::{BAD, CLOSE, Frame, PING, PONG, Wire};
use bytes::Buf;
use std::{fmt::Write as _, io::IoSlice, time::Duration};
use tickwire::{
    Chunk, CloseCode, Config, Connection, DataKind, Ending, Entropy, Event, Negotiated, Position,
    ReadyState, RecvError, Role, SendError, Step,
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

/// Always the same masking key, so that a state does not depend on how many were used.
struct OneKey;

impl Entropy for OneKey {
    fn fill(&mut self, dest: &mut [u8]) {
        dest.iter_mut().zip([0x37, 0xfa, 0x21, 0x3d].iter().cycle()).for_each(|(to, k)| *to = *k);
    }
}

/// A data frame that was fed.
struct Fed {
    position: Position,
    b0: u8,
    payload: Vec<u8>,
    wire_len: usize,
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
    pub(crate) at: usize,
    /// What it wrote.
    pub(crate) out: Wire,
    pub(crate) stopped: Stopped,
    /// Something came in that was not stepped over.
    pub(crate) dirty: bool,
    pub(crate) eof: bool,
    pub(crate) shut: bool,
    /// It dropped the stream.
    pub(crate) gone: bool,
    pub(crate) killed: bool,
    /// The stream refuses bytes.
    pub(crate) blocked: bool,
    /// When it was told the time first after that.
    stalled_at: Option<Duration>,
    /// Bytes came since the time was told.
    heard: bool,
    pub(crate) seen: Vec<Seen>,
    fed: Vec<Fed>,
    pings: Vec<Vec<u8>>,
    /// How far the stream was written when it aborted: no data frame begins from there on.
    aborted_at: usize,
    /// Its `fail` was taken.
    pub(crate) failed: bool,
    pub(crate) closing_since: Option<Duration>,
    last_state: ReadyState,
    /// What the outgoing buffer held when it was last looked at, less what was written since.
    rest: Vec<u8>,
    /// What touched the sender since.
    since: Vec<u8>,
}

fn closed_with(role: Role, op: Op) -> CloseCode {
    let code = 4000 + 100 * op as u16 + u16::from(role == Role::Server);
    CloseCode::new(code).unwrap()
}

impl End {
    pub(crate) fn new(role: Role, config: &Config, script: &'static [Op]) -> Self {
        let conn = match role {
            Role::Server => Connection::server(config, Negotiated::default()),
            Role::Client => Connection::client(config, Negotiated::default(), OneKey),
        };
        Self {
            role,
            conn,
            script,
            at: 0,
            out: Wire::new(),
            stopped: Stopped::NeedInput,
            dirty: false,
            eof: false,
            shut: false,
            gone: false,
            killed: false,
            blocked: false,
            stalled_at: None,
            heard: false,
            seen: Vec::new(),
            fed: Vec::new(),
            pings: Vec::new(),
            aborted_at: usize::MAX,
            failed: false,
            closing_since: None,
            last_state: ReadyState::Open,
            rest: Vec::new(),
            since: Vec::new(),
        }
    }

    // What it can do.

    pub(crate) fn next_op(&self) -> Option<Op> {
        let op = self.script.get(self.at).copied()?;
        let at_boundary = self.out.at_boundary() && !self.shut;
        (!self.gone && (op != Op::Violate || at_boundary)).then_some(op)
    }

    pub(crate) fn has_outgoing(&self) -> bool {
        !self.gone && self.conn.sender().has_outgoing()
    }

    /// Whether its loop would read.
    pub(crate) fn reads(&self) -> bool {
        let open = self.stopped == Stopped::NeedInput || self.conn.ending() == Ending::Discard;
        !self.gone && !self.dirty && open
    }

    /// What is to be done with the stream, if anything but reading and writing.
    pub(crate) fn end_due(&self) -> Option<Ending> {
        if self.gone || self.dirty || self.stopped == Stopped::NeedInput {
            return None;
        }
        let unanswered = self.stopped == Stopped::Closed && !self.conn.sender().is_closed();
        match self.conn.ending() {
            Ending::Done if unanswered => None,
            Ending::ShutDown if self.shut => None,
            ending @ (Ending::ShutDown | Ending::Done) => Some(ending),
            Ending::Flush | Ending::Discard => None,
        }
    }

    /// Whether it has something to do without the stream.
    pub(crate) fn is_busy(&self) -> bool {
        self.dirty || self.end_due().is_some()
    }

    pub(crate) fn deadline(&self) -> Option<Duration> {
        if self.gone { None } else { self.conn.poll_timeout().map(|at| at - tickwire::Time::ZERO) }
    }

    // What it does. What is returned is what is wrong with it.

    pub(crate) fn act(&mut self, op: Op) -> Result<(), String> {
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
                self.out.write(masked);
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
        if self.conn.sender().buffered_amount() == self.rest.len() {
            self.since.clear();
        }
    }

    /// Writes the rest of the frame under way, or of the next one; or, of that, one byte.
    pub(crate) fn write(&mut self, inside: bool, peer_closed: bool) -> Result<(), String> {
        self.look();
        let (n, begun) = self.out.to_write(&self.rest);
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
        if !begun {
            self.may_begin(self.rest[0], peer_closed)?;
        }
        self.out.write(&self.rest[..n]);
        self.rest.drain(..n);
        self.conn.sender_mut().outgoing().advance(n);
        (self.blocked, self.stalled_at) = (false, None);
        self.written()
    }

    pub(crate) fn block(&mut self) {
        self.look();
        self.conn.write_blocked();
        self.blocked = true;
    }

    pub(crate) fn fail_write(&mut self) {
        self.conn.write_failed();
        self.since.push(b'!');
    }

    pub(crate) fn read(&mut self, bytes: &[u8]) {
        let room = self.conn.receiver_mut().spare_mut();
        room[..bytes.len()].copy_from_slice(bytes);
        self.conn.receiver_mut().commit(bytes.len());
        (self.dirty, self.heard) = (true, true);
    }

    pub(crate) fn end_of_stream(&mut self) {
        self.conn.receiver_mut().end_of_stream();
        (self.dirty, self.eof) = (true, true);
    }

    /// Steps until input is needed.
    pub(crate) fn step(&mut self, peer: &Wire) -> Result<(), String> {
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
                    self.expected(peer)?;
                    continue;
                }
            };
            if before != Stopped::NeedInput && before != self.stopped {
                return Err(format!("it ended twice: {before:?}, {:?}", self.stopped));
            }
            return Ok(());
        }
    }

    pub(crate) fn tell(&mut self, now: Duration) -> Result<(), String> {
        let before = self.deadline();
        let result = self.conn.handle_timeout(tickwire::Time::new(now));
        self.heard = false;
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

    // What holds.

    /// The rules of what may follow what on the wire.
    fn may_begin(&self, b0: u8, peer_closed: bool) -> Result<(), String> {
        let frame = Frame { b0, start: 0, end: None };
        let closed = self.out.frames.iter().any(|f| f.b0 == CLOSE);
        if closed && b0 == CLOSE {
            return Err("a second Close".into());
        }
        if closed && frame.is_data() {
            return Err("a data frame behind our Close".into());
        }
        if closed && (peer_closed || self.failed || matches!(self.stopped, Stopped::Failed(_))) {
            return Err(format!("a frame, {b0:02x}, behind the last Close"));
        }
        if frame.is_data() && self.out.bytes.len() >= self.aborted_at {
            return Err("a data frame begins behind an abort".into());
        }
        Ok(())
    }

    fn data_frames(&self) -> impl Iterator<Item = &Frame> {
        self.out.whole().filter(|f| f.is_data() && f.b0 != BAD)
    }

    /// What was written is what was fed, in order; a Pong answers a Ping that was seen.
    fn written(&self) -> Result<(), String> {
        for (frame, fed) in self.data_frames().zip(&self.fed) {
            if frame.b0 != fed.b0 || self.out.payload(frame) != fed.payload {
                return Err(format!("{frame:?} was not fed"));
            }
        }
        let mut pings = self.seen.iter();
        let mut probes = self.pings.iter();
        for frame in self.out.whole() {
            let payload = self.out.payload(frame);
            let known = match frame.b0 {
                PONG => pings.any(|seen| *seen == Seen::Ping(payload.clone())),
                // The heartbeat's are of four bytes.
                PING => payload.len() == 4 || probes.any(|ping| *ping == payload),
                _ => true,
            };
            if !known {
                return Err(format!("{frame:?} answers nothing"));
            }
        }
        Ok(())
    }

    /// The messages that frames on the wire make.
    pub(crate) fn messages(wire: &Wire) -> Vec<Vec<u8>> {
        let (mut whole, mut message) = (Vec::new(), Vec::new());
        for frame in wire.whole().filter(|f| f.is_data() && f.b0 != BAD) {
            message.extend(wire.payload(frame));
            if frame.b0 & 0x80 != 0 {
                whole.push(std::mem::take(&mut message));
            }
        }
        whole
    }

    pub(crate) fn delivered(&self) -> impl Iterator<Item = &Vec<u8>> {
        self.seen.iter().filter_map(|seen| match seen {
            Seen::Message(message) => Some(message),
            _ => None,
        })
    }

    /// What was seen last is what the peer wrote.
    fn expected(&self, peer: &Wire) -> Result<(), String> {
        let controls = |b0| peer.whole().filter(move |f| f.b0 == b0).map(|f| peer.payload(f));
        let seen = |b0: u8| {
            self.seen.iter().filter_map(move |seen| match seen {
                Seen::Ping(payload) if b0 == PING => Some(payload.clone()),
                Seen::Pong(payload) if b0 == PONG => Some(payload.clone()),
                _ => None,
            })
        };
        let begins = |seen: Vec<Vec<u8>>, all: Vec<Vec<u8>>| all.starts_with(&seen);
        let ok = begins(self.delivered().cloned().collect(), Self::messages(peer))
            && [PING, PONG].iter().all(|&b0| begins(seen(b0).collect(), controls(b0).collect()));
        let closes = self.seen.iter().filter(|seen| matches!(seen, Seen::Close(_))).count();
        let last = closes == 0 || matches!(self.seen.last(), Some(Seen::Close(_)));
        if ok && closes <= 1 && last {
            Ok(())
        } else {
            Err(format!("what is seen was not written: {:?}", self.seen))
        }
    }

    pub(crate) fn peers_close(&self) -> Option<Option<u16>> {
        self.seen.iter().find_map(|seen| match seen {
            Seen::Close(code) => Some(*code),
            _ => None,
        })
    }

    fn close_written(&self) -> bool {
        self.out.whole().any(|f| f.b0 == CLOSE)
    }

    /// The bytes of messages that were fed and not written.
    fn unwritten(&self) -> u64 {
        let data = self.out.frames.iter().filter(|f| f.is_data() && f.b0 != BAD);
        let here = self.out.bytes.len();
        let written =
            data.map(|f| f.end.map_or(here, |end| end.min(here)) - f.start).sum::<usize>();
        (self.fed.iter().map(|fed| fed.wire_len).sum::<usize>() - written) as u64
    }

    /// What the connection says of itself is what happened.
    pub(crate) fn check(&mut self, peer: &Wire, now: Duration) -> Result<(), String> {
        let state = self.conn.ready_state();
        if state < self.last_state {
            return Err(format!("{:?} -> {state:?}", self.last_state));
        }
        self.last_state = state;
        if state != ReadyState::Open && self.closing_since.is_none() {
            self.closing_since = Some(now);
        }
        self.check_closed(peer)?;
        let tx = self.conn.sender();
        let whole = self.data_frames().count();
        for (at, fed) in self.fed.iter().enumerate() {
            if tx.is_written(fed.position) != (at < whole) {
                return Err(format!("message {at} is written: {}, {whole} are", at >= whole));
            }
        }
        let (dropped, unwritten) = (tx.dropped(), self.unwritten());
        let exact = tx.buffered_amount() == 0;
        if exact {
            self.since.clear();
        }
        if dropped > unwritten || (exact && dropped < unwritten) {
            return Err(format!("{dropped} bytes dropped, {unwritten} not written"));
        }
        let flushes = self.stopped != Stopped::NeedInput && self.conn.ending() == Ending::Flush;
        if exact && flushes && !self.dirty && !self.gone {
            return Err("it is to flush, and has nothing to write".into());
        }
        if self.gone && !self.killed && !exact {
            return Err("it is over with bytes to write".into());
        }
        Ok(())
    }

    fn check_closed(&self, peer: &Wire) -> Result<(), String> {
        let Some(end) = self.conn.closed() else {
            let over = self.stopped != Stopped::NeedInput || self.peers_close().is_some();
            return if over { Err("it is over, and does not say so".into()) } else { Ok(()) };
        };
        let theirs = self.peers_close();
        let code = theirs.map_or(1006, |code| code.unwrap_or(1005));
        let clean = theirs.is_some() && self.close_written();
        if (end.code, end.clean) != (code, clean) {
            return Err(format!("{end:?}, and it was {code}, clean: {clean}"));
        }
        if end.error.is_some() == theirs.is_some() {
            return Err(format!("{end:?} after {:?}", self.seen));
        }
        let mut data = peer.whole().filter(|f| f.is_data() && f.b0 != BAD);
        let cut = theirs.is_some() && data.next_back_is_open();
        if end.cut.is_some() != cut {
            return Err(format!("{end:?}, and a message was cut: {cut}"));
        }
        Ok(())
    }

    /// All that its future, and what is asked of it later, depends on.
    pub(crate) fn project(&self, out: &mut String, watches: bool) {
        let _ = write!(
            out,
            "saw {:?} stopped {:?} {:?} killed {} wrote {} {:?} {:08x} read {} {:?}",
            self.seen,
            self.stopped,
            self.conn.closed(),
            self.killed,
            self.out.bytes.len(),
            self.out.frames.iter().map(|f| (f.b0, f.start)).collect::<Vec<_>>(),
            self.out.sum(),
            self.out.read,
            self.out.mode,
        );
        if self.gone {
            out.push_str(" gone");
            return;
        }
        let tx = self.conn.sender();
        let written: Vec<_> = self.fed.iter().map(|fed| tx.is_written(fed.position)).collect();
        let buffered = tx.buffered_amount();
        let _ = write!(
            out,
            " op {} {:?} {:?} deadline {:?} buffered {buffered} outgoing {} dropped {} written {:?} \
             dirty {} eof {} shut {} stalled {} {:?} failed {} aborted {} closing {:?} \
             rest {:02x?} since {:?} heard {}\n  {:?}",
            self.at,
            self.conn.ready_state(),
            self.conn.ending(),
            self.deadline(),
            tx.has_outgoing(),
            tx.dropped(),
            written,
            self.dirty,
            self.eof,
            self.shut,
            self.blocked,
            self.stalled_at,
            self.failed,
            self.aborted_at,
            self.closing_since,
            self.rest,
            self.since,
            watches && self.heard,
            self.conn,
        );
    }
}

trait Open {
    fn next_back_is_open(&mut self) -> bool;
}

impl<'f, I: Iterator<Item = &'f Frame>> Open for I {
    /// Whether the last data frame leaves a message unfinished.
    fn next_back_is_open(&mut self) -> bool {
        self.last().is_some_and(|frame| frame.b0 & 0x80 == 0)
    }
}
