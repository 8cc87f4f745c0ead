//! The least a WebSocket end can do, to be measured beside it: walk the frames, unmask in place or
//! copy once, no checks, no limits, no control frames, no errors. And what both need: messages, a
//! wire, a stream in memory.
#![allow(dead_code, unreachable_pub)] // each bench uses its part
#![allow(clippy::expect_used, clippy::panic)] // it stops the bench
#![allow(unsafe_code)] // one call of a function compiled for AVX2

use base64::prelude::{BASE64_STANDARD, Engine as _};
use sha1::{Digest as _, Sha1};
use std::hint::black_box;
use std::mem::MaybeUninit;
use std::ops::Range;
use tickwire::{Config, Connection, Entropy, Negotiated, Step, SystemEntropy};

pub struct Rng(pub u64);

impl Rng {
    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
}

impl Entropy for Rng {
    fn fill(&mut self, dest: &mut [u8]) {
        dest.fill_with(|| self.next() as u8);
    }
}

#[derive(Clone, Copy, PartialEq)]
pub enum Body {
    Binary,
    Ascii,
    /// Characters of one to four bytes.
    Mixed,
}

/// Messages of one length: enough to be varied, few enough to stay in cache.
pub fn messages(len: usize, body: Body) -> Vec<Vec<u8>> {
    let mut rng = Rng(0x9e37_79b9_7f4a_7c15);
    let count = (256 * 1024 / len.max(1)).clamp(4, 4096);
    (0..count).map(|_| message(&mut rng, len, body)).collect()
}

fn message(rng: &mut Rng, len: usize, body: Body) -> Vec<u8> {
    match body {
        Body::Binary => (0..len).map(|_| rng.next() as u8).collect(),
        Body::Ascii => (0..len).map(|_| b' ' + (rng.next() % 94) as u8).collect(),
        Body::Mixed => {
            let mut text = String::new();
            while text.len() < len {
                let c = ['a', 'a', 'a', 'a', 'é', 'é', '価', '📈'][(rng.next() % 8) as usize];
                text.push(if text.len() + c.len_utf8() > len { 'x' } else { c });
            }
            text.into_bytes()
        }
    }
}

/// A stream in memory that repeats the same frames for ever.
#[derive(Clone)]
pub struct Stream {
    wire: Vec<u8>,
    /// Where each frame ends.
    ends: Vec<usize>,
    by_message: bool,
    at: usize,
    message: usize,
    ring: Vec<u8>,
    ring_at: usize,
}

impl Stream {
    pub fn new(messages: &[Vec<u8>], body: Body, masked: bool) -> Self {
        let mut rng = Rng(0x2545_f491_4f6c_dd1d);
        let (mut wire, mut ends) = (Vec::new(), Vec::new());
        let first = if body == Body::Binary { 0x82 } else { 0x81 };
        for payload in messages {
            let mut head = [0; 14];
            let n = write_head(&mut head, first, payload.len(), if masked { 0x80 } else { 0 });
            wire.extend_from_slice(&head[..n]);
            let at = wire.len();
            if masked {
                let key = (rng.next() as u32).to_ne_bytes();
                wire.extend_from_slice(&key);
                wire.extend_from_slice(payload);
                xor(&mut wire[at + 4..], key);
            } else {
                wire.extend_from_slice(payload);
            }
            ends.push(wire.len());
        }
        Self::of(wire, ends)
    }

    /// Of bytes that are no frames.
    pub fn of(wire: Vec<u8>, ends: Vec<usize>) -> Self {
        let ring = vec![0; 256 << 10];
        Self { wire, ends, by_message: false, at: 0, message: 0, ring, ring_at: 0 }
    }

    /// Written to a ring of this many bytes: one of many streams.
    pub fn ring(mut self, len: usize) -> Self {
        self.ring = vec![0; len];
        self
    }

    /// No read goes beyond the end of a message.
    pub fn by_message(mut self) -> Self {
        self.by_message = true;
        self
    }

    #[inline]
    pub fn read(&mut self, to: &mut [u8]) -> usize {
        let end = match self.by_message {
            true => self.ends[self.message],
            false => self.wire.len().min(self.at + (64 << 10)),
        };
        let n = to.len().min(end - self.at);
        to[..n].copy_from_slice(&self.wire[self.at..self.at + n]);
        self.at += n;
        if self.at == end {
            self.message += 1;
        }
        if self.at == self.wire.len() {
            (self.at, self.message) = (0, 0);
        }
        n
    }

    /// Copies once, as the kernel would.
    #[inline]
    pub fn write(&mut self, bytes: &[u8]) {
        for piece in bytes.chunks(self.ring.len()) {
            if self.ring_at + piece.len() > self.ring.len() {
                self.ring_at = 0;
            }
            self.ring[self.ring_at..][..piece.len()].copy_from_slice(piece);
            self.ring_at += piece.len();
        }
    }
}

/// The floor itself.
pub struct Floor {
    client: bool,
    rng: Rng,
    buf: Box<[u8]>,
    start: usize,
    end: usize,
    out: Vec<u8>,
}

const BUFFER: usize = 16 << 10;

impl Floor {
    pub fn new(client: bool) -> Self {
        let buf = vec![0; BUFFER].into();
        Self { client, rng: Rng(88172645463325252), buf, start: 0, end: 0, out: Vec::new() }
    }

    /// The next whole frame, unmasked where it lies.
    #[inline(always)]
    fn next(&mut self) -> Option<(u8, Range<usize>)> {
        let h = head(&self.buf[self.start..self.end])?;
        let from = self.start + h.len;
        let to = from + h.payload;
        if to > self.end {
            return None;
        }
        if let Some(key) = h.key {
            xor(&mut self.buf[from..to], key);
        }
        self.start = to;
        Some((h.first, from..to))
    }

    fn fill(&mut self, stream: &mut Stream) {
        let have = self.end - self.start;
        let need = head(&self.buf[self.start..self.end]).map_or(14, |h| h.len + h.payload);
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        } else if self.start + need > self.buf.len() || self.end == self.buf.len() {
            self.buf.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, have);
        }
        if need > self.buf.len() {
            let mut bigger = vec![0; need.next_power_of_two()];
            bigger[..have].copy_from_slice(&self.buf[..have]);
            self.buf = bigger.into();
        }
        // A large frame is read up to its end only: what follows need not be moved then.
        let want = if need > BUFFER / 2 { need - have } else { BUFFER };
        let to = self.buf.len().min(self.end + want);
        self.end += stream.read(&mut self.buf[self.end..to]);
    }

    /// One message; text is checked, since no end can do without.
    #[inline(always)]
    pub fn receive(&mut self, stream: &mut Stream) -> &[u8] {
        loop {
            if let Some((first, at)) = self.next() {
                let payload = &self.buf[at];
                if first & 0xf == 1 {
                    assert!(simdutf8::basic::from_utf8(payload).is_ok());
                }
                return payload;
            }
            self.fill(stream);
        }
    }

    #[inline(always)]
    pub fn feed(&mut self, payload: &[u8]) {
        let bit = if self.client { 0x80 } else { 0 };
        let mut head = [0; 14];
        let mut n = write_head(&mut head, 0x82, payload.len(), bit);
        let key = (self.rng.next() as u32).to_ne_bytes();
        if self.client {
            head[n..n + 4].copy_from_slice(&key);
            n += 4;
        }
        self.out.reserve(14 + payload.len());
        self.out.extend_from_slice(&head[..n]);
        let at = self.out.len();
        self.out.extend_from_slice(payload);
        if self.client {
            xor(&mut self.out[at..], key);
        }
    }

    #[inline(always)]
    pub fn flush(&mut self, stream: &mut Stream) {
        stream.write(&self.out);
        self.out.clear();
    }

    /// From a server; a large payload is written from where it lies.
    #[inline(always)]
    pub fn feed_shared(&mut self, payload: &[u8], stream: &mut Stream) {
        if payload.len() < 4 << 10 {
            return self.feed(payload);
        }
        let mut head = [0; 14];
        let n = write_head(&mut head, 0x82, payload.len(), 0);
        self.flush(stream);
        stream.write(&head[..n]);
        stream.write(payload);
    }

    /// A frame encoded once for many.
    #[inline(always)]
    pub fn feed_prepared(&mut self, frame: &[u8]) {
        self.out.extend_from_slice(frame);
    }

    /// Receives `n` messages and sends each back, in one write.
    pub fn echo(&mut self, stream: &mut Stream, n: usize) {
        for _ in 0..n {
            let at = loop {
                if let Some((_, at)) = self.next() {
                    break at;
                }
                self.fill(stream);
            };
            let mut head = [0; 14];
            let n = write_head(&mut head, 0x82, at.len(), 0);
            self.out.extend_from_slice(&head[..n]);
            self.out.extend_from_slice(&self.buf[at]);
        }
        self.flush(stream);
    }
}

/// An unmasked frame.
pub fn frame(payload: &[u8]) -> Vec<u8> {
    let mut head = [0; 14];
    let n = write_head(&mut head, 0x82, payload.len(), 0);
    [&head[..n], payload].concat()
}

/// A browser's request of some 500 bytes.
pub const REQUEST: &str = "GET /feed HTTP/1.1\r\n\
    Host: 127.0.0.1:9001\r\n\
    Connection: Upgrade\r\n\
    Pragma: no-cache\r\n\
    Cache-Control: no-cache\r\n\
    User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) \
    Chrome/130.0.0.0 Safari/537.36\r\n\
    Upgrade: websocket\r\n\
    Origin: http://127.0.0.1:9001\r\n\
    Sec-WebSocket-Version: 13\r\n\
    Accept-Encoding: gzip, deflate, br, zstd\r\n\
    Accept-Language: en-US,en;q=0.9\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

/// The server's opening handshake: parse the head, take the key, hash it, answer; nothing is
/// checked.
pub fn accept(stream: &mut Stream) {
    let mut buf = [0; 2048];
    let mut len = 0;
    while !buf[..len].ends_with(b"\r\n\r\n") {
        len += stream.read(&mut buf[len..]);
    }
    let mut headers = [MaybeUninit::uninit(); 32];
    let mut request = httparse::Request::new(&mut []);
    let parsed = request.parse_with_uninit_headers(&buf[..len], &mut headers);
    assert!(parsed.is_ok_and(|parsed| parsed.is_complete()));
    let key = request.headers.iter().find(|h| h.name.eq_ignore_ascii_case("sec-websocket-key"));
    let hash = Sha1::new()
        .chain_update(key.expect("there is a key").value)
        .chain_update("258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    let mut reply = *b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\
        Connection: Upgrade\r\nSec-WebSocket-Accept: ____________________________\r\n\r\n";
    let slot = reply.len() - 32;
    BASE64_STANDARD
        .encode_slice(hash.finalize(), &mut reply[slot..slot + 28])
        .expect("20 bytes are 28 characters");
    stream.write(black_box(&reply));
}

/// A header: its length with the masking key, and what it says.
pub struct Head {
    pub len: usize,
    pub payload: usize,
    pub first: u8,
    pub key: Option<[u8; 4]>,
}

#[inline(always)]
pub fn head(b: &[u8]) -> Option<Head> {
    let (&first, &second) = (b.first()?, b.get(1)?);
    let (mut len, payload) = match second & 0x7f {
        126 => (4, u16::from_be_bytes(*b.get(2..)?.first_chunk()?) as usize),
        127 => (10, u64::from_be_bytes(*b.get(2..)?.first_chunk()?) as usize),
        n => (2, n as usize),
    };
    let mut key = None;
    if second & 0x80 != 0 {
        key = Some(*b.get(len..)?.first_chunk()?);
        len += 4;
    }
    Some(Head { len, payload, first, key })
}

/// All but the masking key; returns its length.
#[inline(always)]
pub fn write_head(out: &mut [u8; 14], first: u8, payload: usize, bit: u8) -> usize {
    out[0] = first;
    match payload {
        0..126 => {
            out[1] = bit | payload as u8;
            2
        }
        126..=0xffff => {
            out[1] = bit | 126;
            out[2..4].copy_from_slice(&(payload as u16).to_be_bytes());
            4
        }
        _ => {
            out[1] = bit | 127;
            out[2..10].copy_from_slice(&(payload as u64).to_be_bytes());
            10
        }
    }
}

/// The plain way that is fast: words, wide ones where the processor has them.
#[inline]
pub fn xor(data: &mut [u8], key: [u8; 4]) {
    if data.len() >= 32 {
        #[cfg(target_arch = "x86_64")]
        if is_x86_feature_detected!("avx2") {
            // SAFETY: the feature was found on the line above.
            return unsafe { xor_avx2(data, key) };
        }
    }
    xor_words(data, key);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn xor_avx2(data: &mut [u8], key: [u8; 4]) {
    let wide: [u8; 32] = std::array::from_fn(|i| key[i % 4]);
    let (blocks, tail) = data.as_chunks_mut::<32>();
    for block in blocks {
        *block = std::array::from_fn(|i| block[i] ^ wide[i]);
    }
    xor_words(tail, key);
}

#[inline(always)]
fn xor_words(data: &mut [u8], key: [u8; 4]) {
    let wide = u64::from(u32::from_ne_bytes(key)) * 0x1_0000_0001;
    let (words, tail) = data.as_chunks_mut::<8>();
    for word in words {
        *word = (u64::from_ne_bytes(*word) ^ wide).to_ne_bytes();
    }
    for (byte, k) in tail.iter_mut().zip(wide.to_ne_bytes()) {
        *byte ^= k;
    }
}

// The same work, done by tickwire.

/// With the keys a user has by default.
pub fn connection(client: bool) -> Connection {
    let (config, negotiated) = (Config::default(), Negotiated::default());
    if client {
        let entropy = SystemEntropy::new().expect("the system gives randomness");
        Connection::client(&config, negotiated, entropy)
    } else {
        Connection::server(&config, negotiated)
    }
}

/// One message.
#[inline(always)]
pub fn receive<'c>(conn: &'c mut Connection, stream: &mut Stream) -> &'c [u8] {
    loop {
        match conn.step() {
            Ok(Step::Message) => break,
            Ok(Step::NeedInput) => {
                let n = stream.read(conn.receiver_mut().spare_mut());
                conn.receiver_mut().commit(n);
            }
            other => panic!("{other:?}"),
        }
    }
    conn.receiver().message().expect("the step said so").as_bytes()
}

#[inline(always)]
pub fn flush(conn: &mut Connection, stream: &mut Stream) {
    use bytes::Buf;
    let mut out = conn.sender_mut().outgoing();
    while out.has_remaining() {
        let chunk = out.chunk();
        let n = chunk.len();
        stream.write(chunk);
        out.advance(n);
    }
}

/// Receives `n` messages and sends each back, in one write.
pub fn echo(conn: &mut Connection, stream: &mut Stream, n: usize) {
    for _ in 0..n {
        receive(conn, stream);
        let (rx, tx) = conn.split_mut();
        let message = rx.message().expect("the step said so");
        assert!(tx.feed(black_box(message)).is_ok());
    }
    flush(conn, stream);
}

/// How many bytes a frame takes.
pub fn frame_len(payload: usize, masked: bool) -> usize {
    let head = match payload {
        0..126 => 2,
        126..=0xffff => 4,
        _ => 10,
    };
    head + payload + if masked { 4 } else { 0 }
}

/// How many messages to send before they are written: what makes 16 KiB.
pub fn batch(len: usize) -> usize {
    1 << (16 * 1024 / len.max(1)).clamp(1, 64).ilog2()
}
