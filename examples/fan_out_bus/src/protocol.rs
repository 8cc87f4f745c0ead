//! The words: what clients ask for, what they are told, and what passes through the broker.
//!
//! ```text
//! client -> server    sub CHANNEL                      from now on
//!                     sub CHANNEL last                 the same, and the last value first
//!                     sub CHANNEL LOG AT               what was published behind AT, and on
//!                     unsub CHANNEL
//!                     pub CHANNEL PAYLOAD
//! server -> client    subscribed CHANNEL               from here on nothing is missed untold
//!                     unsubscribed CHANNEL
//!                     subscribed CHANNEL LOG AT        the same, behind AT of the broker's log
//!                     published CHANNEL SEQ            the broker has it
//!                     message CHANNEL FROM SEQ NANOS PAYLOAD
//!                     entry CHANNEL AT FROM SEQ NANOS PAYLOAD    number AT of the broker's log
//!                     stale CHANNEL                    the broker is lost: nothing comes
//!                     gap CHANNEL ?                    who knows what is missing
//!                     gap CHANNEL N                    so many messages of a publisher are missing
//!                     error REASON
//! through the broker  tw1 FROM SEQ NANOS PAYLOAD       on the channel PREFIX + CHANNEL
//! ```
//!
//! FROM names a publisher, SEQ counts its messages on the channel from 1, NANOS is when it published,
//! in ns since 1970. What somebody else has put on the channel, such as `redis-cli publish`, comes
//! with `- 0 0`: in order, but nobody can tell whether one is missing. Messages are text, and those
//! whose payload is not UTF-8 are binary; a client may send either.
//!
//! With a log each message has its number there, AT, which goes up, though not by one: the log has
//! other channels too. A client keeps LOG and the last AT it has seen, and hands both in wherever it
//! connects next. LOG is another for each log that was made: numbers of an earlier one mean nothing.
use std::{fmt, str};
use tickwire::{Message, Prepared};

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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadWish {
    Word,
    Channel,
}

impl fmt::Display for BadWish {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Word => f.write_str(
                "expected: sub CHANNEL [last | LOG AT], unsub CHANNEL, pub CHANNEL PAYLOAD",
            ),
            Self::Channel => {
                write!(f, "a channel is 1 to {MAX_CHANNEL} visible ASCII characters")
            }
        }
    }
}

impl<'a> Wish<'a> {
    pub fn parse(message: &'a [u8]) -> Result<Self, BadWish> {
        let (word, rest) = cut(message).ok_or(BadWish::Word)?;
        match word {
            b"sub" => match (cut(rest), resumed(rest)) {
                (Some((name, b"last")), _) => Ok(Self::Sub(channel(name)?, From::Last)),
                (_, Some((name, place))) => Ok(Self::Sub(channel(name)?, From::Place(place))),
                _ => Ok(Self::Sub(channel(rest)?, From::Now)),
            },
            b"unsub" => channel(rest).map(Self::Unsub),
            b"pub" => {
                let (name, payload) = cut(rest).ok_or(BadWish::Word)?;
                Ok(Self::Pub(channel(name)?, payload))
            }
            _ => Err(BadWish::Word),
        }
    }
}

/// A channel's name, if it is one.
pub fn channel(name: &[u8]) -> Result<&str, BadWish> {
    let visible = name.iter().all(u8::is_ascii_graphic);
    let fits = (1..=MAX_CHANNEL).contains(&name.len());
    str::from_utf8(name).ok().filter(|_| visible && fits).ok_or(BadWish::Channel)
}

/// A place in a broker's log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Which log: when it was made, in ns since 1970.
    pub log: u64,
    /// The number of a message there; they begin with 1.
    pub at: u64,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.log, self.at)
    }
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

/// What a subscriber reads: the opposite of [`Envelope::prepare`].
pub fn delivered(message: &[u8]) -> Option<(&str, Option<u64>, Envelope<'_>)> {
    let (word, rest) = cut(message)?;
    let (name, rest) = cut(rest)?;
    let (at, rest) = match word {
        b"message" => (None, rest),
        b"entry" => cut(rest).map(|(at, rest)| (number(at), rest))?,
        _ => return None,
    };
    let (from, rest) = cut(rest)?;
    let (seq, rest) = cut(rest)?;
    let (nanos, payload) = cut(rest)?;
    let from = str::from_utf8(from).ok()?;
    Some((
        channel(name).ok()?,
        at,
        Envelope { from, seq: number(seq)?, nanos: number(nanos)?, payload },
    ))
}

/// CHANNEL LOG AT
pub fn resumed(text: &[u8]) -> Option<(&[u8], Place)> {
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
            assert_eq!(Wish::parse(bad), Err(BadWish::Word), "{bad:?}");
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
            assert_eq!(Wish::parse(bad), Err(BadWish::Channel), "{bad:?}");
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
                assert_eq!(delivered(prepared.payload()), Some(("EURUSD", at, envelope)));
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
