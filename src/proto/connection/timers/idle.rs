//! The idle message, sent after an interval without any other, for servers that count only messages
//! as a sign of life, not Pings.
use super::Sender;
use crate::proto::{
    connection::{
        Position,
        looks::{LOOKS, SHORTEST},
    },
    message::OwnedMessage,
    time::Time,
};
use core::time::Duration;

#[derive(Debug)]
pub(super) struct Idle {
    after: Duration,
    message: OwnedMessage,
    /// `None` until the caller has told a time.
    last: Option<Look>,
    fed: Option<Position>,
}

#[derive(Debug)]
struct Look {
    at: Time,
    /// [`Sender::data_mark`] at this look.
    mark: u64,
    /// When the interval began: at this look, or at the previous one if a message was fed in
    /// between. So the idle message may be early by the time between two looks.
    since: Time,
}

impl Idle {
    pub(super) fn new((after, message): &(Duration, OwnedMessage)) -> Self {
        Self { after: (*after).max(SHORTEST), message: message.clone(), last: None, fed: None }
    }

    pub(super) fn restart(&mut self) {
        self.last = None;
    }

    pub(super) fn next(&self) -> Time {
        let Some(last) = &self.last else { return Time::ZERO };
        let look = last.at + self.after / LOOKS;
        let due = last.since + self.after;
        // If an idle message was due but could not be fed, the next look tries again.
        if due > last.at { look.min(due) } else { look }
    }

    /// Feeds the idle message if no other was fed for the whole interval, and it may be sent now.
    pub(super) fn say(&mut self, now: Time, tx: &mut Sender) {
        let next = self.next();
        let mark = tx.data_mark();
        let Some(last) = &mut self.last else {
            self.last = Some(Look { at: now, mark, since: now });
            return;
        };
        if now < next {
            return;
        }
        // If a message was fed since the previous look, the interval begins there.
        let before = core::mem::replace(&mut last.at, now);
        if mark != last.mark {
            last.mark = mark;
            last.since = before;
        }
        // While the stream is blocked, one waiting idle message is enough.
        let waits = self.fed.is_some_and(|at| !tx.is_written(at));
        // Without room, fed messages are still to be sent, so the connection is not idle. An
        // unfinished message in chunks might hold the idle message back (§5.4).
        let free = !waits && tx.has_room() && tx.message_in_progress().is_none();
        if now < last.since + self.after || !free {
            return;
        }
        // It overtakes, because fed messages may wait long for a blocked stream. If it is refused,
        // the next look tries again.
        if let Ok(at) = tx.overtake(&self.message.as_message().into()) {
            last.mark = tx.data_mark();
            last.since = now;
            self.fed = Some(at);
        }
    }
}
