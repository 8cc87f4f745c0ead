//! A line has one connection after the other, and two for a short time when a successor is due.
//! `dial` says where it dials, and when.
use super::{
    dial::{Need, Why},
    open::Open,
};
use crate::{ConnectionId, row};
use alloc::vec::Vec;
use core::{mem, time::Duration};
use tickwire::Time;

#[derive(Default)]
pub(super) struct Run {
    /// The connection, and its successor if there is one: both for a short time, so that no message
    /// is lost.
    pub(super) open: Vec<Open>,
    /// The age at which a connection's successor is due.
    pub(super) renew_after: Duration,
    pub(super) dialing: Option<Dialing>,
    /// The last dial for a silent connection, and how many there were since all was served.
    pub(super) last_for_silence: Option<Time>,
    pub(super) for_silence: u32,
    /// The attempts of this machine's address allow no dial before this time, although one is due.
    pub(super) held: Option<Time>,
}

pub(super) struct Dialing {
    pub(super) connection: ConnectionId,
    pub(super) address: usize,
    pub(super) since: Time,
    pub(super) is_for_silence: bool,
}

impl Run {
    pub(super) fn current(&self) -> Option<&Open> {
        self.open.first()
    }

    pub(super) fn position(&self, connection: ConnectionId) -> Option<usize> {
        self.open.iter().position(|open| open.id == connection)
    }

    pub(super) fn uses(&self, address: usize) -> bool {
        let dials = self.dialing.as_ref().is_some_and(|dialing| dialing.address == address);
        dials || self.open.iter().any(|open| open.address == address)
    }

    /// Why the line would dial, and since when or from when on.
    pub(super) fn need(&self) -> Option<Need> {
        if self.dialing.is_some() || self.open.len() > 1 {
            return None;
        }
        let Some(current) = self.current() else {
            return Some(Need { due: Time::ZERO, why: Why::None });
        };
        let Some(silent) = current.silent() else {
            return Some(Need { due: current.renew_at, why: Why::Planned });
        };
        let again = self.last_for_silence.map(|last| last + row::of_silence(self.for_silence));
        Some(Need { due: again.unwrap_or(silent.since).max(silent.since), why: Why::Silence })
    }

    /// The exchange will end this connection, as Binance says by `serverShutdown`. It will end the
    /// other one too, so whichever stays is due for a successor. `false` if it has said so before.
    pub(super) fn note_ending(&mut self, nth: usize, now: Time) -> bool {
        let Some(open) = self.open.get_mut(nth) else { return false };
        let is_new = !mem::replace(&mut open.is_ending, true);
        if is_new {
            self.renew(now);
        }
        is_new
    }

    pub(super) fn renew(&mut self, now: Time) {
        for open in &mut self.open {
            open.renew_at = open.renew_at.min(now);
        }
    }
}
