//! The body of a refusal (RFC 9112 §6.3).
use super::response::{Refusal, Refuser, number};
use crate::proto::{
    connection::RecvBuffer,
    handshake::{
        HandshakeError, Progress, Reading,
        head::{self, StatusLine},
    },
};

/// The longest line before a chunk, in bytes. An incomplete line is scanned again each time more of
/// it arrives: the limit keeps these scans cheap.
const MAX_CHUNK_LINE: usize = 256;

/// The most bytes kept of a body, which may never end. `max_head` may lower it.
const MOST: usize = 4 << 10;

#[derive(Debug)]
pub(crate) struct Body {
    pub(crate) refusal: Refusal,
    /// Of the body or, if that is chunked, of the current chunk; [`UNTIL_EOF`] up to the end of the
    /// stream.
    left: u64,
    chunked: bool,
    /// The unread bytes of the CRLF after the current chunk.
    line_end: usize,
}

const UNTIL_EOF: u64 = u64::MAX;

impl Body {
    /// Takes the refusal's head, which is complete, from the front of `reading`.
    pub(crate) fn behind(reading: &mut Reading, line: StatusLine, by: Refuser) -> Self {
        let head = reading.wire().get(..line.len).unwrap_or_default();
        let refusal = Refusal::new(line.status, head, by);
        reading.skip(line.len);
        let (left, chunked) = framing(&refusal);
        let body = Self { refusal, left, chunked, line_end: 0 };
        reading.expect_body(body.refused());
        body
    }

    /// Fails with [`Refused`](HandshakeError::Refused) once as much of the body is read as will be.
    pub(crate) fn step(&mut self, reading: &mut Reading) -> Result<Progress, HandshakeError> {
        let eof = reading.is_at_end();
        let max = MOST.min(reading.scan.max_head);
        match self.take(&mut reading.buf, eof, max) {
            true => Err(self.refused()),
            false => Ok(Progress::Partial),
        }
    }

    fn refused(&self) -> HandshakeError {
        HandshakeError::Refused { status: self.refusal.status }
    }

    /// Moves bytes from `buf` until the body has `max`. `true` once no more will be added: the body
    /// is complete or has `max` bytes, a chunk is invalid, or the stream has ended.
    fn take(&mut self, buf: &mut RecvBuffer, eof: bool, max: usize) -> bool {
        let body = &mut self.refusal.body;
        loop {
            let wire = buf.wire();
            let room = max - body.len(); // No step adds more than `room`.
            if room == 0 || (self.left == 0 && !self.chunked) {
                return true;
            }
            let n = if wire.is_empty() {
                return eof;
            } else if self.left > 0 {
                // `left` may exceed a `usize` of 32 bits.
                let n = usize::try_from(self.left).unwrap_or(usize::MAX).min(wire.len()).min(room);
                body.extend_from_slice(wire.get(..n).unwrap_or_default());
                self.left -= n as u64;
                n
            } else if self.line_end > 0 {
                // Not checked: no response follows this one, so wrong bytes in place of the CRLF
                // can only spoil the body.
                let n = wire.len().min(self.line_end);
                self.line_end -= n;
                n
            } else {
                match httparse::parse_chunk_size(wire) {
                    Ok(httparse::Status::Complete((n, data @ 1..))) if n <= MAX_CHUNK_LINE => {
                        self.left = data;
                        self.line_end = 2;
                        n
                    }
                    Ok(httparse::Status::Partial) if wire.len() < MAX_CHUNK_LINE => return eof,
                    _ => return true, // The last chunk, which has length 0, or an invalid chunk.
                }
            };
            buf.skip(n);
        }
    }
}

/// The length of a refusal's body, and whether it is chunked. If the headers leave that in doubt,
/// it ends with the stream, because the refusal is the last response.
fn framing(refusal: &Refusal) -> (u64, bool) {
    // RFC 9112 §6.3: a 204 or a 304 has no body, whatever its headers say.
    if matches!(refusal.status, 204 | 304) {
        return (0, false);
    }
    // RFC 9112 §6.3: Transfer-Encoding overrides Content-Length. Only the last transfer coding can
    // say where the body ends.
    if let Some(last) = refusal.headers().named("Transfer-Encoding").flat_map(head::list).last() {
        let chunked = last.eq_ignore_ascii_case(b"chunked");
        return (if chunked { 0 } else { UNTIL_EOF }, chunked);
    }
    let lengths = refusal.headers().named("Content-Length").map(number);
    let length = lengths.reduce(|all, other| all.filter(|_| all == other)).flatten();
    (length.unwrap_or(UNTIL_EOF), false)
}
