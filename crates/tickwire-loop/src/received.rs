//! The limit on the bytes that all connections together have received and not delivered.
//!
//! ```text
//! all read | those within a fair share read | .. and within 128 KiB | those that hold nothing
//!          3/4 of the limit                 7/8 of it                the limit
//! ```
//!
//! Of those that were stopped, the first one reads in any case, so that their messages end one
//! after the other.
use crate::handle::Handle;
use std::{collections::VecDeque, time::Duration};
use tickwire::Time;

/// A read may double what a connection holds, but adds at least and at most so much.
const READ: (usize, usize) = (16 << 10, 128 << 10);
/// Above 7/8 of the limit, a connection may hold so much, and some bytes that its buffers have
/// besides.
const LITTLE: usize = 129 << 10;
/// The time that the first one may bring nothing. Otherwise a peer that sends half a message would
/// keep the others waiting until a deadline passes. It does so if all exceed the limit by `ABOVE`:
/// each that stops being the first holds up to a message more.
const PATIENCE: Duration = Duration::from_secs(1);
pub(crate) const ABOVE: usize = 1 << 20;

/// What an open connection has received and not delivered.
#[derive(Default)]
pub(crate) struct Received {
    /// The memory of these bytes, after the last turn.
    pub(crate) bytes: usize,
    /// When a connection that was stopped is given up. Kept until its message has ended.
    pub(crate) until: Option<Time>,
    /// Whether it is in `Stopped::queue`.
    pub(crate) queued: bool,
}

/// The connections that may not read.
#[derive(Default)]
pub(crate) struct Stopped {
    /// The connections that were stopped, in this order.
    pub(crate) queue: VecDeque<Handle>,
    /// The one that reads in any case, and what it holds. The limit is for the others.
    pub(crate) first: Option<(Handle, usize)>,
    /// When another takes the place of `first`, unless it has read something by then.
    patience: Option<Time>,
    /// The number of connections that hold received bytes.
    holders: usize,
    /// The fair share when the stopped connections last were asked to try again.
    share: usize,
}

impl Stopped {
    /// Counts what a connection holds from now on, in `all` too.
    #[inline]
    pub(crate) fn count(&mut self, all: &mut usize, held: &mut Received, bytes: usize) {
        *all = *all - held.bytes + bytes;
        self.holders = self.holders - usize::from(held.bytes > 0) + usize::from(bytes > 0);
        held.bytes = bytes;
    }

    /// Whether a connection may read. `all`: what all connections hold. `held`: what it holds.
    #[inline]
    pub(crate) fn may_read(
        &self,
        of: Handle,
        (all, limit): (usize, usize),
        held: impl FnOnce() -> usize,
    ) -> bool {
        if all <= limit / 4 * 3 || self.is_first(of) {
            return true;
        }
        let most = match self.others(all) {
            others if others <= limit / 4 * 3 => return true,
            others if others <= limit / 8 * 7 => self.fair_share(limit),
            others if others <= limit => self.fair_share(limit).min(LITTLE),
            _ => 0,
        };
        let held = held();
        held == 0 || held + held.clamp(READ.0, READ.1) <= most
    }

    /// `first` has nothing to read. `stays`: whether it stays the first for now. Returns when to
    /// look again.
    pub(crate) fn wait_for_first(&mut self, now: Time, stays: bool) -> Option<Time> {
        if stays {
            self.patience = Some(now + PATIENCE);
        }
        self.patience = self.patience.filter(|at| *at > now);
        if self.patience.is_none() {
            self.first = None;
        }
        self.patience
    }

    #[inline]
    pub(crate) fn is_first(&self, handle: Handle) -> bool {
        self.first.is_some_and(|(first, _)| first == handle)
    }

    /// What all but the first hold.
    fn others(&self, all: usize) -> usize {
        all.saturating_sub(self.first.map_or(0, |(_, bytes)| bytes))
    }

    fn fair_share(&self, limit: usize) -> usize {
        limit / 4 * 3 / self.holders.max(1)
    }

    /// Returns how many of the stopped connections try again: all if there is room, or the fair
    /// share has grown by 1/8; otherwise the first one if no other reads in any case.
    pub(crate) fn resumable(&mut self, all: usize, limit: usize) -> usize {
        let share = self.fair_share(limit);
        if self.others(all) <= limit / 4 * 3 || share / 9 * 8 > self.share {
            self.share = share;
            return self.queue.len();
        }
        self.share = self.share.min(share);
        usize::from(self.first.is_none()).min(self.queue.len())
    }
}
