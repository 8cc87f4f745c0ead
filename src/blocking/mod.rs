//! A WebSocket on a stream that blocks: any `Read + Write`.
//!
//! The adapter parses the input. When no received message is left, the adapter writes once, reads
//! once, and begins again. So a batch of messages costs one read, and the replies to the batch cost
//! one write.
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
//!         let mut ws = accept(stream, &Config::server())?;
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
//! **Waiting.** Every call waits as long as necessary, within the deadlines of [`Config`]. To wait
//! for a shorter time, use [`set_read_timeout`](WebSocket::set_read_timeout) and
//! [`set_write_timeout`](WebSocket::set_write_timeout). When one of these timeouts has passed, or a
//! non-blocking stream would block, the call returns [`Error::WouldBlock`]. `WouldBlock` ends an
//! opening handshake. On an open connection, nothing received or queued is lost. The calls `ready`,
//! `flush` and `close`, and all receiving calls, continue if you call them again. **`send` does
//! not**: a second call may send the message twice. Instead, compare [`fed()`](Sender::fed) before
//! and after the call. If the value has changed, the message is queued, and `flush` writes the rest
//! of the message. Otherwise the message was not sent.
//!
//! On Linux, these timeouts end about 0.1 ms late; with [`Spin`], at most about 40 µs late.
//!
//! **Timers.** Calls check the deadlines of [`Config`]. Nothing runs between calls, so keep
//! receiving. A receiving call that finds nothing to read checks all deadlines, even if it returns
//! `WouldBlock` at once. So a program that receives from each of its non-blocking streams at short
//! intervals needs no timers. (See "many connections on one thread" in the recipes.) A call waits
//! in [`Stream::wait`], which is `poll(2)` for a socket, until the stream is ready or the next
//! deadline passes. A receiving call waits in a blocking read instead if three conditions hold:
//! nothing is to be written, you have not called `set_read_timeout`, and no deadline falls into the
//! next second. For these reads the adapter sets the read timeout of the stream, so do not set that
//! timeout yourself.
//!
//! A stream whose [`wait`](Stream::wait) is `Unsupported`, such as [`WithoutTimeouts`], blocks in
//! its own calls. While the stream blocks, the adapter notices no deadline. Over this stream,
//! `set_read_timeout` and `set_write_timeout` fail with `Unsupported`. A connection over a
//! `WithoutTimeouts` cannot be split. A TLS stream can wait if the stream below it can. The adapter
//! does not wait for a socket that you made non-blocking. But on Windows the adapter waits for each
//! socket, because Windows does not tell whether a socket is non-blocking. On Windows the adapter
//! itself makes each socket non-blocking, and the socket stays so if you take it back. WASI
//! (`wasm32-wasip2`) is like Windows in both. It has no threads, so `connect` looks a name up in
//! the calling thread, and a lookup is not bounded by `handshake_timeout`.
//!
//! **The least latency.** After [`into_spin`](WebSocket::into_spin) no call ever sleeps. While a
//! call waits, it keeps a whole core busy: see [`Spin`].
//!
//! **Two threads.** [`into_split`](WebSocket::into_split) gives a [`Reader`] and a [`Writer`].
//! Neither half wakes the other, because a wake-up would need more file descriptors. Instead, the
//! waits of both halves are bounded. When the writer starts
//! [`close_timeout`](Config::close_timeout) or [`write_timeout`](Config::write_timeout), the reader
//! notices this within about a second. If one of these timeouts is less than four seconds, the
//! reader notices this within about a quarter of the shorter timeout. (But the reader needs at
//! least some milliseconds.) A writer that waits for the stream notices within 50 ms that receiving
//! has failed.
//!
//! **Stopping.** To stop a thread that waits in the `recv` of a [`Reader`], call [`Writer::close`]
//! from another thread. `recv` returns once the peer has answered and the stream has ended. If the
//! peer does not answer, [`Config::close_timeout`] says how long `recv` may take. A thread with a
//! whole [`WebSocket`] must check by itself whether to stop: set a timeout with
//! [`set_read_timeout`](WebSocket::set_read_timeout), and check at each [`Error::WouldBlock`] of
//! `recv`.
mod calls;
#[cfg(feature = "client")]
mod dial;
mod handshake;
mod maybe;
mod spin;
mod split;
pub(crate) mod stream;
mod sys;
mod thread;
#[cfg(feature = "rustls")]
mod tls;

#[cfg(feature = "client")]
pub use self::{dial::connect, handshake::client};
pub use handshake::{Incoming, accept};
pub use maybe::MaybeTls;
pub use spin::Spin;
pub use split::{Reader, Writer};
pub use stream::{Interest, Stream, WithoutTimeouts};
#[cfg(feature = "rustls")]
pub use tls::TlsStream;

use crate::drive::{
    Ready, Received, Socket, Timed, Want, Whole,
    calls::{feed, names::*, probe, receives, whole},
    sync::Instant,
};
#[cfg(doc)]
use crate::proto::config::Config;
use split::WRITER_WAIT;
use std::time::Duration;
use thread::{READ_TIMEOUT, Thread, context};

macro_rules! recv {
    () => {
        /// Returns the next message, or `None` once the peer's Close was received and answered.
        /// (With [`auto_close`](crate::Config::auto_close) off, the Close may be unanswered.)
        ///
        /// The message is borrowed from the connection, and lives until the next call. When no
        /// received message is left, this call writes the queued replies, and waits for input. On a
        /// whole WebSocket, this call also writes the messages that were fed. While the stream
        /// refuses bytes, the call goes on receiving, so that two peers cannot block each other.
        ///
        /// After both Closes, this call also waits until both ends have ended the stream, for at
        /// most a second. To skip this wait, use [`recv_event`](Self::recv_event). On
        /// [`Event::Close`](crate::Event::Close), read the code from [`closed`](Self::closed), call
        /// `flush` (of the `Writer`, after a split) to send the answer, and drop the stream.
        ///
        /// # Errors
        ///
        /// [`Error::Recv`] for a fault of the peer or the network, or a passed deadline.
        /// [`Error::Io`] if the stream fails, or `Error::Tls` if TLS fails. All messages that
        /// arrived before the error are delivered first. Later calls fail too. After a violation by
        /// the peer, this call sends a Close, unless a Close was sent before. Then this call ends
        /// the stream within a few seconds, and returns the error. [`Error::WouldBlock`] is no
        /// failure: call again.
        #[inline]
        pub fn recv(&mut self) -> Result<Option<Message<'_>>, Error> {
            let ready = self.0.wait_message()?;
            self.0.take(ready, |rx| rx.message())
        }
    };
}
use recv;

macro_rules! receiving {
    () => {
        /// Like [`recv`](Self::recv), but with facts about the message besides its payload. For
        /// example, [`more`](crate::Info::more) tells whether another whole message was already
        /// read, so that you can act only on the newest message.
        ///
        /// # Errors
        ///
        /// The errors of [`recv`](Self::recv).
        pub fn recv_with_info(&mut self) -> Result<Option<(Message<'_>, Info)>, Error> {
            let ready = self.0.wait_message()?;
            self.0.take(ready, |rx| rx.message().map(|message| (message, rx.info())))
        }

        /// Returns the next message or control frame, or `None` after the peer's Close. Use this
        /// call in proxies, which forward control frames, and when
        /// [`auto_pong`](crate::Config::auto_pong) or [`auto_close`](crate::Config::auto_close) is
        /// off.
        ///
        /// # Errors
        ///
        /// The errors of [`recv`](Self::recv).
        pub fn recv_event(&mut self) -> Result<Option<Event<'_>>, Error> {
            let ready = self.0.wait_for(Want::Event)?;
            self.0.take(ready, |rx| rx.event())
        }

        /// Returns the next chunk of a message as soon as the chunk has arrived. Use this call for
        /// messages that are too large for memory.
        /// [`Connection::step_chunk`](crate::Connection::step_chunk) says which limits apply. A
        /// call of [`recv`](Self::recv) in the middle of a message skips the rest of that message.
        /// If the peer closes in the middle of a message, no chunk of that message has `last` set,
        /// and [`Closed::cut`](crate::Closed::cut) is set.
        ///
        /// # Errors
        ///
        /// The errors of [`recv`](Self::recv).
        pub fn recv_chunk(&mut self) -> Result<Option<Chunk<'_>>, Error> {
            let ready = self.0.wait_for(Want::Chunk)?;
            self.0.take(ready, |rx| rx.chunk())
        }

        /// Like [`recv`](Self::recv), but returns a message that the caller can keep: see
        /// [`Receiver::take_message`](crate::Receiver::take_message).
        ///
        /// # Errors
        ///
        /// The errors of [`recv`](Self::recv).
        pub fn recv_owned(&mut self) -> Result<Option<OwnedMessage>, Error> {
            let ready = self.0.wait_message()?;
            self.0.take(ready, Receiver::take_message)
        }

        /// Leaves the peer within the time `within`, whatever the peer does. For a peer that may be
        /// dead, for example when your own check finds a stale feed: `close` would wait up to
        /// [`close_timeout`](crate::Config::close_timeout) for its answer.
        ///
        /// Our Close goes out at once. Fed messages that have not begun to leave are dropped, as by
        /// [`Sender::abort`](crate::Sender::abort), also after `close`: that Close keeps its code,
        /// and moves forward. The closing handshake goes on as usual, and input is discarded. When
        /// it has ended, or `within` has passed, drop the connection together with the stream.
        ///
        /// | afterwards | |
        /// |---|---|
        /// | did the peer answer? | `clean` of [`closed`](Self::closed) |
        /// | which messages may it have? | [`Sender::is_written`](crate::Sender::is_written) |
        /// | later receiving calls | `None`, or the error that ended the connection: [`CloseTimeout`](crate::RecvError::CloseTimeout) if `within` passed before our Close was written, or before the peer's Close came |
        /// | the `Writer`, after `leave` of a `Reader` | can send nothing more |
        ///
        /// With a `within` of zero this call writes the bytes that the stream accepts, and returns.
        /// The timeouts of `set_read_timeout` and `set_write_timeout` do not apply. If the stream's
        /// own calls block, as those of [`WithoutTimeouts`](crate::blocking::WithoutTimeouts) do,
        /// this call may take longer than `within`.
        ///
        /// # Errors
        ///
        /// [`Error::Send`] for a frame that cannot be sent: then nothing has changed. A failed
        /// closing handshake is no error here. [`Error::WouldBlock`] if the stream cannot wait, and
        /// `within`, counted from the first call, has not passed: call again.
        pub fn leave<'f>(
            &mut self,
            frame: impl IntoClose<'f>,
            within: Duration,
        ) -> Result<(), Error> {
            self.0.begin_leave(frame, within)?;
            self.0.wait_to_leave()
        }

        /// Sets how long a receiving call may wait for its result before it returns
        /// [`Error::WouldBlock`]. `None`, the default, sets no limit. Neither a Ping nor a part of
        /// a message restarts this timeout.
        ///
        /// # Errors
        ///
        /// `InvalidInput` for zero. Also the errors of [`Stream::wait`]: a stream that cannot wait
        /// cannot keep the timeout.
        pub fn set_read_timeout(&mut self, timeout: Option<Duration>) -> std::io::Result<()> {
            self.0.io.check(timeout)?;
            self.0.io.wait.read_limit = timeout;
            Ok(())
        }
    };
}
use receiving;

/// An open WebSocket over `S`. A client gets one from [`connect`] or, to set options, from
/// [`Dial::blocking_connect`](crate::Dial::blocking_connect). `S` is then a [`MaybeTls`], its
/// default. A server gets one from [`accept`], or from [`Incoming`] to see the request first. Over
/// a stream of your own, a client calls [`client`].
///
/// ```no_run
/// # #[cfg(feature = "client")]
/// # fn follow() -> Result<(), tickwire::Error> {
/// use tickwire::{CloseCode, Config, Heartbeat, blocking::connect};
///
/// let config = Config { heartbeat: Some(Heartbeat::TRADING), ..Config::default() };
/// let mut ws = connect("ws://127.0.0.1:9000/feed", &config)?;
/// ws.send("subscribe")?;
/// while let Some(message) = ws.recv()? {
///     println!("{message:?}"); // borrowed until the next receiving call
///     if message.as_text() == Some("bye") {
///         break;
///     }
/// }
/// ws.close(CloseCode::NORMAL)
/// # }
/// ```
///
/// Recipes: [reconnect](crate::guide::recipes::feeds#reconnect), [find a dead
/// peer](crate::guide::recipes::feeds#find-a-dead-peer), [orders with
/// deadlines](crate::guide::recipes::feeds#orders-with-deadlines), [many connections on one
/// thread](crate::guide::recipes::servers#many-connections-on-one-thread), [all
/// others](crate::guide::recipes). [Limits](crate::guide::limits) lists the defaults, and
/// [Migrating](crate::guide::migrating) lists the calls of other crates.
///
/// Dropping a WebSocket drops the stream at once, and loses messages that were not flushed. So call
/// [`close`](Self::close) first. After the end of the connection, the WebSocket keeps the stream
/// until you drop the WebSocket.
#[derive(Debug)]
pub struct WebSocket<S = MaybeTls>(Socket<Whole, Timed<S, Thread>>);

impl<S: Stream> WebSocket<S> {
    recv!();

    /// Sends one message now. Waits until there is room for the message, feeds it, and writes
    /// everything buffered: `Ok` means that the stream has accepted the message.
    ///
    /// This call does not read. So a program that never receives learns of the peer's Close only
    /// when the stream breaks, and two peers that both send before they receive can block each
    /// other. Split the WebSocket, or call `feed` and then a receiving call.
    ///
    /// [`Outbound`](crate::Outbound) says which messages are copied.
    ///
    /// # Errors
    ///
    /// [`Error::Send`] for a message that cannot be sent. [`Error::Io`] and [`Error::Recv`] as for
    /// [`flush`](Self::flush). After an error of the stream, or after a write timeout, you can
    /// still receive the messages that have arrived.
    ///
    /// After [`Error::WouldBlock`], [`Sender::fed`], compared before and after the call, says what
    /// became of the message:
    ///
    /// | `fed` | the message |
    /// |---|---|
    /// | is the same | was not sent, because there was no room; given by value, it is lost (to keep it, call `ready`, then `feed` and `flush`) |
    /// | differs | is queued: the next flush sends the rest, so do not send it again |
    pub fn send<'m>(&mut self, message: impl IntoOutbound<'m>) -> Result<(), Error> {
        self.ready()?;
        self.0.begin_send(&mut context(), message.into()).map_err(|error| *error)?;
        self.flush()
    }

    feed!();

    /// Ends the connection when you are done: writes what you fed, then our Close, unless
    /// one was sent before. For a peer that may be dead, use [`leave`](Self::leave).
    ///
    /// Then this call discards input up to the peer's Close, and ends the stream as
    /// [`recv`](Self::recv) does. [`close_timeout`](Config::close_timeout) says how
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
    /// # Errors
    ///
    /// [`Error::Send`] for a frame that cannot be sent; otherwise the errors of
    /// [`recv`](Self::recv). After [`Error::WouldBlock`] call this again.
    pub fn close<'f>(&mut self, frame: impl IntoClose<'f>) -> Result<(), Error> {
        begun(self.sender_mut().close(frame))?;
        self.0.io.wait.begin(); // once: a discarded message must not restart the caller's timeout
        while self.0.wait_on(Want::Message)? == Ready::Item {}
        self.0.close_ended()
    }

    /// Like [`recv`](Self::recv), but with the message's [`info`](crate::Received::info) and
    /// the sending half, so that you can answer while the message is alive. The replies to a
    /// batch leave in one write, once no received message is left, or earlier, if
    /// [`cork_limit`](crate::Config::cork_limit) bytes are buffered.
    ///
    /// | when | what happens |
    /// |---|---|
    /// | [`high_water`](crate::Config::high_water) bytes are unsent | no message is handed out: one reply to each never fails with `Full`, if `high_water` is at least 4 KiB |
    /// | the peer does not read | this call stops reading too, until the peer reads again or the write timeout ends the connection; so two ends that answer each message with several can block each other |
    /// | our Close is queued | messages up to the peer's Close are discarded |
    /// | a write has failed | messages are still delivered, but nothing can be fed |
    ///
    /// (Of what overtakes queued messages nothing counts as unsent here. A Pong that overtakes
    /// nothing counts, but all Pongs to the Pings of one read fit into 4 KiB.)
    ///
    /// # Errors
    ///
    /// The errors of [`recv`](Self::recv).
    #[inline]
    pub fn recv_to_reply(&mut self) -> Result<Option<Received<'_>>, Error> {
        if !self.0.quick_to_reply() && self.0.wait_to_reply()? == Ready::End {
            return self.0.ended();
        }
        Ok(self.0.received())
    }

    receiving!();

    /// Waits until there is room for a message of any length. This call writes if there is no room,
    /// and does not read.
    ///
    /// # Errors
    ///
    /// [`Error::Send`] if the sending half is closed. [`Error::Io`] and [`Error::Recv`] as for
    /// [`flush`](Self::flush). [`Error::WouldBlock`] if there is no room before the timeout of
    /// [`set_write_timeout`](Self::set_write_timeout) passes, or if the call cannot wait for the
    /// stream, for example because the stream is non-blocking.
    pub fn ready(&mut self) -> Result<(), Error> {
        self.0.io.wait.begin_sending();
        self.0.wait_until_ready(|ws, cx| ws.poll_room(cx))?.map_err(|error| *error)
    }

    /// Writes everything buffered. This call does not read.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] if the stream fails. [`Error::Recv`] if writing has ended for another reason:
    /// for example [`WriteTimeout`](crate::RecvError::WriteTimeout), if the stream took too few
    /// bytes for [`write_timeout`](Config::write_timeout). [`Error::Send`] with
    /// [`Closed`](SendError::Closed) if messages are lost, and another call has already returned
    /// the reason. [`Error::WouldBlock`] if bytes are left; the next flush writes them.
    #[inline]
    pub fn flush(&mut self) -> Result<(), Error> {
        self.0.io.wait.begin_sending();
        self.0.wait_until_ready(|ws, cx| ws.poll_flush(cx, false))?.map_err(|error| *error)
    }

    /// Sets how long a sending call waits for a stream that accepts no bytes. After that time the
    /// call returns [`Error::WouldBlock`]. `None`, the default, sets no limit. Unlike
    /// [`Config::write_timeout`], this timeout does not end the connection.
    ///
    /// The timeout starts anew whenever the stream accepts bytes. A socket does so even for a peer
    /// that reads nothing, while the buffers of both systems grow, and once more when TCP probes a
    /// full window. So a call may take several times this timeout.
    ///
    /// # Errors
    ///
    /// `InvalidInput` for zero. Also the errors of [`Stream::wait`]: a stream that cannot wait
    /// cannot keep the timeout.
    pub fn set_write_timeout(&mut self, timeout: Option<Duration>) -> std::io::Result<()> {
        self.0.io.check(timeout)?;
        self.0.io.wait.write_limit = timeout;
        Ok(())
    }

    probe!();
    receives!(S);

    /// Makes all further calls wait by [trying again and again](Spin) instead of sleeping. The
    /// timeouts stay set, and messages fed or received before are kept.
    ///
    /// # Errors
    ///
    /// The errors of [`Stream::wait`]: `Unsupported` for a stream whose calls wait by themselves.
    /// After an error the connection is lost.
    pub fn into_spin(self) -> std::io::Result<WebSocket<Spin<S>>> {
        // `wait` keeps the old stream's `reads_time_out`, which does no harm: a `Spin` reads in the
        // same way whether a read may block or not.
        let Socket { core, io: Timed { io, wait }, .. } = self.0;
        Ok(WebSocket(Socket::new(core, Timed { io: Spin::new(io)?, wait })))
    }

    /// Joins a stream and a connection whose opening handshake is done. Sets no stream option.
    pub fn from_parts(io: S, conn: Connection) -> Self {
        Self(Socket::join(Timed::new(io, Instant::now()), conn))
    }

    /// Splits the connection for two threads. Messages fed or received before are kept. If you are
    /// sending a message in chunks, the [`Writer`] continues that message. The [`Reader`] keeps the
    /// read timeout, and the `Writer` keeps the write timeout.
    ///
    /// The two halves use three handles of the stream: one to read from, one that both halves write
    /// to, and one with which the writer waits for the stream.
    ///
    /// # Errors
    ///
    /// The errors of [`Stream::try_clone`]: `Unsupported` for a stream that cannot be split. After
    /// an error the connection is lost.
    pub fn into_split(self) -> std::io::Result<(Reader<S>, Writer<S>)> {
        // Nothing wakes the reader when the writer starts a deadline. With this limit it notices
        // one before more than about a quarter of its duration is over. (`reader_wait` is at least
        // 1 ms, and a read may be `MARGIN` late.)
        let quarter = self.0.core.conn.shortest_sending_timeout() / 4;
        let reader_wait = quarter.clamp(Duration::from_millis(1), READ_TIMEOUT);
        let halves = self.0.into_halves(|mut read| {
            let epoch = read.wait.epoch;
            // The reader waits with `read`, the writer with `handle`, and nobody with `write`, so
            // what is noted there has no effect. If the stream refuses bytes, the reader's
            // `Socket::write` notes this in `read`, and the writer's `write_out` in `handle`.
            let write = Timed::new(read.io.try_clone()?, epoch);
            let mut handle = Timed::new(read.io.try_clone()?, epoch);
            handle.wait.write_limit = read.wait.write_limit.take();
            handle.wait.longest_wait = Some(WRITER_WAIT); // no read timeout: `handle` never reads
            read.wait.set_longest_wait(reader_wait);
            Ok::<_, std::io::Error>((read, write, handle))
        })?;
        Ok((Reader(halves.0), Writer(halves.1)))
    }
}

impl<S> WebSocket<S> {
    whole!();
}

#[cfg(test)]
mod tests;
