use super::{challenge::schemes, date};
use crate::proto::{
    debug::debug_text,
    handshake::head::{Headers, text},
    shown::Shown,
};
use alloc::vec::Vec;
use core::{fmt, time::Duration};

/// A server's final response other than a 101, or a proxy's response to CONNECT other than a 2xx:
/// status, headers, and the start of the body. The body is read for at most a second after the
/// head.
///
/// Redirects are not followed. Without TLS, anyone on the path can forge a refusal. You can log a
/// refusal directly, because its `Display` and `Debug` escape and truncate the server's text.
#[derive(Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The HTTP status.
    pub status: u16,
    /// From the status line to the empty line, validated.
    head: Vec<u8>,
    /// The first 4 KiB of the body, without the framing of HTTP chunks. Fewer, if
    /// [`max_head`](crate::Config::max_head) is lower.
    pub body: Vec<u8>,
    by: Refuser,
}

/// Who refuses.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refuser {
    Server,
    Proxy,
}

impl Refusal {
    pub(super) fn new(status: u16, head: &[u8], by: Refuser) -> Self {
        Self { status, head: head.to_vec(), body: Vec::new(), by }
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

    fn show_methods(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        /// How many methods are shown: few enough that a proxy cannot fill a log.
        const SHOWN: usize = 8;
        let methods = self.headers().named("Proxy-Authenticate").flat_map(schemes);
        let mut has_basic = false;
        let mut number = 0;
        for method in methods {
            has_basic |= method.eq_ignore_ascii_case("Basic");
            match number {
                0 => write!(f, "; it offers {}", Shown(method.as_bytes()))?,
                1..SHOWN => write!(f, ", {}", Shown(method.as_bytes()))?,
                SHOWN => f.write_str(", ..")?,
                _ => {}
            }
            number += 1;
        }
        f.write_str(match number {
            0 => "; check user and password in its URL",
            _ if has_basic => ": check user and password in its URL",
            _ => ", but not Basic, which user and password in its URL are for",
        })
    }

    fn reason(&self) -> &[u8] {
        let line = self.head.split(|&b| b == b'\r').next().unwrap_or_default();
        line.splitn(3, |&b| b == b' ').nth(2).unwrap_or_default()
    }
}

/// Shows one line: status, reason, and the start of the body. Reason and body are escaped, and each
/// is cut at 64 bytes. For a proxy's 407, also shows the methods of authentication that it offers.
impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.by {
            Refuser::Server => "server",
            Refuser::Proxy => "proxy",
        })?;
        write!(f, " answered {}", self.status)?;
        if !self.reason().is_empty() {
            write!(f, " {}", Shown(self.reason()))?;
        }
        // Without the line end of the body, which would be shown as an escape.
        match self.body.trim_ascii() {
            [] => {}
            body => write!(f, ": {}", Shown(body))?,
        }
        match (self.by, self.status) {
            (Refuser::Proxy, 407) => self.show_methods(f),
            _ => Ok(()),
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
        debug_text(f, self)
    }
}

impl core::error::Error for Refusal {}

/// A number above `u64::MAX` counts as `u64::MAX`.
pub(super) fn number(value: &[u8]) -> Option<u64> {
    let digits = !value.is_empty() && value.iter().all(u8::is_ascii_digit);
    digits.then(|| text(value).parse().unwrap_or(u64::MAX))
}
