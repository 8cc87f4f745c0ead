//! What the loop still has to do in a round. No slot is twice in the same queue.
use crate::{slots::Slot, stage::Stage};
use std::{collections::VecDeque, mem};

#[derive(Default)]
pub(crate) struct Queues {
    pub(crate) ready: Vec<u32>,
    /// Opening handshakes, whose turns follow those of `ready`.
    pub(crate) opening: VecDeque<u32>,
    /// Their last turns ended at a limit of the turn. They come last.
    pub(crate) unfinished: VecDeque<u32>,
    /// Doors at which connections may wait to be accepted.
    pub(crate) knocked: Vec<u32>,
    /// The program queued output for them outside of their turns.
    pub(crate) unwritten: Vec<u32>,
    /// Their connections are whole. The front becomes dormant first.
    pub(crate) whole: VecDeque<u32>,
}

impl Queues {
    #[inline]
    pub(crate) fn make_ready<T>(&mut self, at: u32, slot: &mut Slot<T>) {
        if !mem::replace(&mut slot.marks.ready, true) {
            match slot.stage {
                Stage::Opening(_) => self.opening.push_back(at),
                _ => self.ready.push(at),
            }
        }
    }

    /// A turn in a later round, after the slots that are ready then.
    pub(crate) fn make_ready_later<T>(&mut self, at: u32, slot: &mut Slot<T>) {
        if !mem::replace(&mut slot.marks.ready, true) {
            self.unfinished.push_back(at);
        }
    }

    pub(crate) fn are_idle(&self) -> bool {
        let queues = [&self.ready, &self.knocked, &self.unwritten];
        self.opening.is_empty()
            && self.unfinished.is_empty()
            && queues.iter().all(|queue| queue.is_empty())
    }
}
