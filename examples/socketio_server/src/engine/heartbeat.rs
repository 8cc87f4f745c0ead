//! The heartbeat: in revision 4 the server pings and the client answers, in revision 3 the client
//! pings and the server waits for that.
use super::Revision;
use crate::settings::Settings;
use std::time::Duration;
use tickwire::Time;

/// When to ping, and whether the client is there.
#[derive(Debug)]
pub(super) struct Heartbeat {
    interval: Duration,
    timeout: Duration,
    state: State,
    /// When the state ends.
    at: Time,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Nothing is owed; then a ping goes.
    Quiet,
    /// A pong is owed.
    Pinged,
    /// The client pings: some packet is owed.
    Listening,
}

/// What a deadline of the heartbeat means.
pub(super) enum Beat {
    /// It was not one.
    Nothing,
    /// Send a ping.
    Ping,
    /// The client is gone.
    Dead,
}

impl Heartbeat {
    /// Begins now.
    pub(super) fn new(revision: Revision, settings: &Settings, now: Time) -> Self {
        let (interval, timeout) = (settings.ping_interval, settings.ping_timeout);
        let (state, at) = match revision {
            Revision::V4 => (State::Quiet, now + interval),
            Revision::V3 => (State::Listening, now + interval + timeout),
        };
        Self { interval, timeout, state, at }
    }

    /// A packet came, of any kind.
    pub(super) fn heard(&mut self, now: Time) {
        if self.state == State::Listening {
            self.at = now + self.interval + self.timeout;
        }
    }

    /// A pong came. One that nobody asked for puts nothing off.
    pub(super) fn pong(&mut self, now: Time) {
        if self.state == State::Pinged {
            (self.state, self.at) = (State::Quiet, now + self.interval);
        }
    }

    /// Nobody has read for a while: what is owed may have come, and has all its time again.
    pub(super) fn excuse(&mut self, now: Time) {
        self.heard(now);
        if self.state == State::Pinged {
            self.at = now + self.timeout;
        }
    }

    /// When to call [`handle_timeout`](Self::handle_timeout).
    pub(super) fn poll_timeout(&self) -> Time {
        self.at
    }

    /// Tells the time.
    pub(super) fn handle_timeout(&mut self, now: Time) -> Beat {
        if now < self.at {
            return Beat::Nothing;
        }
        if self.state != State::Quiet {
            return Beat::Dead;
        }
        (self.state, self.at) = (State::Pinged, now + self.timeout);
        Beat::Ping
    }
}
