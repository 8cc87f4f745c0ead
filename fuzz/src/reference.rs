//! RFC 6455 §5 read a second time, for a wire that lies there whole: slow, plain, no state kept
//! between calls, every violation a frame shows listed rather than the first one.
use tickwire::{ProtocolError, RecvError};

#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    Message { text: bool, payload: Vec<u8> },
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(Vec<u8>),
}

#[derive(Clone, Copy, Debug)]
pub struct Limits {
    pub message: usize,
    pub frame: usize,
    pub fragments: u32,
}

impl Limits {
    pub const NONE: Self = Self { message: usize::MAX, frame: usize::MAX, fragments: u32::MAX };
    /// Everybody's, unless told otherwise.
    pub const DEFAULT: Self = Self { message: 16 << 20, frame: 16 << 20, fragments: 128 << 10 };
}

#[derive(Clone, Debug, PartialEq)]
pub enum End {
    /// The wire ends before something is wrong with it or a Close came.
    More,
    Closed,
    /// It has to fail now, for one of these reasons.
    Failed(Vec<RecvError>),
}

#[derive(Debug)]
pub struct Received {
    pub events: Vec<Event>,
    /// What is here of a message not complete (where it failed: without the frame that did it).
    pub partial: Vec<u8>,
    /// How many bytes whole frames take.
    pub used: usize,
    pub end: End,
}

/// What a receiver has to make of `wire`, when its peer has to mask or must not.
pub fn receive(wire: &[u8], masked: bool, limits: Limits) -> Received {
    receive_compressed(wire, masked, limits, None)
}

/// What makes a message of one that was sent compressed; `None` if it is not a whole one.
pub type Inflate = fn(&[u8]) -> Option<Vec<u8>>;

/// The same where messages may be compressed. Such a message is looked at when it is complete: a
/// receiver may find out earlier that something is wrong with it.
pub fn receive_compressed(
    wire: &[u8],
    masked: bool,
    limits: Limits,
    inflate: Option<Inflate>,
) -> Received {
    let mut got = Received { events: vec![], partial: vec![], used: 0, end: End::More };
    let mut kind = None; // of the message begun: is it text?
    let (mut fragments, mut compressed) = (0, false);
    loop {
        let rest = &wire[got.used..];
        if rest.is_empty() {
            return got;
        }
        let head = Head::read(rest);
        // RFC 7692 §6: RSV1 on the first frame of a message says that it is compressed.
        let rsv1 = inflate.is_some() && head.reserved == 4 && matches!(head.opcode, 1 | 2);
        let mut wrong = head.wrong(masked, kind.is_some());
        if rsv1 {
            wrong.retain(|error| *error != ProtocolError::ReservedBits.into());
        }
        let Some(start) = head.end.filter(|&n| n <= rest.len()) else {
            let end = if wrong.is_empty() { End::More } else { End::Failed(wrong) };
            return Received { end, ..got };
        };
        // The whole header is here.
        let len = head.len.unwrap_or(0);
        if head.opcode < 8 {
            fragments += 1;
            // What does not compress grows a little.
            let message = match rsv1 || (compressed && head.opcode == 0) {
                true => limits.message.saturating_add(limits.message / 8).saturating_add(1024),
                false => limits.message,
            };
            if u128::from(len) + got.partial.len() as u128 > message as u128 {
                wrong.push(RecvError::MessageTooBig { limit: shown(limits.message) });
            }
            if len > limits.frame as u64 {
                wrong.push(RecvError::FrameTooBig { limit: shown(limits.frame) });
            }
            if fragments > limits.fragments {
                wrong.push(RecvError::TooManyFragments { limit: limits.fragments });
            }
        }
        if !wrong.is_empty() {
            return Received { end: End::Failed(wrong), ..got };
        }
        let here = (rest.len() - start).min(usize::try_from(len).unwrap_or(usize::MAX));
        let whole = here as u64 == len;
        let mut payload = rest[start..start + here].to_vec();
        if masked {
            for (i, byte) in payload.iter_mut().enumerate() {
                *byte ^= rest[start - 4 + i % 4];
            }
        }
        if head.opcode >= 8 {
            if !whole {
                return got;
            }
            got.used += start + here;
            match head.opcode {
                9 => got.events.push(Event::Ping(payload)),
                10 => got.events.push(Event::Pong(payload)),
                _ => {
                    let wrong = wrong_close(&payload);
                    if !wrong.is_empty() {
                        return Received { end: End::Failed(wrong), ..got };
                    }
                    got.events.push(Event::Close(payload));
                    return Received { end: End::Closed, ..got };
                }
            }
            continue;
        }
        let text = *kind.get_or_insert(head.opcode == 1);
        compressed |= rsv1;
        let done = whole && head.fin;
        let before = got.partial.len();
        got.partial.extend(payload);
        if let (true, true, Some(inflate)) = (compressed, done, inflate) {
            match inflate(&got.partial) {
                Some(message) => got.partial = message,
                None => wrong.push(ProtocolError::BadDeflate.into()),
            }
            if got.partial.len() > limits.message {
                wrong.push(RecvError::MessageTooBig { limit: shown(limits.message) });
            }
            if text && std::str::from_utf8(&got.partial).is_err() {
                wrong.push(ProtocolError::BadUtf8.into());
            }
            if !wrong.is_empty() {
                return Received { end: End::Failed(wrong), ..got };
            }
        }
        if text
            && !compressed
            && let Err(e) = std::str::from_utf8(&got.partial)
            && (done || e.error_len().is_some())
        {
            got.partial.truncate(before);
            return Received { end: End::Failed(vec![ProtocolError::BadUtf8.into()]), ..got };
        }
        if !whole {
            return got;
        }
        got.used += start + here;
        if done {
            let payload = std::mem::take(&mut got.partial);
            got.events.push(Event::Message { text, payload });
            (kind, fragments, compressed) = (None, 0, false);
        }
    }
}

/// A header, as far as it is here: one byte at least.
pub struct Head {
    pub fin: bool,
    pub reserved: u8,
    pub opcode: u8,
    /// Not so while there is one byte.
    pub masked: bool,
    /// The second byte.
    second: Option<u8>,
    /// What the payload's length can still be.
    lens: std::ops::RangeInclusive<u128>,
    /// The payload's length, once the bytes that say it are here.
    pub len: Option<u64>,
    /// Where the payload begins, once that is known; maybe beyond what is here.
    pub end: Option<usize>,
}

impl Head {
    pub fn read(bytes: &[u8]) -> Self {
        let second = bytes.get(1).copied();
        let short = second.unwrap_or(0) & 0x7f;
        let masked = second.is_some_and(|byte| byte & 0x80 != 0);
        let extended: usize = match short {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        let with = |filler| match extended {
            0 => u128::from(short),
            n => (2..2 + n)
                .map(|i| bytes.get(i).copied().unwrap_or(filler))
                .fold(0, |n, byte| n << 8 | u128::from(byte)),
        };
        let here = second.is_some() && bytes.len() >= 2 + extended;
        Self {
            fin: bytes[0] & 0x80 != 0,
            reserved: bytes[0] >> 4 & 7,
            opcode: bytes[0] & 0xf,
            masked,
            second,
            lens: with(0)..=with(0xff),
            len: here.then(|| with(0) as u64),
            end: here.then(|| 2 + extended + if masked { 4 } else { 0 }),
        }
    }

    /// What this header alone shows to be wrong, in any connection.
    fn wrong_alone(&self) -> Vec<ProtocolError> {
        let mut wrong = vec![];
        if matches!(self.opcode, 3..=7 | 11..=15) {
            wrong.push(ProtocolError::ReservedOpCode);
        }
        let short = self.second.map(|byte| byte & 0x7f);
        let control = matches!(self.opcode, 8..=10);
        if control && (!self.fin || short.is_some_and(|n| n > 125)) {
            wrong.push(ProtocolError::BadControlFrame);
        }
        if self.opcode == 8 && short == Some(1) {
            wrong.push(ProtocolError::ShortClose);
        }
        let legal = match short {
            Some(126) => 126..=0xffff,
            Some(127) => 0x1_0000..=(1_u128 << 63) - 1,
            _ => 0..=125,
        };
        if self.lens.end() < legal.start() || self.lens.start() > legal.end() {
            wrong.push(ProtocolError::BadLength);
        }
        wrong
    }

    /// What is wrong with this header. `inside`: a message has begun before.
    pub fn wrong(&self, masked: bool, inside: bool) -> Vec<RecvError> {
        let mut wrong = self.wrong_alone();
        if self.reserved != 0 {
            wrong.push(ProtocolError::ReservedBits);
        }
        if masked && self.second.is_some() && !self.masked {
            wrong.push(ProtocolError::MaskRequired);
        }
        if !masked && self.masked {
            wrong.push(ProtocolError::MaskForbidden);
        }
        if self.opcode == 0 && !inside {
            wrong.push(ProtocolError::UnexpectedContinuation);
        }
        if matches!(self.opcode, 1 | 2) && inside {
            wrong.push(ProtocolError::ExpectedContinuation);
        }
        wrong.into_iter().map(RecvError::from).collect()
    }
}

fn wrong_close(body: &[u8]) -> Vec<RecvError> {
    let mut wrong = vec![];
    if let [high, low, reason @ ..] = body {
        let code = u16::from(*high) << 8 | u16::from(*low);
        if !matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999) {
            wrong.push(ProtocolError::BadClose { code }.into());
        }
        if std::str::from_utf8(reason).is_err() {
            wrong.push(ProtocolError::BadUtf8.into());
        }
    } else if !body.is_empty() {
        wrong.push(ProtocolError::ShortClose.into());
    }
    wrong
}

fn shown(limit: usize) -> u32 {
    limit.min(u32::MAX as usize) as u32
}
