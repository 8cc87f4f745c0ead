//! The asynchronous WebSocket, whole and split, and its handshakes, written once over any
//! [`Source`] and [`Output`]: how to read, how to write, and how to wait for a deadline.
pub(crate) mod calls;
mod handshake;
pub(crate) mod output;
pub(crate) mod polls;
pub(crate) mod receiving;
#[cfg(feature = "futures")]
pub(crate) mod streams;

pub(crate) use handshake::accept;

use super::{Core, Output, Ready, Received, Socket, Source, Want, Whole};
use crate::{
    error::Error,
    proto::{connection::Step, message::Message},
};
use std::{
    future::poll_fn,
    pin::Pin,
    task::{Context, Poll, ready},
};

pub(crate) type WebSocket<I> = Socket<Whole, I>;

impl<I: Source + Output> WebSocket<I> {
    /// Each poll checks the room anew, because the program may have dropped a future, fed messages,
    /// and then polled a new one.
    #[inline(never)] // keeps the fast path of `RecvToReply` small
    fn poll_to_reply(&mut self, cx: &mut Context<'_>) -> Poll<Ready> {
        ready!(self.poll_answerable(cx));
        loop {
            match ready!(self.poll_more(cx, Want::Message)) {
                Ready::Item if self.is_mute() => {}
                ready => return Poll::Ready(ready),
            }
        }
    }

    /// `below` of 0 counts as 1, because the number of unsent bytes is never below 0.
    pub(crate) fn has_room_below(&self, below: usize) -> bool {
        let tx = self.core.conn.sender();
        self.has_room() && tx.buffered_amount() < below.max(1)
    }
}

impl<C: Core<I>, I: Source> Socket<C, I> {
    #[inline(always)]
    pub(crate) fn poll_message(&mut self, cx: &mut Context<'_>) -> Poll<Ready> {
        match self.quick() {
            Some(Step::Message) => Poll::Ready(Ready::Item),
            _ => self.poll_more(cx, Want::Message),
        }
    }

    /// After [`begin_leave`](Self::begin_leave). Discards the messages that are received until the
    /// end.
    ///
    /// Even a stream with room refuses bytes if the task has used up its runtime's budget, or if
    /// the runtime has not yet asked the operating system about a new stream. Once a timer is
    /// ready, both reasons are gone: so, if the stream refuses our Close, this waits for one, even
    /// if `begin_leave` got a `within` of zero, and then writes again.
    pub(crate) async fn leave(&mut self) {
        let began = self.io.now();
        let written = poll_fn(|cx| match self.write(cx) {
            Poll::Pending => self.io.poll_sleep(began, cx),
            written => written,
        });
        written.await;
        while poll_fn(|cx| self.poll_more(cx, Want::Message)).await == Ready::Item {}
        let _ = self.ended::<()>(); // drops the stored error: later calls get it from the core
    }

    #[inline(always)]
    pub(crate) fn message(&mut self) -> Option<Message<'_>> {
        self.core.inbound().receiver().message()
    }
}

/// The result of `recv_or_room`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
// Exhaustive: a caller's `_` arm could not handle an added result correctly.
pub enum MessageOrRoom<'a> {
    /// A message.
    Message(Message<'a>),
    /// There is room again for a message.
    Room,
    /// The peer's Close was received and answered. (With [`auto_close`](crate::Config::auto_close)
    /// off, the Close may be unanswered.)
    Closed,
}

/// The future of `recv`: only a pointer, where that of an `async fn` would also store its own state
/// and the states of all futures inside. `poll` is always inlined, because otherwise its result
/// would pass through memory, which costs 7 ns per message.
pub(crate) struct Recv<'a, C, I>(pub(crate) Option<&'a mut Socket<C, I>>);

impl<'a, C: Core<I>, I: Source> Future for Recv<'a, C, I> {
    type Output = Result<Option<Message<'a>>, Error>;

    #[inline(always)]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(drive) = self.0.as_mut() else {
            return Poll::Pending; // polled after completion: no result is left
        };
        match ready!(drive.poll_message(cx)) {
            Ready::End => Poll::Ready(drive.ended()),
            Ready::Item => Poll::Ready(Ok(self.0.take().and_then(Socket::message))),
        }
    }
}

/// Only a pointer, like [`Recv`].
pub(crate) struct RecvToReply<'a, I>(pub(crate) Option<&'a mut WebSocket<I>>);

impl<'a, I: Source + Output> Future for RecvToReply<'a, I> {
    type Output = Result<Option<Received<'a>>, Error>;

    #[inline(always)]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(drive) = self.0.as_mut() else {
            return Poll::Pending; // polled after completion
        };
        // If `is_free`, this saves one call. That `poll_message` discards no message is right: no
        // Close is queued yet, and if this poll queues ours, no message follows.
        let free = drive.is_free();
        let polled = if free { drive.poll_message(cx) } else { drive.poll_to_reply(cx) };
        if ready!(polled) == Ready::End {
            return Poll::Ready(drive.ended());
        }
        Poll::Ready(Ok(self.0.take().and_then(Socket::received)))
    }
}
