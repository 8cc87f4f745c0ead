//! Finds, checks and parses the head of an HTTP/1.1 message (RFC 9112 §2).
//!
//! [`Scan`] finds the end of a head in one pass over all bytes, even if they arrive one by one, and
//! enforces the limits of `Config`. It refuses bare LF, bare CR and control characters except tabs,
//! and a folded line in a request, because parsers read these in different ways, which allows
//! request smuggling. In a response it unfolds each folded line in place, so that all later parsers
//! see one line.
//!
//! `httparse` then parses the complete head once. A request that came whole in one read, without
//! other bytes, goes to `httparse` without a scan; if that or a limit refuses it, `Scan` runs after
//! all, to find the first fault. [`server`](super::server) checks the headers that `httparse`
//! found; all other code, such as [`client`](super::client), reads the validated head with
//! [`Headers`].
use super::HandshakeError;
use crate::proto::{config::Config, error::shown, role::Role};
use core::{fmt, mem::MaybeUninit};

/// The default of [`Config::max_headers`], 128, and the four headers that `tickwire-http` adds to a
/// request of HTTP/2. Fixed, because the parser keeps the headers in an array on the stack.
const MAX_HEADERS: usize = 132;

/// Scans each byte once, except a CR at the end of a read. The result depends only on the bytes,
/// not on how reads cut them.
#[derive(Debug)]
pub(super) struct Scan {
    /// The next byte to scan, or a CR whose LF has not arrived. All bytes before were accepted.
    at: usize,
    /// Where the current line begins; in a folded line, where its last part begins. Invariant:
    /// `line <= at`.
    line: usize,
    /// Complete ones.
    lines: usize,
    /// The longest head, in bytes.
    pub(super) max_head: usize,
    max_headers: usize,
    /// In bytes; `usize::MAX` for a response, whose first line has no limit of its own.
    max_line: usize,
    /// Of the endpoint that reads: a client reads a response.
    pub(super) role: Role,
}

impl Scan {
    pub(super) fn new(role: Role, config: &Config) -> Self {
        let max_head = config.max_head;
        let max_headers = config.max_headers.min(MAX_HEADERS);
        let max_line = match role {
            Role::Server => config.max_request_line,
            Role::Client => usize::MAX,
        };
        Self { at: 0, line: 0, lines: 0, max_head, max_headers, max_line, role }
    }

    pub(super) fn restart(&mut self) {
        self.at = 0;
        self.line = 0;
        self.lines = 0;
    }

    /// `bytes` has those of the previous call and all that arrived since. Returns the length of a
    /// complete head, empty line included. Changes `bytes` only to [unfold](Self::unfold) a line,
    /// or to [replace](count_as_1_1) the version of a request.
    pub(super) fn run(&mut self, bytes: &mut [u8]) -> Result<Option<usize>, HandshakeError> {
        loop {
            // The error must be for the first fault, so we examine no byte beyond the window: a
            // fault there comes after the fault that the line is too long.
            let window = self.window();
            let seen = bytes.get(..window).unwrap_or(bytes);
            // RFC 9112 §5.2: a line that begins with a blank continues the previous one. The first
            // line has none before it, so httparse refuses it.
            if self.lines > 0
                && self.at == self.line
                && matches!(seen.get(self.at), Some(b' ' | b'\t'))
            {
                self.unfold(bytes)?;
                continue;
            }
            let found = find_control(seen, self.at);
            match found.and_then(|i| Some((i, *seen.get(i)?, seen.get(i + 1)))) {
                Some((i, b'\t', _)) => self.at = i + 1, // httparse checks where a tab may be.
                Some((i, b'\r', Some(b'\n'))) => {
                    let empty = i == self.line;
                    self.at = i + 2;
                    self.line = i + 2;
                    match (empty, self.lines) {
                        // RFC 9112 §2.2 allows one empty line before a request, which the server's
                        // handshake has skipped.
                        (true, 0) => {
                            let what = "empty line (or version 2 of the PROXY protocol)";
                            return Err(HandshakeError::Malformed { what });
                        }
                        (true, _) => return Ok(Some(i + 2)),
                        // Line 0 is the first line, so line n is header n.
                        (false, lines) if lines > self.max_headers => {
                            let limit = shown(self.max_headers);
                            return Err(HandshakeError::TooManyHeaders { limit });
                        }
                        (false, lines) => {
                            if lines == 0 && self.role == Role::Server {
                                count_as_1_1(bytes.get_mut(..i).unwrap_or_default());
                            }
                            self.lines += 1;
                        }
                    }
                }
                Some((_, b'\r', Some(_))) => {
                    return Err(HandshakeError::Malformed { what: "CR without LF" });
                }
                Some((_, b'\n', _)) => {
                    return Err(HandshakeError::Malformed { what: "LF without CR" });
                }
                Some((_, b, _)) if b != b'\r' => {
                    return Err(HandshakeError::Malformed { what: "control character" });
                }
                found => {
                    // `seen` has no control character from `at` on, or only a CR at its end. If it
                    // is the whole window, the line ends beyond.
                    self.at = found.map_or(seen.len(), |(i, ..)| i);
                    return if bytes.len() >= window { Err(self.too_long()) } else { Ok(None) };
                }
            }
        }
    }

    /// The line end and the blank become spaces (RFC 9112 §5.2). A server may refuse folded lines,
    /// and this one does. The first line cannot be continued.
    #[cold]
    fn unfold(&mut self, bytes: &mut [u8]) -> Result<(), HandshakeError> {
        match bytes.get_mut(self.at - LINE_END..=self.at) {
            Some(fold) if self.role == Role::Client && self.lines > 1 => fold.fill(b' '),
            _ => return Err(HandshakeError::Malformed { what: "folded line" }),
        }
        // `run` will count the joined line, so the one before must no longer count. `at` moves past
        // the blank, so that `run` doesn't unfold the line again.
        self.lines -= 1;
        self.at += 1;
        Ok(())
    }

    /// Whether [`run`](Self::run) would accept a head that httparse accepted and that ends in CR LF
    /// CR LF. httparse accepts only two forms that `run` refuses: an empty line before the first
    /// line, and a bare LF at the end of a line. So it is enough to find CR LF before each name.
    /// `first` is the length of the first line.
    fn takes(&self, head: &[u8], first: usize, headers: &[httparse::Header<'_>]) -> bool {
        let begins_line = |name: &str| {
            let at = name.as_ptr().addr().wrapping_sub(head.as_ptr().addr());
            head.get(..at).is_some_and(|before| before.ends_with(b"\r\n"))
        };
        headers.iter().all(|header| begins_line(header.name))
            && !matches!(head.first(), Some(b'\r' | b'\n'))
            && head.len() <= self.max_head
            && headers.len() <= self.max_headers
            && first <= self.max_line // If `is_bound` is false, `max_head` implies this check.
    }

    /// The current line must end within so many bytes of the head.
    fn window(&self) -> usize {
        if self.is_bound() { self.max_line + LINE_END } else { self.max_head }
    }

    #[cold]
    fn too_long(&self) -> HandshakeError {
        match self.is_bound() {
            true => HandshakeError::RequestLineTooLong { limit: shown(self.max_line) },
            false => HandshakeError::HeadTooLong { limit: shown(self.max_head) },
        }
    }

    /// Whether the limit on the first line applies, which is below that on the head.
    fn is_bound(&self) -> bool {
        self.lines == 0 && self.max_line.saturating_add(LINE_END) < self.max_head
    }
}

/// A server processes a later minor version as the latest that it knows (RFC 9110 §2.5). `httparse`
/// knows at most 1.1.
fn count_as_1_1(line: &mut [u8]) {
    if let [.., b'H', b'T', b'T', b'P', b'/', b'1', b'.', minor @ b'2'..=b'9'] = line {
        *minor = b'1';
    }
}

const LINE_END: usize = 2;

pub(super) fn is_control(b: u8) -> bool {
    b < b' ' || b == 0x7f
}

fn find_control(bytes: &[u8], from: usize) -> Option<usize> {
    let rest = bytes.get(from..)?;
    let low = |x: u64| x.wrapping_sub(each(b' ')) & !x; // below a blank
    let found = find(rest, |x| low(x) | zero(x ^ each(0x7f)), is_control)?;
    Some(from + found)
}

fn find_byte(bytes: &[u8], byte: u8) -> Option<usize> {
    find(bytes, |x| zero(x ^ each(byte)), |b| b == byte)
}

/// The first byte for which `one` is true. `eight` tests eight bytes at once, in a word whose
/// lowest byte is the first, and marks a byte by its top bit (0x80). Only the lowest mark counts;
/// higher ones, and the other seven bits, have no meaning.
#[inline]
fn find(bytes: &[u8], eight: impl Fn(u64) -> u64, one: impl Fn(u8) -> bool) -> Option<usize> {
    let (words, tail) = bytes.as_chunks::<8>();
    for (i, word) in words.iter().enumerate() {
        let hits = eight(u64::from_le_bytes(*word)) & each(0x80);
        if hits != 0 {
            return Some(8 * i + hits.trailing_zeros() as usize / 8);
        }
    }
    Some(8 * words.len() + tail.iter().position(|&b| one(b))?)
}

const fn each(byte: u8) -> u64 {
    u64::from_le_bytes([byte; 8])
}

/// Marks the zero bytes of a word, for [`find`]. The subtraction's borrow can mark other bytes too,
/// but only above a zero byte, so the lowest mark is right.
fn zero(x: u64) -> u64 {
    x.wrapping_sub(each(1)) & !x
}

/// The lengths of a request line's parts, and of the whole head, in bytes.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct RequestLine {
    pub(super) method: usize,
    pub(super) target: usize,
    pub(super) len: usize,
}

impl RequestLine {
    /// Saves a pass over the bytes for a head that came in one read without other bytes, as most
    /// do. `None` if `scan` must run: the head is incomplete or faulty, came in several reads, or
    /// is followed by other bytes. `look` sees only a head that `scan` would accept.
    pub(super) fn parse_at_once<'a, T>(
        wire: &'a [u8],
        scan: &Scan,
        look: impl FnOnce(&httparse::Request<'_, 'a>) -> T,
    ) -> Option<(Self, T)> {
        // A scan that began in an earlier read continues: without it we would save only the scan of
        // the last read.
        if scan.at > 0 || !wire.ends_with(b"\r\n\r\n") {
            return None;
        }
        let (line, found) = Self::parse(wire, |request| {
            let first = find_byte(wire, b'\r')?; // `takes` checks that this CR ends the first line.
            scan.takes(wire, first, request.headers).then(|| look(request))
        })
        .ok()?;
        Some((line, found?))
    }

    /// `look` is a callback, because the array of parsed headers exists only during this call.
    pub(super) fn parse<'a, T>(
        head: &'a [u8],
        look: impl FnOnce(&httparse::Request<'_, 'a>) -> T,
    ) -> Result<(Self, T), HandshakeError> {
        let mut headers = [const { MaybeUninit::uninit() }; MAX_HEADERS];
        let mut parsed = httparse::Request::new(&mut []);
        match parsed.parse_with_uninit_headers(head, &mut headers) {
            Ok(httparse::Status::Complete(len)) if len == head.len() => {}
            // `Scan` and httparse differ about the end of the head. Or `parse_at_once` has passed
            // other bytes behind a head: it drops this error, and `scan` runs.
            Ok(_) => return Err(HandshakeError::Malformed { what: "first line" }),
            Err(e) => {
                // httparse accepts 1.0 and 1.1, and `Scan` replaced 1.2 to 1.9: any other 1.x is
                // malformed.
                let version = head.split(|&b| b == b' ').nth(2);
                return Err(refused(e, version.filter(|v| !v.starts_with(b"HTTP/1."))));
            }
        }
        let target = parsed.path.unwrap_or_default(); // After `Complete`, path and method are set.
        // RFC 9112 §3.2 allows only URI characters and no fragment, but httparse accepts more. We
        // let characters such as `|` pass, because some clients do not escape them.
        if !target.bytes().all(|b| b.is_ascii_graphic() && b != b'#') {
            return Err(HandshakeError::Malformed { what: "request target" });
        }
        let method = parsed.method.unwrap_or_default().len();
        Ok((Self { method, target: target.len(), len: head.len() }, look(&parsed)))
    }

    /// `head` must be the head that was parsed.
    pub(super) fn parts(self, head: &[u8]) -> (&str, &str) {
        let (method, rest) = head.split_at_checked(self.method).unwrap_or_default();
        let target = rest.get(1..=self.target).unwrap_or_default();
        (text(method), text(target))
    }

    /// `head` must be the head that was parsed.
    pub(super) fn headers(self, head: &[u8]) -> Headers<'_> {
        // Two blanks, `HTTP/1.1`, CR and LF.
        Headers::new(head.get(self.method + self.target + 12..).unwrap_or_default())
    }
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct StatusLine {
    /// The x of `HTTP/1.x`.
    pub(crate) minor: u8,
    pub(crate) status: u16,
    pub(crate) len: usize,
}

impl StatusLine {
    /// [`Scan`] must have accepted `head`.
    pub(super) fn parse(head: &[u8]) -> Result<Self, HandshakeError> {
        let mut headers = [const { MaybeUninit::uninit() }; MAX_HEADERS];
        let mut parsed = httparse::Response::new(&mut []);
        let config = httparse::ParserConfig::default();
        match config.parse_response_with_uninit_headers(&mut parsed, head, &mut headers) {
            Ok(httparse::Status::Complete(len)) if len == head.len() => {}
            // The frames must begin where both parsers see the head's end.
            Ok(_) => return Err(HandshakeError::Malformed { what: "first line" }),
            Err(e) => return Err(refused(e, Some(head))),
        }
        match (parsed.version, parsed.code) {
            // httparse accepts any three digits. The first digit of a status is at least 1.
            (Some(minor), Some(status @ 100..)) => Ok(Self { minor, status, len: head.len() }),
            _ => Err(HandshakeError::Malformed { what: "status" }),
        }
    }
}

pub(super) fn begins_well(wire: &[u8]) -> Result<(), HandshakeError> {
    const STATUS_LINE: &[u8] = b"HTTP/";
    if wire.iter().zip(STATUS_LINE).all(|(got, want)| got == want) {
        return Ok(());
    }
    let what = match wire {
        // The first byte of a TLS record: 0x15 for an alert, 0x16 for a TLS handshake.
        [0x15 | 0x16, ..] => "a TLS record, where plain HTTP is spoken",
        // A frame of less than 64 KiB, and its type: the first one is SETTINGS (RFC 9113 §3.4).
        [0, _, _, 4, ..] => "HTTP/2, where HTTP/1.1 is spoken",
        _ => "first line",
    };
    Err(HandshakeError::Malformed { what })
}

/// `version` has the bytes where the version of HTTP should be.
fn refused(e: httparse::Error, version: Option<&[u8]>) -> HandshakeError {
    let what = match e {
        // If httparse refuses a line with version 1.1, the blank after it is missing, so the line
        // is malformed. So is one with 0.x, because a first line of HTTP/0.9 has no version at all.
        httparse::Error::Version
            if version
                .and_then(|v| v.strip_prefix(b"HTTP/"))
                .is_some_and(|v| !v.starts_with(b"0") && !v.starts_with(b"1.1")) =>
        {
            return HandshakeError::BadHttpVersion;
        }
        // `Scan` counts the headers first, so only `parse_at_once` gets this error, and drops it.
        httparse::Error::TooManyHeaders => "headers",
        httparse::Error::HeaderName => "header name",
        httparse::Error::HeaderValue => "header value",
        httparse::Error::NewLine => "line end",
        httparse::Error::Status => "status",
        httparse::Error::Token | httparse::Error::Version => "first line",
    };
    HandshakeError::Malformed { what }
}

/// The headers of a request or response: an iterator over names and values, in the order of the
/// wire.
///
/// Names are as the peer wrote them, so compare them without regard to case. Values may contain
/// tabs and all bytes that are not control characters, and have no blanks around them (RFC 9110
/// §5.5).
#[derive(Clone)]
pub struct Headers<'a> {
    /// The lines that were not returned yet, up to the empty line.
    rest: &'a [u8],
}

impl<'a> Headers<'a> {
    /// `lines` is a validated head without its first line.
    pub(super) fn new(lines: &'a [u8]) -> Self {
        Self { rest: lines }
    }

    /// `head` is a validated head.
    pub(crate) fn of(head: &'a [u8]) -> Self {
        let first = head.iter().position(|&b| b == b'\n').map_or(head.len(), |end| end + 1);
        Self::new(head.get(first..).unwrap_or_default())
    }

    /// The first value of the header `name`, without the blanks around it. Names match without
    /// regard to case.
    pub fn get(&self, name: &str) -> Option<&'a [u8]> {
        self.clone().named(name).next()
    }

    pub(super) fn named(self, name: &str) -> impl Iterator<Item = &'a [u8]> + Clone {
        self.filter(move |(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }
}

impl<'a> Iterator for Headers<'a> {
    type Item = (&'a str, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let end = find_byte(self.rest, b'\r')?;
        let (line, after) = self.rest.split_at_checked(end)?;
        let colon = find_byte(line, b':')?; // The empty line has no colon, and ends the iteration.
        let (name, value) = line.split_at_checked(colon)?;
        self.rest = after.get(2..)?;
        Some((text(name), trim(value.get(1..)?)))
    }
}

impl core::iter::FusedIterator for Headers<'_> {}

/// Shows at most 32 names, so that a peer cannot fill a log. Shows no values, because they may be
/// cookies or passwords.
impl fmt::Debug for Headers<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 32;
        let mut names = self.clone().map(|(name, _)| name);
        let mut list = f.debug_list();
        for name in names.by_ref().take(SHOWN) {
            list.entry(&crate::proto::shown::Shown(name.as_bytes()));
        }
        match names.next() {
            Some(_) => list.finish_non_exhaustive(),
            None => list.finish(),
        }
    }
}

/// `ascii` was checked; bytes that aren't UTF-8 would become an empty text.
pub(super) fn text(ascii: &[u8]) -> &str {
    core::str::from_utf8(ascii).unwrap_or_default()
}

/// RFC 9110 §5.6.3.
pub(super) fn trim(mut bytes: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = bytes {
        bytes = rest;
    }
    bytes
}

/// RFC 9110 §5.6.2.
pub(super) fn is_token(bytes: &[u8]) -> bool {
    !bytes.is_empty() && bytes.iter().all(|&b| is_tchar(b))
}

/// RFC 9110 §5.6.2.
pub(super) fn is_tchar(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b)
}

/// Comma-separated; empty elements are skipped (RFC 9110 §5.6.1).
pub(super) fn list(mut rest: &[u8]) -> impl Iterator<Item = &[u8]> + Clone {
    core::iter::from_fn(move || take_element(&mut rest))
}

fn take_element<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    while let [b',' | b' ' | b'\t', after @ ..] = *rest {
        *rest = after;
    }
    let end = find_byte(rest, b',').unwrap_or(rest.len());
    let (element, after) = rest.split_at_checked(end)?;
    *rest = after;
    (!element.is_empty()).then(|| trim(element))
}

/// Whether a list has the token, without regard to case. The first test handles the usual list,
/// which has one element. This is inlined, so that `token` is a constant.
#[inline]
pub(super) fn has_token(value: &[u8], token: &str) -> bool {
    let is_token = |element: &[u8]| element.eq_ignore_ascii_case(token.as_bytes());
    is_token(value) || list(value).any(is_token)
}

#[cfg(test)]
mod tests;
