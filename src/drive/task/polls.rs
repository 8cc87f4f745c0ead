//! Receiving by polls, and the waking of two tasks that share one whole WebSocket. (The halves of
//! `into_split` wake each other through `Wakers`.)
//!
//! A stream and a timer wake only the task that polled them last. So, if two tasks poll, each polls
//! the stream with a waker that wakes both, and wakes the other task if it changes something that
//! this waits for.
use crate::{
    drive::{Core, Ready, Socket, Source, Want, wakers::Side},
    proto::connection::Step,
};
use std::task::{Context, Poll};

impl<C: Core<I>, I: Source> Socket<C, I> {
    /// The fast path wakes nobody, because it changes nothing that the other side waits for.
    pub(crate) fn poll_item(&mut self, cx: &mut Context<'_>, want: Want) -> Poll<Ready> {
        match self.quick() {
            Some(Step::Message) => Poll::Ready(Ready::Item),
            _ => self.poll_side(Side::Reader, cx, |socket, cx| socket.poll_more(cx, want)),
        }
    }

    /// Wakes the task of the other side if the outlook has changed since it was last stored, and if
    /// that matters. Calls that are not polls, such as `feed`, change it too; the next poll
    /// notices.
    #[inline]
    pub(crate) fn poll_side<T>(
        &mut self,
        side: Side,
        cx: &mut Context<'_>,
        poll: impl FnOnce(&mut Self, &mut Context<'_>) -> Poll<T>,
    ) -> Poll<T> {
        let Some(outlook) = C::OUTLOOK else { return poll(self, cx) };
        let polled = self.tasks.polled.get_or_insert_default();
        let known = polled.is_only(side, cx.waker());
        let result = match known {
            true => poll(self, cx),
            false => self.poll_by_another(side, cx, poll),
        };
        // If nobody has polled the other side, there is nobody to wake, so a ready poll need not
        // store the outlook. A `Pending` one has to, so that a later poll of the other side finds
        // what has changed since.
        if let Some(polled) = &mut self.tasks.polled
            && (!known || result.is_pending() || polled.has_other(side))
        {
            polled.look(side, outlook(&self.core));
        }
        result
    }

    #[inline(never)] // keeps `poll_side` small while one task polls
    fn poll_by_another<T>(
        &mut self,
        side: Side,
        cx: &mut Context<'_>,
        poll: impl FnOnce(&mut Self, &mut Context<'_>) -> Poll<T>,
    ) -> Poll<T> {
        // Taken out, because `poll` borrows the whole socket. `poll_side` has just stored a value.
        let mut polled = self.tasks.polled.take().unwrap_or_default();
        let result = poll(self, &mut Context::from_waker(polled.waker(side, cx.waker())));
        self.tasks.polled = Some(polled);
        result
    }
}
