//! Not a crate: the least a WebSocket endpoint can do. One fixed read buffer, payloads unmasked
//! where they lie and lent out, one output buffer; no control frames, fragments, limits or errors.
//! Masks come from xorshift.

use std::io::IoSlice;
use std::pin::Pin;

use tokio::io::{AsyncWrite, AsyncWriteExt, ReadBuf};

use super::{Can, Conn, Io, Kept, NoDeflate, Peer};
use crate::least::{Rng, head, write_head};
use crate::xor;

/// Stays in the first-level cache.
const BUFFER: usize = 16 * 1024;
/// From here on, header and payload go out in one vectored write instead of a copy.
const VECTORED: usize = 4096;

pub struct Floor;

pub struct FloorConn<S> {
    io: S,
    client: bool,
    rng: Rng,
    buf: Box<[u8]>,
    start: usize,
    end: usize,
    out: Vec<u8>,
}

fn conn<S>(io: S, client: bool) -> FloorConn<S> {
    let buf = vec![0; BUFFER].into();
    FloorConn { io, client, rng: Rng(88172645463325252), buf, start: 0, end: 0, out: Vec::new() }
}

impl Peer for Floor {
    const NAME: &'static str = "floor";
    const CAN: Can = Can { deflate: false, ..Can::ALL };
    type Conn<S: Io> = FloorConn<S>;
    type Deflated<S: Io> = NoDeflate;

    async fn server<S: Io>(io: S) -> Self::Conn<S> {
        conn(io, false)
    }
    async fn client<S: Io>(io: S) -> Self::Conn<S> {
        conn(io, true)
    }
}

impl<S: Io> FloorConn<S> {
    /// The next whole frame, unmasked in place: (first byte, where its payload lies).
    #[inline(always)]
    fn next(&mut self) -> Option<(u8, std::ops::Range<usize>)> {
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

    /// Room for the rest of the frame that begins at `start`, and how much to ask for.
    fn make_room(&mut self) -> usize {
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
        if need > BUFFER / 2 { need - have } else { BUFFER }
    }

    async fn fill(&mut self) -> bool {
        let want = self.make_room();
        let to = self.buf.len().min(self.end + want);
        let mut room = ReadBuf::new(&mut self.buf[self.end..to]);
        let io = &mut self.io;
        let read = std::future::poll_fn(|cx| Pin::new(&mut *io).poll_read(cx, &mut room)).await;
        let got = room.filled().len();
        self.end += got;
        read.is_ok() && got > 0
    }

    #[inline(always)]
    fn queue(&mut self, payload: &[u8]) {
        let mut header = [0; 14];
        let bit = if self.client { 0x80 } else { 0 };
        let mut len = write_head(&mut header, 0x82, payload.len(), bit);
        let mask = (self.rng.next() as u32).to_ne_bytes();
        if self.client {
            header[len..len + 4].copy_from_slice(&mask);
            len += 4;
        }
        self.out.reserve(14 + payload.len());
        self.out.extend_from_slice(&header[..len]);
        let at = self.out.len();
        self.out.extend_from_slice(payload);
        if self.client {
            xor(&mut self.out[at..], mask);
        }
    }

    async fn write_both(&mut self, payload: &[u8]) -> bool {
        let mut header = [0; 14];
        let len = write_head(&mut header, 0x82, payload.len(), 0);
        write_vectored(&mut self.io, &header[..len], payload).await
    }
}

async fn write_vectored<S: AsyncWrite + Unpin>(io: &mut S, head: &[u8], body: &[u8]) -> bool {
    let Ok(done) = io.write_vectored(&[IoSlice::new(head), IoSlice::new(body)]).await else {
        return false;
    };
    (done >= head.len() || io.write_all(&head[done..]).await.is_ok())
        && io.write_all(&body[done.saturating_sub(head.len())..]).await.is_ok()
}

impl<S: Io> Conn for FloorConn<S> {
    type Shared = Kept;
    async fn recv(&mut self, see: impl FnOnce(&[u8])) -> bool {
        loop {
            if let Some((first, at)) = self.next() {
                let payload = &self.buf[at];
                if first & 0xf == 1 && simdutf8::basic::from_utf8(payload).is_err() {
                    return false;
                }
                see(payload);
                return true;
            }
            if !self.fill().await {
                return false;
            }
        }
    }
    async fn feed(&mut self, payload: &[u8]) -> bool {
        if !self.client && payload.len() >= VECTORED {
            return (self.out.is_empty() || self.flush().await) && self.write_both(payload).await;
        }
        self.queue(payload);
        true
    }
    async fn feed_shared(&mut self, payload: &Kept) -> bool {
        self.feed(payload).await
    }
    async fn flush(&mut self) -> bool {
        let sent = self.out.is_empty() || self.io.write_all(&self.out).await.is_ok();
        self.out.clear();
        sent
    }
    async fn echo(&mut self) -> bool {
        loop {
            if let Some((_, at)) = self.next() {
                let mut header = [0; 14];
                let len = write_head(&mut header, 0x82, at.len(), 0);
                // The masked header was longer, so the new one fits in front of the payload.
                let from = at.start - len;
                self.buf[from..at.start].copy_from_slice(&header[..len]);
                return self.io.write_all(&self.buf[from..at.end]).await.is_ok();
            }
            if !self.fill().await {
                return false;
            }
        }
    }
    async fn echo_batch(&mut self) -> bool {
        loop {
            while let Some((_, at)) = self.next() {
                let mut header = [0; 14];
                let len = write_head(&mut header, 0x82, at.len(), 0);
                if at.len() >= VECTORED && self.out.is_empty() {
                    let from = at.start - len;
                    self.buf[from..at.start].copy_from_slice(&header[..len]);
                    if self.io.write_all(&self.buf[from..at.end]).await.is_err() {
                        return false;
                    }
                    continue;
                }
                self.out.extend_from_slice(&header[..len]);
                self.out.extend_from_slice(&self.buf[at]);
            }
            if !self.out.is_empty() && !self.flush().await {
                return false;
            }
            if !self.fill().await {
                return false;
            }
        }
    }
}
