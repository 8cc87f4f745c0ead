//! The words: what clients ask for, what they are told, and what passes through the broker.
//!
//! `PROTOCOL.md` has the words of clients and servers. The broker has `tw1 FROM SEQ NANOS PAYLOAD`
//! on the channel PREFIX + CHANNEL. What somebody else has put there, such as `redis-cli publish`,
//! comes with `- 0 0`: in order, but nobody can tell whether one is missing.
use std::str;
use tickwire::{Message, Prepared};

/// Its name on the wire.
pub const SUBPROTOCOL: &str = "tickwire-hub-1";

/// In bytes.
pub const MAX_CHANNEL: usize = 128;

/// A publisher's name has at most so many bytes.
const MAX_FROM: usize = 32;

/// What a client wants.
#[derive(Debug, PartialEq, Eq)]
pub enum Wish<'a> {
    Sub(&'a str, From),
    Unsub(&'a str),
    Pub(&'a str, &'a [u8]),
}

/// Where a subscriber begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum From {
    Now,
    /// With the last value, if there is one.
    Last,
    /// Behind a place of the log.
    Place(Place),
}

/// Why a wish is none.
pub const BAD_WORD: &str =
    "expected: sub CHANNEL [last | LOG AT], unsub CHANNEL, pub CHANNEL PAYLOAD";
pub const BAD_CHANNEL: &str = "a channel is 1 to 128 visible ASCII characters";

impl<'a> Wish<'a> {
    pub fn parse(message: &'a [u8]) -> Result<Self, &'static str> {
        let (word, rest) = cut(message).ok_or(BAD_WORD)?;
        match word {
            b"sub" => match (cut(rest), resumed(rest)) {
                (Some((name, b"last")), _) => Ok(Self::Sub(channel(name)?, From::Last)),
                (_, Some((name, place))) => Ok(Self::Sub(channel(name)?, From::Place(place))),
                _ => Ok(Self::Sub(channel(rest)?, From::Now)),
            },
            b"unsub" => channel(rest).map(Self::Unsub),
            b"pub" => {
                let (name, payload) = cut(rest).ok_or(BAD_WORD)?;
                Ok(Self::Pub(channel(name)?, payload))
            }
            _ => Err(BAD_WORD),
        }
    }
}

/// A channel's name, if it is one.
pub fn channel(name: &[u8]) -> Result<&str, &'static str> {
    let visible = name.iter().all(u8::is_ascii_graphic);
    let fits = (1..=MAX_CHANNEL).contains(&name.len());
    str::from_utf8(name).ok().filter(|_| visible && fits).ok_or(BAD_CHANNEL)
}

/// A place in a broker's log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Which log: when it was made, in ns since 1970.
    pub log: u64,
    /// The number of a message there; they begin with 1.
    pub at: u64,
}

/// What came through the broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Envelope<'a> {
    pub from: &'a str,
    /// 0: not counted.
    pub seq: u64,
    /// 0: not known.
    pub nanos: u64,
    pub payload: &'a [u8],
}

impl<'a> Envelope<'a> {
    /// Anything is one: what nobody has put into an envelope is all payload.
    pub fn open(bytes: &'a [u8]) -> Self {
        Self::sealed(bytes).unwrap_or(Self { from: "-", seq: 0, nanos: 0, payload: bytes })
    }

    fn sealed(bytes: &'a [u8]) -> Option<Self> {
        let (from, rest) = cut(bytes.strip_prefix(b"tw1 ")?)?;
        let (seq, rest) = cut(rest)?;
        let (nanos, payload) = cut(rest)?;
        let visible = from.len() <= MAX_FROM && from.iter().all(u8::is_ascii_graphic);
        let from = str::from_utf8(from).ok().filter(|from| visible && !from.is_empty())?;
        let seq = number(seq).filter(|seq| *seq > 0)?;
        Some(Self { from, seq, nanos: number(nanos)?, payload })
    }

    pub fn seal(&self) -> Vec<u8> {
        let mut bytes = format!("tw1 {} {} {} ", self.from, self.seq, self.nanos).into_bytes();
        bytes.extend_from_slice(self.payload);
        bytes
    }

    /// As all subscribers of the channel are told: encoded once. `at`: its number in the log.
    pub fn prepare(&self, channel: &str, at: Option<u64>) -> Prepared {
        let Self { from, seq, nanos, payload } = self;
        let mut bytes = match at {
            Some(at) => format!("entry {channel} {at} {from} {seq} {nanos} "),
            None => format!("message {channel} {from} {seq} {nanos} "),
        }
        .into_bytes();
        bytes.extend_from_slice(payload);
        match str::from_utf8(&bytes) {
            Ok(text) => Prepared::new(text),
            Err(_) => Prepared::new(Message::Binary(&bytes)),
        }
    }
}

/// CHANNEL LOG AT
fn resumed(text: &[u8]) -> Option<(&[u8], Place)> {
    let (name, rest) = cut(text)?;
    let (log, at) = cut(rest)?;
    Some((name, Place { log: number(log)?, at: number(at)? }))
}

/// What is before the first blank, and what is behind it.
fn cut(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = bytes.iter().position(|byte| *byte == b' ')?;
    Some((&bytes[..at], &bytes[at + 1..]))
}

fn number(digits: &[u8]) -> Option<u64> {
    let digits = str::from_utf8(digits).ok().filter(|text| !text.starts_with('+'))?;
    digits.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::Told;

    #[test]
    fn wishes_are_read() {
        assert_eq!(Wish::parse(b"sub EURUSD"), Ok(Wish::Sub("EURUSD", From::Now)));
        assert_eq!(Wish::parse(b"sub EURUSD last"), Ok(Wish::Sub("EURUSD", From::Last)));
        let place = From::Place(Place { log: 1, at: 2 });
        assert_eq!(Wish::parse(b"sub EURUSD 1 2"), Ok(Wish::Sub("EURUSD", place)));
        assert_eq!(Wish::parse(b"unsub EURUSD"), Ok(Wish::Unsub("EURUSD")));
        assert_eq!(Wish::parse(b"pub a  two \xff"), Ok(Wish::Pub("a", b" two \xff")));
        assert_eq!(Wish::parse(b"pub a "), Ok(Wish::Pub("a", b"")));
    }

    #[test]
    fn what_is_no_wish_is_refused() {
        for bad in [&b""[..], b"sub", b"subscribe a", b"pub a", b" sub a"] {
            assert_eq!(Wish::parse(bad), Err(BAD_WORD), "{bad:?}");
        }
        let long = [b"sub ".to_vec(), vec![b'x'; MAX_CHANNEL + 1]].concat();
        for bad in [
            &b"sub "[..],
            b"sub a b",
            b"sub a 1 x",
            b"sub a 1 2 3",
            b"sub a\n",
            b"unsub \xc3\xa9",
            b"pub  x",
            &long,
        ] {
            assert_eq!(Wish::parse(bad), Err(BAD_CHANNEL), "{bad:?}");
        }
        assert!(Wish::parse(&long[..long.len() - 1]).is_ok());
    }

    #[test]
    fn an_envelope_is_opened_as_it_was_sealed() {
        for payload in [&b"1.0842 "[..], b"", b"\xff\x00", b"tw1 a 1 2 nested"] {
            let envelope = Envelope { from: "f00d", seq: 7, nanos: 1 << 60, payload };
            assert_eq!(Envelope::open(&envelope.seal()), envelope);
            for at in [None, Some(9)] {
                let prepared = envelope.prepare("EURUSD", at);
                let (from, channel) = ("f00d", "EURUSD");
                let word = if at.is_some() { "entry" } else { "message" };
                let Envelope { seq, nanos, .. } = envelope;
                let told = Told { word, channel, at, from, seq, nanos, payload };
                assert_eq!(Told::parse(prepared.payload()), Some(told));
                let text = str::from_utf8(payload).is_ok();
                assert_eq!((prepared.frame()[0] == 0x81), text);
            }
        }
    }

    #[test]
    fn what_others_published_is_all_payload() {
        let long = format!("tw1 {} 1 2 x", "f".repeat(MAX_FROM + 1));
        for other in [
            &b"hello"[..],
            b"",
            b"tw1 a 0 2 x",
            b"tw1 a +1 2 x",
            b"tw1 a 1 2",
            b"tw1  1 2 x",
            b"tw1 \xff 1 2 x",
            b"tw1 a 18446744073709551616 2 x",
            b"tw2 a 1 2 x",
            long.as_bytes(),
        ] {
            let open = Envelope::open(other);
            assert_eq!(open, Envelope { from: "-", seq: 0, nanos: 0, payload: other });
        }
    }
}
