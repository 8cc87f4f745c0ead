//! The connection on a stream that blocks: any `Read + Write`.
//!
//! The loop has no rule of the protocol in it. It parses the input. When the input is used up, it
//! writes once, reads once, and begins again. So the replies to a batch leave in one write, and a
//! batch of messages costs one read and one write.
//!
//! ```no_run
//! use std::net::TcpListener;
//! use tickwire::{Config, blocking::accept};
//!
//! # fn serve() -> Result<(), Box<dyn std::error::Error>> {
//! let listener = TcpListener::bind("127.0.0.1:0")?;
//! for stream in listener.incoming() {
//!     let stream = stream?;
//!     std::thread::spawn(move || {
//!         let mut ws = accept(stream, &Config::default())?;
//!         while let Some(received) = ws.recv_to_reply()? {
//!             received.sender.feed(received.message)?; // an echo
//!         }
//!         Ok::<_, tickwire::Error>(())
//!     });
//! }
//! # Ok(())
//! # }
//! ```
//!
//! **Waiting.** Every call waits as long as necessary, within the limits of [`Config`], unless
//! [`set_read_timeout`](WebSocket::set_read_timeout) or
//! [`set_write_timeout`](WebSocket::set_write_timeout) bounds it. When such a timeout has passed,
//! or a non-blocking stream would block, the call returns [`Error::WouldBlock`]. Nothing is lost,
//! and no frame is cut. A receiving call, `ready`, `flush` and `close` go on when called again.
//! **`send` does not**: a second call may send the message twice. Compare [`fed()`](Sender::fed)
//! before and after. If it has changed, the message is queued, and `flush` writes the rest. If not,
//! nothing was sent.
//!
//! The system rounds such a timeout to its own steps, 4 ms on many Linuxes, and ends it one or two
//! steps late. With any blocking socket, 3 ms can take 8 ms. [`Spin`] is at most about 40 µs late.
//!
//! **Timers.** Calls drive the deadlines of [`Config`]. Nothing runs between calls, so keep
//! receiving. A receiving call that finds nothing to read checks all deadlines, even if it returns
//! `WouldBlock` at once. So a loop that polls non-blocking streams once a tick needs nothing else
//! (recipes: many connections on one thread). A call waits in [`Stream::wait`], which is `poll(2)`
//! for a socket, until the next deadline. It notices the deadline as soon as the system wakes the
//! thread. If no deadline falls into the next second, a blocking read waits instead. The adapter
//! sets the stream's read timeout for these reads, so set none there.
//!
//! A stream without [`wait`](Stream::wait) ([`WithoutTimeouts`]) blocks in its own calls. No
//! deadline is noticed meanwhile, callers' timeouts are refused as `Unsupported`, and the
//! connection cannot be split. TLS waits on the stream below it. The adapter never waits for a
//! socket that you made non-blocking, except on Windows, which does not tell the mode of a socket.
//!
//! **The least latency.** After [`into_spin`](WebSocket::into_spin) no call ever sleeps. This takes
//! a core: see [`Spin`].
//!
//! **Two threads.** [`into_split`](WebSocket::into_split) gives a [`Reader`] and a [`Writer`].
//! Neither half wakes the other, because that would cost descriptors. Instead, their waits are
//! bounded. A reader notices a deadline that its writer armed after a quarter of the shorter of
//! [`close_timeout`](Config::close_timeout) and [`write_timeout`](Config::write_timeout), and after
//! a second at most. A writer that waits for room notices within 50 ms that receiving has failed.
//!
//! **Stopping.** To stop a thread that waits in the `recv` of a [`Reader`], call [`Writer::close`]
//! from another thread. `recv` returns when the peer has answered, and at the latest a second after
//! [`Config::close_timeout`]. A thread with a whole [`WebSocket`] must check by itself whether to
//! stop: set a [`set_read_timeout`](WebSocket::set_read_timeout), and check at each
//! [`Error::WouldBlock`] of `recv`.
mod handshake;
mod spin;
mod split;
pub(crate) mod stream;
mod sys;
mod thread;

#[cfg(feature = "rustls")]
pub use crate::tls::blocking::TlsStream;
pub use crate::{dial::blocking::connect, tls::maybe::blocking::MaybeTls};
pub use handshake::{Incoming, accept, client};
pub(crate) use handshake::{client_since, wait};
pub use spin::Spin;
pub use split::{Reader, Writer};
pub use stream::{Interest, Stream, WithoutTimeouts};

use crate::drive::{
    Core, Ready, Received, Socket, Timed, Want, Whole, begun,
    calls::{names::*, probe, receives, whole},
    sync::Instant,
};
#[cfg(doc)]
use crate::proto::config::Config;
use crate::proto::connection::Step;
use std::{
    task::{Context, Poll},
    time::Duration,
};
use thread::{Thread, context};

/// The calls of a whole connection and of the receiving half. An answer is fed to a `$Sender`.
macro_rules! receiving {
    ($Sender:ty) => {
        /// Sets how long a receiving call may wait for its result before it returns
        /// [`Error::WouldBlock`]. `None`, the default, sets no limit. Neither a Ping nor a part of
        /// a message restarts the time.
        ///
        /// # Errors
        ///
        /// `InvalidInput` for zero, and those of [`Stream::wait`], which the stream needs.
        pub fn set_read_timeout(&mut self, timeout: Option<Duration>) -> std::io::Result<()> {
            self.0.io.check(timeout)?;
            self.0.io.wait.read_limit = timeout;
            Ok(())
        }

        /// The next message, or `None` once the peer's Close was received and answered.
        ///
        /// The message is borrowed from the buffer it was read into, and lives until the next call.
        /// Messages fed are written when the input is used up. The call waits for input. It
        /// receives even while the stream refuses bytes, so that two peers cannot block each other.
        ///
        /// A client gets `None` once the server has also ended the stream, at the latest when
        /// [`close_timeout`](crate::Config::close_timeout) has passed since the server's Close. To
        /// skip that wait, use [`recv_event`](Self::recv_event). On
        /// [`Event::Close`](crate::Event::Close), read the code from [`closed`](Self::closed), call
        /// `flush` (of the `Writer`, if the connection is split) to send the answer, and drop the
        /// stream.
        ///
        /// # Errors
        ///
        /// [`Error::Recv`] for a fault of the peer or the network, and [`Error::Io`]. Both come
        /// after everything that arrived before was delivered. Later calls fail too. After a
        /// violation this call first sends a Close and gives the peer a second to end the stream,
        /// then returns the error; [`closed`](Self::closed) shows the error at once.
        /// [`Error::WouldBlock`] is not a failure: call again.
        #[inline]
        pub fn recv(&mut self) -> Result<Option<Message<'_>>, Error> {
            let ready = self.0.wait_message()?;
            self.0.take(ready, |rx| rx.message())
        }

        /// Like [`recv`](Self::recv), but also returns the message's
        /// [`info`](crate::Received::info) and the sending half, so that you can answer while the
        /// message is alive. Replies leave in one write when the input is used up, or earlier once
        /// [`cork_limit`](crate::Config::cork_limit) bytes are buffered.
        ///
        /// It hands out a message only while fewer than
        /// [`high_water`](crate::Config::high_water) bytes are buffered. So one reply to each
        /// message never fails with `Full`. While a peer does not read, this call does not read
        /// either, until the write timeout ends the connection. (Two ends that answer each message
        /// with several messages can block each other this way.) After our own Close it discards
        /// messages up to the peer's Close. After a failed write it still delivers them, but
        /// nothing can be fed.
        ///
        /// A `Reader` has no sending half to return. Its call differs from `recv` in the result
        /// alone.
        ///
        /// # Errors
        ///
        /// As [`recv`](Self::recv).
        #[inline]
        pub fn recv_to_reply(&mut self) -> Result<Option<Received<'_, $Sender>>, Error> {
            if !self.0.quick_with() && self.0.wait_with()? == Ready::End {
                return self.0.ended();
            }
            Ok(self.0.received())
        }

        /// The next message or control frame. `None` after the peer's Close. It is for proxies, and
        /// for connections with [`auto_pong`](crate::Config::auto_pong) or
        /// [`auto_close`](crate::Config::auto_close) off.
        ///
        /// # Errors
        ///
        /// As [`recv`](Self::recv).
        pub fn recv_event(&mut self) -> Result<Option<Event<'_>>, Error> {
            let ready = self.0.wait_for(Want::Event)?;
            self.0.take(ready, |rx| rx.event())
        }

        /// The next piece of a message, as it arrives. It is for messages that are too large for
        /// memory. See [`Connection::step_chunk`](crate::Connection::step_chunk) for the
        /// limits. A call of [`recv`](Self::recv) in the middle of a message skips the rest of that
        /// message. If the peer closes in the middle of a message, there is no last piece, and
        /// [`Closed::cut`](crate::Closed::cut) is set.
        ///
        /// # Errors
        ///
        /// As [`recv`](Self::recv).
        pub fn recv_chunk(&mut self) -> Result<Option<Chunk<'_>>, Error> {
            let ready = self.0.wait_for(Want::Chunk)?;
            self.0.take(ready, |rx| rx.chunk())
        }

        /// Like [`recv`](Self::recv), but returns a message that the caller can keep: see
        /// [`Receiver::take_message`](crate::Receiver::take_message).
        ///
        /// # Errors
        ///
        /// As [`recv`](Self::recv).
        pub fn recv_owned(&mut self) -> Result<Option<OwnedMessage>, Error> {
            let ready = self.0.wait_message()?;
            self.0.take(ready, Receiver::take_message)
        }
    };
}
use receiving;

/// A WebSocket over `S`.
///
/// Dropping it ends the stream at once, and loses messages fed and not flushed: call
/// [`close`](Self::close) first. After the end of the connection, the stream stays open until this
/// is dropped.
#[derive(Debug)]
pub struct WebSocket<S>(Socket<Whole, Timed<S, Thread>>);

impl<S> WebSocket<S> {
    whole!();
}

impl<S: Stream> WebSocket<S> {
    probe!();
    receives!(S);
    receiving!(&mut Sender);

    /// Joins a stream and a connection after the opening handshake. It sets nothing on the stream.
    pub fn from_parts(io: S, conn: Connection) -> Self {
        Self(Socket::join(Timed::new(io, Instant::now()), conn))
    }

    /// Makes all further calls wait by [asking again and again](Spin) instead of sleeping. It keeps
    /// the timeouts, and the messages fed and received before.
    ///
    /// # Errors
    ///
    /// Those of [`Stream::wait`]: `Unsupported` for a stream whose calls wait by themselves. The
    /// connection is lost then.
    pub fn into_spin(self) -> std::io::Result<WebSocket<Spin<S>>> {
        let Socket { core, io: Timed { io, wait }, .. } = self.0;
        Ok(WebSocket(Socket::new(core, Timed { io: Spin::new(io)?, wait })))
    }

    /// Sets how long a sending call may wait while the stream accepts nothing before it returns
    /// [`Error::WouldBlock`]. `None`, the default, sets no limit. Unlike [`Config::write_timeout`]
    /// it does not end the connection.
    ///
    /// # Errors
    ///
    /// `InvalidInput` for zero, and those of [`Stream::wait`], which the stream needs.
    pub fn set_write_timeout(&mut self, timeout: Option<Duration>) -> std::io::Result<()> {
        self.0.io.check(timeout)?;
        self.0.io.wait.write_limit = timeout;
        Ok(())
    }

    /// Waits for room, feeds a message, and writes everything buffered. When it returns, the stream
    /// has accepted the message. A borrowed message is copied; [`Outbound`](crate::Outbound) says
    /// which messages are not.
    ///
    /// It does not read. So a program that only sends notices the peer's Close only when the stream
    /// breaks. And two peers that both send before they receive can block each other. To avoid
    /// both, split the connection, or feed and receive.
    ///
    /// # Errors
    ///
    /// [`Error::Send`] for a message that cannot be sent. [`Error::Io`] if the stream fails.
    /// [`Error::Recv`] with [`WriteTimeout`](crate::RecvError::WriteTimeout) if the stream took no
    /// byte for [`write_timeout`](Config::write_timeout); received messages can still be received
    /// then.
    ///
    /// [`Error::WouldBlock`] has two cases. If there was no room, nothing was sent, and a message
    /// given by value is gone. (To keep the message, call `ready`, then `feed` and `flush`.) If
    /// there was room, the next flush sends the whole message, so do not send it again. To tell the
    /// two cases apart, compare [`Sender::fed`] before and after.
    pub fn send<'m>(&mut self, message: impl IntoOutbound<'m>) -> Result<(), Error> {
        self.ready()?;
        let _ = self.feed(message)?;
        self.flush()
    }

    /// Waits until there is room for a message of any length. It writes if necessary, and does not
    /// read.
    ///
    /// # Errors
    ///
    /// [`Error::Send`] if the sending half is closed. [`Error::Io`] and [`Error::Recv`] as
    /// [`flush`](Self::flush). [`Error::WouldBlock`] if there is no room yet.
    pub fn ready(&mut self) -> Result<(), Error> {
        self.0.io.wait.begin_sending();
        self.0.wait_until_ready(|ws, cx| ws.poll_room(cx))?.map_err(|error| *error)
    }

    /// Writes everything buffered. It does not read.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] if the stream fails. [`Error::Recv`] with
    /// [`WriteTimeout`](crate::RecvError::WriteTimeout) if the stream took no byte for
    /// [`write_timeout`](Config::write_timeout). [`Error::WouldBlock`] if bytes are left; the next
    /// flush writes them.
    #[inline]
    pub fn flush(&mut self) -> Result<(), Error> {
        self.0.io.wait.begin_sending();
        self.0.wait_until_ready(|ws, cx| ws.poll_flush(cx, false))?.map_err(|error| *error)
    }

    /// Closes the connection. It sends a Close behind everything fed, unless one was sent before.
    /// Then it reads and discards up to the peer's Close, and ends the stream.
    /// [`close_timeout`](Config::close_timeout) bounds the time this takes.
    ///
    /// `frame` is a code ([`CloseCode::NORMAL`](crate::CloseCode::NORMAL)), a code with a reason
    /// ([`CloseFrame::with_reason`](crate::CloseFrame::with_reason)), or `None`.
    ///
    /// # Errors
    ///
    /// [`Error::Send`] for a frame that cannot be sent; otherwise as [`recv`](Self::recv). `Ok`
    /// means that the peer's Close was received. [`closed`](Self::closed) says whether our Close
    /// was written. After [`Error::WouldBlock`] call it again.
    pub fn close<'f>(&mut self, frame: impl IntoClose<'f>) -> Result<(), Error> {
        begun(self.sender_mut().close(frame))?;
        self.0.io.wait.begin();
        while self.0.wait_on(Want::Message)? == Ready::Item {}
        self.0.ended::<()>().map(drop)
    }
}

impl<C: Core<Timed<S, Thread>>, S: Stream> Socket<C, Timed<S, Thread>> {
    #[inline]
    fn wait_message(&mut self) -> Result<Ready, Error> {
        match self.quick() {
            Some(Step::Message) => Ok(Ready::Item),
            _ => self.wait_for(Want::Message),
        }
    }

    fn wait_for(&mut self, want: Want) -> Result<Ready, Error> {
        self.io.wait.begin();
        self.wait_on(want)
    }

    /// [`wait_for`](Self::wait_for), inside a call whose time has begun.
    #[inline(never)]
    fn wait_on(&mut self, want: Want) -> Result<Ready, Error> {
        self.wait_until_ready(|socket, cx| socket.poll_more(cx, want))
    }

    /// Polls and waits in turns, until the poll is ready.
    #[inline]
    fn wait_until_ready<T>(
        &mut self,
        mut poll: impl FnMut(&mut Self, &mut Context<'_>) -> Poll<T>,
    ) -> Result<T, Error> {
        loop {
            if let Poll::Ready(done) = poll(self, &mut context()) {
                return Ok(done);
            }
            self.io.wait()?;
        }
    }

    /// Waits for room for an answer, then for a message. Messages that are discarded after our
    /// Close do not restart the caller's timeout.
    #[inline(never)]
    fn wait_with(&mut self) -> Result<Ready, Error> {
        self.io.wait.begin_sending();
        self.wait_until_ready(|socket, cx| C::poll_answerable(socket, cx))?;
        self.io.wait.begin();
        loop {
            match self.wait_on(Want::Message)? {
                Ready::Item if self.core.is_mute() => {}
                ready => return Ok(ready),
            }
        }
    }
}
