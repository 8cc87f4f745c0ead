//! The words of the protocol: requests of clients, messages to clients, payloads at the broker.
//!
//! `PROTOCOL.md` has the words of clients and servers. The broker gets only the payload, on the
//! channel PREFIX + CHANNEL. So any program can publish, for example `redis-cli publish`.
use std::str;
use tickwire::{Message, Prepared};

/// The protocol's name on the wire.
pub const SUBPROTOCOL: &str = "tickwire-hub-2";

/// The longest name of a channel, in bytes.
const MAX_CHANNEL: usize = 128;

/// What a client wants.
#[derive(Debug, PartialEq, Eq)]
pub enum Wish<'a> {
    Sub(&'a str, From),
    Unsub(&'a str),
}

/// Where a subscriber begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum From {
    Now,
    /// With the last value, if there is one.
    Last,
    /// After a place of the log.
    Place(Place),
}

/// Why a wish was refused.
pub const BAD_WORD: &str = "expected: sub CHANNEL [last | LOG AT], unsub CHANNEL";
pub const BAD_CHANNEL: &str = "a channel is 1 to 128 visible ASCII characters";

impl<'a> Wish<'a> {
    pub fn parse(message: &'a [u8]) -> Result<Self, &'static str> {
        let text = str::from_utf8(message).map_err(|_| BAD_WORD)?;
        match text.split(' ').collect::<Vec<_>>()[..] {
            ["sub", name] => Ok(Self::Sub(channel(name)?, From::Now)),
            ["sub", name, "last"] => Ok(Self::Sub(channel(name)?, From::Last)),
            ["sub", name, log, at] => {
                let place = Place { log: number(log)?, at: number(at)? };
                Ok(Self::Sub(channel(name)?, From::Place(place)))
            }
            ["unsub", name] => Ok(Self::Unsub(channel(name)?)),
            _ => Err(BAD_WORD),
        }
    }
}

fn number(digits: &str) -> Result<u64, &'static str> {
    digits.parse().ok().filter(|_| !digits.starts_with('+')).ok_or(BAD_WORD)
}

/// Checks the name of a channel.
fn channel(name: &str) -> Result<&str, &'static str> {
    let visible = name.bytes().all(|byte| byte.is_ascii_graphic());
    let fits = (1..=MAX_CHANNEL).contains(&name.len());
    if visible && fits { Ok(name) } else { Err(BAD_CHANNEL) }
}

/// A place in a broker's log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The log, identified by the time when it was made, in ns since 1970.
    pub log: u64,
    /// The number of a message in the log. Numbers begin with 1.
    pub at: u64,
}

/// Encodes a payload once for all subscribers of the channel. `at` is its number in the log.
pub fn prepare(channel: &str, at: Option<u64>, payload: &[u8]) -> Prepared {
    let mut bytes = match at {
        Some(at) => format!("entry {channel} {at} "),
        None => format!("message {channel} "),
    }
    .into_bytes();
    bytes.extend_from_slice(payload);
    match str::from_utf8(&bytes) {
        Ok(text) => Prepared::new(text),
        Err(_) => Prepared::new(Message::Binary(&bytes)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::Told;
    use bytes::Buf;
    use tickwire::{Config, Connection, Negotiated};

    #[test]
    fn wishes_are_read_and_others_are_refused() {
        let place = From::Place(Place { log: 1, at: 2 });
        let long = [b"sub ".to_vec(), vec![b'x'; MAX_CHANNEL + 1]].concat();
        for (said, wish) in [
            (&b"sub EURUSD"[..], Ok(Wish::Sub("EURUSD", From::Now))),
            (b"sub EURUSD last", Ok(Wish::Sub("EURUSD", From::Last))),
            (b"sub EURUSD 1 2", Ok(Wish::Sub("EURUSD", place))),
            (b"unsub EURUSD", Ok(Wish::Unsub("EURUSD"))),
            (b"", Err(BAD_WORD)),
            (b"sub", Err(BAD_WORD)),
            (b"subscribe a", Err(BAD_WORD)),
            (b"pub a", Err(BAD_WORD)),
            (b" sub a", Err(BAD_WORD)),
            (b"sub a b", Err(BAD_WORD)),
            (b"sub a 1 x", Err(BAD_WORD)),
            (b"sub a 1 +2", Err(BAD_WORD)),
            (b"sub a 1 18446744073709551616", Err(BAD_WORD)),
            (b"sub a 1 2 3", Err(BAD_WORD)),
            (b"unsub \xff", Err(BAD_WORD)),
            (b"sub ", Err(BAD_CHANNEL)),
            (b"sub a\n", Err(BAD_CHANNEL)),
            (b"unsub \xc3\xa9", Err(BAD_CHANNEL)),
            (b"unsub ", Err(BAD_CHANNEL)),
            (&long, Err(BAD_CHANNEL)),
        ] {
            assert_eq!(Wish::parse(said), wish, "{said:?}");
        }
        assert!(Wish::parse(&long[..long.len() - 1]).is_ok());
    }

    #[test]
    fn a_client_reads_what_a_server_prepares() {
        for payload in [&b"1.0842 "[..], b"", b"\xff\x00", b"entry a 1 nested"] {
            for at in [None, Some(9)] {
                let prepared = prepare("EURUSD", at, payload);
                let word = if at.is_some() { "entry" } else { "message" };
                let told = Told { word, channel: "EURUSD", at, payload };
                assert_eq!(Told::parse(prepared.payload()), Some(told));
                let mut server = Connection::server(&Config::default(), Negotiated::default());
                let _ = server.sender_mut().feed(&prepared).unwrap();
                let first = server.sender_mut().outgoing().chunk()[0];
                assert_eq!(first == 0x81, str::from_utf8(payload).is_ok());
            }
        }
    }
}
