//! A client of the subprotocol `tickwire-hub-2` (`PROTOCOL.md`). It reconnects to any of its
//! servers, and then no message is lost or comes twice.
use std::{
    collections::HashMap,
    str,
    time::{Duration, Instant},
};
use tickwire::{
    Config, Dial, Error, Heartbeat, SystemEntropy,
    handshake::client::Request,
    tokio::{MaybeTls, WebSocket},
};
use tickwire_parts::Backoff;

pub struct Hub {
    /// A request for each server. The server to dial next is first.
    requests: Vec<Request>,
    /// By channel, the text that follows `sub CHANNEL`: nothing, ` last` or ` LOG AT`.
    places: HashMap<String, String>,
    backoff: Backoff,
    /// When the connection was opened, if there is one.
    opened: Option<Instant>,
}

/// A message of a server. `word` is its first word.
#[derive(Debug, PartialEq, Eq)]
pub struct Told<'a> {
    pub word: &'a str,
    pub channel: &'a str,
    pub at: Option<u64>,
    /// The payload of a published message; else the text after the channel.
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
        Some(Self { word, channel, at, payload })
    }
}

impl Hub {
    /// Makes a client. Commas separate the `urls`.
    pub fn new(urls: &str, channels: &[&str]) -> Result<Self, Error> {
        let request = |url| Ok(Request::new(url)?.subprotocols(&["tickwire-hub-2"])?);
        let requests = urls.split(',').map(request).collect::<Result<_, Error>>()?;
        let places = channels.iter().map(|&name| (name.to_owned(), String::new())).collect();
        Ok(Self { requests, places, backoff: Backoff::new(SystemEntropy::new()?), opened: None })
    }

    /// Connects to the next server, and subscribes to all channels.
    pub async fn open(&mut self) -> Result<WebSocket<MaybeTls>, Error> {
        let heartbeat = Some(Heartbeat::BEHIND_PROXIES);
        let config = Config { heartbeat, ..Config::default() };
        let dialed = Dial::new(&self.requests[0]).connect(&config).await;
        self.requests.rotate_left(1);
        let mut ws = dialed?;
        self.opened = Some(Instant::now());
        for (channel, place) in &self.places {
            ws.send(&*format!("sub {channel}{place}")).await?;
        }
        Ok(ws)
    }

    /// Parses a message, and notes the place in the log. `None` if it is no message of a server.
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

    /// How long to wait before the next attempt. `None` if no attempt would help.
    pub fn delay(&mut self, ended: &Result<u16, Error>) -> Option<Duration> {
        let lived = self.opened.take().map(|opened| opened.elapsed()).unwrap_or_default();
        match ended {
            Ok(code) => self.backoff.after_close(*code, lived),
            Err(error) => self.backoff.after_error(error.retry_delay()),
        }
    }
}
