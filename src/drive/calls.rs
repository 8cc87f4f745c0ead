//! The calls that need no waiting, written once for the types of all adapters.
//!
//! Each adapter's `WebSocket`, `Reader` and `Writer` are types of its own, so that its pages list
//! what it has, and its signatures name nothing private. A trait in place of these macros would
//! have to be imported by users. Who invokes one has [`names`] in scope.

/// What the bodies name.
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
        /// Takes the stream and the connection apart again. A stream of `blocking` keeps the
        /// timeouts that were set on it. What a stream such as TLS took and holds itself is flushed
        /// after `from_parts` with both; to drive the connection by hand from here on, `flush`
        /// first.
        pub fn into_parts(self) -> (S, Connection) {
            (self.0.io.io, self.0.core.conn)
        }

        /// The stream. Reading it directly takes bytes away from the WebSocket, and writing to it
        /// breaks into the WebSocket's frames. In `blocking`, set timeouts on the WebSocket, not on
        /// the stream.
        pub fn get_mut(&mut self) -> &mut S {
            &mut self.0.io.io
        }

        /// How the connection ended, for a log: the codes of both Closes, and the error. `None`
        /// while more may be received. See [`Connection::closed`](crate::Connection::closed).
        pub fn closed(&self) -> Option<Closed<'_>> {
            self.0.core.conn.closed()
        }

        /// The connection.
        pub fn connection(&self) -> &Connection {
            &self.0.core.conn
        }

        /// The sending half, to look at.
        #[inline]
        pub fn sender(&self) -> &Sender {
            self.0.core.conn.sender()
        }

        /// The sending half: everything that needs no I/O.
        #[inline]
        pub fn sender_mut(&mut self) -> &mut Sender {
            self.0.core.conn.sender_mut()
        }

        /// Queues a message; see [`Sender::feed`](crate::Sender::feed). It leaves with the next
        /// `flush`, or when a receiving call has used up its input. Never waits, but refuses with
        /// [`Full`](SendError::Full): call `ready` first to wait for room.
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

/// The call of a whole connection that needs a clock.
macro_rules! probe {
    () => {
        /// Queues a Ping whose Pong gives [`Sender::rtt`](crate::Sender::rtt) another time; see
        /// [`Sender::measure_rtt`](crate::Sender::measure_rtt). It leaves with the next write. On a busy
        /// connection the heartbeat sends no Pings: call this now and then.
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

/// The calls of whatever receives, from an `$S`.
macro_rules! receives {
    ($S:ty) => {
        /// The stream, or the half of it that is read.
        pub fn get_ref(&self) -> &$S {
            &self.0.io.io
        }

        /// Fails the connection for a rule of your own, as a violation does: nothing more is
        /// delivered. The next receiving call writes this Close, ends the stream, which takes a few
        /// seconds at the most, and returns [`RecvError::Failed`](crate::RecvError::Failed). See
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
        /// How the connection ended, as [`Connection::closed`](crate::Connection::closed). Locks
        /// the sending half, so the same thread must not hold its `sender()` meanwhile.
        pub fn closed(&self) -> Option<Closed<'_>> {
            self.0.core.closed()
        }

        /// The receiving half of the core, to look at.
        pub fn receiver(&self) -> &Receiver {
            self.0.core.inbound.receiver()
        }

        /// The sending half of the core, to look at: its [round trip](crate::Sender::rtt), its
        /// [counts](crate::Sender::buffered_amount). Locked: both halves wait while this lives.
        pub fn sender(&self) -> impl Deref<Target = Sender> {
            self.0.core.sender()
        }
    };
}
pub(crate) use half;

/// The calls of the half that sends.
macro_rules! writer {
    () => {
        /// The sending half of the core, to look at. Both halves wait while the guard lives. So drop
        /// it soon, and before an `.await`. A second guard in the same statement waits for ever: take
        /// one, and ask it twice.
        pub fn sender(&self) -> impl Deref<Target = Sender> + Debug {
            self.0.sender()
        }

        /// The sending half of the core, for everything that needs no I/O: an
        /// `Outbox` of `tickwire-parts` feeds it. Both halves wait for it while the guard lives:
        /// drop it soon, and before an `.await`. If the sender was closed meanwhile, the half that
        /// receives is told when the guard is dropped.
        pub fn sender_mut(&mut self) -> impl DerefMut<Target = Sender> + Debug {
            self.0.sender()
        }

        /// Queues a message; see [`Sender::feed`](crate::Sender::feed). It leaves with the next
        /// `flush`. Never waits, but refuses with [`Full`](SendError::Full): call `ready` first to
        /// wait for room.
        ///
        /// # Errors
        ///
        /// As [`Sender::feed`](crate::Sender::feed).
        #[inline]
        pub fn feed<'m>(&mut self, message: impl IntoOutbound<'m>) -> Result<Position, SendError> {
            self.0.with(|tx| tx.feed(message))
        }

        /// Queues a Ping whose Pong gives [`Sender::rtt`](crate::Sender::rtt) another time, as that
        /// of the whole WebSocket does.
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

/// The calls of a request that has been read.
macro_rules! incoming {
    ($WebSocket:ty) => {
        /// The request. Its method is empty if [`read_any`](Self::read_any) read something that is
        /// not HTTP.
        pub fn request(&self) -> RequestHead<'_> {
            self.0.request()
        }

        /// Accepts, and leaves the response to be written with the first messages, in one write: by
        /// the next flush, or the next receiving call.
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
