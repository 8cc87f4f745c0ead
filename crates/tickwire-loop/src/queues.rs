//! The queues of a round: the slots and doors for which the loop still has something to do. No slot
//! is twice in the same queue.
use crate::{slots::Slot, stage::Stage};
use std::{collections::VecDeque, mem};

#[derive(Default)]
pub(crate) struct Queues {
    /// The slots that get the next turns.
    pub(crate) ready: Vec<u32>,
    /// The slots of opening handshakes that are ready. Their turns follow the turns of `ready`.
    pub(crate) opening: VecDeque<u32>,
    /// The slots whose last turns ended at a limit of the turn. Their turns come last.
    pub(crate) unfinished: VecDeque<u32>,
    /// The numbers of the doors at which connections may wait to be accepted.
    pub(crate) knocked: Vec<u32>,
    /// The slots for which the program queued output outside of their turns.
    pub(crate) unwritten: Vec<u32>,
    /// The slots whose connections are whole. The slot at the front becomes dormant first.
    pub(crate) whole: VecDeque<u32>,
}

impl Queues {
    /// Gives the slot with the number `at` a turn in this round or the next.
    #[inline]
    pub(crate) fn make_ready<T>(&mut self, at: u32, slot: &mut Slot<T>) {
        if !mem::replace(&mut slot.marks.ready, true) {
            match slot.stage {
                Stage::Opening(_) => self.opening.push_back(at),
                _ => self.ready.push(at),
            }
        }
    }

    /// Gives the slot a turn in a later round, after the slots that are ready in that round.
    pub(crate) fn make_ready_later<T>(&mut self, at: u32, slot: &mut Slot<T>) {
        if !mem::replace(&mut slot.marks.ready, true) {
            self.unfinished.push_back(at);
        }
    }

    /// Whether the next round has nothing to do before a `Note` or a deadline comes.
    pub(crate) fn are_idle(&self) -> bool {
        let queues = [&self.ready, &self.knocked, &self.unwritten];
        self.opening.is_empty()
            && self.unfinished.is_empty()
            && queues.iter().all(|queue| queue.is_empty())
    }
}
