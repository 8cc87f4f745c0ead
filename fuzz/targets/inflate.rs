//! permessage-deflate. Any compressed bytes, in any fragments, Pings between them, cut anyhow,
//! whole or in chunks: the same messages and the same end, which are those of another decoder. Any
//! messages, sent in any of the ways there are: what arrives is what was sent, here and in that
//! other decoder; and what its encoder makes of them arrives too.
//!
//! The first byte chooses the connection and which of both, the second how the wire is cut. The
//! rest is a list of pieces, each behind a byte that says what it is.
#![no_main]
use libfuzzer_sys::fuzz_target;
use miniz_oxide::deflate::core::{
    CompressorOxide, TDEFLFlush, TDEFLStatus, compress, create_comp_flags_from_zip_params,
};
use testkit::frames;
use tickwire::{
    Chunk, Config, Connection, DataKind, Event, Negotiated, Outbound, Prepared, ProtocolError,
    RecvError, Step,
    deflate::{Deflate, DeflateParams, Direction},
};
use tickwire_fuzz::{
    Cuts,
    inflate::{LIMIT, Stream},
    negotiated, read,
    reference::Head,
    write,
};

/// Bits of the first byte.
const CLIENT: u8 = 1;
const TAKEOVER: u8 = 2;
const SMALL_LIMIT: u8 = 4;
const SMALL_WINDOW: u8 = 8;
const SEND: u8 = 16;

/// To receive text, and Pings between its fragments; in what is sent these are the level.
const TEXT: u8 = 32;
const PINGS: u8 = 64;

/// Bits of the byte before a piece; the others are its length.
const LAST: u8 = 0x80;
const PLAIN: u8 = 0x40;

fuzz_target!(|data: &[u8]| {
    let [flags, cut, pieces @ ..] = data else {
        return;
    };
    if flags & SEND != 0 { send(*flags, *cut, pieces) } else { receive(*flags, *cut, pieces) }
});

/// One end.
fn end(flags: u8, client: bool) -> Connection {
    let takeover = flags & TAKEOVER != 0;
    let window_bits = if flags & SMALL_WINDOW != 0 { 9 } else { 15 };
    let both = Direction { takeover, window_bits };
    let agreed = DeflateParams { server: both, client: both };
    let limit = if flags & SMALL_LIMIT != 0 { 100 } else { LIMIT };
    let config = Config {
        max_message: limit,
        max_frame: Some(LIMIT),
        deflate: Some(Deflate {
            min_size: usize::from(flags >> 5) * 20,
            level: flags >> 5,
            ..Deflate::default()
        }),
        ..Config::default()
    };
    negotiated(client, &config, Negotiated::from(agreed))
}

fn split(mut rest: &[u8]) -> impl Iterator<Item = (u8, &[u8])> {
    std::iter::from_fn(move || {
        let (&what, tail) = rest.split_first()?;
        let (piece, tail) = tail.split_at(tail.len().min(usize::from(what & 0x3f) * 3));
        rest = tail;
        Some((what, piece))
    })
}

fn receive(flags: u8, cut: u8, pieces: &[u8]) {
    let client = flags & CLIENT != 0;
    let (mut wire, mut open, mut messages, mut pings) = (vec![], false, vec![], vec![]);
    for (what, piece) in split(pieces) {
        let last = what & LAST;
        let first = if open {
            0
        } else {
            let compressed = what & PLAIN == 0;
            messages.push((compressed, vec![], false));
            let opcode = if flags & TEXT != 0 { 1 } else { 2 };
            if compressed { 0x40 | opcode } else { opcode }
        };
        frame(&mut wire, last | first, client, piece);
        open = last == 0;
        if flags & PINGS != 0 {
            pings.push(vec![piece.len() as u8]);
            frame(&mut wire, 0x89, client, &[piece.len() as u8]);
        }
        if let Some(message) = messages.last_mut() {
            message.1.extend_from_slice(piece);
            message.2 = !open;
        }
    }
    let whole = play(end(flags, client), &wire, 0, false);
    let cut_up = play(end(flags, client), &wire, cut, false);
    assert_eq!(whole.told(), cut_up.told(), "the cuts changed something");
    let chunks = play(end(flags, client), &wire, cut, true);
    let limited = matches!(whole.error, Some(RecvError::MessageTooBig { .. }));
    if limited {
        assert!(chunks.messages.starts_with(&whole.messages));
    } else {
        assert_eq!(whole.told(), chunks.told(), "chunks changed something");
    }
    assert!(pings.starts_with(&whole.pings));
    assert!(whole.error.is_some() || pings.len() == whole.pings.len(), "a Ping was lost");
    let bad_text = Some(RecvError::Protocol(ProtocolError::BadUtf8));
    let limit = if flags & SMALL_LIMIT != 0 { 100 } else { LIMIT };
    assert!(whole.messages.iter().all(|message| message.len() <= limit));
    let mut stream = Stream::default();
    for (i, (compressed, payload, done)) in messages.iter().enumerate() {
        if flags & TAKEOVER == 0 {
            stream = Stream::default();
        }
        let want = if *compressed { stream.message(payload) } else { Some(payload.clone()) };
        match whole.messages.get(i) {
            Some(got) => assert_eq!((true, Some(got)), (*done, want.as_ref())),
            None if whole.error == bad_text => {
                // Where it is not complete, its beginning was enough.
                let fine = want.is_some_and(|text| std::str::from_utf8(&text).is_ok());
                assert!(flags & TEXT != 0 && !(*done && fine), "text that is none");
                return;
            }
            None => {
                let bad = whole.error == Some(ProtocolError::BadDeflate.into());
                let why = bad && *compressed && (!*done || want.is_none());
                assert!(why || limited || !*done, "{:?}", whole.error);
                return;
            }
        }
    }
}

/// As the peer of such an end sends it, masked with zeros if at all.
fn frame(wire: &mut Vec<u8>, b0: u8, to_client: bool, payload: &[u8]) {
    wire.extend(frames::frame(b0, (!to_client).then_some([0; 4]), payload));
}

#[derive(Debug, Default, PartialEq)]
struct Outcome {
    messages: Vec<Vec<u8>>,
    pings: Vec<Vec<u8>>,
    error: Option<RecvError>,
}

impl Outcome {
    /// What has to be the same. What is neither text nor deflate may show by either first, as the
    /// reads have it: both are 1007.
    fn told(&self) -> (&[Vec<u8>], &[Vec<u8>], Option<RecvError>) {
        let error = match self.error {
            Some(RecvError::Protocol(ProtocolError::BadUtf8)) => {
                Some(ProtocolError::BadDeflate.into())
            }
            error => error,
        };
        (&self.messages, &self.pings, error)
    }
}

fn play(mut conn: Connection, mut wire: &[u8], cut: u8, chunks: bool) -> Outcome {
    let (mut got, mut partial) = (Outcome::default(), vec![]);
    let mut cuts = Cuts::new(cut);
    loop {
        match if chunks { conn.step_chunk() } else { conn.step() } {
            Ok(Step::NeedInput) if wire.is_empty() => return got,
            Ok(Step::NeedInput) => {
                read(conn.receiver_mut(), &mut wire, cuts.next().unwrap_or(1));
            }
            Ok(Step::Message) if chunks => {
                let chunk = conn.receiver().chunk().expect("a chunk");
                partial.extend_from_slice(chunk.data);
                if chunk.last {
                    got.messages.push(std::mem::take(&mut partial));
                }
            }
            Ok(Step::Message) => {
                let message = conn.receiver().message().expect("a message");
                assert!(
                    message.kind() == DataKind::Binary
                        || std::str::from_utf8(message.as_bytes()).is_ok()
                );
                got.messages.push(message.as_bytes().to_vec());
            }
            Ok(Step::Ping) => {
                let Some(Event::Ping(payload)) = conn.receiver().event() else { panic!("a Ping") };
                got.pings.push(payload.to_vec());
            }
            Ok(step) => panic!("{step:?} of data frames"),
            Err(error) => {
                got.error = Some(error);
                return got;
            }
        }
    }
}

fn send(flags: u8, cut: u8, pieces: &[u8]) {
    let client = flags & CLIENT != 0;
    let mut from = end(flags, client);
    let (mut want, mut open) = (vec![], vec![]);
    let mut in_chunks = false;
    for (what, piece) in split(pieces) {
        let tx = from.sender_mut();
        let data = piece.repeat(if what & 1 == 0 { 1 } else { 40 });
        let chunk = Chunk {
            kind: DataKind::Binary,
            first: !in_chunks,
            data: &data,
            last: what & LAST != 0,
        };
        if in_chunks || what & PLAIN != 0 {
            tx.feed_chunk(chunk).expect("there is room");
            open.extend_from_slice(&data);
            in_chunks = !chunk.last;
            if chunk.last {
                want.push(std::mem::take(&mut open));
            }
            continue;
        }
        let fed = match what >> 1 & 3 {
            0 => tx.feed(&data),
            1 => tx.feed(Outbound::plain(&data)),
            2 => tx.feed(Prepared::new(&data)),
            _ => tx.feed(data.clone()),
        };
        fed.expect("there is room");
        want.push(data);
    }
    let mut wire = vec![];
    write(from.sender_mut(), &mut wire, usize::MAX);
    let got = play(end(flags & !SMALL_LIMIT, !client), &wire, cut, false);
    assert_eq!(got.error, None);
    assert_eq!(got.messages, want);
    check_wire(flags, &wire, &want);
    if flags & SMALL_WINDOW == 0 {
        let wire = other_wire(flags, !client, &want);
        let got = play(end(flags & !SMALL_LIMIT, !client), &wire, cut, false);
        assert_eq!(got.error, None);
        assert_eq!(got.messages, want);
    }
}

/// What was sent is what the other decoder reads out of it.
fn check_wire(flags: u8, mut wire: &[u8], want: &[Vec<u8>]) {
    let mut history = Stream::default();
    let (mut payload, mut compressed, mut seen) = (vec![], false, 0);
    while !wire.is_empty() {
        let head = Head::read(wire);
        let start = head.end.expect("whole frames");
        let end = start + head.len.expect("whole frames") as usize;
        compressed |= head.reserved == 4;
        let key = if head.masked { &wire[start - 4..start] } else { &[0; 4] };
        payload.extend(wire[start..end].iter().zip(key.iter().cycle()).map(|(b, key)| b ^ key));
        wire = &wire[end..];
        if !head.fin {
            continue;
        }
        if flags & TAKEOVER == 0 {
            history = Stream::default();
        }
        if compressed {
            payload = history.message(&payload).expect("the other decoder fails");
        }
        assert!(payload == want[seen]);
        (compressed, seen) = (false, seen + 1);
        payload.clear();
    }
    assert_eq!(seen, want.len());
}

/// The same messages by the other encoder.
fn other_wire(flags: u8, to_client: bool, messages: &[Vec<u8>]) -> Vec<u8> {
    let level = i32::from(flags >> 5) + 1;
    let encoder = || CompressorOxide::new(create_comp_flags_from_zip_params(level, 0, 0));
    let mut state = encoder();
    let mut wire = vec![];
    for message in messages {
        if flags & TAKEOVER == 0 {
            state = encoder();
        }
        let mut payload = vec![0; message.len() * 2 + 100];
        let (status, read, made) = compress(&mut state, message, &mut payload, TDEFLFlush::Sync);
        assert_eq!((status, read), (TDEFLStatus::Okay, message.len()));
        payload.truncate(made);
        assert_eq!(payload.split_off(made - 4), [0, 0, 0xff, 0xff]);
        frame(&mut wire, 0xc2, to_client, &payload);
    }
    wire
}
