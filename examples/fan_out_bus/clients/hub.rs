//! A client of the subprotocol `tickwire-hub-1` (`PROTOCOL.md`): comes back to any server, with
//! nothing lost or twice.
use std::{collections::HashMap, io, str, time::Duration};
use tickwire::{
    Config, Dial, Error, Heartbeat, SystemEntropy,
    handshake::client::Request,
    tokio::{MaybeTls, WebSocket},
};
use tickwire_parts::Backoff;

pub struct Hub {
    /// The next one first.
    urls: Vec<String>,
    /// What follows `sub CHANNEL`: nothing, ` last` or ` LOG AT`.
    places: HashMap<String, String>,
    backoff: Backoff,
}

/// What a server says. `word` is the first word; only messages have a publisher, a number and a
/// time.
#[derive(Debug, PartialEq, Eq)]
pub struct Told<'a> {
    pub word: &'a str,
    pub channel: &'a str,
    pub at: Option<u64>,
    pub from: &'a str,
    pub seq: u64,
    pub nanos: u64,
    /// Of a message; else what follows the channel.
    pub payload: &'a [u8],
}

impl<'a> Told<'a> {
    pub fn parse(message: &'a [u8]) -> Option<Self> {
        let mut payload = message;
        let mut next = || {
            let end = payload.iter().position(|byte| *byte == b' ').unwrap_or(payload.len());
            let (word, rest) = payload.split_at(end);
            payload = rest.get(1..).unwrap_or_default();
            str::from_utf8(word).ok()
        };
        let word = next()?;
        let channel = if word == "error" { "" } else { next()? };
        let at = if word == "entry" { Some(next()?.parse().ok()?) } else { None };
        let (from, seq, nanos) = match word {
            "message" | "entry" => (next()?, next()?.parse().ok()?, next()?.parse().ok()?),
            _ => ("-", 0, 0),
        };
        Some(Self { word, channel, at, from, seq, nanos, payload })
    }
}

impl Hub {
    /// `urls`: separated by commas.
    pub fn new(urls: &str, channels: &[String]) -> io::Result<Self> {
        let places = channels.iter().map(|name| (name.clone(), String::new())).collect();
        let backoff = Backoff::new(SystemEntropy::new()?);
        Ok(Self { urls: urls.split(',').map(str::to_owned).collect(), places, backoff })
    }

    /// Connects to the next server, and subscribes to all channels.
    pub async fn open(&mut self) -> Result<WebSocket<MaybeTls>, Error> {
        let request = Request::new(&self.urls[0])?.subprotocols(&["tickwire-hub-1"])?;
        self.urls.rotate_left(1);
        let heartbeat = Some(Heartbeat::BEHIND_PROXIES);
        let mut ws =
            Dial::new(&request).connect(&Config { heartbeat, ..Config::default() }).await?;
        for (channel, place) in &self.places {
            ws.send(&*format!("sub {channel}{place}")).await?;
        }
        Ok(ws)
    }

    /// What a message says, once the place in the log is noted. `None`: it is no message of a
    /// server.
    pub fn heed<'m>(&mut self, message: &'m [u8]) -> Option<Told<'m>> {
        let told = Told::parse(message)?;
        match (told.word, self.places.get_mut(told.channel), told.at) {
            ("subscribed", Some(place), _) => {
                self.backoff.reset();
                let begun = str::from_utf8(told.payload).ok()?;
                *place = if begun.is_empty() { String::new() } else { format!(" {begun}") };
            }
            (_, Some(place), Some(at)) => {
                place.truncate(place.rfind(' ')? + 1);
                place.push_str(&at.to_string());
            }
            _ => {}
        }
        Some(told)
    }

    /// How long to wait before the next attempt; `None`: none would help.
    pub fn delay(&mut self, ended: &Result<u16, Error>) -> Option<Duration> {
        match ended {
            Ok(code) => self.backoff.after_close(*code),
            Err(error) => self.backoff.after_error(error.retry_delay()),
        }
    }
}
