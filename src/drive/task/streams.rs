//! Streams and sinks of owned messages, and of owned events, for code that uses combinators:
//! `StreamExt`, `forward`, a `select` of many connections, frameworks that take `Stream + Sink`.
//!
//! Their cost is an owned message for each one received (a copy of up to 4 KiB into a block that it shares with
//! others, or a share of the buffer it came in) where [`recv`](WebSocket::recv) lends it out. The WebSocket's own methods take
//! precedence over those of `SinkExt`: `ws.send("text")` is [`WebSocket::send`].
//!
//! `StreamExt::split` lets two tasks share one WebSocket; [`Socket::poll_recv`] has the rule.
use super::{Core, Socket, Task, WebSocket, split::Writer};
use crate::{
    drive::{Error, Output, Source, Want, begun, wakers::Side},
    proto::{
        close::{CloseCode, CloseFrame},
        connection::{Receiver, Sender},
        event::OwnedEvent,
        message::OwnedMessage,
    },
};
use futures_core::{FusedStream, Stream};
use futures_sink::Sink;
use std::{
    ops::DerefMut,
    pin::Pin,
    task::{Context, Poll, ready},
};

type Next<T> = Poll<Option<Result<T, Error>>>;

impl<C: Core<I>, I: Source + Task> Socket<C, I> {
    /// The next item of a `Stream`.
    fn poll_owned<T>(
        &mut self,
        cx: &mut Context<'_>,
        want: Want,
        take: impl FnOnce(&mut Receiver) -> Option<T>,
    ) -> Next<T> {
        if self.polled.over {
            return Poll::Ready(None);
        }
        let ready = ready!(self.poll_item(cx, want));
        let item = self.take(ready, take).transpose();
        self.polled.over = !matches!(item, Some(Ok(_)));
        Poll::Ready(item)
    }
}

/// The messages of [`recv_owned`](Socket::recv_owned), up to the peer's Close. An error comes
/// once, and is the last item. Messages fed are written when the input is used up. [`Events`] has
/// control frames too; [who may poll](Socket::poll_recv).
impl<C: Core<I> + Unpin, I: Source + Task + Unpin> Stream for Socket<C, I> {
    type Item = Result<OwnedMessage, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Next<OwnedMessage> {
        self.poll_owned(cx, Want::Message, Receiver::take_message)
    }
}

impl<C: Core<I> + Unpin, I: Source + Task + Unpin> FusedStream for Socket<C, I> {
    fn is_terminated(&self) -> bool {
        self.polled.over
    }
}

/// Ready when there is room, as [`ready`](WebSocket::ready) says; a message is queued as by
/// [`Sender::feed`]. Closing sends a Close with code 1000 behind everything fed, and reads
/// nothing: go on with the stream up to its end, or drop the connection.
impl<I: Source + Task + Output + Unpin> Sink<OwnedMessage> for WebSocket<I> {
    type Error = Error;

    fn poll_ready(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        if self.has_room() {
            return Poll::Ready(Ok(())); // nearly always, and nobody has to be woken then
        }
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
        begun(self.sender().close(CloseCode::NORMAL))?;
        Sink::poll_flush(self, cx)
    }
}

/// As that of the whole [`Socket`]; the half that receives goes on to the peer's Close.
impl<W: Output + Task> Sink<OwnedMessage> for Writer<W> {
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
        begun(self.sender().close(CloseCode::NORMAL))?;
        Sink::poll_flush(self, cx)
    }
}

/// A WebSocket, its `Reader` or its `Writer`, as a `Stream` and `Sink` of messages **and control
/// frames**: of [`OwnedEvent`]s.
///
/// ```
/// # #[cfg(feature = "tokio")] mod with_tokio {
/// use futures_util::{SinkExt, StreamExt};
/// use tickwire::{Error, Events, OwnedEvent, tokio::WebSocket};
/// use tokio::net::TcpStream;
///
/// async fn serve(ws: WebSocket<TcpStream>) -> Result<(), Error> {
///     let (mut sink, mut events) = Events(ws).split();
///     sink.send("hello".into()).await?;
///     sink.send(OwnedEvent::Ping("are you there?".into())).await?;
///     while let Some(event) = events.next().await {
///         match event? {
///             OwnedEvent::Message(message) => sink.send(message.into()).await?,
///             OwnedEvent::Close(frame) => println!("closed: {frame:?}"), // already answered
///             OwnedEvent::Ping(_) | OwnedEvent::Pong(_) => {} // a Ping was answered too
///         }
///     }
///     Ok(())
/// }
/// # }
/// ```
///
/// **Received** are the events of `recv_event`, the peer's Close among them; the stream ends when
/// that was answered and the connection ended. An error comes once, and is the last item. If
/// [`auto_close`](crate::Config::auto_close) is off, answer a Close before asking for the next item:
/// the stream ends there otherwise.
///
/// **Sent** with the next flush: a message as by [`feed`](Sender::feed), a Ping, Pong or Close as by
/// [`ping`](Sender::ping), [`pong`](Sender::pong) and [`close`](Sender::close). So Pings and Pongs overtake
/// messages of which nothing was written, and of several waiting Pings only the newest is sent; a Close goes
/// behind everything. After it, or after the answer to the peer's, sending fails with
/// [`Closed`](crate::SendError::Closed). Every item waits until there is room for a message; the calls of the
/// [`Sender`] do not wait. If you forward what you receive, switch [`auto_pong`](crate::Config::auto_pong) off:
/// each Ping is answered twice otherwise.
///
/// Both in one task, or in two after `StreamExt::split`: see [who may
/// poll](Socket::poll_recv).
#[derive(Debug)]
pub struct Events<S>(
    /// What it is made of, with all of its calls.
    pub S,
);

impl<C, I> Stream for Events<Socket<C, I>>
where
    C: Core<I> + Unpin,
    I: Source + Task + Unpin,
{
    type Item = Result<OwnedEvent, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Next<OwnedEvent> {
        self.0.poll_owned(cx, Want::Event, |rx| match rx.take_message() {
            Some(message) => Some(message.into()),
            None => rx.event().map(OwnedEvent::from),
        })
    }
}

impl<C, I> FusedStream for Events<Socket<C, I>>
where
    C: Core<I> + Unpin,
    I: Source + Task + Unpin,
{
    fn is_terminated(&self) -> bool {
        self.0.is_terminated()
    }
}

/// What can send control frames besides messages.
pub trait Control: Sink<OwnedMessage, Error = Error> + Unpin {
    fn tx(&mut self) -> impl DerefMut<Target = Sender>;
}

impl<I: Source + Task + Output + Unpin> Control for WebSocket<I> {
    fn tx(&mut self) -> impl DerefMut<Target = Sender> {
        self.sender()
    }
}

impl<W: Output + Task> Control for Writer<W> {
    fn tx(&mut self) -> impl DerefMut<Target = Sender> {
        self.sender()
    }
}

/// Closing is that of the `Sink` of messages: with code 1000, unless a Close was sent before.
impl<S: Control> Sink<OwnedEvent> for Events<S> {
    type Error = Error;

    fn poll_ready(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Pin::new(&mut self.0).poll_ready(cx)
    }

    fn start_send(mut self: Pin<&mut Self>, event: OwnedEvent) -> Result<(), Error> {
        let mut tx = self.0.tx();
        match event {
            OwnedEvent::Message(message) => tx.feed(message).map(drop),
            OwnedEvent::Ping(payload) => tx.ping(&payload),
            OwnedEvent::Pong(payload) => tx.pong(&payload),
            OwnedEvent::Close(frame) => tx.close(frame.as_ref().map(CloseFrame::from)),
        }?;
        Ok(())
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Pin::new(&mut self.0).poll_close(cx)
    }
}
