//! Receiving by polls, and the waking of two tasks that share one WebSocket.
//!
//! A stream and a timer wake only the task that polled them last. So each side polls them with a
//! waker that wakes the tasks of both sides. If a poll of one side changes something that the task
//! of the other side waits for, the poll also wakes that task. This is for a whole WebSocket: the
//! halves of `into_split` share wakers of their own.
use super::Socket;
use crate::{
    drive::{
        Core, Outlook, Ready, Source, Want,
        wakers::{Side, Wakers},
    },
    proto::connection::Step,
};
use std::{
    mem,
    sync::Arc,
    task::{Context, Poll, Waker},
};

/// The state that polls keep between calls.
#[derive(Debug, Default)]
pub(crate) struct Polled {
    /// The wakers of the tasks that wait for each side. `None` until a task waits.
    tasks: Option<Arc<Wakers>>,
    /// The outlook after the last poll.
    outlook: Outlook,
    /// The `Stream` has returned its last item.
    #[cfg(feature = "futures")]
    pub(super) stream_ended: bool,
}

impl Outlook {
    /// Whether the other side must learn of the change since `before`. A stream may drop its waker
    /// once it accepts bytes. So the side that writes the refused bytes wakes the other side.
    fn is_news(self, before: Self) -> bool {
        let ends = |of: Self| (of.closed, of.broken, of.failed);
        let writable = (before.blocked && !self.blocked) || (!before.room && self.room);
        writable || ends(self) != ends(before)
    }
}

impl<C: Core<I>, I: Source> Socket<C, I> {
    pub(crate) fn poll_item(&mut self, cx: &mut Context<'_>, want: Want) -> Poll<Ready> {
        match self.quick() {
            Some(Step::Message) => Poll::Ready(Ready::Item),
            _ => self.poll_side(Side::Reader, cx, |socket, cx| socket.poll_more(cx, want)),
        }
    }

    /// Polls one side, and wakes the other side if the outlook has changed for that side since the
    /// last poll.
    pub(crate) fn poll_side<T>(
        &mut self,
        side: Side,
        cx: &mut Context<'_>,
        poll: impl FnOnce(&mut Self, &mut Context<'_>) -> Poll<T>,
    ) -> Poll<T> {
        let Some(outlook) = C::OUTLOOK else {
            return poll(self, cx);
        };
        let tasks = self.polled.tasks.get_or_insert_default();
        tasks.park(side, cx);
        let both = Waker::from(tasks.clone());
        let polled = poll(self, &mut Context::from_waker(&both));
        let outlook = outlook(&self.core);
        if outlook.is_news(mem::replace(&mut self.polled.outlook, outlook))
            && let Some(tasks) = &self.polled.tasks
        {
            tasks.wake(side.other());
        }
        polled
    }
}
