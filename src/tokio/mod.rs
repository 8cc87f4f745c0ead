//! The connection on a tokio stream: any `AsyncRead + AsyncWrite`.
//!
//! A loop without a protocol rule in it: parse; when the input is used up, write once, then read
//! once; again. So what is fed while input is at hand leaves in one write, and a batch of messages
//! costs one read and one write.
//!
//! ```no_run
//! use tickwire::{Config, tokio::accept};
//!
//! # async fn serve() -> Result<(), Box<dyn std::error::Error>> {
//! let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
//! let (stream, _) = listener.accept().await?;
//! stream.set_nodelay(true)?;
//! let mut ws = accept(stream, &Config::default()).await?;
//! while let Some((message, reply)) = ws.recv_reply().await? {
//!     reply.feed(message)?; // an echo
//! }
//! # Ok(())
//! # }
//! ```
//!
//! Import its items, not the module: `use tickwire::tokio::connect`. The module itself would stand in
//! for the crate of that name.
//!
//! **Cancel safety.** All state lives in the [`WebSocket`], none in a future: a future may be
//! dropped at any await point and nothing is lost, repeated or cut. Each method says what that
//! means for it.
//!
//! **Timers.** The deadlines of [`Config`] are driven by whichever call waits; nothing is spawned.
//! While no call waits, nobody looks at the clock, so keep receiving. They need a runtime with its
//! time driver on (`enable_time` or `enable_all`); tokio panics without it as soon as one is armed.
//!
//! **Memory.** A connection that waits holds no buffers: they are lent to it, from a pool of the
//! thread, when something arrives or is sent.
//!
//! **Threads.** Connections have nothing in common but that pool: while messages pass no lock, no
//! counter and no cache line goes from thread to thread, except between the two halves of a split
//! and for the count of owners of a large [shared payload](WebSocket::feed_bytes). So one runtime a
//! thread, each with a listener of its own on the same port (SO_REUSEPORT), makes use of every
//! processor: see the example `echo_server`, `--threads`.
mod connect;
mod handshake;
mod io;
mod split;
#[cfg(feature = "futures")]
mod streams;
#[cfg(feature = "rustls")]
mod tls;

#[cfg(feature = "rustls")]
pub use connect::connect_tls;
pub use connect::{MaybeTls, client, connect, connect_with};
pub use handshake::{Handshake, accept};
pub use split::{Halves, Reader, Writer};
#[cfg(feature = "rustls")]
pub use tls::TlsStream;

#[cfg(doc)]
use crate::config::Config;
use crate::{
    close::CloseFrame,
    config::Negotiated,
    connection::{Connection, Ending, Position, ReadyState, RoundTrip, Sender, Step},
    error::{Error, RecvError, SendError},
    link::{Link, Ready, Want, again},
    message::{Chunk, Event, Info, Message, OwnedMessage},
    outbox::Outbox,
    pool,
    prepared::Prepared,
    time::Time,
};
use ::tokio::io::{AsyncRead, AsyncWrite};
use bytes::Bytes;
use io::{Alarm, poll_read, poll_write};
use std::{
    future::poll_fn,
    pin::Pin,
    task::{Context, Poll, ready},
};

/// A WebSocket over `S`.
///
/// A task that both receives and publishes needs no second one: what it feeds is written by the
/// next receiving call, which goes on reading while the stream is slow.
///
/// ```no_run
/// # use tickwire::{CloseCode, Error, Prepared, tokio::WebSocket};
/// # use tokio::net::TcpStream;
/// use tokio::sync::broadcast;
///
/// async fn subscriber(
///     mut ws: WebSocket<TcpStream>,
///     mut ticks: broadcast::Receiver<Prepared>,
/// ) -> Result<(), Error> {
///     loop {
///         tokio::select! {
///             message = ws.recv() => match message? {
///                 Some(message) => println!("{message:?}"),
///                 None => return Ok(()), // the peer has closed
///             },
///             tick = ticks.recv() => match tick {
///                 Ok(tick) if ws.feed_prepared(&tick).is_ok() => {}
///                 // Too slow for this feed, or there is no more of it.
///                 _ => return ws.close(CloseCode::TRY_AGAIN_LATER).await,
///             }
///         }
///     }
/// }
/// ```
///
/// [`buffered_amount`](Self::buffered_amount) does not see what the system has taken and not sent;
/// a smaller `SO_SNDBUF` makes a slow peer show earlier. What such a peer gets instead of all is for
/// an [`Outbox`] to say, together with [`recv_or_room`](Self::recv_or_room).
///
/// Dropping it ends the stream at once, and what was fed and not flushed is lost: say
/// [`close`](Self::close) first. Where the connection is over, the stream stays open until this is
/// dropped.
#[derive(Debug)]
pub struct WebSocket<S> {
    io: S,
    conn: Connection,
    alarm: Alarm,
    /// The stream took bytes that it was not yet asked to flush.
    dirty: bool,
    /// Nobody reads, as the core was told.
    paused: bool,
    /// [`Config::stamp_reads`].
    stamp: bool,
    /// Why there is no message: put here by a poll, taken by the call that returns it, so that
    /// nothing wide goes through futures.
    failed: Option<Error>,
    /// How the stream failed first; returned once there is nothing more to receive.
    io_error: Option<std::io::Error>,
    /// The `Stream` has given its last item.
    #[cfg(feature = "futures")]
    over: bool,
    /// The tasks that wait for the `Stream` and for the `Sink`, once one does.
    #[cfg(feature = "futures")]
    tasks: Option<std::sync::Arc<split::Wakers>>,
}

impl<S> WebSocket<S> {
    /// Joins a stream and a connection whose opening handshake is done.
    pub fn from_parts(io: S, mut conn: Connection) -> Self
    where
        S: AsyncWrite,
    {
        conn.set_memory(&pool::THREAD);
        conn.restart_clock();
        if !io.is_write_vectored() {
            conn.sender().set_flat();
        }
        Self {
            io,
            stamp: conn.stamps_reads(),
            conn,
            alarm: Alarm::new(),
            dirty: false,
            paused: false,
            failed: None,
            io_error: None,
            #[cfg(feature = "futures")]
            over: false,
            #[cfg(feature = "futures")]
            tasks: None,
        }
    }

    /// Takes the two apart again.
    pub fn into_parts(self) -> (S, Connection) {
        (self.io, self.conn)
    }

    /// The stream.
    pub fn get_ref(&self) -> &S {
        &self.io
    }

    /// The stream. What is read from or written to it directly is lost to, or breaks into, the
    /// WebSocket's own.
    pub fn get_mut(&mut self) -> &mut S {
        &mut self.io
    }

    /// The sending half: everything that needs no I/O.
    #[inline]
    pub fn sender(&mut self) -> &mut Sender {
        self.conn.sender()
    }

    /// The connection.
    pub fn connection(&self) -> &Connection {
        &self.conn
    }

    /// What the opening handshake agreed on.
    pub fn negotiated(&self) -> &Negotiated {
        self.conn.negotiated()
    }

    /// The peer's Close; see [`Connection::close_frame`].
    pub fn close_frame(&self) -> Option<CloseFrame<'_>> {
        self.conn.close_frame()
    }

    /// The close code of the connection; see [`Connection::close_code`].
    pub fn close_code(&self) -> u16 {
        self.conn.close_code()
    }

    /// How long Pings and their Pongs took; see [`Sender::rtt`]. Where something always arrives, the
    /// heartbeat sends none: call [`probe`](Self::probe) now and then.
    pub fn rtt(&self) -> Option<RoundTrip> {
        self.conn.rtt()
    }

    /// What has passed so far. Feature `counters`.
    #[cfg(feature = "counters")]
    #[cfg_attr(docsrs, doc(cfg(feature = "counters")))]
    pub fn counters(&self) -> crate::Counters {
        self.conn.counters()
    }

    /// Whether both Close frames have passed.
    pub fn was_clean(&self) -> bool {
        self.conn.was_clean()
    }

    /// Why nothing more is received, if it failed: known at once, where [`recv`](Self::recv) first
    /// tells the peer.
    pub fn error(&self) -> Option<RecvError> {
        self.conn.error()
    }

    /// Where the connection stands.
    pub fn ready_state(&self) -> ReadyState {
        self.conn.ready_state()
    }

    /// Queues a message; see [`Sender::feed`]. It leaves with the next [`flush`](Self::flush), or
    /// when a receiving call has used up its input. Never waits, but refuses with
    /// [`Full`](SendError::Full): [`ready`](Self::ready) in front of it waits for room.
    ///
    /// # Errors
    ///
    /// As [`Sender::feed`].
    #[inline]
    pub fn feed<'m>(&mut self, message: impl Into<Message<'m>>) -> Result<Position, SendError> {
        self.conn.sender().feed(message)
    }

    /// Queues a message that is never compressed; see [`Sender::feed_plain`].
    ///
    /// # Errors
    ///
    /// As [`Sender::feed`].
    pub fn feed_plain<'m>(
        &mut self,
        message: impl Into<Message<'m>>,
    ) -> Result<Position, SendError> {
        self.conn.sender().feed_plain(message)
    }

    /// Queues a shared payload; see [`Sender::feed_bytes`].
    ///
    /// # Errors
    ///
    /// As [`Sender::feed`].
    pub fn feed_bytes(&mut self, payload: Bytes) -> Result<Position, SendError> {
        self.conn.sender().feed_bytes(payload)
    }

    /// Queues a message encoded beforehand; see [`Sender::feed_prepared`].
    ///
    /// # Errors
    ///
    /// As [`Sender::feed`].
    #[inline]
    pub fn feed_prepared(&mut self, message: &Prepared) -> Result<Position, SendError> {
        self.conn.sender().feed_prepared(message)
    }

    /// Queues a piece of a message; see [`Sender::feed_chunk`].
    ///
    /// # Errors
    ///
    /// As [`Sender::feed_chunk`].
    pub fn feed_chunk(&mut self, chunk: Chunk<'_>) -> Result<Position, SendError> {
        self.conn.sender().feed_chunk(chunk)
    }

    /// Queues a message in front of the others; see [`Sender::feed_first`].
    ///
    /// # Errors
    ///
    /// As [`Sender::feed_first`].
    pub fn feed_first<'m>(
        &mut self,
        message: impl Into<Message<'m>>,
    ) -> Result<Position, SendError> {
        self.conn.sender().feed_first(message)
    }

    /// Queues what an [`Outbox`] holds for this connection, as far as it may; see [`Outbox::feed`].
    ///
    /// # Errors
    ///
    /// As [`Outbox::feed`].
    pub fn feed_from(&mut self, outbox: &mut Outbox, now: Time) -> Result<(), SendError> {
        outbox.feed(now, self.conn.sender())
    }

    /// The position behind the last message fed; see [`Sender::fed`].
    pub fn fed(&self) -> Position {
        self.conn.sending().fed()
    }

    /// Whether the stream took all up to here; see [`Sender::is_written`].
    pub fn is_written(&self, position: Position) -> bool {
        self.conn.sending().is_written(position)
    }

    /// How many bytes were fed and not yet written; see [`Sender::buffered_amount`].
    pub fn buffered_amount(&self) -> usize {
        self.conn.sending().buffered_amount()
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> WebSocket<S> {
    // Receiving.

    /// The next message, or `None` once the peer has closed and been answered.
    ///
    /// The message is borrowed from the buffer it was read into, and lives until the next call.
    /// What was fed is written when the input is used up.
    ///
    /// Cancel safe: a message is consumed only by the call after the one that returned it.
    ///
    /// # Errors
    ///
    /// [`Error::Recv`] for what the peer or the network did, [`Error::Io`]; each once all that came
    /// before has been received. Later calls fail as well. After a violation the peer is told first,
    /// and has a second to end the stream, before the error is returned; [`error`](Self::error)
    /// shows it at once.
    #[inline]
    pub fn recv(&mut self) -> Recv<'_, S> {
        Recv(Some(self))
    }

    /// [`recv`](Self::recv), and what is known besides the payload: above all whether another
    /// message is at hand, so that one can act on the newest only. Costs a look at the next header.
    ///
    /// Cancel safe, as [`recv`](Self::recv).
    ///
    /// # Errors
    ///
    /// As [`recv`](Self::recv).
    #[inline]
    pub async fn recv_info(&mut self) -> Result<Option<(Message<'_>, Info)>, Error> {
        if poll_fn(|cx| self.poll_message(cx)).await == Ready::End {
            return self.ended();
        }
        let info = self.conn.info();
        Ok(self.conn.message().map(|message| (message, info)))
    }

    /// [`recv`](Self::recv), but returns also when there is room again: when less than `below`
    /// bytes, and less than [`high_water`](Config::high_water), are unsent, if there was no such
    /// room when it was called. For whoever has more to feed than that, such as an [`Outbox`],
    /// whose `below` is [`feeds_below`](Outbox::feeds_below).
    ///
    /// Cancel safe, as [`recv`](Self::recv).
    ///
    /// # Errors
    ///
    /// As [`recv`](Self::recv).
    pub async fn recv_or_room(&mut self, below: usize) -> Result<Received<'_>, Error> {
        let lacked = !self.has_room_below(below);
        let ready = poll_fn(|cx| match self.poll_message(cx) {
            Poll::Ready(ready) => Poll::Ready(Some(ready)),
            Poll::Pending if lacked && self.has_room_below(below) => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        })
        .await;
        match ready {
            None => Ok(Received::Room),
            Some(Ready::End) => self.ended::<()>().map(|_| Received::Closed),
            Some(Ready::Item) => {
                Ok(self.conn.message().map_or(Received::Closed, Received::Message))
            }
        }
    }

    fn has_room_below(&self, below: usize) -> bool {
        let tx = self.conn.sending();
        tx.has_room() && tx.buffered_amount() < below
    }

    /// [`recv`](Self::recv), together with the sending half to answer through, while the message is
    /// alive. What is fed to it leaves in one write when the input is used up, or earlier when
    /// [`cork_limit`](Config::cork_limit) is passed.
    ///
    /// A message is handed out only while less than [`high_water`](Config::high_water) is buffered,
    /// so that one reply to each never fails with `Full`: a peer that does not read is not listened
    /// to, and, should that last, ended by the write timeout. (Two ends that answer each message
    /// with more can stop each other this way.) After our own Close messages are discarded, up to
    /// the peer's Close.
    ///
    /// Cancel safe, as [`recv`](Self::recv).
    ///
    /// # Errors
    ///
    /// As [`recv`](Self::recv).
    #[inline]
    pub fn recv_reply(&mut self) -> RecvReply<'_, S> {
        RecvReply(Some(self))
    }

    /// The next message or control frame; for proxies, and where
    /// [`auto_pong`](Config::auto_pong) or [`auto_close`](Config::auto_close) is off. `None` after
    /// the peer's Close.
    ///
    /// Cancel safe, as [`recv`](Self::recv).
    ///
    /// # Errors
    ///
    /// As [`recv`](Self::recv).
    pub async fn recv_event(&mut self) -> Result<Option<Event<'_>>, Error> {
        if poll_fn(|cx| self.poll_more(cx, Want::Event)).await == Ready::End {
            return self.ended();
        }
        Ok(self.conn.event())
    }

    /// The next piece of a message, as it arrives: for messages one would not hold in memory. See
    /// [`Connection::step_chunk`] for the limits that apply. A call of [`recv`](Self::recv) in the
    /// middle of a message skips the rest of it.
    ///
    /// Cancel safe, as [`recv`](Self::recv).
    ///
    /// # Errors
    ///
    /// As [`recv`](Self::recv).
    pub async fn recv_chunk(&mut self) -> Result<Option<Chunk<'_>>, Error> {
        if poll_fn(|cx| self.poll_more(cx, Want::Chunk)).await == Ready::End {
            return self.ended();
        }
        Ok(self.conn.receiver().chunk())
    }

    /// [`recv`](Self::recv), but the message is the caller's to keep; see
    /// [`Receiver::take_message`](crate::Receiver::take_message).
    ///
    /// Cancel safe, as [`recv`](Self::recv).
    ///
    /// # Errors
    ///
    /// As [`recv`](Self::recv).
    pub async fn recv_owned(&mut self) -> Result<Option<OwnedMessage>, Error> {
        if poll_fn(|cx| self.poll_message(cx)).await == Ready::End {
            return self.ended();
        }
        Ok(self.conn.receiver().take_message())
    }

    // Sending.

    /// Waits for room, feeds a message, and writes all that is buffered: when it returns, the
    /// stream has taken the message.
    ///
    /// Cancel safe: dropped before there was room, nothing was sent; dropped later, the message
    /// goes out whole with the next flush, so it must not be sent again. [`fed`](Self::fed), asked
    /// before and after, tells which.
    ///
    /// It does not read: a program that only sends notices the peer's Close when the stream breaks,
    /// and two peers that both send before they receive can stop each other. Split, or feed and
    /// receive.
    ///
    /// # Errors
    ///
    /// [`Error::Send`] for what cannot be sent, [`Error::Io`] when the stream fails; what was
    /// received is still delivered then.
    pub async fn send<'m>(&mut self, message: impl Into<Message<'m>>) -> Result<(), Error> {
        self.ready().await?;
        let _ = self.feed(message)?;
        self.flush().await
    }

    /// Waits until there is room for a message of any length, writing if need be. Does not read.
    ///
    /// Cancel safe.
    ///
    /// # Errors
    ///
    /// [`Error::Send`] when the sending half is closed, [`Error::Io`] when the stream fails.
    pub async fn ready(&mut self) -> Result<(), Error> {
        poll_fn(|cx| self.poll_room(cx)).await
    }

    /// Writes all that is buffered. Does not read.
    ///
    /// Cancel safe: what was not written leaves with the next flush.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] when the stream fails, [`Error::Recv`] when it took nothing for
    /// [`write_timeout`](Config::write_timeout).
    #[inline]
    pub async fn flush(&mut self) -> Result<(), Error> {
        poll_fn(|cx| self.poll_flush(cx, false)).await
    }

    /// Sends a Ping at once, in front of the data; see [`Sender::ping`].
    ///
    /// Cancel safe, as [`flush`](Self::flush).
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send).
    pub async fn ping(&mut self, payload: &[u8]) -> Result<(), Error> {
        self.conn.sender().ping(payload)?;
        self.flush().await
    }

    /// Sends a Ping whose Pong gives [`rtt`](Self::rtt) another time; see [`Sender::probe`]. On a
    /// connection that is never silent the heartbeat sends none.
    ///
    /// Cancel safe, as [`flush`](Self::flush).
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send).
    pub async fn probe(&mut self) -> Result<(), Error> {
        self.feed_probe()?;
        self.flush().await
    }

    /// Queues such a Ping, without I/O: whatever call writes next sends it. For a `select!` loop, or
    /// wherever receiving must not wait for a write.
    ///
    /// # Errors
    ///
    /// [`Closed`](SendError::Closed).
    pub fn feed_probe(&mut self) -> Result<(), SendError> {
        self.conn.sender().probe(self.alarm.now())
    }

    /// Closes: sends a Close behind all that was fed, unless one was sent before, then reads and
    /// discards up to the peer's Close and ends the stream as that takes. Bounded by
    /// [`close_timeout`](Config::close_timeout) for each of these.
    ///
    /// With a code ([`CloseCode::NORMAL`](crate::CloseCode::NORMAL)), a code and a reason
    /// ([`CloseFrame::with_reason`]), or neither (`None`).
    ///
    /// Cancel safe: call it again. What was discarded by then stays so; [`recv`](Self::recv) goes on
    /// behind it.
    ///
    /// # Errors
    ///
    /// [`Error::Send`] for a frame that cannot be sent; otherwise as [`recv`](Self::recv). `Ok`
    /// means that the peer's Close was seen; [`was_clean`](Self::was_clean) says whether ours could
    /// be written.
    pub async fn close<'f>(
        &mut self,
        frame: impl Into<Option<CloseFrame<'f>>>,
    ) -> Result<(), Error> {
        match self.conn.sender().close(frame) {
            Ok(()) | Err(SendError::Closed) => {}
            Err(error) => return Err(error.into()),
        }
        while poll_fn(|cx| self.poll_more(cx, Want::Message)).await == Ready::Item {}
        self.ended::<()>().map(drop)
    }

    // Polls.

    #[inline(always)]
    fn poll_message(&mut self, cx: &mut Context<'_>) -> Poll<Ready> {
        match self.conn.quick() {
            Some(Step::Message) => Poll::Ready(Ready::Item),
            _ => self.poll_more(cx, Want::Message),
        }
    }

    #[inline(never)]
    fn poll_reply(&mut self, cx: &mut Context<'_>) -> Poll<Ready> {
        let tx = self.conn.sender();
        if tx.wants_write() || !tx.has_room() {
            if let Poll::Ready(Err(error)) = self.poll_write(cx) {
                self.write_failed(error);
            }
            if !self.conn.sender().has_room() {
                ready!(self.poll_paused(cx));
            }
        }
        loop {
            match ready!(self.poll_more(cx, Want::Message)) {
                Ready::Item if self.conn.sender().is_closed() => {} // nothing can answer it
                ready => return Poll::Ready(ready),
            }
        }
    }

    /// [`poll_write`](Self::poll_write), where nobody reads while it waits. `enough`: until there
    /// is room.
    fn poll_flush(&mut self, cx: &mut Context<'_>, enough: bool) -> Poll<Result<(), Error>> {
        loop {
            // A stream that still holds something back would be waited for in vain.
            if self.conn.sender().is_broken() {
                return Poll::Ready(Err(self.lost()));
            }
            match self.poll_write(cx) {
                Poll::Ready(Ok(())) => {
                    pool::give(self.conn.sender().reclaim());
                    return Poll::Ready(Ok(()));
                }
                Poll::Ready(Err(error)) => {
                    let told = again(&error);
                    self.write_failed(told);
                    return Poll::Ready(Err(error.into()));
                }
                Poll::Pending if enough && self.conn.sender().has_room() => {
                    return Poll::Ready(Ok(()));
                }
                Poll::Pending => ready!(self.poll_paused(cx)),
            }
            if let Some(error) = self.conn.receiver().doom() {
                return Poll::Ready(Err(error.into()));
            }
        }
    }

    /// Why what was fed is gone: writing failed before, in a receiving call or by a deadline.
    #[cold]
    fn lost(&mut self) -> Error {
        match (&self.io_error, self.conn.receiver().doom().or(self.alarm.error())) {
            (Some(error), _) => again(error).into(),
            (None, Some(error)) => error.into(),
            (None, None) => SendError::Closed.into(),
        }
    }

    /// Waits for a deadline on writing or closing: nobody reads meanwhile.
    fn poll_paused(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if !self.paused {
            self.set_paused(true);
        }
        self.alarm.poll(&mut self.conn, cx)
    }

    #[cold]
    fn set_paused(&mut self, paused: bool) {
        self.paused = paused;
        self.conn.set_paused(paused);
    }

    fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        if self.conn.sender().is_closed() {
            return Poll::Ready(Err(SendError::Closed.into()));
        }
        if self.conn.sender().has_room() {
            return Poll::Ready(Ok(()));
        }
        self.poll_flush(cx, true)
    }
}

/// What [`WebSocket::recv_or_room`] waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Received<'a> {
    /// A message.
    Message(Message<'a>),
    /// There is room again.
    Room,
    /// The peer has closed and been answered.
    Closed,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Link for WebSocket<S> {
    const ALWAYS_LOOKS: bool = true;

    #[inline(always)]
    fn step(&mut self, want: Want) -> Result<Step, RecvError> {
        match want {
            Want::Message | Want::Event => self.conn.step(),
            Want::Chunk => self.conn.step_chunk(),
        }
    }

    #[inline(always)]
    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        if !self.dirty && !self.conn.sender().has_outgoing() {
            return Poll::Ready(Ok(()));
        }
        let written = poll_write(&mut self.io, self.conn.sender(), &mut self.dirty, cx);
        if written.is_pending() {
            self.conn.write_blocked();
        }
        written
    }

    #[inline(always)]
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<std::io::Result<usize>> {
        if self.paused {
            self.set_paused(false);
        }
        poll_read(&mut self.io, self.conn.spare_mut(), cx)
    }

    #[inline(always)]
    fn commit(&mut self, n: usize) {
        if self.stamp {
            self.conn.commit_at(n, self.alarm.now());
        } else {
            self.conn.commit(n);
        }
    }

    fn end_of_stream(&mut self) {
        self.conn.end_of_stream();
    }

    fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        ready!(Pin::new(&mut self.io).poll_shutdown(cx)).unwrap_or(()); // as good as shut
        self.conn.shut_down();
        Poll::Ready(())
    }

    fn ending(&mut self) -> Ending {
        self.conn.ending()
    }

    #[inline]
    fn poll_alarm(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.alarm.poll(&mut self.conn, cx)
    }

    #[cold]
    fn time_pong(&mut self) {
        if self.conn.sending().pong_waits() {
            self.conn.sender().time_pong(self.alarm.now());
        }
    }

    #[inline]
    fn rest(&mut self) {
        pool::give(self.conn.receiver().reclaim());
        pool::give(self.conn.sender().reclaim());
    }

    #[cold]
    fn write_failed(&mut self, error: std::io::Error) {
        self.conn.write_failed();
        self.dirty = false;
        self.io_failed(error);
    }

    #[cold]
    fn io_failed(&mut self, error: std::io::Error) {
        self.io_error.get_or_insert(error);
    }

    fn take_io_error(&mut self) -> Option<std::io::Error> {
        self.io_error.take()
    }

    fn late(&self) -> Option<RecvError> {
        self.alarm.error()
    }

    fn failed(&mut self) -> &mut Option<Error> {
        &mut self.failed
    }
}

/// [`WebSocket::recv`] under way. A pointer and nothing else, where an `async fn` would keep a
/// state of its own and that of every future in it. Its poll is always inlined: called, it hands
/// its result over through memory, which costs 7 ns a message.
#[derive(Debug)]
#[must_use = "futures do nothing unless polled"]
pub struct Recv<'a, S>(Option<&'a mut WebSocket<S>>);

impl<'a, S: AsyncRead + AsyncWrite + Unpin> Future for Recv<'a, S> {
    type Output = Result<Option<Message<'a>>, Error>;

    #[inline(always)]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(ws) = self.0.as_mut() else {
            return Poll::Pending; // polled after completion
        };
        match ready!(ws.poll_message(cx)) {
            Ready::End => Poll::Ready(ws.ended()),
            Ready::Item => Poll::Ready(Ok(self.0.take().and_then(|ws| ws.conn.message()))),
        }
    }
}

/// [`WebSocket::recv_reply`] under way; a pointer and nothing else, as [`Recv`] is.
#[derive(Debug)]
#[must_use = "futures do nothing unless polled"]
pub struct RecvReply<'a, S>(Option<&'a mut WebSocket<S>>);

impl<'a, S: AsyncRead + AsyncWrite + Unpin> Future for RecvReply<'a, S> {
    type Output = Result<Option<(Message<'a>, &'a mut Sender)>, Error>;

    #[inline(always)]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(ws) = self.0.as_mut() else {
            return Poll::Pending; // polled after completion
        };
        // Nothing to write first, and a message at hand: nearly always so in a batch.
        let tx = ws.conn.sender();
        let free = !tx.wants_write() && !tx.is_closed();
        if !(free && ws.conn.quick() == Some(Step::Message))
            && ready!(ws.poll_reply(cx)) == Ready::End
        {
            return Poll::Ready(ws.ended());
        }
        Poll::Ready(Ok(self.0.take().and_then(|ws| {
            let (rx, tx) = ws.conn.split_mut();
            rx.message().map(|message| (message, tx))
        })))
    }
}
