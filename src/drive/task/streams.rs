//! Streams and sinks of owned messages and events, for combinators such as `StreamExt::forward`,
//! for a `select` of many connections, and for frameworks that expect `Stream + Sink`.
//!
//! `recv` lends a message; here each becomes owned. One of up to 4 KiB is copied into memory that
//! several share, a longer one usually keeps the buffer it was received into. The WebSocket's own
//! methods take precedence over those of `SinkExt`: `ws.send("text")` is `WebSocket::send`.
//!
//! `StreamExt::split` lets two tasks share one WebSocket. `poll_recv` says which task may poll.
use super::{Core, Socket, WebSocket};
use crate::{
    drive::{Output, Ready, Source, Want, Writer, wakers::Side},
    error::Error,
    proto::{connection::Receiver, message::OwnedMessage},
};
use std::task::{Context, Poll, ready};

pub(crate) type PolledItem<T> = Poll<Option<Result<T, Error>>>;

impl<C: Core<I>, I: Source> Socket<C, I> {
    #[inline]
    pub(crate) fn poll_owned<T: From<OwnedMessage>>(
        &mut self,
        cx: &mut Context<'_>,
        want: Want,
        take: impl FnOnce(&mut Receiver) -> Option<T>,
    ) -> PolledItem<T> {
        if self.tasks.stream_ended {
            return Poll::Ready(None);
        }
        // After `Ready::Item`, `take` finds an item. Only `Ready::End` leads past this block.
        if ready!(self.poll_item(cx, want)) == Ready::Item {
            let rx = self.core.inbound().receiver_mut();
            // Faster than `take`, which would find a short message too: see the doc of
            // `take_short`.
            if let Some(message) = rx.take_short() {
                return Poll::Ready(Some(Ok(message.into())));
            }
            if let Some(item) = take(rx) {
                return Poll::Ready(Some(Ok(item)));
            }
        }
        self.tasks.stream_ended = true;
        Poll::Ready(self.ended().transpose())
    }
}

impl<I: Source + Output> WebSocket<I> {
    #[inline]
    pub(crate) fn sink_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        if self.has_room() {
            return Poll::Ready(Ok(())); // the common case, in which nobody has to be woken
        }
        self.sink_room(cx)
    }

    #[inline(never)] // keeps `sink_ready` small
    fn sink_room(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.poll_side(Side::Writer, cx, |ws, cx| ws.poll_room(cx)).map_err(|error| *error)
    }

    pub(crate) fn sink_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.poll_side(Side::Writer, cx, |ws, cx| ws.poll_flush(cx, false)).map_err(|error| *error)
    }
}

impl<W: Output> Writer<W> {
    pub(crate) fn sink_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.poll_room(cx).map_err(|error| *error)
    }

    pub(crate) fn sink_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.poll_flush(cx, false).map_err(|error| *error)
    }
}

/// A `Stream` and `Sink` of messages **and control frames** ([`OwnedEvent`](crate::OwnedEvent)),
/// made from a WebSocket. Made from a `Reader`, it is only a `Stream`; from a `Writer`, only a
/// `Sink`.
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
/// **The stream** returns the events of `recv_event`, including the peer's Close. The stream ends
/// once the connection is over. An error is returned once, as the last item. If
/// [`auto_close`](crate::Config::auto_close) is off, answer a Close before you ask for the next
/// item. Otherwise the stream ends, and the peer's Close stays unanswered.
///
/// **The sink** queues an item, and the next flush sends it. The sink queues a message like
/// [`feed`](crate::Sender::feed), and a Ping, Pong or Close like [`ping`](crate::Sender::ping),
/// [`pong`](crate::Sender::pong) and [`close`](crate::Sender::close). So a Ping or Pong overtakes
/// messages that are completely unwritten. If several Pings wait, only the newest is sent. A Close
/// leaves after everything queued. After our Close or our answer to the peer's Close, sending fails
/// with [`Closed`](crate::SendError::Closed). Unlike the calls of the [`Sender`](crate::Sender),
/// the sink waits for room before every item, even before a control frame. If you forward received
/// events to another connection, switch [`auto_pong`](crate::Config::auto_pong) off. Otherwise each
/// Ping is answered twice: by this end, and by the end that gets the forwarded Ping.
///
/// Use the stream and the sink in one task, or in two tasks after `StreamExt::split`: see [who may
/// poll](crate::tokio::WebSocket::poll_recv).
///
/// The sink of `StreamExt::split` keeps each item back until the next call of the sink. If this end
/// answers the peer's Close before that call, the item fails with `Closed`. So `forward` to this
/// sink may lose the reply to the last message before a Close. The halves of `into_split` keep
/// nothing back.
#[derive(Debug)]
pub struct Events<S>(
    /// The wrapped connection or half, for calling its methods.
    pub S,
);

pub(crate) mod names {
    pub(crate) use super::{Events, PolledItem};
    pub(crate) use crate::proto::{
        close::{CloseCode, CloseFrame},
        event::OwnedEvent,
    };
    pub(crate) use futures_core::{FusedStream, Stream};
    pub(crate) use futures_sink::Sink;
    pub(crate) use std::pin::Pin;
}

macro_rules! stream {
    ([$($generics:tt)*] $Type:ty) => {
        /// The messages of [`recv_owned`](Self::recv_owned), up to the peer's Close. An error is
        /// returned once, as the last item. Once all bytes that were read are processed,
        /// `poll_next` writes the queued replies and, on a whole WebSocket, the messages that were
        /// fed. [`Events`](crate::Events) returns control frames too. See also [who may
        /// poll](Self::poll_recv).
        impl<$($generics)*> Stream for $Type {
            type Item = Result<OwnedMessage, Error>;

            fn poll_next(
                mut self: Pin<&mut Self>,
                cx: &mut Context<'_>,
            ) -> PolledItem<OwnedMessage> {
                self.0.poll_owned(cx, Want::Message, Receiver::take_message)
            }
        }

        impl<$($generics)*> FusedStream for $Type {
            fn is_terminated(&self) -> bool {
                self.0.tasks.stream_ended
            }
        }

        impl<$($generics)*> Stream for Events<$Type> {
            type Item = Result<OwnedEvent, Error>;

            #[inline]
            fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> PolledItem<OwnedEvent> {
                self.0.0.poll_owned(cx, Want::Event, |rx| match rx.take_message() {
                    Some(message) => Some(message.into()),
                    None => rx.event().map(OwnedEvent::from),
                })
            }
        }

        impl<$($generics)*> FusedStream for Events<$Type> {
            fn is_terminated(&self) -> bool {
                self.0.is_terminated()
            }
        }
    };
}
pub(crate) use stream;

macro_rules! sink {
    ([$($generics:tt)*] $Type:ty) => {
        /// The sink is ready when there is room, as for [`ready`](Self::ready). It queues an item
        /// like [`feed`](Self::feed). Unless a Close was sent before, closing the sink sends a
        /// Close with code 1000 after everything fed. Closing reads nothing. After closing, receive
        /// up to the end, or drop the connection.
        impl<$($generics)*> Sink<OwnedMessage> for $Type {
            type Error = Error;

            fn poll_ready(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
                self.get_mut().0.sink_ready(cx)
            }

            fn start_send(mut self: Pin<&mut Self>, message: OwnedMessage) -> Result<(), Error> {
                let _ = self.feed(message)?;
                Ok(())
            }

            fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
                self.get_mut().0.sink_flush(cx)
            }

            fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
                let this = self.get_mut();
                begun(this.0.with_sender(|tx| tx.close(CloseCode::NORMAL)))?;
                this.0.sink_flush(cx)
            }
        }

        /// Closing this sink has the same effect as closing the `Sink` of messages: it sends a
        /// Close with code 1000, unless a Close was sent before.
        impl<$($generics)*> Sink<OwnedEvent> for Events<$Type> {
            type Error = Error;

            fn poll_ready(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
                Pin::new(&mut self.get_mut().0).poll_ready(cx)
            }

            #[inline]
            fn start_send(mut self: Pin<&mut Self>, event: OwnedEvent) -> Result<(), Error> {
                let ws = &mut self.0;
                match event {
                    OwnedEvent::Message(message) => return Pin::new(ws).start_send(message),
                    OwnedEvent::Ping(payload) => ws.0.with_sender(|tx| tx.ping(&payload)),
                    OwnedEvent::Pong(payload) => ws.0.with_sender(|tx| tx.pong(&payload)),
                    OwnedEvent::Close(frame) => {
                        let frame = frame.as_ref().map(CloseFrame::from);
                        ws.0.with_sender(|tx| tx.close(frame))
                    }
                }
                .map_err(Error::from)
            }

            fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
                Pin::new(&mut self.get_mut().0).poll_flush(cx)
            }

            fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
                Pin::new(&mut self.get_mut().0).poll_close(cx)
            }
        }
    };
}
pub(crate) use sink;
