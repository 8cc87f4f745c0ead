use super::{body::number, date};
#[cfg(doc)]
use crate::proto::config::Config;
use crate::proto::{debug::__debug_text, handshake::head::Headers, shown::Shown};
use alloc::vec::Vec;
use core::{fmt, time::Duration};

/// A server's final response other than a 101: status, headers, and the start of the body. The body
/// is read up to [`max_refusal_body`](Config::max_refusal_body) bytes, and for at most a second
/// after the head.
///
/// Redirects are not followed. Without TLS, anyone on the path can forge a refusal. You can log a
/// refusal directly, because its `Display` and `Debug` escape and truncate the server's text.
#[derive(Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The HTTP status.
    pub status: u16,
    /// From the status line to the empty line, validated.
    head: Vec<u8>,
    /// The start of the body, without the framing of HTTP chunks.
    pub body: Vec<u8>,
}

impl Refusal {
    pub(super) fn new(status: u16, head: &[u8]) -> Self {
        Self { status, head: head.to_vec(), body: Vec::new() }
    }

    /// All headers, in the order of the wire.
    pub fn headers(&self) -> Headers<'_> {
        Headers::of(&self.head)
    }

    /// The time that the server asks a client to wait before the next attempt: Retry-After in
    /// seconds, or as a date (RFC 9110 §10.2.3). At most 2^31 s, which is 68 years.
    ///
    /// No clock is needed for a date: the response's own Date, and its Age if a cache sent it
    /// (RFC 9111 §5.1), say when it was written and how old it is. Zero if the date has passed.
    ///
    /// `None` if Retry-After is missing or malformed, and for a date without a Date to compare.
    pub fn retry_after(&self) -> Option<Duration> {
        let headers = self.headers();
        let value = headers.get("Retry-After")?;
        let seconds = match number(value) {
            Some(seconds) => seconds,
            None => {
                let until = date::seconds(value)?;
                let sent = date::seconds(headers.get("Date")?)?;
                let age = headers.get("Age").and_then(number).unwrap_or(0);
                until.saturating_sub(sent).saturating_sub(age)
            }
        };
        // RFC 9111 §1.2.2: a number that is too large counts as 2^31. Much longer times would
        // overflow an `Instant`.
        Some(Duration::from_secs(seconds.min(1 << 31)))
    }

    fn reason(&self) -> &[u8] {
        let line = self.head.split(|&b| b == b'\r').next().unwrap_or_default();
        line.splitn(3, |&b| b == b' ').nth(2).unwrap_or_default()
    }
}

/// Shows one line: status, reason, and the start of the body. Reason and body are escaped, and each
/// is cut at 64 bytes.
impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "server answered {}", self.status)?;
        if !self.reason().is_empty() {
            write!(f, " {}", Shown(self.reason()))?;
        }
        // Without the line end of the body, which would be shown as an escape.
        match self.body.trim_ascii() {
            [] => Ok(()),
            body => write!(f, ": {}", Shown(body)),
        }
    }
}

/// Shows the names of the headers, not their values. Then shows the line of `Display`.
impl fmt::Debug for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Refusal")
            .field("status", &self.status)
            .field("reason", &Shown(self.reason()))
            .field("headers", &self.headers())
            .field("body", &Shown(&self.body))
            .finish()?;
        __debug_text(f, self)
    }
}

impl core::error::Error for Refusal {}
