//! The calls that do no I/O, written once for the types of all adapters.
//!
//! Each adapter has its own types `WebSocket`, `Reader` and `Writer`, so that its documentation
//! lists its own calls, and its signatures name nothing private. The calls are macros and not a
//! trait, because users would have to import a trait. Each module that invokes a macro of this file
//! imports [`names`].

/// The names that the bodies of the macros use.
pub(crate) mod names {
    pub(crate) use crate::{
        drive::{Error, Io as _},
        proto::{
            close::{CloseFrame, IntoClose},
            connection::{Closed, Connection, Position, Receiver, Sender},
            error::SendError,
            handshake::server::{Accept, Rejection, RequestHead},
            message::{Chunk, Event, Message, OwnedMessage},
            outbound::IntoOutbound,
        },
    };
    pub(crate) use std::{
        fmt::Debug,
        ops::{Deref, DerefMut},
    };
}

/// The calls of a whole connection.
macro_rules! whole {
    () => {
        /// Returns the stream and the connection, separately. In `blocking`, the stream keeps the
        /// read timeout, if the adapter has set one. A stream such as TLS may hold unflushed bytes.
        /// If you join both parts again by `from_parts`, the next flush flushes these bytes. If you
        /// want to drive the connection by hand instead, call `flush` before `into_parts`.
        pub fn into_parts(self) -> (S, Connection) {
            (self.0.io.io, self.0.core.conn)
        }

        /// The stream. A direct read takes bytes away from the WebSocket, and a direct write may
        /// land inside a frame. In `blocking`, set timeouts on the WebSocket, not on the stream.
        pub fn get_mut(&mut self) -> &mut S {
            &mut self.0.io.io
        }

        /// How the connection ended, for a log: the codes of both Closes, and the error. `None`
        /// until the peer's Close has come or an error has ended receiving. See
        /// [`Connection::closed`](crate::Connection::closed).
        pub fn closed(&self) -> Option<Closed<'_>> {
            self.0.core.conn.closed()
        }

        /// The connection.
        pub fn connection(&self) -> &Connection {
            &self.0.core.conn
        }

        /// The sending half, to read its state.
        #[inline]
        pub fn sender(&self) -> &Sender {
            self.0.core.conn.sender()
        }

        /// The sending half, for all calls that need no I/O.
        #[inline]
        pub fn sender_mut(&mut self) -> &mut Sender {
            self.0.core.conn.sender_mut()
        }

        /// Queues a message; see [`Sender::feed`](crate::Sender::feed). The next `flush` writes the
        /// message, and so does a receiving call that has used up its input. This call never waits:
        /// if there is no room, it fails with [`Full`](SendError::Full). To wait for room, call
        /// `ready` first.
        ///
        /// # Errors
        ///
        /// As [`Sender::feed`](crate::Sender::feed).
        #[inline]
        pub fn feed<'m>(&mut self, message: impl IntoOutbound<'m>) -> Result<Position, SendError> {
            self.0.core.conn.sender_mut().feed(message)
        }
    };
}
pub(crate) use whole;

/// The call of a whole connection that uses a clock.
macro_rules! probe {
    () => {
        /// Queues a Ping. When its Pong arrives, [`Sender::rtt`](crate::Sender::rtt) has a new
        /// value; see [`Sender::measure_rtt`](crate::Sender::measure_rtt). The Ping leaves with the
        /// next write. The heartbeat sends no Pings on a busy connection. So, to keep the value
        /// current, repeat this call now and then.
        ///
        /// # Errors
        ///
        /// [`Closed`](SendError::Closed).
        pub fn measure_rtt(&mut self) -> Result<(), SendError> {
            self.0.core.conn.sender_mut().measure_rtt(self.0.io.now())
        }
    };
}
pub(crate) use probe;

/// The calls of the types that receive from an `$S`.
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
        /// As [`Connection::fail`](crate::Connection::fail).
        ///
        /// ```no_run
        /// # use tickwire::{CloseCode, CloseFrame, Error, blocking::WebSocket};
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

/// The calls of the half that receives.
macro_rules! half {
    () => {
        /// How the connection ended: see [`Connection::closed`](crate::Connection::closed). This
        /// call locks the sending half. So do not call it while your thread holds a guard of
        /// `sender()` or `sender_mut()`: the call would hang.
        pub fn closed(&self) -> Option<Closed<'_>> {
            self.0.core.closed()
        }

        /// The receiving half of the core, to read its state.
        pub fn receiver(&self) -> &Receiver {
            self.0.core.inbound.receiver()
        }

        /// The sending half of the core, to read its state, for example the [round
        /// trip](crate::Sender::rtt) or the [number of buffered
        /// bytes](crate::Sender::buffered_amount). While the returned guard lives, calls of both
        /// halves may wait for it. So drop the guard soon.
        pub fn sender(&self) -> impl Deref<Target = Sender> {
            self.0.core.sender()
        }
    };
}
pub(crate) use half;

/// The calls of the half that sends.
macro_rules! writer {
    () => {
        /// The sending half of the core, to read its state. While the returned guard lives, calls
        /// of both halves may wait for it. So drop the guard soon, and before an `.await`. Two
        /// calls of `sender()` in one statement hang, because the second call waits for the guard
        /// of the first.
        pub fn sender(&self) -> impl Deref<Target = Sender> + Debug {
            self.0.sender()
        }

        /// The sending half of the core, for all calls that need no I/O. (An `Outbox` of
        /// `tickwire-parts` feeds this half.) While the returned guard lives, calls of both halves
        /// may wait for it. So drop the guard soon, and before an `.await`. If you queue a Close
        /// through the guard, dropping the guard wakes the receiving half. (In `blocking`, the
        /// receiving half notices the Close within about a second.)
        pub fn sender_mut(&mut self) -> impl DerefMut<Target = Sender> + Debug {
            self.0.sender()
        }

        /// Queues a message; see [`Sender::feed`](crate::Sender::feed). The message leaves with the
        /// next `flush`. This call never waits: if there is no room, it fails with
        /// [`Full`](SendError::Full). To wait for room, call `ready` first.
        ///
        /// # Errors
        ///
        /// As [`Sender::feed`](crate::Sender::feed).
        #[inline]
        pub fn feed<'m>(&mut self, message: impl IntoOutbound<'m>) -> Result<Position, SendError> {
            self.0.with(|tx| tx.feed(message))
        }

        /// Queues a Ping. When its Pong arrives, [`Sender::rtt`](crate::Sender::rtt) has a new
        /// value.
        ///
        /// # Errors
        ///
        /// [`Closed`](SendError::Closed).
        pub fn measure_rtt(&mut self) -> Result<(), SendError> {
            self.0.measure_rtt()
        }
    };
}
pub(crate) use writer;

/// The calls of an opening request.
macro_rules! incoming {
    ($WebSocket:ty) => {
        /// The request. If [`read_any`](Self::read_any) got no complete HTTP request, the method
        /// and all other parts are empty.
        pub fn request(&self) -> RequestHead<'_> {
            self.0.request()
        }

        /// Accepts the request, but writes nothing yet. The next flush or receiving call writes the
        /// response, together with the messages fed until then.
        ///
        /// # Errors
        ///
        /// [`Error::Handshake`] for a request that [`read_any`](Self::read_any) found bad.
        pub fn accept_corked(self, accept: Accept<'_>) -> Result<$WebSocket, Error> {
            Ok(WebSocket(self.0.accept_corked(accept)?))
        }
    };
}
pub(crate) use incoming;
