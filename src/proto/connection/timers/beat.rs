//! The heartbeat: a Ping after an interval of silence, then a deadline on the peer's sign of life.
use super::{Receiver, Sender, looks::LOOKS};
use crate::proto::{config::Heartbeat, time::Time};
use core::time::Duration;

#[derive(Debug)]
pub(super) struct Beat {
    heartbeat: Heartbeat,
    state: State,
}

/// `Unarmed` until the caller tells a time.
#[derive(Debug)]
enum State {
    Unarmed,
    /// `silent` looks in a row found no new byte. The next is at `until`.
    Listening {
        silent: u8,
        until: Time,
    },
    /// A Ping is queued and not yet written. Or the epoch changed after it was, so the deadline has
    /// to start again with its full time.
    Pinging,
    /// A Ping was written. A byte has to arrive by `until`; the next look is at `look`.
    Pinged {
        until: Time,
        look: Time,
    },
}

/// `State::Listening`, which a dormant connection keeps; `None` for `Unarmed`.
pub(super) type DormantBeat = Option<(u8, Time)>;

impl Beat {
    pub(super) fn new(heartbeat: Heartbeat) -> Self {
        Self { heartbeat, state: State::Unarmed }
    }

    pub(super) fn from_kept(heartbeat: Heartbeat, kept: DormantBeat) -> Self {
        let state =
            kept.map_or(State::Unarmed, |(silent, until)| State::Listening { silent, until });
        Self { heartbeat, state }
    }

    pub(super) fn keep(&self) -> DormantBeat {
        match self.state {
            State::Listening { silent, until } => Some((silent, until)),
            _ => None,
        }
    }

    pub(super) fn may_be_dormant(&self) -> bool {
        matches!(self.state, State::Unarmed | State::Listening { .. })
    }

    pub(super) fn restart(&mut self) {
        self.state = match self.state {
            State::Pinging | State::Pinged { .. } => State::Pinging,
            State::Unarmed | State::Listening { .. } => State::Unarmed,
        };
    }

    pub(super) fn is_awaited(&self) -> bool {
        matches!(self.state, State::Pinged { .. })
    }

    /// In the state `Listening` nothing moves: it only counts looks, and none is made during a
    /// pause.
    pub(super) fn put_off(&mut self, by: Duration) {
        if let State::Pinged { until, look } = &mut self.state {
            *until = *until + by;
            *look = *look + by;
        }
    }

    pub(super) fn next(&self, tx: &Sender) -> Option<Time> {
        match self.state {
            State::Unarmed => Some(Time::ZERO),
            State::Pinging => tx.beat_written().then_some(Time::ZERO),
            State::Listening { until: at, .. } | State::Pinged { look: at, .. } => Some(at),
        }
    }

    /// After a whole interval without a byte, queues a Ping. `true` if none arrived within
    /// `timeout` after it was written.
    pub(super) fn passed(&mut self, now: Time, rx: &mut Receiver, tx: &mut Sender) -> bool {
        let Self { heartbeat, state } = self;
        let pause = between_looks(*heartbeat);
        let soon = now + pause;
        let pinged = |until: Time| State::Pinged { until, look: until.min(soon) };
        // If this look is late by at most a quarter of `pause`, the next is due one `pause` after
        // the planned time of this one, so that small delays of an adapter do not add up.
        let due = match *state {
            State::Listening { until, .. } => until.max(now.before(pause / 4)),
            _ => now,
        };
        let listen = |silent| State::Listening { silent, until: due + pause };
        *state = match *state {
            // An early call is harmless.
            State::Listening { until: at, .. } | State::Pinged { look: at, .. } if now < at => {
                return false;
            }
            // In every state, a byte is a sign of life, and the interval begins again.
            _ if rx.take_heard() => listen(0),
            State::Unarmed => listen(0),
            State::Listening { silent, .. } if u32::from(silent) + 1 >= LOOKS => {
                tx.owe_beat(now); // This look is the last of a silent interval.
                State::Pinging
            }
            State::Listening { silent, .. } => listen(silent + 1),
            // Before the Ping was written, silence proves nothing, so the deadline begins only now.
            State::Pinging if tx.beat_written() => pinged(now + heartbeat.timeout),
            State::Pinging => return false,
            State::Pinged { until, .. } if now < until => pinged(until),
            State::Pinged { .. } => return true,
        };
        false
    }
}

/// The minimum leaves time for other work.
fn between_looks(heartbeat: Heartbeat) -> Duration {
    (heartbeat.interval / LOOKS).max(Duration::from_millis(1))
}
