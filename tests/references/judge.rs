//! The judge of the conformance suite beside the reference of the fuzz targets: two readers of
//! RFC 6455 and RFC 7692, each written by somebody who had not seen the other. Of any wire both
//! make the same messages, and the same end.
//!
//! Wires are random: good frames, bad ones, compressed ones, and all that with bytes changed. With
//! `TESTS=all` 10 million, in a release build.

#[allow(dead_code, unreachable_pub)]
#[path = "../../fuzz/src/reference.rs"]
mod reference;

use crate::{inflating as inflated, support::wire::sampled};
use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};
use reference::{End, Event, Limits};
use std::cell::Cell;
use testkit::Rng;
use wsconform_cases::{
    Role,
    judge::{
        self, Kind, Reader, Violation,
        deflate::{Blocks, Token},
        frame::Frame,
        inflate::Inflater,
    },
};

/// Above what the few KiB of a wire inflate to, even if bytes are changed: of half a message the
/// judge says that it is above a limit, and the reference does not. Far below what some announce.
const LIMIT: usize = 1 << 24;

/// What a reader made of a wire.
#[derive(Debug, PartialEq)]
struct Read<E> {
    events: Vec<Event>,
    end: E,
}

std::thread_local! {
    /// The wire that was read last has a message that [`is_open`].
    static OPEN: Cell<bool> = const { Cell::new(false) };
}

/// Whether RFC 7692 leaves it open what this payload is, since no sender may send it (§7.2.1):
///
/// - It says what follows a final block (§7.2.3.4), and neither what a message is in which nothing
///   follows, nor whether references reach over that block.
/// - A payload without a byte has no block at all.
/// - A sender may forget to remove the end of its last block: then 00 00 ff ff is the start of one
///   that is not there.
/// - The last block may lack four bytes: then 00 00 ff ff is data, if that is read as it stands
///   (§7.2.2), as the judge does.
fn is_open(payload: &[u8]) -> bool {
    let mut out = Vec::with_capacity(1 << 16);
    let status = Decompress::new(false).decompress_vec(payload, &mut out, FlushDecompress::None);
    let is_final = matches!(status, Ok(Status::StreamEnd));
    let message = Inflater::new(15, false).message(payload, LIMIT);
    let lacks_four = message.is_ok_and(|message| message.ends_with(&[0, 0, 0xff, 0xff]));
    is_final || lacks_four || payload.last().is_none_or(|last| *last == 0xff)
}

/// What the judge made of it.
#[derive(Debug, PartialEq)]
enum Judged {
    More,
    Closed,
    Failed(Violation),
}

fn by_reference(wire: &[u8], sender: Role, deflate: bool) -> Read<End> {
    let limits = Limits { message: LIMIT, frame: LIMIT, fragments: u32::MAX };
    OPEN.set(false);
    let inflate: reference::Inflate = |payload| {
        OPEN.set(OPEN.get() | is_open(payload));
        inflated::Stream::default().message(payload)
    };
    let inflate = deflate.then_some(inflate);
    let read = reference::receive_compressed(wire, sender == Role::Client, limits, inflate);
    Read { events: read.events, end: read.end }
}

fn by_judge(wire: &[u8], sender: Role, deflate: bool, piece: usize) -> Read<Judged> {
    let mut reader = Reader::new(sender).with_limit(LIMIT);
    if deflate {
        reader = reader.with_deflate(Inflater::new(15, false));
    }
    let mut read = Read { events: Vec::new(), end: Judged::More };
    for event in wire.chunks(piece).flat_map(|piece| reader.read(piece)) {
        read.events.push(match event {
            judge::Event::Message(kind, payload) => {
                Event::Message { text: kind == Kind::Text, payload }
            }
            judge::Event::Ping(payload) => Event::Ping(payload),
            judge::Event::Pong(payload) => Event::Pong(payload),
            judge::Event::Close(code, reason) => {
                read.end = Judged::Closed;
                let code = code.map(u16::to_be_bytes);
                Event::Close(code.iter().flatten().copied().chain(reason.into_bytes()).collect())
            }
            judge::Event::Violation(violation) => {
                read.end = Judged::Failed(violation);
                continue;
            }
        });
    }
    read
}

/// Both come to the same: for one of the reasons of the reference, if they fail.
fn agree(want: &Read<End>, got: &Read<Judged>) -> bool {
    let end = match (&want.end, &got.end) {
        (End::More, Judged::More) | (End::Closed, Judged::Closed) => true,
        (End::Failed(reasons), Judged::Failed(violation)) => {
            let codes = reasons.iter().filter_map(|reason| reason.close_code());
            codes.into_iter().any(|code| code.get() == violation.code)
        }
        _ => false,
    };
    end && want.events == got.events
}

fn compare(wire: &[u8], sender: Role, deflate: bool, piece: usize) -> Result<End, String> {
    let mut want = by_reference(wire, sender, deflate);
    let mut got = by_judge(wire, sender, deflate, piece);
    // One may see in half a header what the other sees in all of it.
    let longer = [wire, &[0; 16]].concat();
    match (&want.end, &got.end) {
        (End::Failed(_), Judged::More) => got = by_judge(&longer, sender, deflate, piece),
        (End::More, Judged::Failed(_)) => want = by_reference(&longer, sender, deflate),
        _ => {}
    }
    if agree(&want, &got) || OPEN.get() {
        return Ok(want.end);
    }
    let hex: String = wire.iter().map(|byte| format!("{byte:02x}")).collect();
    let same = want.events.iter().zip(&got.events).take_while(|(want, got)| want == got).count();
    Err(format!(
        "from a {sender}, deflate {deflate}, {piece} at once: {hex}\n\
         behind {same} events: {:?}, {:?}\n\
         {:?}\n{:?}",
        want.end,
        got.end,
        want.events.get(same),
        got.events.get(same)
    ))
}

/// Compressed messages: of a library, of the RFC's own blocks, and some with a final block.
fn compressed(rng: &mut Rng) -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    for n in 0..400 {
        let data = match n % 3 {
            0 => text(rng, 60).into_bytes(),
            1 => text(rng, 6).repeat(1 + rng.below(40)).into_bytes(),
            _ => {
                let len = rng.below(200);
                rng.bytes(len)
            }
        };
        let level = Compression::new(rng.below(10) as u32);
        let mut deflate = Compress::new(level, false);
        let mut out = Vec::with_capacity(4096);
        let (first, rest) = data.split_at(rng.below(data.len() + 1));
        deflate.compress_vec(first, &mut out, FlushCompress::Sync).unwrap();
        let last = if n % 10 == 0 { FlushCompress::Finish } else { FlushCompress::Sync };
        deflate.compress_vec(rest, &mut out, last).unwrap();
        match n % 10 {
            0 => out.push(0),
            _ => out.truncate(out.len() - 4),
        }
        all.push(out);
    }
    for n in 0..100 {
        let tokens: Vec<Token> = (0..rng.below(20))
            .map(|at| match rng.once_in(3) {
                true => Token::Copy { length: 3 + rng.below(256), distance: 1 + rng.below(at + 2) },
                false => Token::Literal(rng.of(b"abc\xc3\xa9")),
            })
            .collect();
        let len = rng.below(9);
        let data = rng.bytes(len);
        let blocks = Blocks::new().stored(&data, n % 7 == 0).fixed(&tokens, n % 5 == 0);
        all.push(if n % 2 == 0 { blocks.message() } else { blocks.bytes() });
    }
    all
}

/// Of characters of one to four bytes.
fn text(rng: &mut Rng, most: usize) -> String {
    let len = rng.below(most);
    (0..len)
        .map(|_| rng.of(&['a', 'z', 'é', '\u{7ff}', '価', '\u{ffff}', '📈', '\u{10ffff}']))
        .collect()
}

fn add_frame(wire: &mut Vec<u8>, rng: &mut Rng, sender: Role, deflate: &[Vec<u8>]) {
    const USUAL: [u8; 12] =
        [0x81, 0x82, 0x81, 0x82, 0x01, 0x02, 0x00, 0x00, 0x80, 0x80, 0x89, 0x8a];
    let mut first = rng.of(&USUAL);
    let mut payload = match rng.below(4) {
        0 | 1 => text(rng, 20).into_bytes(),
        2 => {
            let len = rng.below(12);
            rng.bytes(len)
        }
        // Around the length forms.
        _ => vec![b'x'; rng.of(&[0, 1, 124, 125, 126, 127, 300])],
    };
    if rng.once_in(12) {
        first = 0x88;
        let code = if rng.once_in(4) { rng.next() as u16 } else { 995 + rng.below(25) as u16 };
        payload.truncate(123);
        payload.splice(0..0, code.to_be_bytes());
        if rng.once_in(5) {
            payload.truncate(rng.below(3));
        }
    } else if !deflate.is_empty() && rng.once_in(2) {
        first = rng.of(&[0xc1, 0xc2, 0x41, 0x42]);
        payload = deflate[rng.below(deflate.len())].clone();
        if rng.once_in(4) && !payload.is_empty() {
            let at = rng.below(payload.len());
            payload[at] = rng.next() as u8;
        }
        if first & 0x80 == 0 {
            // In two fragments, with a Ping between them at times.
            let rest = payload.split_off(rng.below(payload.len() + 1));
            push(wire, rng, sender, first, payload);
            if rng.once_in(3) {
                push(wire, rng, sender, 0x89, b"?".to_vec());
            }
            first = 0x80;
            payload = rest;
        }
    } else if rng.once_in(40) {
        first = rng.next() as u8;
    }
    push(wire, rng, sender, first, payload);
}

fn push(wire: &mut Vec<u8>, rng: &mut Rng, sender: Role, first: u8, payload: Vec<u8>) {
    let key = (rng.next() as u32).to_be_bytes();
    let mut frame = Frame::new(sender, first, payload, key);
    if rng.once_in(60) {
        frame.key = if frame.key.is_none() { Some(key) } else { None };
    }
    if rng.once_in(40) {
        frame.extended = Some(rng.of(&[2, 8]));
    }
    if rng.once_in(60) {
        frame.says = Some(rng.of(&[
            126,
            127,
            0xffff,
            0x1_0000,
            2 * LIMIT as u64,
            u64::from(u32::MAX),
            1 << 62,
            1 << 63,
            u64::MAX,
        ]));
    }
    wire.extend(frame.bytes());
}

#[test]
fn the_judge_and_the_reference_of_the_fuzz_targets_agree() {
    let runs: u64 = sampled(10_000_000, 20_000) as u64;
    let deflated = compressed(&mut Rng::new(0));
    let mut differ = Vec::new();
    let mut ends = [0_u64; 3];
    for run in 0..runs {
        let mut rng = Rng::new(run);
        let sender = rng.of(&[Role::Client, Role::Server]);
        let deflate: &[Vec<u8>] = if rng.once_in(3) { &deflated } else { &[] };
        let mut wire = Vec::new();
        for _ in 0..1 + rng.below(6) {
            add_frame(&mut wire, &mut rng, sender, deflate);
        }
        for _ in 0..rng.of(&[0, 0, 0, 1, 1, 2]) {
            let at = rng.below(wire.len());
            match rng.below(4) {
                0 => wire[at] ^= 1 << rng.below(8),
                1 => wire[at] = rng.next() as u8,
                2 => wire.truncate(at + 1),
                _ => wire.insert(at, rng.next() as u8),
            }
        }
        let piece = rng.of(&[1, 2, 3, 7, 50, usize::MAX]);
        match compare(&wire, sender, !deflate.is_empty(), piece) {
            Ok(End::More) => ends[0] += 1,
            Ok(End::Closed) => ends[1] += 1,
            Ok(End::Failed(_)) => ends[2] += 1,
            Err(_) if differ.len() == 20 => break,
            Err(difference) => differ.push(format!("run {run}, {difference}")),
        }
    }
    println!("of {runs} wires {} are good, {} close, {} fail", ends[0], ends[1], ends[2]);
    assert!(differ.is_empty(), "{}", differ.join("\n\n"));
    assert!(ends.iter().all(|end| *end > runs / 50), "{ends:?}");
}
