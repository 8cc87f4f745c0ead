//! Messages: what a sequence of frames means (RFC 6455 5.4 to 5.6, 7.4, 8.1; RFC 7692 6).

use super::Violation;
use super::frame::{Header, big_endian, mask};
use super::inflate::{InflateError, Inflater};
use super::utf8::Utf8;
use crate::Role;

/// The two kinds of data message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Opcode 1.
    Text,
    /// Opcode 2.
    Binary,
}

/// Something that a peer has said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A whole message, inflated.
    Message(Kind, Vec<u8>),
    /// A Ping.
    Ping(Vec<u8>),
    /// A Pong.
    Pong(Vec<u8>),
    /// A Close, with its code if it has one. The last event.
    Close(Option<u16>, String),
    /// A violation. The last event.
    Violation(Violation),
}

/// Reads what one end sends. A violation is reported as soon as the bytes show it, but in a
/// compressed message only when it is whole.
#[derive(Clone, Debug)]
pub struct Reader {
    sender: Role,
    inflater: Option<Inflater>,
    limit: usize,
    /// Bytes of a header that isn't complete.
    pending: Vec<u8>,
    frame: Option<InFrame>,
    message: Option<Open>,
    /// Behind a Close or a violation nothing is read.
    over: bool,
    behind: Vec<u8>,
    frames: Vec<Header>,
}

#[derive(Clone, Debug)]
struct InFrame {
    header: Header,
    done: u64,
    /// The payload of a control frame; that of a data frame goes to the open message.
    control: Vec<u8>,
}

#[derive(Clone, Debug)]
struct Open {
    kind: Kind,
    compressed: bool,
    data: Vec<u8>,
    utf8: Utf8,
}

/// How many headers are kept.
const MOST_FRAMES: usize = 64;

impl Reader {
    /// A reader of what `sender` sends, without an extension, of messages up to 64 MiB.
    pub fn new(sender: Role) -> Reader {
        Reader {
            sender,
            inflater: None,
            limit: 64 << 20,
            pending: Vec::new(),
            frame: None,
            message: None,
            over: false,
            behind: Vec::new(),
            frames: Vec::new(),
        }
    }

    /// The same with permessage-deflate for this direction.
    pub fn with_deflate(mut self, inflater: Inflater) -> Reader {
        self.inflater = Some(inflater);
        self
    }

    /// The same with another limit on messages, in bytes. Above it is a violation with code 1009.
    pub fn with_limit(mut self, limit: usize) -> Reader {
        self.limit = limit;
        self
    }

    /// The limit on messages, in bytes.
    pub(crate) fn limit(&self) -> usize {
        self.limit
    }

    /// The headers of the first 64 frames.
    pub fn frames(&self) -> &[Header] {
        &self.frames
    }

    /// Whether the bytes so far end between two frames and outside of a message.
    pub fn is_between_messages(&self) -> bool {
        self.pending.is_empty() && self.frame.is_none() && self.message.is_none()
    }

    /// Reads more bytes, in any pieces.
    pub fn read(&mut self, mut bytes: &[u8]) -> Vec<Event> {
        let mut events = Vec::new();
        while !self.over {
            match self.step(&mut bytes) {
                Ok(Some(event)) => {
                    self.over = matches!(event, Event::Close(..));
                    events.push(event);
                }
                Ok(None) if bytes.is_empty() && !self.frame_is_complete() => break,
                Ok(None) => {}
                Err(violation) => {
                    self.over = true;
                    events.push(Event::Violation(violation));
                }
            }
        }
        self.behind.extend(bytes);
        events
    }

    /// What came behind the last event, unread.
    pub fn behind(&self) -> &[u8] {
        &self.behind
    }

    fn frame_is_complete(&self) -> bool {
        self.frame.as_ref().is_some_and(|frame| frame.done == frame.header.length)
    }

    fn step(&mut self, bytes: &mut &[u8]) -> Result<Option<Event>, Violation> {
        let Some(mut frame) = self.frame.take() else {
            self.header(bytes)?;
            return Ok(None);
        };
        let missing = frame.header.length - frame.done;
        let take = usize::try_from(missing).unwrap_or(usize::MAX).min(bytes.len());
        let (piece, rest) = bytes.split_at(take);
        *bytes = rest;
        let payload = match &mut self.message {
            Some(message) if !frame.header.is_control() => &mut message.data,
            _ => &mut frame.control,
        };
        let start = payload.len();
        payload.extend(piece);
        if let Some(key) = frame.header.key {
            mask(&mut payload[start..], key, frame.done);
        }
        if let Some(Open { kind: Kind::Text, compressed: false, data, utf8 }) = &mut self.message
            && !frame.header.is_control()
            && !utf8.read(&data[start..])
        {
            return Err(not_utf8());
        }
        frame.done += take as u64;
        if frame.done < frame.header.length {
            self.frame = Some(frame);
            return Ok(None);
        }
        if frame.header.is_control() {
            return control(frame.header.opcode, frame.control).map(Some);
        }
        if !frame.header.fin {
            return Ok(None);
        }
        let Some(message) = self.message.take() else { return Ok(None) };
        self.complete(message).map(Some)
    }

    fn header(&mut self, bytes: &mut &[u8]) -> Result<(), Violation> {
        while let Some((&byte, rest)) = bytes.split_first() {
            *bytes = rest;
            self.pending.push(byte);
            if self.pending.len() == 2 {
                self.check_start()?;
            }
            self.check_length()?;
            if let Some((header, _)) = Header::read(&self.pending) {
                self.pending.clear();
                self.begin(header);
                break;
            }
        }
        Ok(())
    }

    fn check_start(&self) -> Result<(), Violation> {
        let first = self.pending[0];
        let second = self.pending[1];
        let fail = |section, what: String| Err(Violation::new(section, 1002, what));
        let rsv = first >> 4 & 7;
        let opcode = first & 0x0f;
        if !matches!(opcode, 0..=2 | 8..=10) {
            return fail("RFC 6455 5.2", format!("reserved opcode {opcode:x}"));
        }
        if rsv & 3 != 0 || (rsv != 0 && self.inflater.is_none()) {
            return fail("RFC 6455 5.2", format!("reserved bits {rsv:03b} that nothing defines"));
        }
        if rsv != 0 && !matches!(opcode, 1 | 2) {
            return fail("RFC 7692 6.1", "RSV1 on a frame that does not begin a message".into());
        }
        let masked = second & 0x80 != 0;
        if masked && self.sender == Role::Server {
            return fail("RFC 6455 5.1", "a masked frame from a server".into());
        }
        if !masked && self.sender == Role::Client {
            return fail("RFC 6455 5.1", "an unmasked frame from a client".into());
        }
        if opcode >= 8 {
            if first & 0x80 == 0 {
                return fail("RFC 6455 5.5", "a fragmented control frame".into());
            }
            if second & 0x7f > 125 {
                return fail("RFC 6455 5.5", "a control frame of more than 125 bytes".into());
            }
            return Ok(());
        }
        match (opcode, self.message.is_some()) {
            (0, false) => fail("RFC 6455 5.4", "a continuation of no message".into()),
            (1 | 2, true) => fail("RFC 6455 5.4", "a message inside of another one".into()),
            _ => Ok(()),
        }
    }

    /// Checks the length at the byte that completes it.
    fn check_length(&self) -> Result<(), Violation> {
        let bytes = &self.pending;
        let (least, length) = match (bytes.len(), bytes.get(1).map(|second| second & 0x7f)) {
            (2, Some(length @ 0..126)) => (0, u64::from(length)),
            (4, Some(126)) => (126, big_endian(&bytes[2..])),
            (10, Some(127)) => (65536, big_endian(&bytes[2..])),
            _ => return Ok(()),
        };
        if length < least {
            let what = format!("a length of {length} in more bytes than it needs");
            return Err(Violation::new("RFC 6455 5.2", 1002, what));
        }
        if length >> 63 != 0 {
            return Err(Violation::new("RFC 6455 5.2", 1002, "a length with its top bit set"));
        }
        let before = self.message.as_ref().map_or(0, |message| message.data.len() as u64);
        if bytes[0] & 8 == 0 && length.saturating_add(before) > self.limit as u64 {
            return Err(Violation::new("RFC 6455 10.4", 1009, "a message above the limit"));
        }
        Ok(())
    }

    fn begin(&mut self, header: Header) {
        if self.frames.len() < MOST_FRAMES {
            self.frames.push(header);
        }
        if matches!(header.opcode, 1 | 2) {
            self.message = Some(Open {
                kind: if header.opcode == 1 { Kind::Text } else { Kind::Binary },
                compressed: header.rsv & 4 != 0,
                data: Vec::new(),
                utf8: Utf8::default(),
            });
        }
        self.frame = Some(InFrame { header, done: 0, control: Vec::new() });
    }

    fn complete(&mut self, mut message: Open) -> Result<Event, Violation> {
        if message.compressed
            && let Some(inflater) = &mut self.inflater
        {
            message.data = inflater.message(&message.data, self.limit).map_err(|error| {
                let code = if error == InflateError::TooBig { 1009 } else { 1007 };
                Violation::new("RFC 7692 7.2.2", code, error.to_string())
            })?;
            if message.kind == Kind::Text && !message.utf8.read(&message.data) {
                return Err(not_utf8());
            }
        }
        if message.kind == Kind::Text && !message.utf8.is_complete() {
            return Err(not_utf8());
        }
        Ok(Event::Message(message.kind, message.data))
    }
}

fn not_utf8() -> Violation {
    Violation::new("RFC 6455 8.1", 1007, "a text message that is not UTF-8")
}

fn control(opcode: u8, payload: Vec<u8>) -> Result<Event, Violation> {
    match opcode {
        9 => return Ok(Event::Ping(payload)),
        10 => return Ok(Event::Pong(payload)),
        _ => {}
    }
    if payload.is_empty() {
        return Ok(Event::Close(None, String::new()));
    }
    if payload.len() == 1 {
        return Err(Violation::new("RFC 6455 5.5.1", 1002, "a Close of one byte"));
    }
    let code = u16::from_be_bytes([payload[0], payload[1]]);
    if !may_close_with(code) {
        let section = match code {
            1005 | 1006 | 1015 => "RFC 6455 7.4.1", // the three that no endpoint may set
            _ => "RFC 6455 5.5.1",                  // "defined in Section 7.4"
        };
        return Err(Violation::new(section, 1002, format!("Close code {code}")));
    }
    match String::from_utf8(payload[2..].to_vec()) {
        Ok(reason) => Ok(Event::Close(Some(code), reason)),
        Err(_) => {
            Err(Violation::new("RFC 6455 5.5.1", 1007, "a reason for the Close that is not UTF-8"))
        }
    }
}

/// Whether a Close frame may carry `code` (RFC 6455 7.4 and the registry of IANA).
pub fn may_close_with(code: u16) -> bool {
    matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999)
}
