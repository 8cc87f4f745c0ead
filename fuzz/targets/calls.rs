//! Any order of API calls on one connection, of either role, compressed or not.
//!
//! Kept beside it is a ledger of what was fed and what came out. Checked after each call: nothing
//! panics, counts agree, memory follows the limits. Checked at the end: what was written is whole
//! legal frames (the reference reads them), each message is there once, in order and unchanged,
//! what overtakes came as early as promised, and no data follows a Close; what was received is
//! what the reference reads out of the same wire.
#![no_main]

use arbitrary::Arbitrary;
use bytes::{Buf, Bytes};
use libfuzzer_sys::fuzz_target;
use std::{collections::VecDeque, time::Duration};
use testkit::frames::{self, frame_len};
use tickwire::{
    Chunk, CloseCode, CloseFrame, Config, Connection, DataKind, Heartbeat, Message, Negotiated,
    OwnedMessage, Position, Prepared, ProtocolError, ReadyState, RecvError, Report, SendError,
    Step, Time,
    deflate::{Deflate, DeflateParams, Direction},
};
use tickwire_fuzz::{
    Data, Len, event,
    inflate::{Stream, inflate},
    negotiated, owned,
    reference::{self, End, Head, Limits},
};

#[global_allocator]
static HEAP: testkit::alloc::Counting = testkit::alloc::Counting;

/// Stands for a Ping of the heartbeat's, whose payload of four bytes is its own: longer than any.
const HEARTBEAT: [u8; 126] = [0; 126];

#[derive(Arbitrary, Debug)]
struct Input {
    client: bool,
    settings: Settings,
    ops: Vec<Op>,
}

#[derive(Arbitrary, Debug)]
struct Settings {
    read_buffer: u16,
    max_message: u16,
    max_frame: Option<u16>,
    max_fragments: u8,
    high_water: u16,
    min_vectored: u16,
    auto_pong: bool,
    auto_close: bool,
    /// Bits: a heartbeat, a deadline on data, an idle message.
    timers: u8,
    /// Whether what this end sends is compressed, with what went before or without.
    takeover: Option<bool>,
}

#[derive(Arbitrary, Clone, Debug)]
enum Op {
    Feed(Data),
    FeedOwned(Data),
    FeedBytes(Len),
    FeedPrepared(Data),
    FeedChunk(Data, bool),
    FeedBadText,
    FeedFirst(Data),
    Ping(u8),
    Pong(u8),
    Close(Close),
    Abort(Close),

    /// Another frame for the connection to receive.
    Frame(Frame),
    Raw(Vec<u8>),
    /// Reads a piece of it.
    Read(u16),
    Step,
    StepChunk,
    Take,
    Lend(Len),
    Reclaim,
    EndOfStream,

    SenderLend(Len),
    SenderReclaim,
    /// Looks at what is outgoing, and leaves it.
    Look,
    Write(u16),
    WriteAll,
    WriteBlocked,
    WriteFailed,

    ShutDown,
    Paused(bool),
    Timeout(u16),
}

#[derive(Arbitrary, Clone, Copy, Debug)]
struct Close {
    code: Option<u16>,
    reason: u8,
}

#[derive(Arbitrary, Clone, Copy, Debug)]
struct Frame {
    kind: u8,
    len: Len,
    /// As the role of the peer wants it, but for one value.
    mask: u8,
}

fuzz_target!(|input: Input| {
    let mut ledger = Ledger::new(&input);
    for op in input.ops.iter().take(200) {
        ledger.call(op);
        ledger.check_always();
    }
    ledger.check_at_the_end();
});

/// A data frame that was fed.
struct Fed {
    /// Without the mask bit's byte: FIN and opcode.
    first: u8,
    payload: Vec<u8>,
    /// Its length on the wire.
    len: usize,
    /// `None` for the idle message, which the core feeds.
    position: Option<Position>,
    /// Of one that overtakes: how many frames in order may have begun before.
    begun: usize,
}

struct Ledger {
    conn: Connection,
    client: bool,
    limits: Limits,
    high_water: usize,
    heartbeat: bool,
    takeover: Option<bool>,

    ordered: Vec<Fed>,
    first: Vec<Fed>,
    /// The text of the message in chunks so far, which may end inside a character.
    chunks: Option<(DataKind, usize)>,
    pings: VecDeque<Vec<u8>>,
    pongs: VecDeque<Vec<u8>>,
    /// The Close that was accepted, as its body.
    close: Option<Vec<u8>>,
    aborted: bool,
    broken: bool,
    fed_bytes: usize,
    controls: usize,
    longest: usize,

    written: Vec<u8>,
    walk: Walk,

    /// What the connection will receive, and all of it that it has.
    wire: VecDeque<u8>,
    received: Vec<u8>,
    events: Vec<reference::Event>,
    partial: Vec<u8>,
    /// Messages were asked for in chunks, to which other limits apply.
    chunked: bool,
    skipped: bool,
    eof: bool,
    end: Option<Result<Step, RecvError>>,

    budget: usize,
    now: Time,
    state: ReadyState,
    /// What lived before.
    base: usize,
}

/// How far whole frames go in what was written.
#[derive(Default)]
struct Walk {
    at: usize,
    ordered: usize,
    first: usize,
    /// The frame under way may be one in order.
    begun: bool,
}

impl Walk {
    fn go(&mut self, written: &[u8]) {
        loop {
            let rest = &written[self.at..];
            self.begun = rest.first().is_some_and(|first| first & 8 == 0);
            let Some(rest) = rest.get(..).filter(|rest| rest.len() >= 2) else {
                return;
            };
            let head = Head::read(rest);
            let (Some(len), Some(end)) = (head.len, head.end) else {
                return;
            };
            let total = end + len as usize;
            if rest.len() < total {
                return;
            }
            if head.opcode < 8 {
                let mark = rest
                    .get(end)
                    .filter(|_| len > 0)
                    .map(|byte| byte ^ if head.masked { rest[end - 4] } else { 0 });
                if mark == Some(OVERTAKES) && head.opcode != 0 && head.reserved == 0 {
                    self.first += 1;
                } else {
                    self.ordered += 1;
                }
            }
            self.at += total;
        }
    }
}

/// How the payload of a message begins that overtakes; no other does.
const OVERTAKES: u8 = b'!';
/// The idle message: it overtakes too, and is longer than a Ping of the heartbeat's.
const IDLE: [u8; 60] = [OVERTAKES; 60];
/// More than all control frames that can wait: 16 Pongs and a Ping, twice, and what is in order.
const CONTROLS: usize = 8 << 10;
/// What text in chunks is made of, again and again.
const MIXED: &str = "aé価📈";

fn payload(seed: usize, len: usize, text: bool) -> Vec<u8> {
    (0..len)
        .map(|i| {
            let byte = (i ^ seed).wrapping_mul(167) as u8;
            match text {
                true => b'0' + byte % 64,
                false if i == 0 && byte == OVERTAKES => b'?',
                false => byte,
            }
        })
        .collect()
}

impl Ledger {
    fn new(input: &Input) -> Self {
        let s = &input.settings;
        let (message, high_water) = (usize::from(s.max_message), usize::from(s.high_water));
        let frame = s.max_frame.map_or(message, usize::from);
        let fragments = u32::from(s.max_fragments).max(1); // as `Config` has it
        let timer = |bit: u8| s.timers & bit != 0;
        let heartbeat = Heartbeat::new(Duration::from_secs(4), Duration::from_secs(3));
        let deflate = Deflate { level: 1, min_size: 16, ..Deflate::default() };
        let config = Config {
            read_buffer: usize::from(s.read_buffer),
            max_message: message,
            max_frame: Some(frame),
            max_fragments: fragments,
            high_water,
            min_vectored: usize::from(s.min_vectored),
            auto_pong: s.auto_pong,
            auto_close: s.auto_close,
            heartbeat: timer(1).then_some(heartbeat),
            data_timeout: timer(2).then_some(Duration::from_secs(9)),
            idle_message: timer(4).then(|| (Duration::from_secs(2), (&IDLE).into())),
            deflate: s.takeover.map(|_| deflate),
            ..Config::default()
        };
        let base = testkit::alloc::live_everywhere() as usize;
        let agreed = s.takeover.map_or_else(Negotiated::default, |takeover| {
            // The peer's messages stand alone, so that each can be read by itself.
            let own = Direction { takeover, ..Direction::default() };
            Negotiated::from(match input.client {
                true => DeflateParams { client: own, ..DeflateParams::default() },
                false => DeflateParams { server: own, ..DeflateParams::default() },
            })
        });
        Self {
            conn: negotiated(input.client, &config, agreed),
            client: input.client,
            limits: Limits { message, frame, fragments },
            high_water,
            heartbeat: timer(1),
            takeover: s.takeover,
            ordered: vec![],
            first: vec![],
            chunks: None,
            pings: VecDeque::new(),
            pongs: VecDeque::new(),
            close: None,
            aborted: false,
            broken: false,
            fed_bytes: 0,
            controls: 0,
            longest: 0,
            written: vec![],
            walk: Walk::default(),
            wire: VecDeque::new(),
            received: vec![],
            events: vec![],
            partial: vec![],
            chunked: false,
            skipped: false,
            eof: false,
            end: None,
            budget: 256 << 10,
            now: Time::ZERO,
            state: ReadyState::Open,
            base,
        }
    }

    fn call(&mut self, op: &Op) {
        let before = self.conn.sender().buffered_amount();
        match op {
            Op::Feed(data) | Op::FeedOwned(data) | Op::FeedPrepared(data) => {
                let owned = self.message(*data);
                let tx = self.conn.sender_mut();
                let fed = match op {
                    Op::Feed(_) => tx.feed(&owned),
                    Op::FeedOwned(_) => tx.feed(owned.clone()),
                    _ => tx.feed(Prepared::new(&owned)),
                };
                self.fed_whole(owned, fed, before);
            }
            Op::FeedBytes(len) => {
                let owned = self.message(Data { text: false, len: *len });
                let fed = self.conn.sender_mut().feed(Bytes::from(owned.clone()));
                self.fed_whole(owned, fed, before);
            }
            Op::FeedChunk(data, last) => self.feed_chunk(*data, *last, before),
            Op::FeedBadText => {
                let data = b"\xff";
                let chunk = Chunk { kind: DataKind::Text, first: true, data, last: false };
                let error = self.conn.sender_mut().feed_chunk(chunk).unwrap_err();
                if self.close.is_none() && !self.broken && self.chunks.is_none() {
                    let full = !self.conn.sender().has_room();
                    assert_eq!(matches!(error, SendError::Full { .. }), full);
                    assert!(full || error == SendError::BadUtf8);
                }
                assert_eq!(self.conn.sender().buffered_amount(), before);
            }
            Op::FeedFirst(data) => self.feed_first(*data, before),
            Op::Ping(n) | Op::Pong(n) => {
                let ping = matches!(op, Op::Ping(_));
                let mut body = payload(self.controls + 1, usize::from(*n), false);
                if let Some(byte) = body.first_mut() {
                    *byte = self.controls as u8;
                }
                let tx = self.conn.sender_mut();
                let fed = tx.fed();
                let queued = if ping { tx.ping(&body) } else { tx.pong(&body) };
                assert_eq!(fed, tx.fed(), "a control frame moved the position");
                // A Close of its own leaves control frames until the peer's comes.
                let heard = self.events.iter().any(|e| matches!(e, reference::Event::Close(_)));
                let over = self.broken || heard || matches!(self.end, Some(Err(_)));
                let want = if tx.is_closed() && over {
                    Err(SendError::Closed)
                } else if body.len() > 125 {
                    Err(SendError::ControlTooLong)
                } else {
                    Ok(())
                };
                assert_eq!(queued, want);
                if queued.is_ok() {
                    self.controls += 1;
                    if ping { &mut self.pings } else { &mut self.pongs }.push_back(body);
                }
            }
            Op::Close(close) => self.close(*close, false),
            Op::Abort(close) => self.close(*close, true),

            Op::Frame(frame) => self.add_frame(*frame),
            Op::Raw(bytes) => self.wire.extend(bytes.iter().take(64)),
            Op::Read(most) => {
                let spare = self.conn.receiver_mut().spare_mut();
                assert!(!spare.is_empty(), "an empty read would look like the end");
                if !self.eof {
                    let n = usize::from(*most).min(spare.len()).min(self.wire.len());
                    for (to, from) in spare.iter_mut().zip(self.wire.drain(..n)) {
                        *to = from;
                        self.received.push(from);
                    }
                    self.conn.receiver_mut().commit(n);
                    self.conn.receiver_mut().set_read(Some(self.now), None);
                }
                assert!(self.conn.receiver().event().is_none(), "a read ends the message");
            }
            Op::Step => self.step(false),
            Op::StepChunk => self.step(true),
            Op::Take => {
                let message = self.conn.receiver().message().map(Message::into_owned);
                let taken = self.conn.receiver_mut().take_message();
                assert_eq!(taken, message);
                if taken.is_some() {
                    assert!(self.conn.receiver().event().is_none());
                }
            }
            Op::Lend(len) => self.conn.receiver_mut().lend(vec![0xdd; len.get()]),
            Op::Reclaim => drop(self.conn.receiver_mut().reclaim()),
            Op::EndOfStream => {
                self.conn.receiver_mut().end_of_stream();
                self.eof = true;
            }

            Op::SenderLend(len) => self.conn.sender_mut().lend(vec![0xdd; len.get()]),
            Op::SenderReclaim => drop(self.conn.sender_mut().reclaim()),
            Op::Look => self.write(0),
            Op::Write(most) => self.write(usize::from(*most)),
            Op::WriteAll => self.write(usize::MAX),
            Op::WriteBlocked => self.conn.report(Report::WriteBlocked),
            Op::WriteFailed => {
                self.conn.report(Report::WriteFailed);
                self.broken = true;
            }

            Op::ShutDown => self.conn.report(Report::ShutDown),
            Op::Paused(paused) => self.conn.set_paused(*paused),
            Op::Timeout(ms) => self.timeout(Duration::from_millis(u64::from(*ms))),
        }
    }

    // Sending.

    fn message(&mut self, Data { text, len }: Data) -> OwnedMessage {
        let len = len.within(&mut self.budget);
        owned(text, payload(self.ordered.len(), len, text))
    }

    fn fed_whole(
        &mut self,
        message: OwnedMessage,
        fed: Result<Position, SendError>,
        before: usize,
    ) {
        let first = 0x80 | if message.as_message().kind() == DataKind::Text { 1 } else { 2 };
        match fed {
            Ok(position) => {
                assert!(self.chunks.is_none(), "fed inside a message in chunks");
                self.fed_frame(first, message.as_bytes().to_vec(), position, before);
            }
            Err(SendError::MessageInProgress) => assert!(self.chunks.is_some()),
            Err(error) => self.refused(error, before),
        }
    }

    fn fed_frame(&mut self, first: u8, payload: Vec<u8>, position: Position, before: usize) {
        assert!(self.close.is_none() && !self.broken, "fed though closed");
        assert!(before < 2 * self.high_water + self.longest + CONTROLS, "fed though full");
        let tx = self.conn.sender_mut();
        // How long what is compressed gets, nobody else knows.
        let len = match self.takeover {
            None => frame_len(payload.len(), self.client),
            Some(_) => tx.buffered_amount() - before,
        };
        self.longest = self.longest.max(len);
        self.fed_bytes += len;
        let tx = self.conn.sender_mut();
        assert_eq!(tx.buffered_amount(), before + len);
        assert_eq!(tx.fed(), position);
        self.ordered.push(Fed { first, payload, len, position: Some(position), begun: 0 });
    }

    fn refused(&mut self, error: SendError, before: usize) {
        assert_eq!(self.conn.sender().buffered_amount(), before, "refused, but queued");
        match error {
            SendError::Full { .. } => {
                assert!(before >= self.high_water, "room left");
                assert!(!self.conn.sender().has_room() || before >= 2 * self.high_water);
            }
            SendError::Closed => assert!(self.conn.sender().is_closed()),
            error => panic!("{error:?}"),
        }
    }

    fn feed_chunk(&mut self, Data { text, len }: Data, last: bool, before: usize) {
        let kind = if text { DataKind::Text } else { DataKind::Binary };
        let len = len.within(&mut self.budget);
        let (first, at) = match self.chunks {
            Some((begun, at)) if begun == kind => (0, at),
            Some(_) => (0, 0),
            None => (if text { 1 } else { 2 }, 0),
        };
        let data = match text {
            // Goes on inside a character.
            true => MIXED.bytes().cycle().skip(at % MIXED.len()).take(len).collect(),
            false => payload(self.ordered.len(), len, false),
        };
        let end = at % MIXED.len() + data.len();
        let whole = !text || MIXED.is_char_boundary(end % MIXED.len());
        let begins = self.chunks.is_none();
        let tx = self.conn.sender_mut();
        assert_eq!(tx.message_in_progress().is_none(), begins || tx.is_closed());
        match self.conn.sender_mut().feed_chunk(Chunk { kind, first: begins, data: &data, last }) {
            Ok(position) => {
                assert!(self.chunks.is_none_or(|(begun, _)| begun == kind));
                assert!(!last || whole, "text that ends inside a character");
                self.fed_frame(first | if last { 0x80 } else { 0 }, data, position, before);
                self.chunks = (!last).then_some((kind, end));
            }
            Err(SendError::BadUtf8) => assert!(last && !whole),
            Err(SendError::MessageInProgress) => {
                assert!(self.chunks.is_some_and(|(begun, _)| begun != kind));
            }
            Err(error) => self.refused(error, before),
        }
    }

    fn feed_first(&mut self, Data { text, len }: Data, before: usize) {
        let len = len.within(&mut self.budget).max(1);
        let mut bytes = payload(self.first.len(), len, true);
        bytes[0] = OVERTAKES;
        let message = match text {
            true => Message::Text(std::str::from_utf8(&bytes).unwrap()),
            false => Message::Binary(&bytes),
        };
        let tx = self.conn.sender_mut();
        let at = tx.fed();
        match tx.feed_first(message) {
            Ok(position) => {
                assert_eq!(tx.fed(), at, "overtaking moved the position");
                let len = frame_len(bytes.len(), self.client);
                assert_eq!(self.conn.sender().buffered_amount(), before + len);
                self.fed_first(0x80 | if text { 1 } else { 2 }, bytes, len, Some(position));
            }
            Err(error) => {
                assert!(error == SendError::Closed || before >= 2 * self.high_water);
                self.refused(error, before);
            }
        }
    }

    fn fed_first(&mut self, first: u8, payload: Vec<u8>, len: usize, position: Option<Position>) {
        self.longest = self.longest.max(len);
        self.fed_bytes += len;
        let begun = self.walk.ordered + usize::from(self.walk.begun);
        self.first.push(Fed { first, payload, len, position, begun });
    }

    fn close(&mut self, close: Close, abort: bool) {
        let reason = "because ".repeat(usize::from(close.reason) / 8);
        let reason = &reason[..usize::from(close.reason) / 8 * 8];
        let code = close.code.map(|code| CloseCode::new(code).unwrap_or(CloseCode::NORMAL));
        let frame = code.map(|code| CloseFrame::with_reason(code, reason));
        let was_closed = self.conn.sender().is_closed();
        let tx = self.conn.sender_mut();
        let done = if abort { tx.abort(frame) } else { tx.close(frame) };
        match done {
            Ok(()) => {
                assert!(!was_closed);
                assert_eq!(tx.close_frame(), frame);
                self.aborted |= abort;
                self.close = Some(frame.map_or(vec![], |frame| body(&frame)));
            }
            Err(SendError::Closed) => assert!(was_closed),
            Err(SendError::ReasonTooLong) => assert!(reason.len() > 123),
            Err(SendError::BadCloseCode) => {
                assert!(!self.client && code == Some(CloseCode::MANDATORY_EXTENSION));
            }
            Err(error) => panic!("{error:?}"),
        }
    }

    fn write(&mut self, most: usize) {
        let before = self.conn.sender().buffered_amount();
        let said = self.conn.sender().has_outgoing();
        let remaining = self.conn.sender_mut().outgoing().remaining();
        // What was fed to overtake may wait for the last chunk of a message begun.
        let waits = self.chunks.is_some() && !self.first.is_empty();
        assert!(said == (remaining > 0) || (said && waits), "has_outgoing");
        let after = self.conn.sender().buffered_amount();
        assert!(after == before || (after < before && self.conn.sender().is_closed()));
        assert!(remaining <= after);
        let mut out = self.conn.sender_mut().outgoing();
        assert_eq!(out.remaining(), remaining);
        // All slices at once say the same as one by one.
        let mut slices = [std::io::IoSlice::new(&[]); 64];
        let n = out.chunks_vectored(&mut slices);
        let len: usize = slices[..n].iter().map(|slice| slice.len()).sum();
        assert!(len == remaining || n == slices.len());
        assert!(slices[..n].iter().all(|slice| !slice.is_empty()));
        assert_eq!(slices[..n].first().map_or(&[][..], |slice| slice), out.chunk());
        let n = most.min(len);
        let bytes = slices.iter().flat_map(|slice| slice.iter().copied());
        self.written.extend(bytes.clone().take(n));
        let next: Vec<u8> = bytes.skip(n).take(64).collect();
        out.advance(n);
        assert_eq!(out.remaining(), remaining - n);
        let left = next.len().min(out.chunk().len());
        assert!(out.chunk()[..left] == next[..left], "what was left changed");
        assert_eq!(self.conn.sender().buffered_amount(), after - n);
        self.walk.go(&self.written);
    }

    // Receiving.

    fn add_frame(&mut self, frame: Frame) {
        let len = frame.len.within(&mut self.budget);
        let first = match frame.kind % 16 {
            0 | 1 => 0x82,
            2 | 3 => 0x81,
            4 => 0x01,
            5 => 0x02,
            6 => 0x00,
            7 => 0x80,
            8 => 0x89,
            9 => 0x8a,
            10 if frame.kind < 64 => 0x88,
            11 if frame.kind < 32 => frame.kind,
            12 if self.takeover.is_some() => 0xc2,
            13 if self.takeover.is_some() => 0xc1,
            _ => 0x82,
        };
        let body = match first {
            0x88 if len < 126 => {
                [&1000_u16.to_be_bytes()[..], &payload(0, len % 124, true)].concat()
            }
            0x89 | 0x8a => payload(len, len % 126, false),
            0xc1 | 0xc2 => compress(&payload(len, len, first == 0xc1)),
            _ => payload(len, len, first != 0x82),
        };
        let masked = self.client != (frame.mask != 0xff);
        let key = masked.then_some([frame.mask, 7, 77, 177]);
        self.wire.extend(frames::frame(first, key, &body));
    }

    fn step(&mut self, chunks: bool) {
        self.chunked |= chunks;
        let step = if chunks { self.conn.step_chunk() } else { self.conn.step() };
        if let Some(end) = self.end {
            assert_eq!(step, end, "it did not stay where it ended");
        }
        if !chunks && !self.partial.is_empty() {
            // A message begun in chunks was given up for whole ones.
            self.partial.clear();
            self.skipped = true;
        }
        match step {
            Ok(Step::Message) if chunks => {
                assert!(self.conn.receiver().event().is_none());
                let chunk = self.conn.receiver().chunk().expect("a chunk");
                self.partial.extend_from_slice(chunk.data);
                if chunk.last {
                    let text = chunk.kind == DataKind::Text;
                    let payload = std::mem::take(&mut self.partial);
                    self.events.push(reference::Event::Message { text, payload });
                }
            }
            Ok(Step::Message | Step::Ping | Step::Pong | Step::Close) => {
                let event = event(self.conn.receiver().event().expect("an event"));
                match (step, &event) {
                    (Ok(Step::Message), reference::Event::Message { payload, .. }) => {
                        assert!(payload.len() <= self.limits.message);
                        let _ = self.conn.receiver().info();
                    }
                    (Ok(Step::Ping), reference::Event::Ping(payload)) => {
                        // Answered, if that is wanted and can be: then it is the next Pong.
                        self.pongs.push_back(payload.clone());
                        self.controls += 1;
                    }
                    (Ok(Step::Pong), reference::Event::Pong(_)) => {}
                    (Ok(Step::Close), reference::Event::Close(_)) => self.answered(),
                    other => panic!("{other:?}"),
                }
                self.events.push(event);
            }
            Ok(Step::NeedInput) => assert!(self.conn.receiver().event().is_none()),
            Ok(Step::Closed) => self.end = Some(step),
            Err(error) => {
                self.end = Some(step);
                self.broken |= error.close_code().is_none(); // nobody to write to
                self.answered();
            }
        }
    }

    /// Notes the Close that the core queued by itself, if it did.
    fn answered(&mut self) {
        if self.close.is_none() && !self.broken && self.conn.sender().is_closed() {
            self.close = Some(self.conn.sender().close_frame().map_or(vec![], |f| body(&f)));
            self.aborted |= matches!(self.end, Some(Err(_)));
        }
    }

    fn timeout(&mut self, passed: Duration) {
        self.now = self.now + passed;
        let mut calls = 0;
        while self.conn.poll_timeout().is_some_and(|at| at <= self.now) {
            calls += 1;
            assert!(calls < 5, "due again and again at {:?}", self.now);
            let before = self.conn.sender().buffered_amount();
            let told = self.conn.handle_timeout(self.now);
            if self.conn.must_read() {
                self.conn.report(Report::ReadBlocked); // what came was read before
            }
            // A deadline that has passed ends writing too, unless the peer is alive.
            let told_of_silence = told == Err(RecvError::DataTimeout) && self.end.is_none();
            self.broken |= told.is_err() && !told_of_silence;
            let len = frame_len(IDLE.len(), self.client);
            if self.conn.sender().buffered_amount() >= before + len {
                assert!(self.close.is_none() && self.chunks.is_none(), "a message out of turn");
                self.fed_first(0x82, IDLE.to_vec(), len, None);
            }
        }
        // A Ping of the heartbeat's own is empty.
        if self.heartbeat {
            self.pings.push_back(HEARTBEAT.to_vec());
            self.controls += 1;
        }
    }

    // Checks.

    fn check_always(&mut self) {
        let state = self.conn.ready_state();
        assert!(state >= self.state, "{state:?} after {:?}", self.state);
        self.state = state;
        let _ = (self.conn.ending(), self.conn.closed());
        let tx = self.conn.sender_mut();
        let buffered = tx.buffered_amount();
        assert!(
            buffered <= 2 * self.high_water + 2 * self.longest + CONTROLS,
            "{buffered} buffered"
        );
        assert!(tx.has_outgoing() || buffered == 0 || self.chunks.is_some());
        for (i, fed) in self.ordered.iter().enumerate() {
            let written = i < self.walk.ordered;
            let said = fed.position.is_none_or(|at| tx.is_written(at));
            assert_eq!(said, written, "frame {i} of those in order");
        }
        for (i, fed) in self.first.iter().enumerate() {
            let written = i < self.walk.first;
            let Some(position) = fed.position else { continue };
            let said = tx.is_written(position);
            // Where some were dropped, it is not known which.
            assert!(said == written || (written && tx.dropped() > 0), "frame {i} that overtakes");
        }
        self.check_memory();
    }

    /// What the core holds is bounded by what it was told, not by what it was sent.
    fn check_memory(&mut self) {
        let fed = |fed: &Vec<Fed>| {
            fed.capacity() * size_of::<Fed>() + fed.iter().map(|f| f.payload.len()).sum::<usize>()
        };
        let events: usize = self
            .events
            .iter()
            .map(|event| match event {
                reference::Event::Message { payload, .. }
                | reference::Event::Ping(payload)
                | reference::Event::Pong(payload)
                | reference::Event::Close(payload) => payload.capacity(),
            })
            .sum();
        let controls = self.pings.iter().chain(&self.pongs).map(Vec::capacity).sum::<usize>();
        let own = fed(&self.ordered)
            + fed(&self.first)
            + events
            + controls
            + self.partial.capacity()
            + self.events.capacity() * size_of::<reference::Event>()
            + (self.pings.capacity() + self.pongs.capacity()) * size_of::<Vec<u8>>()
            + self.written.capacity()
            + self.wire.capacity()
            + self.received.capacity();
        let live = (testkit::alloc::live_everywhere() as usize).saturating_sub(self.base);
        // Twice for buffers that double, 64 KiB for each buffer lent or read into.
        let bound = 2 * (self.limits.message + 2 * self.high_water + 2 * self.longest)
            + 4 * (128 << 10)
            + (64 << 10)
            // A compressor, a decoder, and what each of them works on.
            + self.takeover.map_or(0, |_| 1 << 20);
        assert!(live <= own + bound, "{live} bytes live, {own} of them the ledger's; {bound}");
    }

    fn check_at_the_end(&mut self) {
        self.check_received();
        // Everything there is goes out.
        while self.conn.sender_mut().outgoing().has_remaining() {
            self.write(usize::MAX); // 64 slices at once
        }
        self.check_always();
        self.check_written();
        self.check_counts();
    }

    fn check_received(&mut self) {
        let inflate = self.takeover.map(|_| inflate as reference::Inflate);
        let receive =
            |limits| reference::receive_compressed(&self.received, !self.client, limits, inflate);
        let want = receive(Limits::NONE);
        if !self.chunked {
            assert!(want.events.starts_with(&self.events), "other events than the reference");
            let strict = receive(self.limits);
            // What is wrong with a compressed message shows before it is complete.
            let early = inflate.is_some()
                && self.end.is_some_and(|end| match end {
                    Err(RecvError::Protocol(error)) => {
                        matches!(error, ProtocolError::BadDeflate | ProtocolError::BadUtf8)
                    }
                    Err(error) => matches!(error, RecvError::MessageTooBig { .. }),
                    Ok(_) => false,
                });
            if let Some(Err(error)) = self.end
                && error.close_code().is_some()
                && error != RecvError::DataTimeout
                && !early
            {
                let End::Failed(reasons) = strict.end else { panic!("{error:?} out of nothing") };
                assert!(reasons.contains(&error));
                assert_eq!(self.events, strict.events);
            }
            return;
        }
        // With chunks, limits do not apply, and messages may have been skipped.
        let mut left = want.events.iter();
        for event in &self.events {
            let found = left.find(|want| {
                let skippable = matches!(want, reference::Event::Message { .. }) && self.skipped;
                assert!(*want == event || skippable, "an event was lost");
                *want == event
            });
            assert!(found.is_some(), "an event out of nothing");
        }
    }

    fn check_written(&mut self) {
        // What is inside of what is compressed is looked at below.
        let inside = self.takeover.map(|_| (|_: &[u8]| Some(vec![])) as reference::Inflate);
        let got = reference::receive_compressed(&self.written, self.client, Limits::NONE, inside);
        assert!(!matches!(got.end, End::Failed(_)), "illegal output: {:?}", got.end);
        let closed = got.end == End::Closed;
        if let (Some(reference::Event::Close(body)), true) = (got.events.last(), closed) {
            assert_eq!(Some(body), self.close.as_ref());
        }
        assert!(closed || self.broken || self.close.is_none(), "no Close came out");

        // Frame by frame.
        let (mut ordered, mut first, mut at) = (self.ordered.iter(), self.first.iter(), 0);
        let (mut in_order, mut overtook, mut closing) = (0, 0, false);
        let mut unpack = Unpack::new(self.takeover);
        while self.written.len() - at >= 2 {
            let rest = &self.written[at..];
            let head = Head::read(rest);
            let (Some(len), Some(start)) = (head.len, head.end) else { break };
            let end = start + len as usize;
            if end > rest.len() {
                break;
            }
            assert_eq!(head.masked, self.client);
            assert!(!closing || matches!(head.opcode, 9 | 10), "data after a Close");
            let mut payload = rest[start..end].to_vec();
            if head.masked {
                payload.iter_mut().enumerate().for_each(|(i, b)| *b ^= rest[start - 4 + i % 4]);
            }
            at += end;
            match head.opcode {
                8 => closing = true,
                9 => loop {
                    let ping = self.pings.pop_front().expect("a Ping out of nothing");
                    if ping == payload || (ping == HEARTBEAT && payload.len() == 4) {
                        break;
                    }
                },
                10 => while self.pongs.pop_front().expect("a Pong out of nothing") != payload {},
                opcode => {
                    let plain = head.reserved == 0;
                    let overtakes = opcode != 0 && plain && payload.first() == Some(&OVERTAKES);
                    let fed = if overtakes { first.next() } else { ordered.next() };
                    let fed = fed.expect("a message out of nothing");
                    assert_eq!(rest[0] & 0x8f, fed.first);
                    if overtakes {
                        assert!(payload == fed.payload, "another payload than was fed");
                    } else {
                        unpack.frame(&head, payload, &fed.payload);
                    }
                    assert_eq!(end, fed.len);
                    if overtakes {
                        overtook += 1;
                    } else if opcode != 0 {
                        // Those fed before this one began to be written went before it.
                        let late = self.first[overtook..].iter().find(|f| f.begun <= in_order);
                        assert!(late.is_none(), "a message that overtakes came too late");
                    }
                    in_order += usize::from(!overtakes);
                }
            }
        }
        if self.close.is_none() && !self.broken {
            assert!(ordered.next().is_none(), "fed, not written");
            let waits = self.chunks.is_some();
            assert!(waits || first.next().is_none(), "fed to overtake, not written");
        }
    }

    fn check_counts(&mut self) {
        let tx = self.conn.sender_mut();
        let (buffered, unsent) = (tx.buffered_amount(), tx.dropped() as usize);
        assert!(self.chunks.is_some() || buffered == 0, "{buffered} buffered, all written");
        assert!(self.fed_bytes <= self.written.len() + unsent + buffered, "bytes unaccounted for");
        if self.close.is_none() && !self.broken {
            assert_eq!(unsent, 0, "dropped, though nothing ended it");
        }
        if self.controls == 0 && self.close.is_none() && !self.broken {
            assert_eq!(self.fed_bytes, self.written.len() + buffered);
        }
        assert!(self.aborted || self.broken || unsent == 0 || !self.first.is_empty());
    }
}

/// Looks into the frames of messages in order, one after the other.
struct Unpack {
    /// Where each message may refer to those before.
    history: Option<Stream>,
    compressed: bool,
    packed: Vec<u8>,
    fed: Vec<u8>,
}

impl Unpack {
    fn new(takeover: Option<bool>) -> Self {
        let history = takeover.filter(|yes| *yes).map(|_| Stream::default());
        Self { history, compressed: false, packed: vec![], fed: vec![] }
    }

    fn frame(&mut self, head: &Head, payload: Vec<u8>, fed: &[u8]) {
        self.compressed |= head.reserved == 4;
        if !self.compressed {
            return assert!(payload == fed, "another payload than was fed");
        }
        self.packed.extend(payload);
        self.fed.extend_from_slice(fed);
        if head.fin {
            let message = match &mut self.history {
                None => inflate(&self.packed),
                Some(history) => history.message(&self.packed),
            };
            assert!(message.as_ref() == Some(&self.fed), "another payload inside");
            self.compressed = false;
            self.packed.clear();
            self.fed.clear();
        }
    }
}

/// As a peer sends it.
fn compress(payload: &[u8]) -> Vec<u8> {
    use miniz_oxide::deflate::core::{
        CompressorOxide, TDEFLFlush, compress, create_comp_flags_from_zip_params,
    };
    let mut state = CompressorOxide::new(create_comp_flags_from_zip_params(1, 0, 0));
    let mut out = vec![0; payload.len() * 2 + 100];
    let (_, _, made) = compress(&mut state, payload, &mut out, TDEFLFlush::Sync);
    out.truncate(made - 4); // without the tail, RFC 7692 §7.2.1
    out
}

fn body(frame: &CloseFrame<'_>) -> Vec<u8> {
    [&frame.code.get().to_be_bytes()[..], frame.reason.as_bytes()].concat()
}
