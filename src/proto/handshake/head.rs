//! The head of an HTTP/1.1 message (RFC 9112 §2): its end, its syntax and its lines.
//!
//! [`Scan`] finds the end in one pass, however the bytes trickle in, and enforces the limits in the
//! same pass. It refuses forms that parsers read in different ways, because such forms allow
//! request smuggling: bare LF, bare CR, folded lines, control characters. `httparse` then parses
//! the complete head once, for the grammar of the first line, names and values. A request that came
//! in one read goes to `httparse` at once. Such a request is scanned only if `httparse` finds a
//! fault, or more than one head. [`server`](super::server) and [`client`](super::client) interpret
//! the headers of the validated head with [`Headers`].
use super::HandshakeError;
use crate::proto::{config::Config, error::shown, role::Role};
use core::{fmt, mem::MaybeUninit};

/// The upper bound of [`Config::max_headers`]: its default, and four more. `tickwire-http` adds
/// four headers to a request of HTTP/2, which lacks them.
const MAX_HEADERS: usize = 132;

/// Looks for the end of a head, and scans each byte once.
#[derive(Debug)]
pub(super) struct Scan {
    /// The next byte to scan, or a CR whose LF has not arrived. All bytes before it were accepted.
    at: usize,
    /// Where the current line begins. Invariant: `line <= at`.
    line: usize,
    /// The number of complete lines.
    lines: usize,
    /// Invariant of these limits: the result depends only on the bytes, not on where they are cut.
    max_head: usize,
    max_headers: usize,
    /// The limit on the first line. Only a request has this limit.
    max_line: usize,
}

impl Scan {
    /// A scan for the head that an endpoint of this role reads.
    pub(super) fn new(role: Role, config: &Config) -> Self {
        let (max_head, max_headers) = (config.max_head, config.max_headers.min(MAX_HEADERS));
        let max_line = match role {
            Role::Server => config.max_request_line,
            Role::Client => usize::MAX,
        };
        Self { at: 0, line: 0, lines: 0, max_head, max_headers, max_line }
    }

    /// Begins at the next head, which may follow directly.
    pub(super) fn restart(&mut self) {
        (self.at, self.line, self.lines) = (0, 0, 0);
    }

    /// Continues in `bytes`, which contains the bytes of the last call and the bytes that followed.
    /// Returns the length of the head, blank line included, once the head is complete.
    pub(super) fn run(&mut self, bytes: &[u8]) -> Result<Option<usize>, HandshakeError> {
        loop {
            // Bytes beyond the limits are not examined, so that the result is the first fault in
            // the order of the bytes.
            let window = self.window();
            let seen = bytes.get(..window).unwrap_or(bytes);
            // RFC 9112 §5.2: a line that begins with a blank continues the previous line.
            if self.lines > 0
                && self.at == self.line
                && matches!(seen.get(self.at), Some(b' ' | b'\t'))
            {
                return Err(HandshakeError::Malformed { what: "folded line" });
            }
            let found = find_control(seen, self.at);
            match found.and_then(|i| Some((i, *seen.get(i)?, seen.get(i + 1)))) {
                Some((i, b'\t', _)) => self.at = i + 1, // httparse checks where a tab may be.
                Some((i, b'\r', Some(b'\n'))) => {
                    let empty = i == self.line;
                    (self.at, self.line) = (i + 2, i + 2);
                    match (empty, self.lines) {
                        (true, 0) => {
                            return Err(HandshakeError::Malformed { what: "empty line" });
                        }
                        (true, _) => return Ok(Some(i + 2)),
                        (false, lines) if lines > self.max_headers => {
                            let limit = shown(self.max_headers);
                            return Err(HandshakeError::TooManyHeaders { limit });
                        }
                        (false, _) => self.lines += 1,
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
                    self.at = found.map_or(seen.len(), |(i, ..)| i);
                    return if bytes.len() >= window { Err(self.too_long()) } else { Ok(None) };
                }
            }
        }
    }

    /// Whether [`run`](Self::run) would accept a head that ends in an empty line, and that httparse
    /// accepted. `first` is the length of its first line. Of the forms that `run` refuses, httparse
    /// accepts only two: an empty line in front, and a line that ends in a bare LF. A name, or the
    /// empty line, follows each line that ends in LF, so it is enough to look in front of names.
    fn takes(&self, head: &[u8], first: usize, headers: &[httparse::Header<'_>]) -> bool {
        let begins_line = |name: &str| {
            let at = name.as_ptr().addr().wrapping_sub(head.as_ptr().addr());
            head.get(..at).is_some_and(|before| before.ends_with(b"\r\n"))
        };
        headers.iter().all(|header| begins_line(header.name))
            && !matches!(head.first(), Some(b'\r' | b'\n'))
            && head.len() <= self.max_head
            && headers.len() <= self.max_headers
            && first <= self.max_line
    }

    /// The number of bytes within which the current line must end.
    fn window(&self) -> usize {
        if self.is_bound() { self.max_line + LINE_END } else { self.max_head }
    }

    /// The error for a line that exceeds [`window`](Self::window).
    #[cold]
    fn too_long(&self) -> HandshakeError {
        match self.is_bound() {
            true => HandshakeError::RequestLineTooLong { limit: shown(self.max_line) },
            false => HandshakeError::HeadTooLong { limit: shown(self.max_head) },
        }
    }

    /// Whether the limit on the first line bounds the current line.
    fn is_bound(&self) -> bool {
        self.lines == 0 && self.max_line.saturating_add(LINE_END) < self.max_head
    }
}

/// The length of CR LF.
const LINE_END: usize = 2;

/// Whether a byte is a control character: below a blank, or DEL.
pub(super) fn is_control(b: u8) -> bool {
    b < b' ' || b == 0x7f
}

/// The index of the first control character, from `from` on.
fn find_control(bytes: &[u8], from: usize) -> Option<usize> {
    let rest = bytes.get(from..)?;
    let low = |x: u64| x.wrapping_sub(each(b' ')) & !x; // below a blank
    let found = find(rest, |x| low(x) | zero(x ^ each(0x7f)), is_control)?;
    Some(from + found)
}

/// The index of the first byte of this value.
fn find_byte(bytes: &[u8], byte: u8) -> Option<usize> {
    find(bytes, |x| zero(x ^ each(byte)), |b| b == byte)
}

/// The index of the first byte for which `one` is true. `eight` tests eight bytes at once, in a
/// word whose lowest byte is the first. In the result of `eight`, the lowest 0x80 marks the first
/// byte that matches. The other bits of the result have no meaning.
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

/// Eight times the same byte.
const fn each(byte: u8) -> u64 {
    u64::from_le_bytes([byte; 8])
}

/// For [`find`]: marks the zero bytes. The subtraction's borrow may mark a byte wrongly, but only
/// above a zero byte, so the lowest mark is right.
fn zero(x: u64) -> u64 {
    x.wrapping_sub(each(1)) & !x
}

/// The lengths of the parts of a request line, and the length of the whole head.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct RequestLine {
    pub(super) method: usize,
    pub(super) target: usize,
    pub(super) len: usize,
}

impl RequestLine {
    /// Parses a head that came in one read without other bytes, as most heads do. This takes one
    /// pass instead of two. `None` if `scan` must run first, to find the end or the fault of the
    /// head.
    pub(super) fn parse_at_once<'a, T>(
        wire: &'a [u8],
        scan: &Scan,
        look: impl FnOnce(&httparse::Request<'_, 'a>) -> T,
    ) -> Option<(Self, T)> {
        if scan.at > 0 || !wire.ends_with(b"\r\n\r\n") {
            return None;
        }
        let (line, found) = Self::parse(wire, |request| {
            let first = find_byte(wire, b'\r')?;
            scan.takes(wire, first, request.headers).then(|| look(request))
        })
        .ok()?;
        Some((line, found?))
    }

    /// Parses a head that [`Scan`] accepted.
    pub(super) fn parse<'a, T>(
        head: &'a [u8],
        look: impl FnOnce(&httparse::Request<'_, 'a>) -> T,
    ) -> Result<(Self, T), HandshakeError> {
        let mut headers = [const { MaybeUninit::uninit() }; MAX_HEADERS];
        let mut parsed = httparse::Request::new(&mut []);
        match parsed.parse_with_uninit_headers(head, &mut headers) {
            Ok(httparse::Status::Complete(len)) if len == head.len() => {}
            Ok(_) => return Err(HandshakeError::Malformed { what: "first line" }),
            Err(e) => return Err(refused(e, head.split(|&b| b == b' ').nth(2))),
        }
        if parsed.version != Some(1) {
            return Err(HandshakeError::BadHttpVersion);
        }
        let target = parsed.path.unwrap_or_default();
        // RFC 9112 §3.2 allows only URI characters and no fragment, but httparse accepts more.
        if !target.bytes().all(|b| b.is_ascii_graphic() && b != b'#') {
            return Err(HandshakeError::Malformed { what: "request target" });
        }
        let method = parsed.method.unwrap_or_default().len();
        Ok((Self { method, target: target.len(), len: head.len() }, look(&parsed)))
    }

    /// Method and target. `head` must be the head that was parsed.
    pub(super) fn parts(self, head: &[u8]) -> (&str, &str) {
        let (method, rest) = head.split_at_checked(self.method).unwrap_or_default();
        let target = rest.get(1..=self.target).unwrap_or_default();
        (text(method), text(target))
    }

    /// The headers. `head` must be the head that was parsed.
    pub(super) fn headers(self, head: &[u8]) -> Headers<'_> {
        // 12 is the length of two blanks, `HTTP/1.1`, CR and LF.
        Headers::new(head.get(self.method + self.target + 12..).unwrap_or_default())
    }
}

/// The parts of a status line, and the length of the whole head.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StatusLine {
    /// The x of `HTTP/1.x`.
    pub(crate) minor: u8,
    pub(crate) status: u16,
    pub(crate) len: usize,
}

impl StatusLine {
    /// Parses a head that [`Scan`] accepted.
    pub(crate) fn parse(head: &[u8]) -> Result<Self, HandshakeError> {
        let mut headers = [const { MaybeUninit::uninit() }; MAX_HEADERS];
        let mut parsed = httparse::Response::new(&mut []);
        let config = httparse::ParserConfig::default();
        match config.parse_response_with_uninit_headers(&mut parsed, head, &mut headers) {
            Ok(httparse::Status::Complete(len)) if len == head.len() => {}
            Ok(_) => return Err(HandshakeError::Malformed { what: "first line" }),
            Err(e) => return Err(refused(e, Some(head))),
        }
        match (parsed.version, parsed.code) {
            (Some(minor), Some(status @ 100..)) => Ok(Self { minor, status, len: head.len() }),
            _ => Err(HandshakeError::Malformed { what: "status" }),
        }
    }
}

/// Checks the first bytes of a status line, so that a wrong protocol is found before the line ends.
pub(crate) fn begins_well(wire: &[u8]) -> Result<(), HandshakeError> {
    const STATUS_LINE: &[u8] = b"HTTP/";
    let what = match wire.first() {
        Some(0x15 | 0x16) => "a TLS record, where plain HTTP is spoken",
        _ if wire.iter().zip(STATUS_LINE).all(|(got, want)| got == want) => return Ok(()),
        _ => "first line",
    };
    Err(HandshakeError::Malformed { what })
}

/// httparse's error as an error of ours. `version` is where the version of HTTP should be.
fn refused(e: httparse::Error, version: Option<&[u8]>) -> HandshakeError {
    let what = match e {
        // httparse also reports a missing blank after the right version as a wrong version.
        httparse::Error::Version
            if version.is_some_and(|v| v.starts_with(b"HTTP/") && !v.starts_with(b"HTTP/1.1")) =>
        {
            return HandshakeError::BadHttpVersion;
        }
        // Rare, because `Scan` usually counts the headers first.
        httparse::Error::TooManyHeaders => {
            return HandshakeError::TooManyHeaders { limit: shown(MAX_HEADERS) };
        }
        httparse::Error::HeaderName => "header name",
        httparse::Error::HeaderValue => "header value",
        httparse::Error::NewLine => "line end",
        httparse::Error::Status => "status",
        httparse::Error::Token | httparse::Error::Version => "first line",
    };
    HandshakeError::Malformed { what }
}

/// The headers of a head, as an iterator of names and values in the order of the wire.
///
/// Names are as written, so compare them without regard to case. Values contain any bytes except
/// control characters, and have no blanks around them (RFC 9110 §5.5).
#[derive(Clone)]
pub struct Headers<'a> {
    /// Lines of a validated head, up to its blank line.
    rest: &'a [u8],
}

impl<'a> Headers<'a> {
    /// `lines` is a validated head without its first line.
    pub(super) fn new(lines: &'a [u8]) -> Self {
        Self { rest: lines }
    }

    /// The headers of a validated head with any first line.
    pub(crate) fn of(head: &'a [u8]) -> Self {
        let first = head.iter().position(|&b| b == b'\n').map_or(head.len(), |end| end + 1);
        Self::new(head.get(first..).unwrap_or_default())
    }

    /// The first value of the header `name`, without the blanks around it. Names match without
    /// regard to case.
    pub fn get(&self, name: &str) -> Option<&'a [u8]> {
        self.clone().named(name).next()
    }

    /// The values of the headers of this name, in the order of the wire.
    pub(super) fn named(self, name: &str) -> impl Iterator<Item = &'a [u8]> + Clone {
        self.filter(move |(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }
}

impl<'a> Iterator for Headers<'a> {
    type Item = (&'a str, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let end = find_byte(self.rest, b'\r')?;
        let (line, after) = self.rest.split_at_checked(end)?;
        let colon = find_byte(line, b':')?;
        let (name, value) = line.split_at_checked(colon)?;
        self.rest = after.get(2..)?;
        Some((text(name), trim(value.get(1..)?)))
    }
}

impl core::iter::FusedIterator for Headers<'_> {}

/// Shows only names, and a limited number of them, because values may be cookies or passwords.
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

/// Bytes that were checked to be ASCII, as text. The result is empty if they are not UTF-8.
pub(super) fn text(ascii: &[u8]) -> &str {
    core::str::from_utf8(ascii).unwrap_or_default()
}

/// The bytes without the blanks around them (RFC 9110 §5.6.3).
pub(super) fn trim(mut bytes: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = bytes {
        bytes = rest;
    }
    bytes
}

/// Whether `bytes` are a token (RFC 9110 §5.6.2).
pub(super) fn is_token(bytes: &[u8]) -> bool {
    !bytes.is_empty() && bytes.iter().all(|&b| is_tchar(b))
}

/// Whether a token may contain this byte (RFC 9110 §5.6.2).
pub(super) fn is_tchar(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b)
}

/// The elements of a comma-separated list; empty elements are skipped (RFC 9110 §5.6.1).
pub(super) fn list(value: &[u8]) -> impl Iterator<Item = &[u8]> + Clone {
    value.split(|&b| b == b',').map(trim).filter(|element| !element.is_empty())
}

/// Whether a list contains this token as an element, without regard to case. Usually the token is
/// the whole list, so this is checked first.
#[inline]
pub(super) fn has_token(value: &[u8], token: &str) -> bool {
    let is = |element: &[u8]| element.eq_ignore_ascii_case(token.as_bytes());
    is(value) || list(value).any(is)
}

#[cfg(test)]
mod tests;

#[cfg(kani)]
mod proofs;
