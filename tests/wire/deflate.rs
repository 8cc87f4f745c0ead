//! permessage-deflate (RFC 7692).
mod limits;
mod negotiation;
mod received;
mod sent;
#[cfg(all(feature = "blocking", not(miri)))]
mod sockets;

use crate::{
    fails_with,
    support::{deflate::*, wire::*},
};
use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress};
use testkit::Rng;
use tickwire::{
    Config, Connection, RecvError, Role,
    deflate::{Deflate, DeflateParams},
};

const RSV1: u8 = 0x40;

const TAIL: [u8; 4] = [0, 0, 0xff, 0xff];

/// One that compresses everything.
fn eager() -> Config {
    Config { deflate: Some(Deflate { min_size: 0, ..Deflate::default() }), ..Config::default() }
}

fn open(role: Role, config: &Config, agreed: DeflateParams) -> Connection {
    agreeing(agreed, || connection(role, config))
}

/// Another end's compressor.
struct Peer(Compress);

impl Peer {
    fn new() -> Self {
        Self(Compress::new(Compression::new(6), false))
    }

    /// Of the highest level, for an attacker.
    fn best() -> Self {
        Self(Compress::new(Compression::best(), false))
    }

    /// Compressed as §7.2.1 has it.
    fn deflate(&mut self, data: impl AsRef<[u8]>) -> Vec<u8> {
        let data = data.as_ref();
        if data.is_empty() {
            return vec![0];
        }
        let mut out = self.flush(data, FlushCompress::Sync);
        assert!(out.ends_with(&TAIL));
        out.truncate(out.len() - TAIL.len());
        out
    }

    /// With the flush at its end.
    fn flush(&mut self, data: &[u8], flush: FlushCompress) -> Vec<u8> {
        let mut out = vec![0; data.len() + data.len() / 8 + 1000];
        let before = (self.0.total_in(), self.0.total_out());
        self.0.compress(data, &mut out, flush).unwrap();
        assert_eq!(self.0.total_in() - before.0, data.len() as u64);
        out.truncate((self.0.total_out() - before.1) as usize);
        out
    }
}

/// Another end's decompressor.
struct Reader(Decompress);

impl Reader {
    fn new() -> Self {
        Self(Decompress::new(false))
    }

    fn inflate(&mut self, data: &[u8], most: usize) -> Result<Vec<u8>, String> {
        let mut out = vec![0; most + 1];
        let before = (self.0.total_in(), self.0.total_out());
        let input = [data, &TAIL].concat();
        let done = self.0.decompress(&input, &mut out, FlushDecompress::None);
        done.map_err(|e| e.to_string())?;
        if self.0.total_in() - before.0 != input.len() as u64 {
            return Err("not all taken".into());
        }
        out.truncate((self.0.total_out() - before.1) as usize);
        Ok(out)
    }
}

/// Text that repeats itself, some.
fn prose(rng: &mut Rng, len: usize) -> String {
    const WORDS: [&str; 12] = [
        "price",
        "size",
        "{\"bid\":",
        "1.0842",
        "EURUSD",
        "é",
        "—",
        "],[",
        "true",
        "0",
        "\n",
        "🙂",
    ];
    let mut s = String::new();
    while s.len() < len {
        s += WORDS[rng.below(WORDS.len())];
        if rng.once_in(3) {
            s += &rng.below(100_000).to_string();
        }
    }
    while s.len() > len {
        s.pop();
    }
    s
}

/// RFC 7692 §7.2.3.1.
const HELLO: &[u8] = b"\xf2\x48\xcd\xc9\xc9\x07\x00";

/// Every way to see a message: whole, in chunks, skipped.
fn verdicts(
    takeover: bool,
    config: &Config,
    frames: &[Vec<u8>],
) -> [Result<Vec<u8>, RecvError>; 2] {
    let wire = frames.concat();
    let mut conn = open(Role::Server, config, agreed(takeover));
    let whole = match &receive(&mut conn, &wire)[..] {
        [Seen::Text(text)] => Ok(text.clone().into_bytes()),
        [Seen::Binary(bytes)] => Ok(bytes.clone()),
        [Seen::Failed(error)] => Err(*error),
        [] => Err(RecvError::UnexpectedEof),
        other => panic!("{other:?}"),
    };
    let mut conn = open(Role::Server, config, agreed(takeover));
    arrive(&mut conn, &wire);
    let mut data = Vec::new();
    let mut chunked = Err(RecvError::UnexpectedEof);
    for event in chunks(&mut conn) {
        match event {
            Seen::Chunk(_, piece, last) => {
                data.extend(piece);
                if last {
                    chunked = Ok(std::mem::take(&mut data));
                }
            }
            Seen::Failed(error) => chunked = Err(error),
            other => panic!("{other:?}"),
        }
    }
    [whole, chunked]
}

#[track_caller]
fn fails_by(
    agreed: DeflateParams,
    config: &Config,
    wire: impl Fn(Role) -> Vec<u8>,
    error: impl Into<RecvError> + Copy,
) {
    for role in ROLES {
        agreeing(agreed, || fails_with(role, config, &wire(role), error));
    }
}

fn compressed(data: &[u8]) -> Vec<u8> {
    Peer::new().deflate(data)
}

fn end(role: Role, agreed: DeflateParams) -> Connection {
    agreeing(agreed, || connection(role, &eager()))
}
