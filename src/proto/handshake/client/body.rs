//! The body of a refusal (RFC 9112 §6.3).
use super::Refusal;
use crate::proto::{
    connection::RecvBuffer,
    handshake::{HandshakeError, head},
};

/// The longest first line of an HTTP chunk, in bytes. An incomplete line is scanned again each time
/// more of it arrives. This limit keeps these scans cheap.
const MAX_CHUNK_LINE: usize = 256;

/// A refusal whose body is being read.
#[derive(Debug)]
pub(super) struct Body {
    pub(super) refusal: Refusal,
    rest: Rest,
}

impl Body {
    pub(super) fn of(refusal: Refusal) -> Self {
        let rest = Rest::of(&refusal);
        Self { refusal, rest }
    }

    pub(super) fn refused(&self) -> HandshakeError {
        HandshakeError::Refused { status: self.refusal.status }
    }

    /// Moves bytes from `buf` into the body, until the body has `max` bytes. Returns `true` if the
    /// body has ended or has `max` bytes.
    pub(super) fn take(&mut self, buf: &mut RecvBuffer, eof: bool, max: usize) -> bool {
        let body = &mut self.refusal.body;
        loop {
            let (wire, room) = (buf.wire(), max - body.len());
            if room == 0 || matches!(self.rest, Rest::Known(0)) {
                return true;
            }
            if wire.is_empty() {
                return eof;
            }
            match self.rest.take(wire, room) {
                Taken::Body(n) => {
                    body.extend_from_slice(wire.get(..n).unwrap_or_default());
                    buf.skip(n);
                }
                Taken::Framing(n) => buf.skip(n),
                Taken::Nothing => return eof,
                Taken::End => return true,
            }
        }
    }
}

/// The framing of the unread rest of a body.
#[derive(Clone, Copy, Debug)]
enum Rest {
    /// The number of unread bytes of the body.
    Known(u64),
    /// `data` is the number of unread bytes of this chunk; 0 between chunks. `line_end` is the
    /// number of unread bytes of the CRLF behind this chunk.
    Chunked {
        data: u64,
        line_end: usize,
    },
    UntilEof,
}

/// The meaning of the next bytes on the wire.
enum Taken {
    Body(usize),
    /// This many bytes belong to the line before a chunk, or to the CRLF behind a chunk.
    Framing(usize),
    /// More bytes are needed to decide.
    Nothing,
    /// The body ends here, at the last chunk or at an invalid chunk.
    End,
}

impl Rest {
    /// Determines the meaning of the first bytes of `wire`, which must not be empty. Counts at most
    /// `room` bytes as body.
    fn take(&mut self, wire: &[u8], room: usize) -> Taken {
        let most = wire.len().min(room);
        match self {
            Self::UntilEof => Taken::Body(most),
            Self::Known(left) | Self::Chunked { data: left @ 1.., .. } => {
                let n = usize::try_from(*left).map_or(most, |left| most.min(left));
                *left -= n as u64;
                Taken::Body(n)
            }
            Self::Chunked { line_end: 0, .. } => match httparse::parse_chunk_size(wire) {
                Ok(httparse::Status::Complete((n, data @ 1..))) if n <= MAX_CHUNK_LINE => {
                    *self = Self::Chunked { data, line_end: 2 };
                    Taken::Framing(n)
                }
                Ok(httparse::Status::Partial) if wire.len() < MAX_CHUNK_LINE => Taken::Nothing,
                _ => Taken::End,
            },
            Self::Chunked { line_end, .. } => {
                let n = wire.len().min(*line_end);
                *line_end -= n;
                Taken::Framing(n)
            }
        }
    }

    /// Determines the framing of a refusal's body. In doubt the body ends with the stream, because
    /// no further response follows.
    fn of(refusal: &Refusal) -> Self {
        if matches!(refusal.status, 204 | 304) {
            return Self::Known(0);
        }
        let mut codings = refusal.headers().named("Transfer-Encoding").peekable();
        if codings.peek().is_some() {
            return match codings.any(|value| head::has_token(value, "chunked")) {
                true => Self::Chunked { data: 0, line_end: 0 },
                false => Self::UntilEof,
            };
        }
        let length = refusal.headers().get("Content-Length").and_then(number);
        length.map_or(Self::UntilEof, Self::Known)
    }
}

/// Parses a decimal number. `None` if `value` is empty, has other characters than digits, or is too
/// large.
pub(super) fn number(value: &[u8]) -> Option<u64> {
    if !value.iter().all(u8::is_ascii_digit) {
        return None;
    }
    head::text(value).parse().ok()
}
