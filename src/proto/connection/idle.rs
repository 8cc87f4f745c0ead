//! A message that goes out where no other did for some time: the heartbeat of protocols whose
//! servers count messages.
use super::{
    Position, Sender,
    looks::{LOOKS, SHORTEST},
};
use crate::proto::{message::OwnedMessage, time::Time};
use core::time::Duration;

#[derive(Debug)]
pub(super) struct Idle {
    after: Duration,
    message: OwnedMessage,
    /// `None` before a time was told.
    last: Option<Look>,
    /// The idle message fed last.
    fed: Option<Position>,
}

#[derive(Debug)]
struct Look {
    at: Time,
    /// What was fed by then: [`Sender::data_mark`].
    mark: u64,
    /// No later than this was the last message fed.
    since: Time,
}

impl Idle {
    pub(super) fn new((after, message): &(Duration, OwnedMessage)) -> Self {
        Self { after: (*after).max(SHORTEST), message: message.clone(), last: None, fed: None }
    }

    /// How long until the next look.
    pub(super) fn between_looks(&self) -> Duration {
        self.after / LOOKS
    }

    pub(super) fn restart(&mut self) {
        self.last = None;
    }

    /// When to look next.
    pub(super) fn next(&self) -> Time {
        let Some(last) = &self.last else { return Time::ZERO };
        let (look, due) = (last.at + self.between_looks(), last.since + self.after);
        // One that is due and could not be fed is tried again with the next look.
        if due > last.at { look.min(due) } else { look }
    }

    /// Looks whether a message was fed, and feeds this one where that was too long ago; says
    /// whether it did.
    pub(super) fn say(&mut self, now: Time, tx: &mut Sender) -> bool {
        let next = self.next();
        let mark = tx.data_mark();
        let Some(last) = &mut self.last else {
            self.last = Some(Look { at: now, mark, since: now });
            return false;
        };
        if now < next {
            return false;
        }
        let before = core::mem::replace(&mut last.at, now);
        if mark != last.mark {
            (last.mark, last.since) = (mark, before);
        }
        // Where the stream takes nothing, one that waits is enough.
        let waits = self.fed.is_some_and(|at| !tx.is_written(at));
        // §5.4: no other message may come between fragments.
        let free = !waits && tx.has_room() && tx.message_in_progress().is_none();
        if now < last.since + self.after || !free {
            return false;
        }
        // Before messages that wait for the stream: those may wait for long.
        let Ok(at) = tx.overtake(&self.message.as_message().into()) else { return false };
        (last.mark, last.since) = (tx.data_mark(), now);
        self.fed = Some(at);
        true
    }
}
