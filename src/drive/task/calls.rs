//! The waiting calls of the adapters for tasks, written once. [`drive::calls`](crate::drive::calls)
//! says why they are macros.

/// With the [names](crate::drive::calls::names) of `drive::calls`.
pub(crate) mod names {
    pub(crate) use crate::{
        drive::{
            Ready, Received, Want,
            calls::names::*,
            task::{Recv, RecvToReply},
        },
        socket::sigpipe::writable,
    };
    pub(crate) use std::{
        future::poll_fn,
        task::{Context, Poll, ready},
    };
}

macro_rules! send {
    () => {
        /// Sends one message now. Waits until there is room for the message, feeds it, and writes
        /// everything buffered: `Ok` means that the stream has accepted the message.
        ///
        /// This call does not read. So a program that never receives learns of the peer's Close
        /// only when the stream breaks, and two peers that both send before they receive can block
        /// each other. Split the WebSocket and receive in another task, or call `feed` and then a
        /// receiving call.
        ///
        /// Cancel safe. If you drop the future, [`Sender::fed`](crate::Sender::fed), compared
        /// before and after the call, says what became of the message:
        ///
        /// | `fed` | the message |
        /// |---|---|
        /// | is the same | was not sent, because there was no room; given by value, it is lost (to keep it, call `ready`, then `feed` and `flush`) |
        /// | differs | is queued: the next flush sends the rest, so do not send it again |
        ///
        /// [`Outbound`](crate::Outbound) says which messages are copied.
        ///
        /// # Errors
        ///
        /// [`Error::Send`] for a message that cannot be sent. [`Error::Io`] and [`Error::Recv`] as
        /// for [`flush`](Self::flush). After an error of the stream, or after a write timeout, you
        /// can still receive the messages that have arrived.
        pub async fn send<'m>(&mut self, message: impl IntoOutbound<'m>) -> Result<(), Error> {
            // `None` once the message is fed, so that later polls only flush.
            let mut message = Some(message);
            poll_fn(|cx| {
                if message.is_some() {
                    ready!(self.0.poll_room(cx))?;
                }
                if let Some(message) = message.take() {
                    self.0.begin_send(cx, message.into())?;
                }
                self.0.poll_flush(cx, false)
            })
            .await
            .map_err(|error| *error)
        }
    };
}
pub(crate) use send;

macro_rules! flushing {
    () => {
        /// Waits until there is room for a message of any length. This call writes if there is no
        /// room, and does not read.
        ///
        /// Cancel safe.
        ///
        /// # Errors
        ///
        /// [`Error::Send`] if the sending half is closed. [`Error::Io`] and [`Error::Recv`] as for
        /// [`flush`](Self::flush).
        #[inline]
        pub async fn ready(&mut self) -> Result<(), Error> {
            poll_fn(|cx| self.0.poll_room(cx)).await.map_err(|error| *error)
        }

        /// Writes everything buffered. This call does not read.
        ///
        /// Cancel safe: the next flush writes the remaining bytes.
        ///
        /// # Errors
        ///
        /// [`Error::Io`] if the stream fails. [`Error::Recv`] if another error has ended writing,
        /// for example [`WriteTimeout`](crate::RecvError::WriteTimeout) because the stream took too
        /// few bytes for [`write_timeout`](crate::Config::write_timeout). A `flush` of a [`Writer`]
        /// returns the error that ended receiving, even if everything was written. [`Error::Send`]
        /// with [`Closed`](SendError::Closed) if messages are lost, and another call has already
        /// returned the reason for the loss.
        #[inline]
        pub async fn flush(&mut self) -> Result<(), Error> {
            poll_fn(|cx| self.0.poll_flush(cx, false)).await.map_err(|error| *error)
        }
    };
}
pub(crate) use flushing;

/// The calls of an adapter for streams with the traits `$Read` and `$Write`. If the adapter has no
/// timers of its own, the program passes a value that makes them, the parameter `$timers` of type
/// `$T`.
macro_rules! adapter {
    ($Read:path, $Write:path $(, $timers:ident: $T:ident: $Timers:path)?) => {
        impl<S: $Read + $Write + Unpin $(, $T: $Timers)?> WebSocket<S $(, $T)?> {
            $crate::drive::task::receiving::recv!();
            $crate::drive::task::calls::send!();
            $crate::drive::calls::feed!();

            /// Ends the connection when you are done: writes what you fed, then our Close, unless
            /// one was sent before. For a peer that may be dead, use [`leave`](Self::leave).
            ///
            /// Then this call discards input up to the peer's Close, and ends the stream as
            /// [`recv`](Self::recv) does. [`close_timeout`](crate::Config::close_timeout) says how
            /// long this may take.
            ///
            /// | `frame` | sends |
            /// |---|---|
            /// | [`CloseCode::NORMAL`](crate::CloseCode::NORMAL), or another code | the code |
            /// | [`CloseFrame::with_reason`](crate::CloseFrame::with_reason) | a code, and a reason of at most 123 bytes |
            /// | `None` | a Close without a code |
            ///
            /// `Ok` means that the peer's Close was received, or that the peer ended the stream
            /// after our Close was written, as some servers do: then receiving calls return an
            /// error. `clean` in [`closed`](Self::closed) says whether our Close was written and
            /// the peer's Close was received.
            ///
            /// Cancel safe: you can call `close` again. Messages that were discarded before the
            /// future was dropped are lost.
            ///
            /// # Errors
            ///
            /// [`Error::Send`] for a frame that cannot be sent; otherwise the errors of
            /// [`recv`](Self::recv).
            pub async fn close<'f>(&mut self, frame: impl IntoClose<'f>) -> Result<(), Error> {
                begun(self.sender_mut().close(frame))?;
                while poll_fn(|cx| self.0.poll_more(cx, Want::Message)).await == Ready::Item {}
                self.0.close_ended()
            }

            /// Like [`recv`](Self::recv), but with the message's [`info`](crate::Received::info)
            /// and the sending half, so that you can answer while the message is alive. The
            /// replies to a batch leave in one write, once all bytes that were read are processed,
            /// or earlier, if [`cork_limit`](crate::Config::cork_limit) bytes are buffered.
            ///
            /// | when | what happens |
            /// |---|---|
            /// | [`high_water`](crate::Config::high_water) bytes are unsent | no message is handed out: one reply to each never fails with `Full`, if `high_water` is at least 4 KiB |
            /// | the peer does not read | this call stops reading too, until the peer reads again or the write timeout ends the connection; so two ends that answer each message with several can block each other |
            /// | our Close is queued | messages up to the peer's Close are discarded |
            /// | a write has failed | messages are still delivered, but nothing can be fed |
            ///
            /// (Of what overtakes queued messages nothing counts as unsent here. A Pong that
            /// overtakes nothing counts, but all Pongs to the Pings of one read fit into 4 KiB.)
            ///
            /// Cancel safe, as [`recv`](Self::recv).
            ///
            /// # Errors
            ///
            /// The errors of [`recv`](Self::recv).
            #[inline]
            pub fn recv_to_reply(
                &mut self,
            ) -> impl Future<Output = Result<Option<Received<'_>>, Error>> {
                RecvToReply(Some(&mut self.0))
            }

            $crate::drive::task::receiving::receiving!();

            /// Like [`recv`](Self::recv), but also returns once there is room again. Use this call
            /// when you have more to feed: two futures can't borrow one WebSocket, so no `select!`
            /// waits for `recv` and `ready`, and two halves cost a task and a lock.
            ///
            /// There is room while fewer than `below` bytes, and fewer
            /// than [`high_water`](crate::Config::high_water) bytes, are unsent. If there is
            /// already room when you call, this call returns only on a message or at the end. With
            /// an `Outbox` of `tickwire-parts`, pass its `max_unsent` as `below`. A `below` of 0
            /// counts as 1. Once the sender [is closed](crate::Sender::is_closed), this call never
            /// returns `Room`.
            ///
            /// Cancel safe, as [`recv`](Self::recv).
            ///
            /// # Errors
            ///
            /// The errors of [`recv`](Self::recv).
            pub async fn recv_or_room(&mut self, below: usize) -> Result<MessageOrRoom<'_>, Error> {
                let lacked = !self.0.has_room_below(below);
                let ready = poll_fn(|cx| match self.0.poll_message(cx) {
                    Poll::Ready(ready) => Poll::Ready(Some(ready)),
                    Poll::Pending if lacked && self.0.has_room_below(below) => Poll::Ready(None),
                    Poll::Pending => Poll::Pending,
                })
                .await;
                match ready {
                    None => Ok(MessageOrRoom::Room),
                    Some(Ready::End) => self.0.ended::<()>().map(|_| MessageOrRoom::Closed),
                    // There is always a message here: `Closed` only avoids a panic.
                    Some(Ready::Item) => {
                        Ok(self.0.message().map_or(MessageOrRoom::Closed, MessageOrRoom::Message))
                    }
                }
            }

            $crate::drive::task::calls::flushing!();
            $crate::drive::calls::probe!();
            $crate::drive::calls::receives!(S);

            /// Joins a stream and a connection whose opening handshake is done.
            pub fn from_parts(io: S $(, $timers: $T)?, conn: Connection) -> Self {
                Self(Socket::join(Timed::new(io $(, $timers)?), conn))
            }

            /// Splits the connection into two halves for two tasks. The closure `split` splits the
            /// stream, or makes two handles of it: `TcpStream::into_split` for tokio's,
            /// `|stream| (stream.clone(), stream)` for async-net's. Such halves share no lock.
            ///
            /// Messages that were fed or received before are kept. If you are sending a message in
            /// chunks, the [`Writer`] continues that message.
            pub fn into_split_with<R, W>(
                self,
                split: impl FnOnce(S) -> (R, W),
            ) -> Halves<R, W $(, $T)?>
            where
                R: $Read + Unpin,
                W: $Write + Unpin,
            {
                // Never fails here. In `blocking` it clones the stream, which can.
                let Ok((reader, writer)) = self.0.into_halves(|Timed { io, wait }| {
                    let (read, write) = split(io);
                    let twin = wait.twin();
                    let read = Timed { io: read, wait };
                    let write = Timed { io: write, wait: twin };
                    Ok::<_, core::convert::Infallible>((read, write, ()))
                });
                (Reader(reader), Writer(writer))
            }
        }

        impl<S $(, $T: $Timers)?> WebSocket<S $(, $T)?> {
            $crate::drive::calls::whole!();
        }

        impl<R: $Read + Unpin, W: $Write + Unpin $(, $T: $Timers)?> Reader<R, W $(, $T)?> {
            $crate::drive::task::receiving::recv!();
            $crate::drive::task::receiving::receiving!();
            $crate::drive::calls::receives!(R);
        }

        impl<R, W $(, $T: $Timers)?> Reader<R, W $(, $T)?> {
            $crate::drive::calls::half!();
        }

        impl<W: $Write + Unpin $(, $T: $Timers)?> Writer<W $(, $T)?> {
            $crate::drive::task::calls::send!();

            /// Starts the end of the connection when you are done: writes what you fed, then our
            /// Close, unless one was queued before. For a peer that may be dead, use
            /// [`leave`](Self::leave).
            ///
            /// Keep receiving with the [`Reader`]: it waits for the peer's Close, for at most
            /// [`close_timeout`](crate::Config::close_timeout), and ends the stream.
            ///
            /// Cancel safe: you can call `close` again.
            ///
            /// # Errors
            ///
            /// [`Error::Send`] for a frame that cannot be sent; otherwise the errors of
            /// [`flush`](Self::flush).
            pub async fn close<'f>(&mut self, frame: impl IntoClose<'f>) -> Result<(), Error> {
                begun(self.0.with_sender(|tx| tx.close(frame)))?;
                self.flush().await
            }

            /// Works like `leave` of the [`Reader`]: leaves the peer within the time `within`,
            /// whatever the peer does. But this call discards no input, so the [`Reader`] still
            /// delivers messages. This call returns once our Close is written, or after `within`. A
            /// receiving call of the [`Reader`] then waits for the peer's Close, for the rest of
            /// `within`. If you do not receive any more, drop both halves.
            ///
            /// Cancel safe: `within` counts from the first call. If you drop the future, the
            /// [`Reader`] still ends in time.
            ///
            /// # Errors
            ///
            /// [`Error::Send`] for a frame that cannot be sent: then nothing has changed. A failed
            /// write is no error here.
            pub async fn leave<'f>(
                &mut self,
                frame: impl IntoClose<'f>,
                within: Duration,
            ) -> Result<(), Error> {
                let began = self.0.begin_leave(frame, within)?;
                // If the stream refuses bytes, `poll_last` waits for a timer, even if `within` is
                // 0: `Socket::leave` says why. Then `flush` waits at most until `within` has
                // passed.
                poll_fn(|cx| self.0.poll_last(began, cx)).await;
                let _ = self.flush().await;
                Ok(())
            }

            $crate::drive::task::calls::flushing!();
        }

        impl<W $(, $T: $Timers)?> Writer<W $(, $T)?> {
            $crate::drive::calls::writer!();
        }

        impl<S: $Read + $Write + Unpin $(, $T: $Timers)?> Incoming<S $(, $T)?> {
            /// Reads a request and makes all checks of RFC 6455 §4.2.1. If the request is bad, this
            /// call answers with the error's status and ends the stream.
            ///
            /// Dropping the future drops the stream.
            ///
            /// # Errors
            ///
            /// [`Error::Handshake`] for a bad request, or if the request is not complete within
            /// [`handshake_timeout`](Config::handshake_timeout). [`Error::Io`] if the stream fails.
            pub async fn read(io: S $(, $timers: $T)?, config: &Config) -> Result<Self, Error> {
                let this = drive::Incoming::new(Timed::new(io $(, $timers)?), config);
                this.read_good().await.map(Self)
            }

            /// Like [`read`](Self::read), but also returns a request that fails the checks or is
            /// not complete in time: [`error`](Self::error) says what is wrong. Answer this request
            /// with [`reject`](Self::reject). Use this call in servers that also serve a web page.
            ///
            /// Dropping the future drops the stream.
            ///
            /// # Errors
            ///
            /// [`Error::Io`] if the stream fails.
            pub async fn read_any(
                io: S
                $(, $timers: $T)?,
                config: &Config,
            ) -> Result<Self, Error> {
                let mut this = drive::Incoming::new(Timed::new(io $(, $timers)?), config);
                let _ = this.fill().await?; // `error` repeats it
                Ok(Self(this))
            }

            $crate::drive::calls::incoming!(WebSocket<S $(, $T)?>);

            /// Accepts the request, and writes the response before the call returns. Pass
            /// `Accept::default()` if there is nothing to choose.
            ///
            /// Dropping the future drops the stream.
            ///
            /// # Errors
            ///
            /// [`Error::Io`] if the stream fails. [`Error::Recv`] if the stream took too few bytes
            /// for [`write_timeout`](crate::Config::write_timeout). [`Error::Handshake`] with the
            /// [`error`](Self::error) of a bad request, which then gets no answer.
            pub async fn accept(self, /* Accept::default() */ accept: Accept<'_>)
                -> Result<WebSocket<S $(, $T)?>, Error> {
                let mut ws = self.accept_corked(accept)?;
                ws.flush().await?;
                Ok(ws)
            }

            /// Rejects the request: writes the response, and ends the stream. A Date header is
            /// added if the response has none.
            ///
            /// After the response, the call discards input until the peer ends its side of the
            /// stream, for at most a second. Otherwise unread input could make the peer lose the
            /// response. If your task has more to do, do it before this call, or reject in a task
            /// of its own. Dropping the future drops the stream.
            ///
            /// # Errors
            ///
            /// [`Error::Io`] if the stream fails. [`Error::Recv`] if writing the response took
            /// longer than [`write_timeout`](crate::Config::write_timeout).
            pub async fn reject(self, rejection: impl Into<Rejection>) -> Result<(), Error> {
                self.0.rejected(rejection).await
            }
        }

        #[cfg(feature = "futures")]
        const _: () = {
            use $crate::drive::task::streams::{names::*, sink, stream};
            stream!([S: $Read + $Write + Unpin $(, $T: $Timers)?] WebSocket<S $(, $T)?>);
            stream!([R: $Read + Unpin, W: $Write + Unpin $(, $T: $Timers)?] Reader<R, W $(, $T)?>);
            sink!([S: $Read + $Write + Unpin $(, $T: $Timers)?] WebSocket<S $(, $T)?>);
            sink!([W: $Write + Unpin $(, $T: $Timers)?] Writer<W $(, $T)?>);
        };
    };
}
pub(crate) use adapter;
