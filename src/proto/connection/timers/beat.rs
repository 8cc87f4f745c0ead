//! The heartbeat: a Ping after an interval of silence, then a deadline on the peer's sign of life.
use super::{Receiver, Sender};
use crate::proto::{config::Heartbeat, connection::looks::LOOKS, time::Time};
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
    /// A Ping is queued, and not known to be written. If the stream refuses it, a byte has to be
    /// taken by `until`, whichever: the Ping may lie behind a long frame. `taken` is how many were
    /// at the last look; `None` if the epoch has changed, so that the deadline starts again with
    /// its full time.
    Pinging {
        until: Time,
        look: Time,
        taken: Option<u64>,
    },
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
            State::Pinging { .. } | State::Pinged { .. } => {
                State::Pinging { until: Time::ZERO, look: Time::ZERO, taken: None }
            }
            State::Unarmed | State::Listening { .. } => State::Unarmed,
        };
    }

    pub(super) fn is_awaited(&self) -> bool {
        matches!(self.state, State::Pinging { .. } | State::Pinged { .. })
    }

    /// In the state `Listening` nothing moves: it only counts looks, and none is made during a
    /// pause.
    pub(super) fn put_off(&mut self, by: Duration) {
        if let State::Pinging { until, look, .. } | State::Pinged { until, look } = &mut self.state
        {
            *until = *until + by;
            *look = *look + by;
        }
    }

    pub(super) fn next(&self, tx: &Sender) -> Option<Time> {
        match self.state {
            State::Unarmed => Some(Time::ZERO),
            State::Pinging { .. } if tx.beat_written() => Some(Time::ZERO),
            State::Listening { until: at, .. }
            | State::Pinging { look: at, .. }
            | State::Pinged { look: at, .. } => Some(at),
        }
    }

    /// After a whole interval without a byte, queues a Ping. `true` if none arrived within
    /// `timeout` after it was written or, while the stream refuses it, after it was due and the
    /// last byte was taken.
    pub(super) fn passed(&mut self, now: Time, rx: &mut Receiver, tx: &mut Sender) -> bool {
        let Self { heartbeat, state } = self;
        let pause = between_looks(*heartbeat);
        let soon = now + pause;
        let pinged = |until: Time| State::Pinged { until, look: until.min(soon) };
        let pinging = |until: Time, tx: &Sender| State::Pinging {
            until,
            look: until.min(soon),
            taken: Some(tx.taken()),
        };
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
                pinging(now + heartbeat.timeout, tx)
            }
            State::Listening { silent, .. } => listen(silent + 1),
            State::Pinging { .. } if tx.beat_written() => pinged(now + heartbeat.timeout),
            State::Pinging { look, .. } if now < look => return false,
            State::Pinging { taken, .. }
                if !tx.is_stalled() || taken.is_none_or(|taken| tx.taken() > taken) =>
            {
                pinging(now + heartbeat.timeout, tx)
            }
            // A caller that is late has slept, and nobody offered the stream the Ping.
            State::Pinging { until, look, .. } if now < until + (now - look) => {
                pinging(until + (now - look), tx)
            }
            State::Pinging { .. } => return true,
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
