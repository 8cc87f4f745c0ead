//! Packets as the body of a request or a response: how long-polling carries several at once.
//!
//! ```text
//! revision 4   4hello<RS>bAQIDBA==       separated by U+001E; binary in base64
//! revision 3   6:4hello10:b4AQIDBA==     lengths in UTF-16 units, JavaScript's; binary in base64
//!              00 06 ff "4hello" 01 05 ff 04 01 02 03 04
//!                                        or bytes: text or binary, length in digits, ff, packet
//! ```
use super::{Binary, Malformed, NOOP, Opening, Revision, mailbox::Part};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use std::borrow::Cow;
use tickwire::Message;

/// The most packets of a response. Python's clients take a longer one for an attack.
pub const MAX_PACKETS: usize = 16;

const SEPARATOR: char = '\u{1e}';

/// A body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Payload {
    /// All of it.
    pub body: Bytes,
    /// It is bytes, and no text.
    pub binary: bool,
}

impl Payload {
    /// The body with these packets.
    pub fn of(parts: &[Part], opening: Opening) -> Self {
        let messages = parts.iter().map(Part::message);
        let binary = opening.binary == Binary::Typed && messages.clone().any(wants_bytes);
        let mut body = Vec::with_capacity(messages.clone().map(|m| m.as_bytes().len() + 8).sum());
        for message in messages {
            match (opening.revision, binary) {
                (Revision::V4, _) => {
                    if !body.is_empty() {
                        body.push(SEPARATOR as u8);
                    }
                    match message {
                        Message::Text(text) => body.extend_from_slice(text.as_bytes()),
                        Message::Binary(bytes) => body.extend(in_base64("b", bytes).into_bytes()),
                    }
                }
                (Revision::V3, true) => as_bytes(message, &mut body),
                (Revision::V3, false) => as_text(message, &mut body),
            }
        }
        Self { body: body.into(), binary }
    }

    /// The body with one packet, which is text.
    pub fn text(packet: &str, opening: Opening) -> Self {
        Self::of(&[Part::Text(packet.to_owned())], opening)
    }

    /// Ends a poll for which there is nothing.
    pub fn noop(opening: Opening) -> Self {
        Self::text(NOOP, opening)
    }
}

/// Whether a client that can have bytes has to have them. Beyond U+FFFF Python's client counts
/// characters otherwise than JavaScript's; bytes are counted by all alike.
fn wants_bytes(message: Message<'_>) -> bool {
    match message {
        Message::Text(text) => text.chars().any(|c| c > '\u{ffff}'),
        Message::Binary(_) => true,
    }
}

fn as_text(message: Message<'_>, body: &mut Vec<u8>) {
    let encoded = match message {
        Message::Text(text) => Cow::Borrowed(text),
        Message::Binary(bytes) => in_base64("b4", bytes).into(),
    };
    body.extend(encoded.encode_utf16().count().to_string().into_bytes());
    body.push(b':');
    body.extend_from_slice(encoded.as_bytes());
}

fn as_bytes(message: Message<'_>, body: &mut Vec<u8>) {
    let (kind, front): (u8, &[u8]) = match message {
        Message::Text(_) => (0, &[]),
        Message::Binary(_) => (1, &[4]),
    };
    let bytes = message.as_bytes();
    body.push(kind);
    body.extend((front.len() + bytes.len()).to_string().bytes().map(|digit| digit - b'0'));
    body.push(0xff);
    body.extend_from_slice(front);
    body.extend_from_slice(bytes);
}

/// Bytes as text, behind what says so.
pub fn in_base64(mark: &str, bytes: &[u8]) -> String {
    let mut text = mark.to_owned();
    STANDARD.encode_string(bytes, &mut text);
    text
}

/// Bytes behind the packet's type.
pub fn typed(bytes: &[u8]) -> Vec<u8> {
    let mut typed = Vec::with_capacity(bytes.len() + 1);
    typed.push(4);
    typed.extend_from_slice(bytes);
    typed
}

/// A packet of a body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Item<'a> {
    /// A packet as text.
    Text(&'a str),
    /// Bytes for the layer above.
    Binary(Cow<'a, [u8]>),
}

impl<'a> Item<'a> {
    /// As a session wants it.
    pub fn message(&self) -> Message<'_> {
        match self {
            Self::Text(text) => Message::Text(text),
            Self::Binary(bytes) => Message::Binary(bytes),
        }
    }

    /// A text, or bytes in base64 behind this mark.
    pub fn of(text: &'a str, mark: &str) -> Result<Self, Malformed> {
        match text.strip_prefix(mark) {
            None => Ok(Self::Text(text)),
            Some(encoded) => {
                let bytes = STANDARD.decode(encoded).map_err(|_| Malformed("base64"))?;
                Ok(Self::Binary(bytes.into()))
            }
        }
    }
}

/// Takes a body apart, one packet at a time.
#[derive(Debug)]
pub struct Packets {
    body: Body,
    at: usize,
}

#[derive(Debug)]
enum Body {
    Separated(String),
    Lengths(String),
    Bytes(Bytes),
}

impl Packets {
    /// Of a body that says whether it is bytes.
    ///
    /// # Errors
    ///
    /// [`Malformed`] if it is empty, or text that is not UTF-8.
    pub fn new(body: Bytes, binary: bool, revision: Revision) -> Result<Self, Malformed> {
        if body.is_empty() {
            return Err(Malformed("empty payload"));
        }
        let text = |body: Bytes| String::from_utf8(body.into()).map_err(|_| NOT_UTF8);
        let body = match revision {
            Revision::V4 => Body::Separated(text(body)?),
            Revision::V3 if binary => Body::Bytes(body),
            Revision::V3 => Body::Lengths(text(body)?),
        };
        Ok(Self { body, at: 0 })
    }

    /// Whether the last one was taken.
    pub fn is_empty(&self) -> bool {
        match &self.body {
            Body::Separated(text) => self.at > text.len(), // behind a separator there is one more
            Body::Lengths(text) => self.at >= text.len(),
            Body::Bytes(bytes) => self.at >= bytes.len(),
        }
    }

    /// The next one; `None` behind the last.
    ///
    /// # Errors
    ///
    /// [`Malformed`] where there is no packet.
    #[expect(clippy::should_implement_trait, reason = "it lends")]
    pub fn next(&mut self) -> Option<Result<Item<'_>, Malformed>> {
        if self.is_empty() {
            return None;
        }
        let (item, used) = match &self.body {
            Body::Separated(text) => separated(text.get(self.at..)?),
            Body::Lengths(text) => with_length(text.get(self.at..)?),
            Body::Bytes(bytes) => with_header(bytes.get(self.at..)?),
        };
        self.at += used;
        Some(item)
    }
}

const NOT_UTF8: Malformed = Malformed("payload's UTF-8");
const BAD_LENGTH: Malformed = Malformed("payload's length");

/// A packet, or why it is none; and how many bytes it takes.
type Next<'a> = (Result<Item<'a>, Malformed>, usize);

fn separated(rest: &str) -> Next<'_> {
    let packet = rest.split(SEPARATOR).next().unwrap_or_default();
    (Item::of(packet, "b"), packet.len() + 1)
}

fn with_length(rest: &str) -> Next<'_> {
    let digit = |byte: u8| byte.is_ascii_digit().then(|| byte - b'0');
    let Ok((mut units, from)) = length(rest.as_bytes(), b':', digit) else {
        return (Err(BAD_LENGTH), 0);
    };
    let mut end = from;
    for character in rest.get(from..).unwrap_or_default().chars() {
        let Some(left) = units.checked_sub(character.len_utf16()) else { break };
        units = left;
        end += character.len_utf8();
        if units == 0 {
            break;
        }
    }
    match rest.get(from..end) {
        Some(packet) if units == 0 && end > from => (Item::of(packet, "b4"), end),
        _ => (Err(BAD_LENGTH), 0),
    }
}

fn with_header(rest: &[u8]) -> Next<'_> {
    const NONE: Next<'static> = (Err(BAD_LENGTH), 0);
    let Some((&kind, digits)) = rest.split_first() else { return NONE };
    let digit = |byte: u8| (byte < 10).then_some(byte);
    let Ok((count, used)) = length(digits, 0xff, digit) else { return NONE };
    let from = 1 + used;
    let Some(packet) = rest.get(from..from + count) else { return NONE };
    let item = match (kind, packet) {
        (0, [_, ..]) => str::from_utf8(packet).map(Item::Text).map_err(|_| NOT_UTF8),
        (1, [4, bytes @ ..]) => Ok(Item::Binary(bytes.into())),
        _ => Err(Malformed("payload's packet")),
    };
    (item, from + count)
}

/// A decimal number and the end of it: its value, and where what follows begins.
fn length(
    bytes: &[u8],
    end: u8,
    digit: impl Fn(u8) -> Option<u8>,
) -> Result<(usize, usize), Malformed> {
    const MAX_DIGITS: usize = 9; // far more than a body has
    let mut value = 0;
    for (at, &byte) in bytes.iter().take(MAX_DIGITS + 1).enumerate() {
        match digit(byte) {
            Some(digit) => value = value * 10 + usize::from(digit),
            None if byte == end && at > 0 => return Ok((value, at + 1)),
            None => break,
        }
    }
    Err(BAD_LENGTH)
}
