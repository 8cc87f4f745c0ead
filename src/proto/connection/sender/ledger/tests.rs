//! Compares the ledger with a naive list of the frames fed and of their bytes on the wire.
use super::Position;
use crate::proto::{
    close::CloseCode,
    config::{Config, Negotiated},
    connection::Connection,
    frame::Header,
    message::{Chunk, DataKind},
};
use alloc::{collections::BTreeMap, vec::Vec};
use bytes::{Buf, Bytes};
use proptest::{collection::vec, prelude::*};

#[derive(Clone, Debug)]
enum Call {
    Feed(usize),
    First(usize),
    /// A chunk of a message: its length, and whether it is the last chunk.
    Piece(usize, bool),
    Pong,
    /// The stream accepts this number of bytes, and refuses more.
    Write(usize),
    Close,
    Abort,
    /// The peer breaks the protocol.
    Fail,
    /// The peer's Close comes.
    End,
    /// The stream fails.
    Break,
}

fn call() -> impl Strategy<Value = Call> {
    use Call::*;
    prop_oneof![
        6 => (0..300_usize).prop_map(Feed),
        3 => (0..40_usize).prop_map(First),
        3 => (0..40_usize, any::<bool>()).prop_map(|(len, last)| Piece(len, last)),
        2 => Just(Pong),
        8 => prop_oneof![0..20_usize, 0..600_usize].prop_map(Write),
        1 => prop_oneof![Just(Close), Just(Abort), Just(Fail), Just(End), Just(Break)],
    ]
}

/// A data frame that was fed. Its payload begins with the frame's number, which is the frame's
/// index in `frames`.
struct Frame {
    at: Position,
    first: bool,
    len: usize,
}

struct Pair {
    conn: Connection,
    frames: Vec<Frame>,
    /// The number of bytes of control frames queued.
    controls: usize,
    pongs: usize,
    /// Whether frames in the buffer may have been dropped.
    lossy: bool,
    wire: Vec<u8>,
}

/// Finds the data frames on the wire. Returns the length of each whole frame by its number, and the
/// number of bytes of all data frames, a cut frame included. The last result is whether the last
/// frame of any kind is cut.
fn on_wire(wire: &[u8]) -> (BTreeMap<usize, usize>, usize, bool) {
    let mut data = BTreeMap::new();
    let mut sum = 0;
    let mut cut = false;
    let mut rest = wire;
    while let Some(&b0) = rest.first() {
        let whole = Header::parse(rest)
            .ok()
            .flatten()
            .map(|(header, n)| (n, n + header.payload_len as usize));
        let there = whole.map_or(rest.len(), |(_, len)| len.min(rest.len()));
        cut = whole.is_none_or(|(_, len)| len > rest.len());
        if b0 & 8 == 0 {
            sum += there;
            if let Some((header, len)) = whole.filter(|(_, len)| *len <= rest.len()) {
                let number =
                    rest[header..].first_chunk().map_or(u32::MAX, |n| u32::from_be_bytes(*n));
                assert_eq!(data.insert(number as usize, len), None, "sent once");
            }
        }
        rest = &rest[there..];
    }
    (data, sum, cut)
}

impl Pair {
    fn new() -> Self {
        let config = Config { high_water: 2000, min_vectored: 100, ..Config::default() };
        let conn = Connection::server(&config, Negotiated::default());
        Self { conn, frames: Vec::new(), controls: 0, pongs: 0, lossy: false, wire: Vec::new() }
    }

    fn payload(&self, len: usize) -> Vec<u8> {
        let mut payload = (self.frames.len() as u32).to_be_bytes().to_vec();
        payload.resize(4 + len, b'x');
        payload
    }

    fn fed(&mut self, len: usize, first: bool, at: Position) {
        let header = if len + 4 < 126 { 2 } else { 4 };
        self.frames.push(Frame { at, first, len: header + 4 + len });
    }

    fn call(&mut self, call: &Call) {
        let tx = &mut self.conn.tx;
        match *call {
            Call::Feed(len) => {
                let payload = Bytes::from(self.payload(len));
                if let Ok(at) = self.conn.tx.feed(payload) {
                    self.fed(len, false, at);
                }
            }
            Call::First(len) => {
                let payload = self.payload(len);
                if let Ok(at) = self.conn.tx.feed_first(&payload) {
                    self.fed(len, true, at);
                }
            }
            Call::Piece(len, last) => {
                let first = tx.message_in_progress().is_none();
                let data = &self.payload(len)[..];
                let piece = Chunk { kind: DataKind::Binary, first, data, last };
                if let Ok(at) = self.conn.tx.feed_chunk(piece) {
                    self.fed(len, false, at);
                }
            }
            // At most 16 Pongs are queued, because if more wait, some are dropped.
            Call::Pong if self.pongs < 16 => {
                if tx.pong(b"").is_ok() {
                    self.pongs += 1;
                    self.controls += 2;
                }
            }
            Call::Pong => {}
            Call::Write(n) => self.write(n),
            Call::Close => self.controls += if tx.close(None).is_ok() { 2 } else { 0 },
            Call::Abort => {
                self.lossy |= tx.abort(None).is_ok();
            }
            Call::Fail => {
                self.lossy = true;
                assert!(tx.fail(CloseCode::POLICY_VIOLATION.into()).is_ok());
            }
            Call::End => {
                self.lossy = true;
                tx.end_controls();
            }
            Call::Break => {
                self.lossy = true;
                let dropped = tx.dropped();
                tx.write_failed();
                assert!(tx.dropped() >= dropped);
            }
        }
    }

    fn write(&mut self, most: usize) {
        let tx = &mut self.conn.tx;
        let wire = &mut self.wire;
        take(&mut tx.outgoing(), most, wire);
        tx.write_blocked();
    }

    /// Writes everything. Then checks that each byte of every data frame is on the wire, was
    /// dropped, or still waits. Only a message of `feed_first` can still wait, and only if a
    /// message in chunks never ended.
    fn finish(&mut self) {
        while self.conn.tx.has_outgoing() {
            self.write(1000);
            self.check();
        }
        let all: usize = self.frames.iter().map(|frame| frame.len).sum();
        let (_, sent, cut) = on_wire(&self.wire);
        let tx = &self.conn.tx;
        assert_eq!(all as u64, sent as u64 + tx.dropped() + tx.buffered_amount() as u64);
        assert!(!cut || tx.is_broken(), "a frame is cut: {:02x?}", self.wire);
    }

    fn check(&self) {
        let tx = &self.conn.tx;
        let (there, sent, _) = on_wire(&self.wire);
        for (number, frame) in self.frames.iter().enumerate() {
            let whole = there.get(&number);
            assert!(whole.is_none_or(|len| *len == frame.len));
            assert_eq!(tx.is_written(frame.at), whole.is_some(), "frame {number}");
        }
        let last = self.frames.iter().rev().find(|frame| !frame.first);
        let start = Position::in_order(0);
        assert_eq!(tx.fed(), last.map_or(start, |frame| frame.at));
        let all: usize = self.frames.iter().map(|frame| frame.len).sum();
        if !self.lossy {
            let gone = self.wire.len() + tx.dropped() as usize;
            assert_eq!(tx.buffered_amount(), all + self.controls - gone);
        }
        if tx.is_broken() {
            assert_eq!(tx.buffered_amount(), 0);
            assert_eq!(tx.dropped(), (all - sent) as u64, "all that is not on the wire");
        }
    }
}

/// Plays the stream: accepts at most `most` bytes, and appends them to `wire`.
fn take(out: &mut impl Buf, most: usize, wire: &mut Vec<u8>) {
    let mut n = most.min(out.remaining());
    while n > 0 {
        let piece = out.chunk().len().min(n);
        assert!(piece > 0, "an empty chunk with bytes remaining");
        wire.extend(&out.chunk()[..piece]);
        out.advance(piece);
        n -= piece;
    }
}

const CALLS: usize = if cfg!(miri) { 15 } else { 60 };

proptest! {
    #[test]
    fn the_ledger_is_a_list_of_frames(calls in vec(call(), 0..CALLS)) {
        let mut pair = Pair::new();
        for call in &calls {
            pair.call(call);
            pair.check();
        }
        pair.finish();
    }
}

#[test]
fn a_pong_that_is_dropped_behind_our_close_is_no_data() {
    checked([Call::Feed(9), Call::Close, Call::Write(17), Call::Pong, Call::Write(0), Call::Fail]);
}

#[test]
fn control_frames_around_data_that_is_dropped_are_not_counted_with_it() {
    checked([Call::Pong, Call::Write(0), Call::Feed(9), Call::Break]);
    checked([Call::Feed(9), Call::Close, Call::Write(0), Call::Break]);
    // The Pong overtakes nothing, but is in a splice. One of its two bytes is written.
    checked([Call::Feed(9), Call::Write(1), Call::Pong, Call::Write(15), Call::Break]);
}

#[test]
fn a_frame_behind_our_close_is_written_whole_or_not_at_all() {
    for end in [Call::End, Call::Fail] {
        for at in 0..=6 {
            let pong = Call::Pong;
            let write = Call::Write(at);
            checked([Call::Close, Call::Write(2), pong.clone(), pong, write, end.clone()]);
            let calls = [Call::Close, Call::Pong, Call::Pong, Call::Write(at), end.clone()];
            checked(calls);
        }
    }
}

fn checked<const N: usize>(calls: [Call; N]) {
    let mut pair = Pair::new();
    for call in &calls {
        pair.call(call);
        pair.check();
    }
    pair.finish();
}
