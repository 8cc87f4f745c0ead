//! Streams and sinks of owned messages, for code that uses combinators: `StreamExt`,
//! `forward`, a `select` of many connections, frameworks that take `Stream + Sink`.
//!
//! Their cost is an owned message for each one received (one allocation, or a share of the
//! buffer it came in) where [`recv`](WebSocket::recv) lends it out. The WebSocket's own methods take
//! precedence over those of `SinkExt`: `ws.send("text")` is [`WebSocket::send`].
use super::{
    Source, Timer, WebSocket,
    split::{Reader, Side, Wakers, Writer},
};
use crate::{
    drive::{Error, Output, Ready, Want},
    proto::{
        close::CloseCode,
        connection::{Sender, Step},
        error::SendError,
        message::OwnedMessage,
    },
};
use futures_core::{FusedStream, Stream};
use futures_sink::Sink;
use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker, ready},
};

/// What a `Stream` and a `Sink` have to remember.
#[derive(Debug, Default)]
pub(crate) struct Streams {
    /// The `Stream` has given its last item.
    over: bool,
    /// The tasks that wait for the `Stream` and for the `Sink`, once one does.
    tasks: Option<Arc<Wakers>>,
}

/// `StreamExt::split` lets two tasks share one WebSocket, but a stream and a timer wake only the
/// last task that polled; here both are woken.
impl<I> WebSocket<I> {
    fn tasks(&mut self, side: Side, cx: &Context<'_>) -> Arc<Wakers> {
        let tasks = self.streams.tasks.get_or_insert_default();
        tasks.park(side, cx);
        tasks.clone()
    }

    /// The state that one side may change while the other waits for it.
    fn outlook(&self) -> (bool, bool, bool) {
        let tx = self.core.conn.sender();
        (tx.is_closed(), tx.is_broken(), self.core.error().is_some())
    }

    /// Polls one side, and wakes the other if that changed something for it.
    fn poll_side<T>(
        &mut self,
        side: Side,
        cx: &Context<'_>,
        poll: impl FnOnce(&mut Self, &mut Context<'_>) -> Poll<T>,
    ) -> Poll<T> {
        let (tasks, before) = (self.tasks(side, cx), self.outlook());
        let both = Waker::from(tasks.clone());
        let polled = poll(self, &mut Context::from_waker(&both));
        if self.outlook() != before {
            tasks.wake_one(match side {
                Side::Reader => Side::Writer,
                Side::Writer => Side::Reader,
            });
        }
        polled
    }
}

/// The messages of [`recv_owned`](WebSocket::recv_owned), up to the peer's Close. An error comes
/// once, and is the last item. Messages fed are written when the input is used up.
impl<I: Source + Timer + Output + Unpin> Stream for WebSocket<I> {
    type Item = Result<OwnedMessage, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.streams.over {
            return Poll::Ready(None);
        }
        let ready = match self.quick() {
            Some(Step::Message) => Ready::Item,
            _ => ready!(self.poll_side(Side::Reader, cx, |ws, cx| ws.poll_more(cx, Want::Message))),
        };
        let item = match ready {
            Ready::Item => self.core.conn.receiver_mut().take_message().map(Ok),
            Ready::End => self.ended().transpose(),
        };
        self.streams.over = !matches!(item, Some(Ok(_)));
        Poll::Ready(item)
    }
}

impl<I: Source + Timer + Output + Unpin> FusedStream for WebSocket<I> {
    fn is_terminated(&self) -> bool {
        self.streams.over
    }
}

/// As that of the whole [`WebSocket`].
impl<R: Source + Timer + Unpin, W: Output> Stream for Reader<R, W> {
    type Item = Result<OwnedMessage, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.streams.over {
            return Poll::Ready(None);
        }
        let item = match ready!(self.poll_message(cx)) {
            Ready::Item => self.core.inbound.receiver_mut().take_message().map(Ok),
            Ready::End => self.ended().transpose(),
        };
        self.streams.over = !matches!(item, Some(Ok(_)));
        Poll::Ready(item)
    }
}

impl<R: Source + Timer + Unpin, W: Output> FusedStream for Reader<R, W> {
    fn is_terminated(&self) -> bool {
        self.streams.over
    }
}

/// Ready when there is room, as [`ready`](WebSocket::ready) says; a message is queued as by
/// [`Sender::feed`]. Closing sends a Close with code 1000 behind everything fed, and reads
/// nothing: go on with the stream up to its end, or drop the connection.
impl<I: Source + Timer + Output + Unpin> Sink<OwnedMessage> for WebSocket<I> {
    type Error = Error;

    fn poll_ready(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.poll_side(Side::Writer, cx, |ws, cx| ws.poll_room(cx))
    }

    fn start_send(mut self: Pin<&mut Self>, message: OwnedMessage) -> Result<(), Error> {
        let _ = self.sender().feed(message)?;
        Ok(())
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.poll_side(Side::Writer, cx, |ws, cx| WebSocket::poll_flush(ws, cx, false))
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.poll_side(Side::Writer, cx, |ws, cx| {
            close(ws.sender())?;
            WebSocket::poll_flush(ws, cx, false)
        })
    }
}

/// As that of the whole [`WebSocket`]; the half that receives goes on to the peer's Close.
impl<W: Output + Timer> Sink<OwnedMessage> for Writer<W> {
    type Error = Error;

    fn poll_ready(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.poll_room(cx)
    }

    fn start_send(mut self: Pin<&mut Self>, message: OwnedMessage) -> Result<(), Error> {
        let _ = self.feed(message)?;
        Ok(())
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Writer::poll_flush(&mut self, cx, false)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        close(&mut self.sender())?;
        Writer::poll_flush(&mut self, cx, false)
    }
}

/// Queues a Close, if none was queued before.
fn close(tx: &mut Sender) -> Result<(), SendError> {
    match tx.close(CloseCode::NORMAL) {
        Err(SendError::Closed) => Ok(()),
        done => done,
    }
}
