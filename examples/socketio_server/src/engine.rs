//! Engine.IO v4 over WebSocket: a message is a packet, whose type is the first character of a text;
//! a binary message is a packet by itself. The server pings, the client answers.
//!
//! What is in the messages is Socket.IO's. The clock is the caller's.
use crate::packet::Malformed;
use std::time::Duration;
use tickwire::{Message, Time};

/// Are you there?
pub const PING: &str = "2";

/// A packet that a client may send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packet<'a> {
    /// It goes.
    Close,
    /// The answer to a ping.
    Pong,
    /// Text for the layer above.
    Text(&'a str),
    /// Bytes for the layer above.
    Binary(&'a [u8]),
}

impl<'a> Packet<'a> {
    /// Parses what a client sent.
    ///
    /// # Errors
    ///
    /// [`Malformed`] for all that a client of this transport never sends, such as a ping.
    pub fn parse(message: Message<'a>) -> Result<Self, Malformed> {
        let text = match message {
            Message::Binary(bytes) => return Ok(Self::Binary(bytes)),
            Message::Text(text) => text,
        };
        match text.split_at_checked(1) {
            Some(("4", text)) => Ok(Self::Text(text)),
            Some(("3", "")) => Ok(Self::Pong),
            Some(("1", "")) => Ok(Self::Close),
            _ => Err(Malformed("Engine.IO packet")),
        }
    }
}

/// The first packet of a session.
pub fn open(sid: &str, interval: Duration, timeout: Duration, max_payload: usize) -> String {
    let (interval, timeout) = (interval.as_millis(), timeout.as_millis());
    format!(
        r#"0{{"sid":"{sid}","upgrades":[],"pingInterval":{interval},"pingTimeout":{timeout},"maxPayload":{max_payload}}}"#
    )
}

/// An id that nobody guesses: 20 characters, fit for URLs, of 6 bits each from the system.
///
/// # Errors
///
/// When the system has no entropy to give.
pub fn session_id() -> Result<String, getrandom::Error> {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut random = [0; 20];
    getrandom::fill(&mut random)?;
    Ok(random.iter().map(|&byte| char::from(DIGITS[usize::from(byte & 63)])).collect())
}

/// When to ping, and whether the client has answered.
#[derive(Debug)]
pub struct Heartbeat {
    interval: Duration,
    timeout: Duration,
    state: State,
}

#[derive(Debug)]
enum State {
    /// Nothing is owed; the next ping goes at this time.
    Quiet(Time),
    /// A pong is owed by this time.
    Pinged(Time),
}

/// What a deadline of the heartbeat means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Beat {
    /// It was not one.
    Nothing,
    /// Send a ping.
    Ping,
    /// The client is gone.
    Dead,
}

impl Heartbeat {
    /// Pings `interval` after now and after each pong, and waits `timeout` for that.
    pub fn new(interval: Duration, timeout: Duration, now: Time) -> Self {
        Self { interval, timeout, state: State::Quiet(now + interval) }
    }

    /// A pong came. One that nobody asked for puts nothing off.
    pub fn pong(&mut self, now: Time) {
        if let State::Pinged(_) = self.state {
            self.state = State::Quiet(now + self.interval);
        }
    }

    /// Nobody has read for a while: what is owed may have come, and has all its time again.
    pub fn excuse(&mut self, now: Time) {
        if let State::Pinged(by) = &mut self.state {
            *by = now + self.timeout;
        }
    }

    /// When to call [`handle_timeout`](Self::handle_timeout).
    pub fn poll_timeout(&self) -> Time {
        match self.state {
            State::Quiet(at) | State::Pinged(at) => at,
        }
    }

    /// Tells the time.
    pub fn handle_timeout(&mut self, now: Time) -> Beat {
        match self.state {
            State::Quiet(at) if at <= now => {
                self.state = State::Pinged(now + self.timeout);
                Beat::Ping
            }
            State::Pinged(by) if by <= now => Beat::Dead,
            State::Quiet(_) | State::Pinged(_) => Beat::Nothing,
        }
    }
}
