//! The calls that do no I/O, written once for the types of all adapters. They are macros, so that
//! the documentation of each adapter lists all calls, and no signature names a private type; a
//! trait would have to be imported by users. Each module that invokes one imports [`names`].

pub(crate) mod names {
    pub(crate) use crate::{
        drive::io::Io as _,
        error::Error,
        proto::{
            close::{CloseFrame, IntoClose},
            connection::{Closed, Connection, Position, Receiver, Sender},
            error::{SendError, begun},
            handshake::{
                HandshakeError,
                server::{Accept, Rejection, RequestHead},
            },
            message::{Chunk, Event, Info, Message, OwnedMessage},
            outbound::IntoOutbound,
        },
    };
}

macro_rules! whole {
    () => {
        /// Returns the connection's sending side, to read its state, such as what is queued.
        #[inline]
        pub fn sender(&self) -> &Sender {
            self.0.core.conn.sender()
        }

        /// Returns the connection's sending side, for the calls that need no I/O, such as `feed`.
        #[inline]
        pub fn sender_mut(&mut self) -> &mut Sender {
            self.0.core.conn.sender_mut()
        }

        /// The connection.
        pub fn connection(&self) -> &Connection {
            &self.0.core.conn
        }

        /// How the connection ended, for a log: the codes of both Closes, and the error. `None`
        /// until the peer's Close has come or an error has ended receiving. See
        /// [`Connection::closed`](crate::Connection::closed).
        pub fn closed(&self) -> Option<Closed<'_>> {
            self.0.core.conn.closed()
        }

        /// The stream. A direct read takes bytes away from the WebSocket, and a direct write may
        /// land inside a frame. In `blocking`, set timeouts on the WebSocket, not on the stream.
        pub fn get_mut(&mut self) -> &mut S {
            &mut self.0.io.io
        }

        /// Returns the stream and the connection, separately. In `blocking`, the adapter may have
        /// set a read timeout on the stream, and this timeout stays. A stream such as TLS may hold
        /// unflushed bytes. If you join both parts again by `from_parts`, the next flush flushes
        /// these bytes. If you want to drive the connection by hand instead, call `flush` before
        /// `into_parts`.
        pub fn into_parts(self) -> (S, Connection) {
            (self.0.io.io, self.0.core.conn)
        }
    };
}
pub(crate) use whole;

macro_rules! feed {
    () => {
        /// Queues a message; see [`Sender::feed`](crate::Sender::feed). The next `flush` writes the
        /// message. A receiving call writes it too, just before that call reads from the stream.
        /// This call never waits: if there is no room, it fails with [`Full`](SendError::Full). To
        /// wait for room, call `ready` first.
        ///
        /// # Errors
        ///
        /// The errors of [`Sender::feed`](crate::Sender::feed).
        #[inline]
        pub fn feed<'m>(&mut self, message: impl IntoOutbound<'m>) -> Result<Position, SendError> {
            self.0.core.conn.sender_mut().feed(message)
        }
    };
}
pub(crate) use feed;

macro_rules! probe {
    () => {
        /// Queues a Ping. When its Pong arrives, [`Sender::rtt`](crate::Sender::rtt) has a new
        /// value; see [`Sender::measure_rtt`](crate::Sender::measure_rtt). The Ping leaves with the
        /// next write. The heartbeat measures round trips too, but only on a silent connection. So,
        /// on a busy connection, repeat this call now and then to keep the value current.
        ///
        /// # Errors
        ///
        /// [`Closed`](SendError::Closed), as for [`Sender::ping`](crate::Sender::ping).
        pub fn measure_rtt(&mut self) -> Result<(), SendError> {
            self.0.core.conn.sender_mut().measure_rtt(self.0.io.now())
        }
    };
}
pub(crate) use probe;

macro_rules! receives {
    ($S:ty) => {
        /// The stream, or its reading half.
        pub fn get_ref(&self) -> &$S {
            &self.0.io.io
        }

        /// Fails the connection because the peer broke a rule of your own. The effect is the same
        /// as after a violation of RFC 6455: nothing more is delivered. The next receiving call
        /// writes `frame` as our Close (unless a Close was queued before), ends the stream within a
        /// few seconds, and returns [`RecvError::Failed`](crate::RecvError::Failed). See
        /// [`Connection::fail`](crate::Connection::fail).
        ///
        /// # Errors
        ///
        /// The errors of [`Connection::fail`](crate::Connection::fail).
        ///
        /// ```no_run
        /// # #[cfg(feature = "blocking")]
        /// # use tickwire::{CloseCode, CloseFrame, Error, blocking::WebSocket};
        /// # #[cfg(feature = "blocking")]
        /// fn logins(ws: &mut WebSocket<std::net::TcpStream>) -> Result<(), Error> {
        ///     while let Some(message) = ws.recv()? {
        ///         if message.as_text().is_none() {
        ///             let why = "text only, please";
        ///             ws.fail(CloseFrame::with_reason(CloseCode::UNSUPPORTED_DATA, why))?;
        ///         }
        ///     }
        ///     Ok(())
        /// }
        /// ```
        pub fn fail<'f>(&mut self, frame: impl Into<CloseFrame<'f>>) -> Result<(), SendError> {
            self.0.fail(frame.into())
        }
    };
}
pub(crate) use receives;

macro_rules! half {
    () => {
        /// How the connection ended: see [`Connection::closed`](crate::Connection::closed).
        pub fn closed(&self) -> Option<Closed<'_>> {
            self.0.core.closed()
        }

        /// The receiving half of the core, to read its state.
        pub fn receiver(&self) -> &Receiver {
            self.0.core.inbound.receiver()
        }

        /// Calls `f` with the sending half of the core, to read its state, for example the [round
        /// trip](crate::Sender::rtt). Calls of the other half wait until `f` returns. So `f` must
        /// not call the other half, and must take no lock: either may cause a deadlock.
        pub fn with_sender<Out>(&mut self, f: impl FnOnce(&Sender) -> Out) -> Out {
            self.0.core.with_sender(f)
        }

        /// Whether the message that ends at `position` was written: see
        /// [`Sender::is_written`](crate::Sender::is_written).
        pub fn is_written(&self, position: Position) -> bool {
            self.0.core.with_sender(|tx| tx.is_written(position))
        }
    };
}
pub(crate) use half;

macro_rules! writer {
    () => {
        /// Queues a message; see [`Sender::feed`](crate::Sender::feed). The message leaves with the
        /// next `flush`. This call never waits: if there is no room, it fails with
        /// [`Full`](SendError::Full). To wait for room, call `ready` first.
        ///
        /// # Errors
        ///
        /// The errors of [`Sender::feed`](crate::Sender::feed).
        #[inline]
        pub fn feed<'m>(&mut self, message: impl IntoOutbound<'m>) -> Result<Position, SendError> {
            self.0.with(|tx| tx.feed(message))
        }

        /// Calls `f` with the core's [`Sender`](crate::Sender). `f` may use any call of the
        /// `Sender` that needs no I/O. (So `f` may feed messages from an `Outbox` of
        /// `tickwire-parts`.) Calls of the other half wait until `f` returns. So `f` must not call
        /// the other half, and must take no lock: either may cause a deadlock. If `f` queues a
        /// Close, the receiving half wakes once `f` has returned. (In `blocking`, the receiving
        /// half notices the Close within about a second.)
        ///
        /// ```no_run
        /// # #[cfg(feature = "blocking")]
        /// # use tickwire::{SendError, blocking::Writer};
        /// # #[cfg(feature = "blocking")]
        /// fn ask(writer: &mut Writer<std::net::TcpStream>) -> Result<(), SendError> {
        ///     writer.with_sender(|tx| tx.ping(b"awake?"))
        /// }
        /// ```
        pub fn with_sender<Out>(&mut self, f: impl FnOnce(&mut Sender) -> Out) -> Out {
            self.0.with_sender(f)
        }

        /// The position after the last message fed: see [`Sender::fed`](crate::Sender::fed).
        pub fn fed(&self) -> Position {
            self.0.with(|tx| tx.fed())
        }

        /// Whether the message that ends at `position` was written: see
        /// [`Sender::is_written`](crate::Sender::is_written).
        pub fn is_written(&self, position: Position) -> bool {
            self.0.with(|tx| tx.is_written(position))
        }

        /// The number of queued bytes that are not yet written: see
        /// [`Sender::buffered_amount`](crate::Sender::buffered_amount).
        pub fn buffered_amount(&self) -> usize {
            self.0.with(|tx| tx.buffered_amount())
        }

        /// The number of bytes of fed messages that were dropped unwritten: see
        /// [`Sender::dropped`](crate::Sender::dropped).
        pub fn dropped(&self) -> u64 {
            self.0.with(|tx| tx.dropped())
        }

        /// Queues a Ping. When its Pong arrives, [`Sender::rtt`](crate::Sender::rtt) has a new
        /// value.
        ///
        /// # Errors
        ///
        /// [`Closed`](SendError::Closed), as for [`Sender::ping`](crate::Sender::ping).
        pub fn measure_rtt(&mut self) -> Result<(), SendError> {
            self.0.measure_rtt()
        }
    };
}
pub(crate) use writer;

macro_rules! incoming {
    ($WebSocket:ty) => {
        /// The request. If [`read_any`](Self::read_any) got no complete HTTP request, the method
        /// and all other parts are empty.
        pub fn request(&self) -> RequestHead<'_> {
            self.0.request()
        }

        /// Why the request cannot be accepted. Always `None` after [`read`](Self::read), which
        /// answers a bad request by itself. After [`read_any`](Self::read_any), answer with
        /// [`reject`](Self::reject).
        pub fn error(&self) -> Option<HandshakeError> {
            self.0.error()
        }

        /// Accepts the request, but writes nothing yet. The next flush or receiving call writes the
        /// response, together with the messages fed until then.
        ///
        /// # Errors
        ///
        /// [`Error::Handshake`] with the [`error`](Self::error) of a bad request, which then gets
        /// no answer.
        pub fn accept_corked(self, accept: Accept<'_>) -> Result<$WebSocket, Error> {
            Ok(WebSocket(self.0.accept_corked(accept)?))
        }
    };
}
pub(crate) use incoming;
