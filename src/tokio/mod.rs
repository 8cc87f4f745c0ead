//! The connection on a tokio stream: any `AsyncRead + AsyncWrite`.
//!
//! The adapter processes all input that it has read. Then it writes once, reads once, and begins
//! again. So a batch of messages costs one read, and the replies to the batch cost one write.
//!
//! ```no_run
//! use tickwire::{Config, tokio::accept};
//!
//! # async fn serve() -> Result<(), Box<dyn std::error::Error>> {
//! let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
//! let (stream, _) = listener.accept().await?;
//! stream.set_nodelay(true)?;
//! let mut ws = accept(stream, &Config::server()).await?;
//! while let Some(received) = ws.recv_to_reply().await? {
//!     received.sender.feed(received.message)?; // an echo
//! }
//! # Ok(())
//! # }
//! ```
//!
//! Import the items of this module, as in `use tickwire::tokio::connect`. If you import the module
//! itself, its name hides the crate `tokio`.
//!
//! **A stream of your own** may return `Pending` although it may have bytes, for example to let
//! other tasks run. It then has to wake the task before it returns, so that the task reads again,
//! or to use up tokio's budget. Such a read does not show that the peer is silent. But if the
//! stream wakes the task only later, two such reads that are 10 ms apart count as silence, and a
//! deadline on the peer's silence ([`heartbeat`](Config::heartbeat),
//! [`data_timeout`](Config::data_timeout), [`frame_timeout`](Config::frame_timeout)) may cut a live
//! peer. tokio's `yield_now` wakes the task later: a stream that polls it has to wake the task too.
//!
//! **Cancel safety.** All state is in the [`WebSocket`], and no state is in a future. So you may
//! drop a future of an open connection at any await point. No bytes are lost or sent twice. A later
//! call finishes a frame that was written in part. The documentation of each method says what a
//! dropped call has done.
//!
//! **Timers.** The deadlines of [`Config`] are checked only while a call is polled. The adapter
//! spawns no task, so keep receiving. Deadlines need a runtime with its time driver on
//! (`enable_time` or `enable_all`). Without the time driver, tokio panics when a call first waits
//! for a deadline.
//!
//! **Memory.** A waiting connection holds no buffers, except buffers with bytes that it still
//! needs. When bytes arrive or are sent, the connection takes buffers from a pool of the thread.
//!
//! **Threads.** The connections of a thread share the thread's pool, and nothing else. While
//! messages are received and sent, threads share no lock, counter or cache line. There are two
//! exceptions: the halves of a split connection, and the reference count of a large
//! [payload](crate::Outbound) that several connections send. So a server can use every processor if
//! it runs one runtime per thread, each with a listener of its own on the same port (SO_REUSEPORT).
//! See the option `--threads` of the example `echo_server`.
#[cfg(feature = "client")]
mod dial;
mod maybe;

#[cfg(feature = "client")]
pub use dial::connect;
pub use maybe::MaybeTls;
#[cfg(feature = "rustls")]
pub use tickwire_tls::tokio::TlsStream;

use crate::{
    drive::{
        self, Half, Socket, Timed,
        task::{
            self,
            calls::{adapter, names::*},
            output::output,
        },
    },
    proto::{config::Config, handshake::client::Request, outlined::Outlined, tape, time::Time},
};
use ::tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf, ReadHalf, WriteHalf},
    time::{Instant, Sleep, sleep_until},
};
use std::{
    io::{self, IoSlice},
    pin::Pin,
    time::Duration,
};

/// An open WebSocket over `S`. A client gets one from [`connect`] or, to set options, from
/// [`Dial`](crate::Dial). `S` is then a [`MaybeTls`], its default. A server gets one from
/// [`accept`] or, to see the request first, from [`Incoming`]. Over a stream of your own, a client
/// calls [`client`].
///
/// ```no_run
/// # #[cfg(feature = "client")]
/// # async fn follow() -> Result<(), tickwire::Error> {
/// use tickwire::{CloseCode, Config, Heartbeat, tokio::connect};
///
/// let config = Config { heartbeat: Some(Heartbeat::TRADING), ..Config::default() };
/// let mut ws = connect("ws://127.0.0.1:9000/feed", &config).await?;
/// ws.send("subscribe").await?;
/// while let Some(message) = ws.recv().await? {
///     println!("{message:?}"); // borrowed until the next receiving call
///     if message.as_text() == Some("bye") {
///         break;
///     }
/// }
/// ws.close(CloseCode::NORMAL).await
/// # }
/// ```
///
/// Each receiving call does what no other does:
///
/// | call | returns |
/// |---|---|
/// | [`recv`](Self::recv) | a message, borrowed |
/// | [`recv_owned`](Self::recv_owned) | a message to keep, taken out of the buffer without a copy if it is large |
/// | [`recv_with_info`](Self::recv_with_info) | a message with facts about it, such as whether more wait |
/// | [`recv_to_reply`](Self::recv_to_reply) | a message with the sender to answer it |
/// | [`recv_event`](Self::recv_event) | Pings, Pongs and the Close too |
/// | [`recv_chunk`](Self::recv_chunk) | a message in chunks, which may be larger than memory |
/// | [`recv_or_room`](Self::recv_or_room) | a message, or room to feed more |
/// | [`poll_recv`](Self::poll_recv) | as `recv`, for a `Future` of your own |
/// | `Stream`, [`Events`](crate::Events) (feature `futures`) | as `recv_owned` and `recv_event`, for code over `futures` |
///
/// One task can both receive and publish, by `select!`. The next receiving call writes the messages
/// that the task has fed. If the stream accepts these messages slowly, this call receives in the
/// meantime. Every call of an open connection is [cancel
/// safe](crate::guide::recipes::servers#cancel-safety).
///
/// Recipes: [reconnect](crate::guide::recipes::feeds#reconnect), [find a dead
/// peer](crate::guide::recipes::feeds#find-a-dead-peer), [receive and
/// publish](crate::guide::recipes::servers#receive-and-publish-in-one-task), [a subscriber that is
/// too slow](crate::guide::recipes::servers#a-subscriber-that-is-too-slow), [all
/// others](crate::guide::recipes). [Limits](crate::guide::limits) lists the defaults, and
/// [Migrating](crate::guide::migrating) lists our counterparts to the calls of other crates.
///
/// Dropping a WebSocket ends the stream at once, and loses messages that were not flushed. So call
/// [`close`](WebSocket::close) first. After the end of the connection, the WebSocket keeps the
/// stream until you drop the WebSocket.
#[derive(Debug)]
pub struct WebSocket<S = MaybeTls>(task::WebSocket<Timed<S, Tokio>>);

/// A client's opening request, and the stream to this client. Look at the request, then accept or
/// reject it. [Know who is asking](crate::guide::recipes::servers#know-who-is-asking) says what to
/// check.
///
/// ```no_run
/// # use tickwire::{Config, Error};
/// use tickwire::handshake::{HandshakeError, server::{Accept, Origins}};
/// use tickwire::tokio::Incoming;
///
/// # async fn serve(stream: tokio::net::TcpStream, origins: &Origins) -> Result<(), Error> {
/// let incoming = Incoming::read(stream, &Config::server()).await?;
/// let request = incoming.request();
/// if request.path() != "/feed" {
///     return incoming.reject(HandshakeError::NotFound).await;
/// }
/// if !origins.allows(&request) {
///     return incoming.reject(HandshakeError::OriginNotAllowed).await;
/// }
/// // .. await a check of the token in `request.headers().get("authorization")` ..
/// let accept = Accept::default().subprotocols(&["ticks.v2", "ticks.v1"]);
/// let accept = accept.header("Server", "feed")?;
/// let mut ws = incoming.accept(accept).await?;
/// if ws.connection().negotiated().subprotocol.is_none() {
///     println!("an old client");
/// }
/// # let _ = ws.recv().await?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Incoming<S>(drive::Incoming<Timed<S, Tokio>>);

/// The half of a [`WebSocket`] that receives. Keep receiving: receiving calls answer Pings, handle
/// the peer's Close, and check all deadlines. (A waiting [`Writer`] checks the deadline on writing
/// too.) Dropping the `Reader` ends receiving: nothing that arrives is answered any more, and
/// nobody waits for the peer's Close. After that, the [`Writer`] can still send, but learns of the
/// connection's end only when a write fails or times out. The stream is dropped with the second
/// half.
#[derive(Debug)]
pub struct Reader<R = ReadHalf<MaybeTls>, W = WriteHalf<MaybeTls>>(
    Socket<Half<Timed<W, Tokio>>, Timed<R, Tokio>>,
);

/// The half of a [`WebSocket`] that sends. Dropping the `Writer` does not close the connection:
/// call `close` first. After the drop, the [`Reader`] goes on: it still answers Pings, the peer's
/// Close and violations. Messages that are not flushed are written only when the [`Reader`] writes
/// something. `closed` of the [`Reader`] says how the connection ended.
///
/// There is only one `Writer`. If several tasks send, put a channel in front of the `Writer`.
#[derive(Debug)]
pub struct Writer<W = WriteHalf<MaybeTls>>(drive::Writer<Timed<W, Tokio>>);

/// The two halves of a WebSocket.
pub type Halves<R, W> = (Reader<R, W>, Writer<W>);

pub use task::MessageOrRoom;

adapter!(AsyncRead, AsyncWrite);

/// Reads an opening request, and accepts every valid request. This call sets no option of the
/// stream. So on TCP, turn off Nagle's algorithm first, otherwise small messages may wait 40 ms:
/// `stream.set_nodelay(true)?`.
///
/// To check the path, the [user](crate::handshake::server#who-is-asking) or the
/// [origin](crate::handshake::server::Origins) first, use [`Incoming`]. A server that recognises
/// users by cookies must check the origin.
///
/// This call waits for the request for at most [`handshake_timeout`](Config::handshake_timeout). If
/// the stream does not accept the response at once (a socket does), the call waits for up to
/// [`write_timeout`](Config::write_timeout) more. After a bad request, the call discards input for
/// up to a second more. So call `accept` in a task of its own, not in the loop that accepts
/// sockets. That loop must bound the number of these tasks: see the example `bounded`.
///
/// Dropping the future drops the stream.
///
/// # Errors
///
/// [`Error::Handshake`] after the call has rejected a bad request. [`Error::Io`] if the stream
/// fails. [`Error::Recv`] if the stream took too few bytes of the response for `write_timeout`.
///
/// # Panics
///
/// tokio panics if the runtime has no time driver.
pub async fn accept<S>(io: S, config: &Config) -> Result<WebSocket<S>, Error>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    task::accept(Timed::new(io), config).await.map(WebSocket)
}

/// Makes the opening handshake as a client, over the caller's stream, for example TLS, a Unix
/// socket or a tunnel. The [module](self) says what a stream of your own must promise. On TCP, call
/// `set_nodelay(true)` before. [`handshake_timeout`](Config::handshake_timeout) bounds the
/// handshake.
///
/// Dropping the future drops the stream.
///
/// # Errors
///
/// [`Error::Io`] if the stream fails. [`Error::Handshake`] if the handshake fails.
/// [`Error::Refused`] for a status other than 101.
#[cfg(feature = "client")]
pub async fn client<S>(io: S, request: &Request, config: &Config) -> Result<WebSocket<S>, Error>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    client_since(Instant::now(), io, request, config).await
}

#[cfg(feature = "client")]
pub(crate) async fn client_since<S>(
    began: Instant,
    io: S,
    request: &Request,
    config: &Config,
) -> Result<WebSocket<S>, Error>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    drive::client(Timed::since(began, io), request, config).await.map(WebSocket)
}

impl<S: AsyncRead + AsyncWrite + Unpin> WebSocket<S> {
    /// Splits the connection into two halves for two tasks. It works for every stream, by a lock
    /// that a half holds during each read and write, so that the other half waits. A stream that
    /// splits without a lock, such as TCP, splits by [`into_split_with`](Self::into_split_with).
    pub fn into_split(self) -> Halves<ReadHalf<S>, WriteHalf<S>> {
        self.into_split_with(::tokio::io::split)
    }
}

/// `sleep` is `None` until a call first waits for a deadline.
#[derive(Debug)]
pub(crate) struct Tokio {
    epoch: Instant,
    sleep: Outlined<Option<Pin<Box<Sleep>>>>,
}

impl<S> Timed<S, Tokio> {
    fn new(io: S) -> Self {
        Self::since(Instant::now(), io)
    }

    pub(crate) fn since(epoch: Instant, io: S) -> Self {
        Self { io, wait: Tokio { epoch, sleep: Outlined::default() } }
    }
}

impl<S> drive::Io for Timed<S, Tokio> {
    fn now(&self) -> Time {
        Time::new(self.wait.epoch.elapsed())
    }

    fn poll_sleep(&mut self, until: Time, cx: &mut Context<'_>) -> Poll<()> {
        self.wait.poll_sleep(until, cx)
    }
}

impl Tokio {
    fn twin(&self) -> Self {
        Self { epoch: self.epoch, sleep: Outlined::default() }
    }

    /// Not generic over the stream, so compiled once for all.
    fn poll_sleep(&mut self, until: Time, cx: &mut Context<'_>) -> Poll<()> {
        // At most a year, so that `Instant` does not overflow. An early wake-up does no harm.
        const FAR: Duration = Duration::from_secs(365 * 24 * 60 * 60);
        let Self { epoch, sleep } = self;
        let at = *epoch + (until - Time::ZERO).min(epoch.elapsed() + FAR);
        let sleep = sleep.get_or_insert_with(|| Box::pin(sleep_until(at)));
        // Each read may put the deadline off. Until the timer is ready it is not set to the later
        // one: at each read that would cost more than some early wake-ups.
        let set = sleep.deadline();
        if at < set || (at > set && sleep.is_elapsed()) {
            sleep.as_mut().reset(at);
        }
        sleep.as_mut().poll(cx)
    }
}

impl<S: AsyncRead + Unpin> drive::Source for Timed<S, Tokio> {
    #[inline(always)]
    fn poll_read(&mut self, spare: &mut [u8], cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let mut buf = ReadBuf::new(spare);
        let read = Pin::new(&mut self.io).poll_read(cx, &mut buf);
        if read.is_pending() {
            tape::stream_blocked();
        }
        let n = buf.filled().len();
        if n > READ {
            spend(n.div_ceil(READ), cx);
        }
        read.map_ok(|()| n)
    }
}

/// Of a read that has not grown, with the default settings. Each read takes one unit of the task's
/// budget in tokio; a longer one takes a unit for each `READ` bytes, so that a task yields after as
/// many bytes, whether or not its reads have grown.
const READ: usize = (16 << 10) + 14;

/// The next read is `Pending` once all units of the task's budget are spent.
#[cold]
fn spend(units: usize, cx: &mut Context<'_>) {
    // tokio's empty stream takes a unit for each read. `Pending` wakes the task, and so does its
    // next read.
    let mut empty = ::tokio::io::empty();
    for _ in 1..units {
        if Pin::new(&mut empty).poll_read(cx, &mut ReadBuf::new(&mut [])).is_pending() {
            return;
        }
    }
}

output!([S: AsyncWrite + Unpin] Tokio, poll_shutdown, |stream| stream.is_write_vectored());
