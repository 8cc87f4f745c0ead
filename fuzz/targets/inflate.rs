//! permessage-deflate. Any compressed bytes, in any fragments, cut anyhow, whole or in chunks: the
//! same messages and the same end; and, where nothing is taken over, what another decoder makes of
//! them. Any messages, sent in any of the ways there are: what arrives is what was sent.
//!
//! The first byte chooses the connection and which of both, the second how the wire is cut. The rest
//! is a list of pieces, each behind a byte that says what it is.
#![no_main]
use libfuzzer_sys::fuzz_target;
use miniz_oxide::inflate::{
    TINFLStatus,
    core::{
        DecompressorOxide, decompress,
        inflate_flags::{TINFL_FLAG_HAS_MORE_INPUT, TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF},
    },
};
use tickwire::{
    Chunk, Config, Connection, DataKind, Negotiated, Prepared, ProtocolError, RecvError, Role,
    Step,
    deflate::{Agreed, Deflate},
};
use tickwire_fuzz::{Keys, cuts::Cuts, write};

/// Bits of the first byte.
const CLIENT: u8 = 1;
const TAKEOVER: u8 = 2;
const SMALL_LIMIT: u8 = 4;
const SMALL_WINDOW: u8 = 8;
const SEND: u8 = 16;

/// Bits of the byte before a piece; the others are its length.
const LAST: u8 = 0x80;
const PLAIN: u8 = 0x40;

const LIMIT: usize = 1 << 20;

fuzz_target!(|data: &[u8]| {
    let [flags, cut, pieces @ ..] = data else {
        return;
    };
    if flags & SEND != 0 { send(*flags, *cut, pieces) } else { receive(*flags, *cut, pieces) }
});

/// One end.
fn end(flags: u8, client: bool) -> Connection {
    let takeover = flags & TAKEOVER != 0;
    let bits = if flags & SMALL_WINDOW != 0 { 9 } else { 15 };
    let mut agreed = Agreed::new();
    for role in [Role::Server, Role::Client] {
        agreed = agreed.with_takeover(role, takeover).with_window_bits(role, bits);
    }
    let limit = if flags & SMALL_LIMIT != 0 { 100 } else { LIMIT };
    let config = Config::default()
        .max_message(limit)
        .max_frame(LIMIT)
        .deflate(Deflate::new().min_size(usize::from(flags >> 5) * 20).level(flags >> 5));
    let negotiated = Negotiated::new().with_deflate(agreed);
    if client {
        Connection::client(&config, negotiated, Keys(1))
    } else {
        Connection::server(&config, negotiated)
    }
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
    let (mut wire, mut open, mut messages) = (vec![], false, vec![]);
    for (what, piece) in split(pieces) {
        let last = what & LAST;
        let first = if open {
            0
        } else {
            let compressed = what & PLAIN == 0;
            messages.push((compressed, vec![], false));
            if compressed { 0x42 } else { 2 }
        };
        frame(&mut wire, last | first, client, piece);
        open = last == 0;
        if let Some(message) = messages.last_mut() {
            message.1.extend_from_slice(piece);
            message.2 = !open;
        }
    }
    let whole = play(end(flags, client), &wire, 0, false);
    let cut_up = play(end(flags, client), &wire, cut, false);
    assert_eq!(whole, cut_up, "the cuts changed something");
    let chunks = play(end(flags, client), &wire, cut, true);
    let limited = matches!(whole.1, Some(RecvError::MessageTooBig { .. }));
    if limited {
        assert!(chunks.0.starts_with(&whole.0));
    } else {
        assert_eq!(whole, chunks, "chunks changed something");
    }
    let limit = if flags & SMALL_LIMIT != 0 { 100 } else { LIMIT };
    assert!(whole.0.iter().all(|message| message.len() <= limit));
    if flags & TAKEOVER != 0 {
        return;
    }
    for (i, (compressed, payload, done)) in messages.iter().enumerate() {
        match whole.0.get(i) {
            Some(got) if *compressed => {
                assert!(*done);
                let want = inflate(payload).expect("the other decoder fails");
                assert_eq!(*got, want);
            }
            Some(got) => assert_eq!(got, payload),
            None => {
                if let (true, true, Some(RecvError::Protocol(ProtocolError::BadDeflate))) =
                    (done, compressed, whole.1)
                {
                    // zlib is the stricter one about descriptions of codes.
                } else {
                    assert!(limited || !done, "{:?}", whole.1);
                }
                return;
            }
        }
    }
}

/// What another decoder makes of a message (RFC 7692 §7.2.2); `None` if it is not complete.
fn inflate(payload: &[u8]) -> Option<Vec<u8>> {
    if payload.is_empty() {
        return None;
    }
    let input = [payload, &[0, 0, 0xff, 0xff, 3, 0]].concat();
    let (mut at, mut all) = (0, vec![]);
    loop {
        let mut out = vec![0; LIMIT + 1];
        let flags = TINFL_FLAG_HAS_MORE_INPUT | TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF;
        let mut state = Box::new(DecompressorOxide::new());
        let (status, used, made) = decompress(&mut state, &input[at..], &mut out, 0, flags);
        at += used;
        all.extend_from_slice(&out[..made]);
        let n = payload.len();
        match status {
            TINFLStatus::Done if at == n || at == n + 4 || at == n + 6 => return Some(all),
            TINFLStatus::Done if at < n => {}
            _ => return None,
        }
    }
}

/// As the peer of such an end sends it, masked with zeros if at all.
fn frame(wire: &mut Vec<u8>, b0: u8, to_client: bool, payload: &[u8]) {
    let bit = if to_client { 0 } else { 0x80 };
    wire.push(b0);
    match payload.len() {
        n @ 0..126 => wire.push(bit | n as u8),
        n => {
            wire.push(bit | 126);
            wire.extend((n as u16).to_be_bytes());
        }
    }
    if !to_client {
        wire.extend([0; 4]);
    }
    wire.extend_from_slice(payload);
}

type Outcome = (Vec<Vec<u8>>, Option<RecvError>);

/// The messages, and the error, if there is one.
fn play(mut conn: Connection, mut wire: &[u8], cut: u8, chunks: bool) -> Outcome {
    let (mut messages, mut partial) = (vec![], vec![]);
    let mut cuts = Cuts::new(cut);
    loop {
        match if chunks { conn.step_chunk() } else { conn.step() } {
            Ok(Step::NeedInput) if wire.is_empty() => return (messages, None),
            Ok(Step::NeedInput) => {
                let spare = conn.spare_mut();
                let n = cuts.next().unwrap_or(1).min(spare.len()).min(wire.len());
                spare[..n].copy_from_slice(&wire[..n]);
                conn.commit(n);
                wire = &wire[n..];
            }
            Ok(Step::Message) if chunks => {
                let chunk = conn.receiver().chunk().expect("a chunk");
                partial.extend_from_slice(chunk.data);
                if chunk.last {
                    messages.push(std::mem::take(&mut partial));
                }
            }
            Ok(Step::Message) => {
                messages.push(conn.message().expect("a message").as_bytes().to_vec());
            }
            Ok(step) => panic!("{step:?} of data frames"),
            Err(error) => return (messages, Some(error)),
        }
    }
}

fn send(flags: u8, cut: u8, pieces: &[u8]) {
    let client = flags & CLIENT != 0;
    let mut from = end(flags, client);
    let (mut want, mut open) = (vec![], vec![]);
    let mut in_chunks = false;
    for (what, piece) in split(pieces) {
        let tx = from.sender();
        let data = piece.repeat(if what & 1 == 0 { 1 } else { 40 });
        let chunk = Chunk { kind: DataKind::Binary, data: &data, last: what & LAST != 0 };
        if in_chunks || what & PLAIN != 0 {
            let fed = match what & 2 {
                0 => tx.feed_chunk(chunk),
                _ => tx.feed_chunk_plain(chunk),
            };
            fed.expect("there is room");
            open.extend_from_slice(&data);
            in_chunks = !chunk.last;
            if chunk.last {
                want.push(std::mem::take(&mut open));
            }
            continue;
        }
        let fed = match what >> 1 & 3 {
            0 => tx.feed(&data),
            1 => tx.feed_plain(&data),
            2 => tx.feed_prepared(&Prepared::new(&data)),
            _ => tx.feed_bytes(data.clone().into()),
        };
        fed.expect("there is room");
        want.push(data);
    }
    let mut wire = vec![];
    write(from.sender(), &mut wire, usize::MAX);
    let (got, error) = play(end(flags & !SMALL_LIMIT, !client), &wire, cut, false);
    assert_eq!(error, None);
    assert_eq!(got, want);
}
