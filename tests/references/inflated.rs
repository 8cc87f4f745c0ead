//! What compressed messages become, beside a plain reading of the RFCs (`inflating.rs`): every
//! short payload, every way to end one, and those that once became something else.
//!
//! `TESTS=all` tries all payloads of up to 3 bytes, in a release build; else a part of those of 2
//! and 3.

use crate::{inflating::Stream, support::wire::*};
use tickwire::{
    Config, Connection, ProtocolError, Role, Step,
    deflate::{Deflate, DeflateParams, Direction},
};

const RSV1: u8 = 0x40;
const HELLO: &[u8] = b"\xf2\x48\xcd\xc9\xc9\x07\x00";
/// A character that only a message before it has.
const AGAIN: &[u8] = b"\xf2\x00\x11\x00\x00";

/// How a message comes.
#[derive(Clone, Copy, Debug)]
struct How {
    takeover: bool,
    chunks: bool,
    /// One frame of all of it, or one for each byte.
    frames: bool,
    /// Read byte by byte, as far as [`bytewise`] does.
    cut: bool,
}

fn ways() -> impl Iterator<Item = How> {
    (0..16).map(|i| How {
        takeover: i & 1 != 0,
        chunks: i & 2 != 0,
        frames: i & 4 != 0,
        cut: i & 8 != 0,
    })
}

fn open(takeover: bool) -> Connection {
    let server = Direction { takeover, ..Direction::default() };
    let agreed = DeflateParams { server, ..DeflateParams::default() };
    agreeing(agreed, || {
        connection(Role::Client, &Config { deflate: Some(Deflate::default()), ..Config::default() })
    })
}

fn wire(payload: &[u8], frames: bool) -> Vec<u8> {
    if !frames || payload.is_empty() {
        return unmasked(RSV1 | BINARY, payload);
    }
    let last = payload.len() - 1;
    let frame = |(i, byte): (usize, &u8)| {
        let b0 = if i == 0 { RSV1 | 2 } else { 0 } | if i == last { 0x80 } else { 0 };
        unmasked(b0, [*byte])
    };
    payload.iter().enumerate().flat_map(frame).collect()
}

/// The messages that came, and how it ended if it did.
fn play(conn: &mut Connection, mut wire: &[u8], how: How) -> (Vec<Vec<u8>>, bool) {
    let (mut messages, mut partial) = (vec![], vec![]);
    let len = wire.len();
    loop {
        match if how.chunks { conn.step_chunk() } else { conn.step() } {
            Ok(Step::NeedInput) if wire.is_empty() => return (messages, false),
            Ok(Step::NeedInput) => {
                let n = if how.cut { bytewise(len - wire.len(), wire.len()) } else { wire.len() };
                wire = &wire[read_once(conn, &wire[..n])..];
            }
            Ok(Step::Message) if how.chunks => {
                let chunk = conn.receiver().chunk().unwrap();
                partial.extend_from_slice(chunk.data);
                if chunk.last {
                    messages.push(std::mem::take(&mut partial));
                }
            }
            Ok(Step::Message) => {
                messages.push(conn.receiver().message().unwrap().as_bytes().to_vec())
            }
            Err(error) => {
                assert_eq!(error, ProtocolError::BadDeflate.into());
                return (messages, true);
            }
            other => panic!("{other:?}"),
        }
    }
}

/// A first message, as the reference has it.
struct Reference {
    stream: Stream,
    message: Option<Vec<u8>>,
}

impl Reference {
    fn of(payload: &[u8]) -> Self {
        let mut stream = Stream::default();
        let message = stream.message(payload);
        Self { stream, message }
    }
}

/// A message is delivered as the reference has it, or fails; what follows it is delivered too.
/// Whether it was whole.
#[track_caller]
fn compare(payload: &[u8], how: How, conn: &mut Connection) -> bool {
    compare_with(&Reference::of(payload), payload, how, conn)
}

#[track_caller]
fn compare_with(read: &Reference, payload: &[u8], how: How, conn: &mut Connection) -> bool {
    let mut want = vec![];
    let bad = read.message.is_none();
    let mut bytes = wire(payload, how.frames);
    if let Some(first) = &read.message {
        want.push(first.clone());
        bytes.extend(unmasked(RSV1 | BINARY, HELLO));
        want.push(b"Hello".to_vec());
        if how.takeover {
            bytes.extend(unmasked(RSV1 | BINARY, AGAIN));
            let mut stream = read.stream.clone();
            stream.message(HELLO).unwrap();
            want.push(stream.message(AGAIN).unwrap());
        }
    }
    assert_eq!(play(conn, &bytes, how), (want, bad), "{payload:02x?} {how:?}");
    if bad {
        *conn = open(how.takeover);
    } else if how.takeover {
        // Without history again, as the reference is.
        play(conn, &unmasked(RSV1 | BINARY, b"\x03\x00"), how);
    }
    !bad
}

#[test]
fn short_payloads_become_what_the_rfcs_say() {
    for how in ways() {
        let conn = &mut open(how.takeover);
        let (mut tried, mut whole) = (0, 0);
        let mut one = |payload: &[u8]| {
            tried += 1;
            whole += usize::from(compare(payload, how, conn));
        };
        let brief = !how.cut && !how.frames;
        let (two, three) =
            (sampled(if brief { 1 } else { 7 }, 31), sampled(if brief { 1 } else { 31 }, 8009));
        one(b"");
        (0..=0xff_u8).for_each(|n| one(&[n]));
        (0..=0xffff_u16).step_by(two).for_each(|n| one(&n.to_le_bytes()));
        (0..1 << 24).step_by(three).for_each(|n: u32| one(&n.to_le_bytes()[..3]));
        println!("{how:?}: {tried} tried, {whole} whole");
        assert!(whole > 30, "{whole}");
    }
}

/// Bits, the first the lowest of a byte.
#[derive(Default)]
struct Bits(Vec<bool>);

impl Bits {
    fn push(&mut self, value: usize, n: usize) {
        self.0.extend((0..n).map(|i| value >> i & 1 == 1));
    }

    fn bytes(&self) -> Vec<u8> {
        let byte = |bits: &[bool]| {
            bits.iter().enumerate().fold(0, |all, (i, bit)| all | u8::from(*bit) << i)
        };
        self.0.chunks(8).map(byte).collect()
    }
}

/// That what a message's last block began with is what `finish` says: of what begins in the last 16
/// bits, at each bit of a byte, everything.
#[test]
fn whatever_begins_in_the_last_two_bytes_ends_as_the_rfcs_say() {
    for takeover in [false, true] {
        let how = How { takeover, chunks: false, frames: false, cut: false };
        let conn = &mut open(takeover);
        for at in 0..8 {
            // Fixed blocks, empty (10 bits), or of the byte ff, which takes 9 bits (19).
            let mut before = Bits::default();
            if at % 2 == 1 {
                before.fixed();
            }
            while before.0.len() % 8 != at {
                before.push(0b010, 10);
            }
            let n = 16 - at;
            for n in [n, n - 8].into_iter().filter(|n| *n > 0) {
                let step = if n > 8 { sampled(1, 13) } else { 1 };
                for value in (0..1 << n).step_by(step) {
                    let mut bits = Bits(before.0.clone());
                    bits.push(value, n);
                    compare(&bits.bytes(), how, conn);
                }
            }
        }
    }
}

impl Bits {
    /// A fixed block of the byte ff: 19 bits.
    fn fixed(&mut self) {
        self.push(0b010, 3);
        self.push(0x1ff, 9);
        self.push(0, 7);
    }

    /// A dynamic block of 257 literals and lengths, up to the description of its codes, which uses
    /// these lengths, described by codes of so many bits.
    fn dynamic(&mut self, distances: usize, used: &[(usize, usize)]) {
        self.push(0b100, 3);
        self.push(0, 5);
        self.push(distances - 1, 5);
        self.push(14, 4); // 18 of them: to 1
        for symbol in [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1] {
            self.push(used.iter().find(|(used, _)| *used == symbol).map_or(0, |used| used.1), 3);
        }
    }

    fn whole(&self) -> Vec<u8> {
        assert_eq!(self.0.len() % 8, 0);
        self.bytes()
    }
}

/// A block cut in the description of its codes: 00 00 ff ff is the rest of it, and the code that
/// ends the block. All that follows would be read as it was meant.
fn completed_by_the_tail() -> Vec<u8> {
    let mut bits = Bits::default();
    bits.dynamic(24, &[(0, 1), (2, 2), (3, 2)]);
    for literal in 0..257 {
        match literal {
            0..3 | 256 => bits.push(0b01, 2), // 10: a code of 2 bits
            _ => bits.push(0, 1),
        }
    }
    bits.push(0b11, 2); // a distance of 3 bits; then 16 of none, 7 more, and 11: the end
    while bits.0.len() % 8 != 0 {
        bits.0.splice(0..0, [false, true, false].into_iter().chain([false; 7]));
    }
    bits.whole()
}

/// The same of 00 00 00 ff ff, which is put behind a message whose last byte is ff.
fn completed_by_an_empty_block() -> Vec<u8> {
    let mut bits = Bits::default();
    bits.fixed();
    bits.push(0b010, 10);
    bits.dynamic(28, &[(0, 2), (1, 2), (2, 2), (4, 2)]);
    for literal in 0..257 {
        bits.push(if matches!(literal, 0..3 | 256) { 0b01 } else { 0 }, 2);
    }
    bits.push(0x3ffff, 18); // 9 distances of 4 bits; then 12 of none, 7 more, and 11: the end
    bits.whole()
}

/// A block whose end, 7 bits set, leaves one bit: that of a last block.
fn begins_a_last_block() -> Vec<u8> {
    let mut bits = Bits::default();
    bits.fixed();
    bits.dynamic(1, &[0, 1, 2, 3, 4, 5, 6, 7].map(|length| (length, 3)));
    // Lengths as they are, their bits in reverse.
    let mut length = |n: usize| (0..3).for_each(|i| bits.push(n >> (2 - i) & 1, 1));
    for literal in 0..257 {
        length(match literal {
            0..7 => literal + 1,
            256 => 7,
            _ => 0,
        });
    }
    length(0);
    bits.push(0xff, 8);
    bits.whole()
}

#[test]
fn what_the_tail_completes_is_not_whole() {
    let cut = completed_by_the_tail();
    let whole = [&cut[..], b"\x00\x00\xff\xff\x00"].concat();
    assert_eq!(Stream::default().message(&whole), Some(vec![]), "the block is one");
    for how in ways() {
        for before in [&b""[..], b"\x00\x01\x00\xfe\xffa", b"\x4a\x04\x00\x00\x00\xff\xff"] {
            for (payload, complete) in [(&cut, false), (&whole, true)] {
                let payload = [before, payload].concat();
                assert_eq!(Stream::default().message(&payload).is_some(), complete);
                compare(&payload, how, &mut open(how.takeover));
            }
        }
    }
}

#[test]
fn what_an_empty_block_would_complete_is_not_whole() {
    for payload in [completed_by_an_empty_block(), begins_a_last_block()] {
        assert_eq!(payload.last(), Some(&0xff));
        let whole = [&payload[..], b"\x00\x00\x00\xff\xff"].concat();
        let mut stream = Stream::default();
        assert_eq!(stream.message(&whole), Some(vec![0xff]), "the blocks are some");
        assert_eq!(Stream::default().message(&payload), None);
        for how in ways() {
            compare(&payload, how, &mut open(how.takeover));
        }
    }
}

#[test]
fn no_chunk_has_a_byte_that_was_not_sent() {
    // The tail would make more than there is room for.
    let n = (16 << 10) - 50;
    let len = n as u16;
    let head = [&[0], &len.to_le_bytes()[..], &(!len).to_le_bytes()].concat();
    let payload = [&head[..], &vec![b'x'; n], b"\x5b\x30\x77"].concat();
    for takeover in [false, true] {
        let mut conn = open(takeover);
        let mut wire = &unmasked(RSV1 | BINARY, payload.clone())[..];
        let mut got = 0;
        let error = loop {
            match conn.step_chunk() {
                Ok(Step::NeedInput) => wire = &wire[read_once(&mut conn, wire)..],
                Ok(Step::Message) => got += conn.receiver().chunk().unwrap().data.len(),
                Err(error) => break error,
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(error, ProtocolError::BadDeflate.into());
        assert!(got <= n + 2, "{got}");
    }
}

/// Found by others: of the first 118 bytes came of the tail; of the second, 1034 bytes came before
/// it was cut.
#[test]
fn messages_that_were_delivered_though_they_were_cut() {
    for how in ways() {
        for payload in
            [&b"\x5b\x30\x77"[..], b"\x9a\x37\x0a\x46\xc1\x28\x18\x05\xa2\x80\x3e\x00\x00"]
        {
            assert_eq!(Stream::default().message(payload), None);
            compare(payload, how, &mut open(how.takeover));
        }
    }
}

/// Whole blocks, and what the sender should have left out or added.
#[test]
fn messages_that_end_with_a_flush_or_without_a_byte_are_whole() {
    let flushed = b"\xf2\x48\xcd\xc9\xc9\x07\x00\x00\x00\xff\xff";
    let stored = b"\x00\x02\x00\xfd\xff\xff\xff";
    for how in ways() {
        for (payload, want) in [(&b""[..], &b""[..]), (flushed, b"Hello"), (stored, b"\xff\xff")] {
            assert_eq!(Stream::default().message(payload).as_deref(), Some(want));
            compare(payload, how, &mut open(how.takeover));
        }
        let fragments = [unmasked(RSV1 | BINARY_OPEN, flushed), unmasked(CONT, "")].concat();
        let wire = [fragments, unmasked(RSV1 | BINARY_OPEN, ""), unmasked(CONT, "")].concat();
        let mut conn = open(how.takeover);
        assert_eq!(play(&mut conn, &wire, how), (vec![b"Hello".to_vec(), vec![]], false));
        // But not a stored block that ends with another byte: see `finish`.
        compare(b"\x00\x01\x00\xfe\xffa", how, &mut open(how.takeover));
        compare(b"\x00\x01\x00\xfe\xff\x00", how, &mut open(how.takeover));
    }
}

/// Where the room for a chunk ends, in all places, a block may end too.
#[test]
fn a_block_may_end_where_the_room_for_a_chunk_does() {
    const CHUNK: usize = 16 << 10;
    let every = sampled(1, 3);
    for (i, n) in (CHUNK - 3..CHUNK + 3).chain(2 * CHUNK - 2..2 * CHUNK + 2).enumerate() {
        // Stored, since that takes no bit of the next byte; then, and alone, fixed.
        let fixed = |n: usize| {
            let mut bits = Bits::default();
            bits.push(0b010, 3);
            (0..n).for_each(|_| bits.push(0x1ff, 9));
            bits.push(0, 7);
            bits.push(0, 3);
            bits.bytes()
        };
        let len = n as u16;
        let stored = |end: &[u8]| {
            let head = [&[0], &len.to_le_bytes()[..], &(!len).to_le_bytes()].concat();
            [&head, &vec![0xff; n][..], end].concat()
        };
        for payload in [fixed(n), stored(b""), stored(b"\x00"), stored(b"\x4a\x04\x00")] {
            let cut = &payload[..payload.len() - 1];
            let whole = Reference::of(&payload);
            let broken = Reference::of(cut);
            assert!(whole.message.is_some());
            // Every third: all ends, and all ways.
            for how in ways().filter(|how| !how.frames).skip(i % every).step_by(every) {
                compare_with(&whole, &payload, how, &mut open(how.takeover));
                compare_with(&broken, cut, how, &mut open(how.takeover));
            }
        }
    }
}
