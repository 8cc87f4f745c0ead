//! Pre-encoded WebSocket byte streams, and a decoder to check what peers wrote.

pub use crate::least::frame_len;

use crate::least::Rng;

/// Which payload sizes a stream carries.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Size {
    Fixed(usize),
    /// Market ticks: 40..=200 bytes, nine in ten below 126.
    Ticks,
}

impl Size {
    pub fn label(self) -> String {
        match self {
            Size::Ticks => "ticks".into(),
            Size::Fixed(n) if n >= 1 << 30 => format!("{} GiB", n >> 30),
            Size::Fixed(n) if n >= 1 << 20 => format!("{} MiB", n >> 20),
            Size::Fixed(n) if n >= 1024 => format!("{} KiB", n >> 10),
            Size::Fixed(n) => format!("{n} B"),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Body {
    Binary,
    Ascii,
    /// Valid UTF-8 mixing one- to four-byte characters.
    Mixed,
    /// Small JSON objects, as a feed would send them.
    Json,
}

fn below(rng: &mut Rng, n: usize) -> usize {
    (rng.next() % n as u64) as usize
}

/// Messages of the wanted kind: enough of them to be varied, few enough to stay in cache.
pub fn messages(size: Size, body: Body) -> Vec<Vec<u8>> {
    let mut rng = Rng(0x9e37_79b9_7f4a_7c15);
    let count = match size {
        Size::Ticks => 2048,
        Size::Fixed(n) => (256 * 1024 / n.max(1)).clamp(4, 4096),
    };
    (0..count)
        .map(|_| {
            let len = match size {
                Size::Fixed(n) => n,
                Size::Ticks if below(&mut rng, 10) == 0 => 126 + below(&mut rng, 75),
                Size::Ticks => 40 + below(&mut rng, 86),
            };
            payload(&mut rng, len, body)
        })
        .collect()
}

fn payload(rng: &mut Rng, len: usize, body: Body) -> Vec<u8> {
    match body {
        Body::Binary => (0..len).map(|_| rng.next() as u8).collect(),
        Body::Ascii => (0..len).map(|_| b' ' + below(rng, 94) as u8).collect(),
        Body::Mixed => {
            let mut text = String::new();
            while text.len() < len {
                let c = match below(rng, 8) {
                    0..=3 => 'a',
                    4 | 5 => 'é',
                    6 => '価',
                    _ => '📈',
                };
                text.push(if text.len() + c.len_utf8() > len { 'x' } else { c });
            }
            text.into_bytes()
        }
        Body::Json => {
            let mut text = Vec::new();
            while text.len() < len {
                ticker(&mut text, rng);
            }
            text
        }
    }
}

/// A line such as exchanges send, some 340 bytes.
fn ticker(out: &mut Vec<u8>, rng: &mut Rng) {
    let symbol = ["BTC-USD", "ETH-USD", "SOL-USD", "EUR-USD"][below(rng, 4)];
    let line = format!(
        "{{\"type\":\"ticker\",\"sequence\":{},\"product_id\":\"{symbol}\",\
         \"price\":\"{}.{:02}\",\"open_24h\":\"{}.{:02}\",\"volume_24h\":\"{}.{:04}\",\
         \"best_bid\":\"{}.{:02}\",\"best_ask\":\"{}.{:02}\",\"side\":\"{}\",\
         \"time\":\"2026-01-02T03:04:{:02}.{:06}Z\",\"trade_id\":{},\
         \"last_size\":\"0.{:05}\"}}",
        30_000_000 + below(rng, 9_999_999),
        60_000 + below(rng, 999),
        below(rng, 100),
        60_000 + below(rng, 999),
        below(rng, 100),
        below(rng, 99_999),
        below(rng, 10_000),
        60_000 + below(rng, 999),
        below(rng, 100),
        60_000 + below(rng, 999),
        below(rng, 100),
        ["buy", "sell"][below(rng, 2)],
        below(rng, 60),
        below(rng, 1_000_000),
        700_000_000 + below(rng, 9_999_999),
        below(rng, 100_000),
    );
    out.extend(line.into_bytes());
}

/// Encoded frames, and where each ends.
pub struct Wire {
    pub bytes: Vec<u8>,
    pub ends: Vec<usize>,
}

impl Wire {
    pub fn new(messages: &[Vec<u8>], opcode: u8, masked: bool) -> Self {
        let mut rng = Rng(0x2545_f491_4f6c_dd1d);
        let mut wire = Wire { bytes: Vec::new(), ends: Vec::new() };
        for payload in messages {
            let mask = masked.then(|| (rng.next() as u32).to_ne_bytes());
            frame(&mut wire.bytes, 0x80 | opcode, payload, mask);
            wire.ends.push(wire.bytes.len());
        }
        wire
    }

    /// Each message deflated on its own (no context takeover), RSV1 set.
    pub fn deflated(messages: &[Vec<u8>], masked: bool) -> Self {
        let packed: Vec<Vec<u8>> = messages.iter().map(|m| deflate(m)).collect();
        Wire::new(&packed, 0x41, masked)
    }
}

pub fn deflate(data: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(data.len() + 64);
    let mut z = flate2::Compress::new(flate2::Compression::fast(), false);
    z.compress_vec(data, &mut out, flate2::FlushCompress::Sync).unwrap();
    assert!(out.ends_with(&[0, 0, 0xff, 0xff]));
    out.truncate(out.len() - 4);
    out
}

/// Undo `deflate`; `history` carries the window from message to message.
pub fn inflate(history: &mut flate2::Decompress, data: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(64 * 1024);
    let data = [data, &[0, 0, 0xff, 0xff]].concat();
    history.decompress_vec(&data, &mut out, flate2::FlushDecompress::Sync).unwrap();
    out
}

/// Appends one frame; `first` is the whole first byte.
pub fn frame(out: &mut Vec<u8>, first: u8, payload: &[u8], mask: Option<[u8; 4]>) {
    header(out, first, payload.len(), mask);
    let at = out.len();
    out.extend(payload);
    if let Some(mask) = mask {
        crate::xor(&mut out[at..], mask);
    }
}

/// Appends the header of a frame whose payload is `len` bytes.
pub fn header(out: &mut Vec<u8>, first: u8, len: usize, mask: Option<[u8; 4]>) {
    let bit = if mask.is_some() { 0x80 } else { 0 };
    out.push(first);
    match len {
        0..126 => out.push(bit | len as u8),
        126..=0xffff => {
            out.push(bit | 126);
            out.extend((len as u16).to_be_bytes());
        }
        _ => {
            out.push(bit | 127);
            out.extend((len as u64).to_be_bytes());
        }
    }
    out.extend(mask.iter().flatten());
}

pub struct Decoded {
    pub first: u8,
    pub masked: bool,
    pub payload: Vec<u8>,
}

/// Slow, plain decoder for checking peers; `None` where the bytes end within a frame.
pub fn decode(mut bytes: &[u8]) -> Option<Vec<Decoded>> {
    fn take<'a>(bytes: &mut &'a [u8], n: usize) -> Option<&'a [u8]> {
        let (head, tail) = bytes.split_at_checked(n)?;
        *bytes = tail;
        Some(head)
    }
    let mut out = Vec::new();
    while !bytes.is_empty() {
        let head = take(&mut bytes, 2)?;
        let len = match head[1] & 0x7f {
            126 => u16::from_be_bytes(take(&mut bytes, 2)?.try_into().ok()?) as usize,
            127 => u64::from_be_bytes(take(&mut bytes, 8)?.try_into().ok()?) as usize,
            n => n as usize,
        };
        let masked = head[1] & 0x80 != 0;
        let mask = if masked { take(&mut bytes, 4)? } else { &[0; 4] };
        let payload = take(&mut bytes, len)?.iter().zip(mask.iter().cycle()).map(|(b, m)| b ^ m);
        out.push(Decoded { first: head[0], masked, payload: payload.collect() });
    }
    Some(out)
}
