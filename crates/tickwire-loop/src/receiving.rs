//! The limit on the bytes that all connections together have received and not delivered.
//!
//! ```text
//! all read | those within a fair share read | .. and within 128 KiB | those that hold nothing
//!          3/4 of the limit                 7/8 of it                the limit
//! ```
//!
//! The first of the stopped connections reads in any case. So the messages of stopped connections
//! end one after the other.
use crate::handle::Handle;
use std::{collections::VecDeque, mem, time::Duration};
use tickwire::Time;

/// The loop expects a read to add as many bytes as the connection holds, within these bounds.
const READ: (usize, usize) = (16 << 10, 128 << 10);
/// Above 7/8 of the limit, a connection may hold 128 KiB, and a few bytes more for its buffers.
const LITTLE: usize = 129 << 10;
/// The time for which `Receiving::first` may receive nothing. Without this limit, a peer that sends
/// half a message would keep the others waiting until a deadline passes. While all together exceed
/// the limit by `ABOVE`, `first` stays, because each former `first` may keep almost a message.
const PATIENCE: Duration = Duration::from_secs(1);
const ABOVE: usize = 1 << 20;

/// The bytes that an open connection has received and not delivered.
#[derive(Default)]
pub(crate) struct Received {
    /// The number of these bytes, after the last turn.
    pub(crate) bytes: usize,
    /// The time at which a stopped connection is given up, unless one of its messages ends before.
    pub(crate) until: Option<Time>,
    /// Whether a message was delivered, and `take_message_ended` was not called since.
    pub(crate) message_ended: bool,
    /// Whether the connection is in `Receiving::stopped`.
    pub(crate) queued: bool,
}

impl Received {
    /// Returns whether a message was delivered since the last call. If so, unsets `until`.
    pub(crate) fn take_message_ended(&mut self) -> bool {
        let ended = mem::take(&mut self.message_ended);
        self.until = self.until.filter(|_| !ended);
        ended
    }
}

/// The number of bytes that all open connections hold, and the connections that may not read.
pub(crate) struct Receiving {
    /// The number of bytes that all connections hold.
    pub(crate) all: usize,
    limit: usize,
    /// 3/4 of the limit. Up to this number, all connections read.
    calm: usize,
    /// The number of connections that hold received bytes.
    holders: usize,
    /// The stopped connections, in the order in which they were stopped.
    pub(crate) stopped: VecDeque<Handle>,
    /// The connection that reads in any case, and the number of bytes that it holds. The limit is
    /// for the others.
    first: Option<(Handle, usize)>,
    /// The time at which another connection becomes `first`, unless `first` reads something before.
    patience: Option<Time>,
    /// The fair share at the time when the stopped connections last tried again.
    share: usize,
}

impl Receiving {
    pub(crate) fn new(limit: usize) -> Self {
        let (stopped, first, patience) = (VecDeque::new(), None, None);
        let calm = limit / 4 * 3;
        Self { all: 0, limit, calm, holders: 0, stopped, first, patience, share: 0 }
    }

    /// Sets the number of bytes that a connection holds.
    #[inline]
    pub(crate) fn count(&mut self, of: Handle, held: &mut Received, bytes: usize) {
        if bytes == 0 && held.bytes == 0 && self.first.is_none() {
            return; // the common case
        }
        self.all = self.all - held.bytes + bytes;
        self.holders = self.holders - usize::from(held.bytes > 0) + usize::from(bytes > 0);
        held.bytes = bytes;
        if bytes == 0 {
            held.until = None;
        }
        if held.take_message_ended() || bytes == 0 {
            // Otherwise a peer that sends without a pause would be the first for ever.
            self.first.take_if(|(first, _)| *first == of);
        } else if self.is_first(of) {
            self.first = Some((of, bytes));
        }
    }

    /// Whether a connection may read. `held`: the number of bytes that it holds.
    #[inline]
    pub(crate) fn may_read(&self, of: Handle, held: impl FnOnce() -> usize) -> bool {
        if self.all <= self.calm || self.is_first(of) {
            return true;
        }
        let most = match self.others() {
            others if others <= self.calm => return true,
            others if others <= self.limit / 8 * 7 => self.fair_share(),
            others if others <= self.limit => self.fair_share().min(LITTLE),
            _ => 0,
        };
        let held = held();
        held == 0 || held + held.clamp(READ.0, READ.1) <= most
    }

    /// Returns when a connection that now waits for input needs a turn, even without a `Note`.
    /// `read`: whether its turn has read something. `stops`: whether the limit has stopped it.
    #[inline]
    pub(crate) fn until(
        &mut self,
        of: Handle,
        held: &Received,
        (read, stops): (bool, bool),
        now: Time,
    ) -> Option<Time> {
        if !self.is_first(of) {
            return held.until.filter(|_| stops);
        }
        let full = self.all > self.limit.saturating_add(ABOVE);
        if read || full && held.until.is_some_and(|at| at > now) {
            self.patience = Some(now + PATIENCE);
        }
        self.patience = self.patience.filter(|at| *at > now);
        self.first.take_if(|_| self.patience.is_none());
        self.patience.or(held.until)
    }

    #[inline]
    fn is_first(&self, handle: Handle) -> bool {
        self.first.is_some_and(|(first, _)| first == handle)
    }

    /// The number of bytes that all connections except the first hold.
    fn others(&self) -> usize {
        self.all.saturating_sub(self.first.map_or(0, |(_, bytes)| bytes))
    }

    fn fair_share(&self) -> usize {
        self.calm / self.holders.max(1)
    }

    /// Returns how many of the stopped connections try again. All try if there is room, or if the
    /// fair share has grown by 1/8. Otherwise one tries, if there is no `first`.
    pub(crate) fn resumable(&mut self) -> usize {
        let share = self.fair_share();
        if self.others() <= self.calm || share / 9 * 8 > self.share {
            self.share = share;
            return self.stopped.len();
        }
        self.share = self.share.min(share);
        usize::from(self.first.is_none()).min(self.stopped.len())
    }

    /// Lets a stopped connection try again. It becomes the first, if there is none. Returns `false`
    /// if it holds nothing: then it may read without being the first, and may become dormant.
    pub(crate) fn resume(&mut self, of: Handle, held: &mut Received) -> bool {
        held.queued = false;
        if held.bytes > 0 {
            self.first.get_or_insert((of, held.bytes));
        }
        held.bytes > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A connection that holds nothing may become dormant, and then be removed. It would stay the
    /// first for ever.
    #[test]
    fn a_connection_that_holds_nothing_is_never_the_first() {
        let mut receiving = Receiving::new(1 << 20);
        let [one, two] = [0, 1].map(|at| Handle { at, generation: 0 });
        let mut held = Received { queued: true, ..Received::default() };
        assert!(!receiving.resume(one, &mut held));
        assert!(!held.queued && receiving.first.is_none());
        receiving.count(two, &mut held, 1);
        assert!(receiving.resume(two, &mut held) && receiving.is_first(two));
    }
}
