//! The asynchronous WebSocket, whole and split, and its handshakes: written once, over any [`Io`].
//!
//! An adapter says how its streams are read and written and what its timers are: `tokio`,
//! `futures_io`.
mod handshake;
pub(crate) mod polls;
mod split;
#[cfg(feature = "futures")]
pub(crate) mod streams;

pub(crate) use handshake::accept;
pub(crate) use split::{Reader, Writer};

use super::{Core, Error, Io, Output, Ready, Received, Socket, Source, Want, Whole, begun};
use crate::proto::{
    close::CloseFrame,
    connection::{Receiver, Step},
    message::{Chunk, Event, Message, OwnedMessage},
    outbound::Outbound,
};
#[cfg(doc)]
use crate::proto::{
    config::Config,
    connection::{Connection, Sender},
};
use std::{
    future::poll_fn,
    pin::Pin,
    task::{Context, Poll, ready},
};

/// A stream that a task waits for: the calls of threads have the same names, on the same [`Socket`].
pub trait Task: Io {}

/// A WebSocket over an `I`. Private, so that rustdoc sees through it, and lists its methods at each adapter's
/// `WebSocket`.
pub(crate) type WebSocket<I> = Socket<Whole, I>;

/// Receiving, by a connection in one piece or by the half of it that receives.
impl<C: Core<I>, I: Source + Task> Socket<C, I> {
    /// The next message, or `None` once the peer has closed and been answered.
    ///
    /// The message is borrowed from the buffer it was read into, and lives until the next call.
    /// Messages fed are written when the input is used up.
    ///
    /// A client gets its `None` when the server has ended the stream too, or [`close_timeout`](Config::close_timeout) after the
    /// server's Close. Not to wait for that, use [`recv_event`](Self::recv_event): at [`Event::Close`], [`closed`](Self::closed) has
    /// the code, `flush`, of a split one that of its `Writer`, writes the answer, and the stream may be dropped.
    ///
    /// Cancel safe: a message is consumed only by the call after the one that returned it.
    ///
    /// # Errors
    ///
    /// [`Error::Recv`] for a fault of the peer or the network, [`Error::Io`]; each after everything
    /// before it has been received. Later calls fail as well. After a violation the peer is told first,
    /// and has a second to end the stream, before the error is returned; [`closed`](Self::closed)
    /// shows it at once. Keep the first error: later calls no longer know that of the stream.
    #[inline]
    pub fn recv(&mut self) -> Recv<'_, C, I> {
        Recv(Some(self))
    }

    /// [`recv`](Self::recv), returning with the message its [`info`](Received::info) and, except for a `Reader`,
    /// the sending half, to answer while the message is alive. Replies leave in one write
    /// when the input is used up, or earlier when [`cork_limit`](Config::cork_limit) is passed.
    ///
    /// A message is handed out only while less than [`high_water`](Config::high_water) is buffered,
    /// so that one reply to each never fails with `Full`: while a peer does not read, we do not read it
    /// either, until the write timeout ends it. (Two ends that answer each message
    /// with more can block each other this way.) After our own Close, messages are discarded up to
    /// the peer's Close; after a failed write they are not, and nothing can be fed. For a `Reader` none of this applies: only the result differs from that of `recv`.
    ///
    /// Cancel safe, as [`recv`](Self::recv).
    ///
    /// # Errors
    ///
    /// As [`recv`](Self::recv).
    #[inline]
    pub fn recv_with(&mut self) -> RecvWith<'_, C, I>
    where
        C: Core<I>,
    {
        RecvWith(Some(self))
    }

    /// The next message or control frame, for proxies, and if
    /// [`auto_pong`](Config::auto_pong) or [`auto_close`](Config::auto_close) is off. `None` after
    /// the peer's Close.
    ///
    /// Cancel safe, as [`recv`](Self::recv).
    ///
    /// # Errors
    ///
    /// As [`recv`](Self::recv).
    pub async fn recv_event(&mut self) -> Result<Option<Event<'_>>, Error> {
        let ready = poll_fn(|cx| self.poll_more(cx, Want::Event)).await;
        self.take(ready, |rx| rx.event())
    }

    /// The next piece of a message, as it arrives: for messages that are too large for memory. See
    /// [`Connection::step_chunk`] for the limits that apply. A call of [`recv`](Self::recv) in the
    /// middle of a message skips the rest of it. If the peer closes in the middle of one, there
    /// is no last piece: [`Closed::cut`](crate::Closed::cut) tells.
    ///
    /// Cancel safe, as [`recv`](Self::recv).
    ///
    /// # Errors
    ///
    /// As [`recv`](Self::recv).
    pub async fn recv_chunk(&mut self) -> Result<Option<Chunk<'_>>, Error> {
        let ready = poll_fn(|cx| self.poll_more(cx, Want::Chunk)).await;
        self.take(ready, |rx| rx.chunk())
    }

    /// [`recv`](Self::recv), but the caller can keep the message; see
    /// [`Receiver::take_message`](crate::Receiver::take_message).
    ///
    /// Cancel safe, as [`recv`](Self::recv).
    ///
    /// # Errors
    ///
    /// As [`recv`](Self::recv).
    pub async fn recv_owned(&mut self) -> Result<Option<OwnedMessage>, Error> {
        let ready = poll_fn(|cx| self.poll_message(cx)).await;
        self.take(ready, Receiver::take_message)
    }
}

impl<I: Source + Task + Output> WebSocket<I> {
    /// [`recv`](Self::recv), but also returns when there is room again: when fewer than `below`
    /// bytes, and less than [`high_water`](Config::high_water), are unsent, if there was no such
    /// room when it was called. For callers with more to feed, such as an [`Outbox`](crate::Outbox),
    /// whose `below` is [`max_unsent`](crate::Outbox::max_unsent). 0 counts as 1.
    ///
    /// Cancel safe, as [`recv`](Self::recv).
    ///
    /// # Errors
    ///
    /// As [`recv`](Self::recv).
    pub async fn recv_or_room(&mut self, below: usize) -> Result<MessageOrRoom<'_>, Error> {
        let lacked = !self.has_room_below(below);
        let ready = poll_fn(|cx| match self.poll_message(cx) {
            Poll::Ready(ready) => Poll::Ready(Some(ready)),
            Poll::Pending if lacked && self.has_room_below(below) => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        })
        .await;
        match ready {
            None => Ok(MessageOrRoom::Room),
            Some(Ready::End) => self.ended::<()>().map(|_| MessageOrRoom::Closed),
            Some(Ready::Item) => {
                Ok(self.message().map_or(MessageOrRoom::Closed, MessageOrRoom::Message))
            }
        }
    }

    fn has_room_below(&self, below: usize) -> bool {
        let tx = self.core.conn.sender();
        tx.has_room() && tx.buffered_amount() < below.max(1)
    }

    /// Waits for room, feeds a message, and writes everything buffered: when it returns, the
    /// stream has taken the message. A borrowed message is copied; see [`Outbound`] for the others.
    ///
    /// Cancel safe: if dropped before there was room, nothing was sent, and a message given by value is gone
    /// (`ready`, then `feed` and `flush`, keep it); if dropped later, the message
    /// goes out whole with the next flush, so do not send it again. [`Sender::fed`]
    /// before and after tells which.
    ///
    /// It does not read: a program that only sends notices the peer's Close when the stream breaks,
    /// and two peers that both send before they receive can block each other. Split, or feed and
    /// receive.
    ///
    /// # Errors
    ///
    /// [`Error::Send`] for a message that cannot be sent, [`Error::Io`] if the stream fails,
    /// [`Error::Recv`] with [`WriteTimeout`](crate::RecvError::WriteTimeout) if it took nothing for
    /// [`write_timeout`](Config::write_timeout); messages received are still delivered then.
    pub async fn send<'m>(&mut self, message: impl Into<Outbound<'m>>) -> Result<(), Error> {
        let mut message = Some(message);
        poll_fn(|cx| {
            ready!(self.poll_room(cx))?;
            let fed = message.take().map(|message| self.feed(message));
            Poll::Ready(fed.transpose().map_err(Error::from))
        })
        .await?;
        self.flush().await
    }

    /// Waits until there is room for a message of any length, and writes if necessary. Does not read.
    ///
    /// Cancel safe.
    ///
    /// # Errors
    ///
    /// [`Error::Send`] when the sending half is closed, [`Error::Io`] and [`Error::Recv`] as
    /// [`flush`](Self::flush).
    pub async fn ready(&mut self) -> Result<(), Error> {
        poll_fn(|cx| self.poll_room(cx)).await
    }

    /// Writes everything buffered. Does not read.
    ///
    /// Cancel safe: the rest leaves with the next flush.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] when the stream fails, [`Error::Recv`] with
    /// [`WriteTimeout`](crate::RecvError::WriteTimeout) when it took nothing for
    /// [`write_timeout`](Config::write_timeout).
    #[inline]
    pub async fn flush(&mut self) -> Result<(), Error> {
        poll_fn(|cx| self.poll_flush(cx, false)).await
    }

    /// Closes: sends a Close behind everything fed, unless one was sent before, then reads and
    /// discards up to the peer's Close and ends the stream. [`close_timeout`](Config::close_timeout) says how long
    /// that takes at most.
    ///
    /// With a code ([`CloseCode::NORMAL`](crate::CloseCode::NORMAL)), a code and a reason
    /// ([`CloseFrame::with_reason`]), or neither (`None`).
    ///
    /// Cancel safe: call it again. Messages discarded so far are lost; [`recv`](Self::recv) goes on
    /// after them.
    ///
    /// # Errors
    ///
    /// [`Error::Send`] for a frame that cannot be sent; otherwise as [`recv`](Self::recv). `Ok`
    /// means that the peer's Close was seen; [`closed`](Self::closed) says whether ours could
    /// be written.
    pub async fn close<'f>(
        &mut self,
        frame: impl Into<Option<CloseFrame<'f>>>,
    ) -> Result<(), Error> {
        begun(self.sender().close(frame))?;
        while poll_fn(|cx| self.poll_more(cx, Want::Message)).await == Ready::Item {}
        self.ended::<()>().map(drop)
    }
}

impl<C: Core<I>, I: Source + Task> Socket<C, I> {
    #[inline(never)]
    fn poll_with(&mut self, cx: &mut Context<'_>) -> Poll<Ready> {
        ready!(C::poll_answerable(self, cx));
        loop {
            match ready!(self.poll_more(cx, Want::Message)) {
                Ready::Item if self.core.is_mute() => {}
                ready => return Poll::Ready(ready),
            }
        }
    }
}

impl<C: Core<I>, I: Source + Task> Socket<C, I> {
    #[inline(always)]
    fn poll_message(&mut self, cx: &mut Context<'_>) -> Poll<Ready> {
        match self.quick() {
            Some(Step::Message) => Poll::Ready(Ready::Item),
            _ => self.poll_more(cx, Want::Message),
        }
    }

    /// The message at which the last step stopped.
    #[inline(always)]
    fn message(&mut self) -> Option<Message<'_>> {
        self.core.inbound().receiver().message()
    }
}

/// The result of [`WebSocket::recv_or_room`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
// Exhaustive: its name says what there is.
pub enum MessageOrRoom<'a> {
    /// A message.
    Message(Message<'a>),
    /// There is room again.
    Room,
    /// The peer has closed and been answered.
    Closed,
}

/// The future of `recv`. Only a pointer, where an `async fn` would keep its own
/// state and that of every future in it. Its poll is always inlined: a call would return
/// its result through memory, which costs 7 ns per message.
#[derive(Debug)]
#[must_use = "futures do nothing unless polled"]
pub struct Recv<'a, C, I>(Option<&'a mut Socket<C, I>>);

impl<'a, C: Core<I>, I: Source + Task> Future for Recv<'a, C, I> {
    type Output = Result<Option<Message<'a>>, Error>;

    #[inline(always)]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(drive) = self.0.as_mut() else {
            return Poll::Pending; // polled after completion
        };
        match ready!(drive.poll_message(cx)) {
            Ready::End => Poll::Ready(drive.ended()),
            Ready::Item => Poll::Ready(Ok(self.0.take().and_then(Socket::message))),
        }
    }
}

/// The future of `recv_with`; only a pointer, like [`Recv`].
#[derive(Debug)]
#[must_use = "futures do nothing unless polled"]
pub struct RecvWith<'a, C, I>(Option<&'a mut Socket<C, I>>);

impl<'a, C: Core<I>, I: Source + Task> Future for RecvWith<'a, C, I> {
    type Output = Result<Option<Received<'a, C::Sender<'a>>>, Error>;

    #[inline(always)]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(drive) = self.0.as_mut() else {
            return Poll::Pending; // polled after completion
        };
        if !drive.quick_with() && ready!(drive.poll_with(cx)) == Ready::End {
            return Poll::Ready(drive.ended());
        }
        Poll::Ready(Ok(self.0.take().and_then(|drive| drive.core.received())))
    }
}
