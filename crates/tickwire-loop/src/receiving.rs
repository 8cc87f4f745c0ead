//! The limit on what all connections together have received and not delivered. The more they hold
//! (from left to right), the fewer may read:
//!
//! ```text
//! all read | those within a fair share read | .. and within 128 KiB | those that hold nothing
//!          1/2 of the limit                 5/8 of it                11/16 of it
//! ```
//!
//! The last 5/16 are for what the limit cannot stop: the first read and the TLS buffer of each
//! connection, one whole message (see below), and memory that the allocator keeps.
//!
//! One of the stopped connections reads in any case, the one whose message began first. So the
//! messages of stopped connections end one after the other.
use crate::handle::Handle;
use std::{collections::BTreeMap, mem, time::Duration};
use tickwire::{Receiver, Time};

/// Above 5/8 of the limit, a connection may hold 128 KiB of a message, and a little more.
const LITTLE: usize = 129 << 10;
/// For which `Receiving::first` may receive nothing: otherwise a peer that sends half a message and
/// then nothing would keep the others waiting until a deadline passes.
const PATIENCE: Duration = Duration::from_secs(1);
/// So much above 11/16 of the limit, the connection in `Receiving::first` stays there even if it
/// receives nothing: there is no room to replace it, because a replaced one may keep almost a whole
/// message.
const ABOVE: usize = 1 << 20;

/// And not delivered, by an open connection.
#[derive(Default)]
pub(crate) struct Received {
    /// How many received bytes the connection held after its last turn.
    pub(crate) bytes: usize,
    /// The number of the connection's unfinished message, in the order in which messages began; 0
    /// if it holds nothing.
    began: u64,
    /// When a stopped connection is given up, unless one of its messages ends earlier.
    pub(crate) until: Option<Time>,
    /// How long the connection may still wait, noted when its last wait ended. `None` if it has not
    /// waited since its last message ended.
    left: Option<Duration>,
    /// Since the last `end_message`.
    pub(crate) message_ended: bool,
    /// In `Receiving::stopped`.
    pub(crate) queued: bool,
}

impl Received {
    /// When a connection that does not read is given up. It may wait for `most` until a message
    /// ends.
    pub(crate) fn wait(&mut self, now: Time, most: Duration) -> Time {
        *self.until.get_or_insert(now + self.left.unwrap_or(most))
    }
}

/// See [`Receiving::first`].
#[derive(Clone, Copy)]
struct First {
    handle: Handle,
    /// Its [`Received::bytes`].
    bytes: usize,
    /// Its [`Received::began`].
    began: u64,
}

/// What all open connections hold, and which may not read.
#[derive(Default)]
pub(crate) struct Receiving {
    /// How many received bytes all connections hold.
    pub(crate) all: usize,
    limit: usize,
    /// Half of the limit. Below it, every connection may read.
    calm: usize,
    /// Connections that hold received bytes.
    holders: usize,
    /// Those with unread bytes, in the order in which their messages began.
    pub(crate) stopped: BTreeMap<u64, Handle>,
    /// The number of the message that began last.
    last: u64,
    /// Reads in any case. The limit is for the others.
    first: Option<First>,
    /// Was `first` until another replaced it while `is_full`. Until its message ends, the present
    /// `first` is not replaced while `is_full`: otherwise many replaced connections might each keep
    /// almost a whole message.
    replaced: Option<Handle>,
    /// Then another may become `first`, unless `first` reads before.
    patience: Option<Time>,
    /// The smallest fair share since all stopped connections last tried to read.
    share: usize,
}

impl Receiving {
    pub(crate) fn new(limit: usize) -> Self {
        Self { limit, calm: limit / 2, ..Self::default() }
    }

    #[inline]
    pub(crate) fn count(&mut self, of: Handle, held: &mut Received, bytes: usize) {
        if bytes == 0 && held.bytes == 0 {
            return; // the common case; an entry in `stopped` may stay: see `resume_stopped`
        }
        self.all = self.all - held.bytes + bytes;
        self.holders = self.holders - usize::from(held.bytes > 0) + usize::from(bytes > 0);
        held.bytes = bytes;
        held.message_ended |= bytes == 0; // without bytes, no message is under way
        self.end_message(of, held); // comes first: the bytes held now belong to a new message
        if bytes > 0 {
            let began = self.number(held);
            if self.is_first(of) {
                self.first = Some(First { handle: of, bytes, began });
            }
        }
    }

    fn end_message(&mut self, of: Handle, held: &mut Received) {
        if mem::take(&mut held.message_ended) {
            held.until = None;
            held.left = None;
            if mem::take(&mut held.queued) {
                self.stopped.remove(&held.began); // before `began` is cleared
            }
            held.began = 0;
            // Otherwise a peer that never pauses would stay the first for ever.
            self.first.take_if(|first| first.handle == of);
            self.replaced.take_if(|replaced| *replaced == of);
        }
    }

    fn number(&mut self, held: &mut Received) -> u64 {
        if held.began == 0 {
            self.last += 1;
            held.began = self.last;
        }
        held.began
    }

    /// Without unread bytes (not `is_readable`) it need not join `stopped`: a `Note` comes with its
    /// next bytes.
    pub(crate) fn stop(&mut self, of: Handle, held: &mut Received, is_readable: bool) {
        self.end_message(of, held); // in this turn, a message may have ended before the stop
        let began = self.number(held);
        if is_readable && !mem::replace(&mut held.queued, true) {
            self.stopped.insert(began, of);
        }
    }

    /// Every connection may read.
    #[inline]
    pub(crate) fn is_calm(&self) -> bool {
        self.all <= self.calm
    }

    /// Whether it reads in any case: until its message ends, not until its turn does.
    pub(crate) fn goes_on(&self, of: Handle, held: &Received) -> bool {
        self.is_first(of) && !held.message_ended
    }

    pub(crate) fn may_read(&self, receiver: &Receiver) -> bool {
        // Divided before multiplied, because the limit may be `usize::MAX`.
        let most = match self.others() {
            others if others <= self.calm => return true,
            others if others <= self.limit / 8 * 5 => self.fair_share(),
            others if others <= self.limit / 16 * 11 => self.fair_share().min(LITTLE),
            _ => 0,
        };
        receiver.buffer_len() == 0 || receiver.grown_len() <= most
    }

    /// When a connection that waits for input needs a turn without a `Note`. `read`: its turn has
    /// read something. `stops`: the limit has stopped it.
    #[inline]
    pub(crate) fn until(
        &mut self,
        of: Handle,
        held: &mut Received,
        (read, stops): (bool, bool),
        now: Time,
    ) -> Option<Time> {
        if held.until.is_none() && !self.is_first(of) {
            return None; // the common case
        }
        self.until_pressed(of, held, (read, stops), now)
    }

    #[cold] // few loops come near the limit
    fn until_pressed(
        &mut self,
        of: Handle,
        held: &mut Received,
        (read, stops): (bool, bool),
        now: Time,
    ) -> Option<Time> {
        let is_first = self.is_first(of);
        // A wait ends when the limit no longer stops the connection. But `first` also waits while
        // it reads nothing, because it holds memory for which others wait.
        if !stops && (read || !is_first) {
            held.left = held.until.take().map(|until| until - now).or(held.left);
        }
        if !is_first {
            return held.until;
        }
        // `Duration::ZERO` has no effect: `first` was stopped before, so `held` has `until` or
        // `left`.
        let until = (!read).then(|| held.wait(now, Duration::ZERO));
        // A read renews `patience`. While there is no room for another `first`, the present one
        // stays until its own time to wait is over.
        if read || self.is_full() && until.is_some_and(|at| at > now) {
            self.patience = Some(now + PATIENCE);
        }
        self.patience = self.patience.filter(|at| *at > now);
        self.first.take_if(|_| self.patience.is_none()); // the next connection may become `first`
        self.patience.or(until)
    }

    #[inline]
    fn is_first(&self, handle: Handle) -> bool {
        self.first.is_some_and(|first| first.handle == handle)
    }

    fn others(&self) -> usize {
        self.all.saturating_sub(self.first.map_or(0, |first| first.bytes))
    }

    fn fair_share(&self) -> usize {
        self.calm / self.holders.max(1)
    }

    /// There is no room for another `first`, which may hold a whole message.
    fn is_full(&self) -> bool {
        self.all > (self.limit / 16 * 11).saturating_add(ABOVE)
    }

    /// A message that began before that of the present `first` goes first, so that later ones that
    /// never end cannot hold it up.
    fn goes_first(&self, began: u64) -> bool {
        let may_replace = !self.is_full() || self.replaced.is_none();
        self.first.is_none_or(|first| began < first.began && may_replace)
    }

    /// All try if there is room, or if the fair share has grown by 1/8: after less, many would soon
    /// stop again. Otherwise the one whose message began first, if it may become the first.
    pub(crate) fn resumable(&mut self) -> usize {
        let share = self.fair_share();
        if self.others() <= self.calm || share / 9 * 8 > self.share {
            self.share = share;
            return self.stopped.len();
        }
        // Growth is measured from the smallest share since all last tried.
        self.share = self.share.min(share);
        let eldest = self.stopped.first_key_value();
        usize::from(eldest.is_some_and(|(began, _)| self.goes_first(*began)))
    }

    /// It was taken out of `stopped`. `false` if it holds nothing: then it may read anyway, and
    /// does not become the first, because it may become dormant, and would stay the first for ever.
    pub(crate) fn resume(&mut self, of: Handle, held: &mut Received) -> bool {
        held.queued = false;
        let holds = held.bytes > 0;
        if holds && self.goes_first(held.began) {
            if self.is_full() {
                self.replaced = self.first.map(|first| first.handle).or(self.replaced);
            }
            self.replaced.take_if(|replaced| *replaced == of); // it is the first again
            // If its next turn reads, `patience` begins anew. Otherwise another may become the
            // first.
            self.first = Some(First { handle: of, bytes: held.bytes, began: held.began });
        }
        holds
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A connection that holds nothing may become dormant, and then be removed. If it could be the
    /// first, it would stay the first for ever.
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
