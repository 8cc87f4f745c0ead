//! The heartbeat: in revision 4 the server pings and the client answers, in revision 3 the client
//! pings and the server waits for that.
use super::Revision;
use crate::settings::Settings;
use std::time::Duration;
use tickwire::Time;

/// When to ping, and whether the client is there.
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
    /// The client pings: some packet is owed by this time.
    Listening(Time),
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
    /// Begins now.
    pub fn new(revision: Revision, settings: &Settings, now: Time) -> Self {
        let (interval, timeout) = (settings.ping_interval, settings.ping_timeout);
        let state = match revision {
            Revision::V4 => State::Quiet(now + interval),
            Revision::V3 => State::Listening(now + interval + timeout),
        };
        Self { interval, timeout, state }
    }

    /// A packet came, of any kind.
    pub fn heard(&mut self, now: Time) {
        if let State::Listening(by) = &mut self.state {
            *by = now + self.interval + self.timeout;
        }
    }

    /// A pong came. One that nobody asked for puts nothing off.
    pub fn pong(&mut self, now: Time) {
        if let State::Pinged(_) = self.state {
            self.state = State::Quiet(now + self.interval);
        }
    }

    /// Nobody has read for a while: what is owed may have come, and has all its time again.
    pub fn excuse(&mut self, now: Time) {
        self.heard(now);
        if let State::Pinged(by) = &mut self.state {
            *by = now + self.timeout;
        }
    }

    /// When to call [`handle_timeout`](Self::handle_timeout).
    pub fn poll_timeout(&self) -> Time {
        match self.state {
            State::Quiet(at) | State::Pinged(at) | State::Listening(at) => at,
        }
    }

    /// Tells the time.
    pub fn handle_timeout(&mut self, now: Time) -> Beat {
        match self.state {
            State::Quiet(at) if at <= now => {
                self.state = State::Pinged(now + self.timeout);
                Beat::Ping
            }
            State::Pinged(by) | State::Listening(by) if by <= now => Beat::Dead,
            _ => Beat::Nothing,
        }
    }
}
