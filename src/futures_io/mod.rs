//! The connection on any `futures_io::AsyncRead + AsyncWrite`: for smol, async-std, or a runtime of
//! your own.
//!
//! Deadlines need a timer, and `futures-io` has no timer. So every function that makes a connection
//! takes [`Timers`]: for example, a function from an instant to a future that is ready at that
//! instant. The example below uses the timer of smol. (`smol::Timer` comes from the crate async-io,
//! and `smol::net` is the crate async-net.)
//!
//! ```no_run
//! use async_io::Timer;
//! use async_net::TcpListener;
//! use tickwire::{Config, futures_io::accept};
//!
//! # async fn serve() -> Result<(), Box<dyn std::error::Error>> {
//! let listener = TcpListener::bind("127.0.0.1:0").await?;
//! let (stream, _) = listener.accept().await?;
//! stream.set_nodelay(true)?;
//! let mut ws = accept(stream, Timer::at, &Config::server()).await?;
//! while let Some(received) = ws.recv_to_reply().await? {
//!     received.sender.feed(received.message)?; // an echo
//! }
//! # Ok(())
//! # }
//! ```
//!
//! There is no `connect`. Dial with your runtime, set TCP_NODELAY, put TLS around the stream if the
//! URL requires TLS, and give the stream to [`client`](fn@client). `client` cannot check whether
//! you have taken these steps.
//!
//! ```no_run
//! # #[cfg(feature = "client")]
//! # mod dialing {
//! use async_io::Timer;
//! use async_net::TcpStream;
//! use std::time::Instant;
//! use tickwire::{Config, futures_io, handshake::client::Request};
//!
//! /// The timer is a function pointer here, so that the type can be written out.
//! type WebSocket = futures_io::WebSocket<TcpStream, fn(Instant) -> Timer>;
//!
//! async fn dial() -> Result<WebSocket, Box<dyn std::error::Error>> {
//!     let stream = TcpStream::connect("127.0.0.1:9000").await?;
//!     stream.set_nodelay(true)?;
//!     let request = Request::new("ws://127.0.0.1:9000/feed")?;
//!     Ok(futures_io::client(stream, Timer::at as _, &request, &Config::default()).await?)
//! }
//! # }
//! ```
//!
//! **The end of a stream.** `poll_close` of the stream must shut the stream down for writing, so
//! that the peer sees the end of the stream (RFC 6455 §7.1.1). `poll_close` of async-io's
//! `Async<TcpStream>` only flushes, so the peer sees the end only when the stream is dropped. Use
//! async-net's stream instead.
//!
//! **A stream of your own** may return `Pending` although it may have bytes, for example to let
//! other tasks run. It then has to wake the task before it returns, so that the task reads again.
//! Such a read does not show that the peer is silent. But if the stream wakes the task only later,
//! two such reads that are 10 ms apart count as silence, and a deadline on the peer's silence
//! ([`heartbeat`](Config::heartbeat), [`data_timeout`](Config::data_timeout),
//! [`frame_timeout`](Config::frame_timeout)) may cut a live peer.
//!
//! **Cancel safety.** All state is in the [`WebSocket`], and no state is in a future. So you may
//! drop a future of an open connection at any await point. No bytes are lost or sent twice. A later
//! call finishes a frame that was written in part. The documentation of each method says what a
//! dropped call has done.
//!
//! **Timers.** The deadlines of [`Config`] are checked only while a call is polled. The adapter
//! spawns no task, so keep receiving. A timer is made when a call first waits for a deadline.
//!
//! **Memory.** A waiting connection holds no buffers, except buffers with bytes that it still
//! needs. When bytes arrive or are sent, the connection takes buffers from a pool of the thread.
//!
//! **Large payloads**, even owned and prepared payloads, are copied into each connection's buffer,
//! because `futures-io` does not tell whether a stream has vectored writes. On a stream without
//! vectored writes, a payload that is not copied would need a write of its own.
use crate::{
    drive::{
        self, Half, Socket, Timed,
        task::{
            self,
            calls::{adapter, names::*},
            output::output,
        },
    },
    proto::{config::Config, handshake::client::Request, tape, time::Time},
};
use ::futures_io::{AsyncRead, AsyncWrite};
use std::{
    boxed::Box,
    fmt,
    io::{self, IoSlice},
    pin::Pin,
    time::{Duration, Instant},
};

/// Makes timers. A function from an [`Instant`] to a future implements this trait, if the function
/// is `Clone` and `Unpin`. An example is `async_io::Timer::at`.
///
/// ```
/// use std::{future::Ready, future::ready, time::Instant};
/// use tickwire::futures_io::Timers;
///
/// fn is_one(_: impl Timers) {}
/// is_one(|_: Instant| ready(())); // compiles, but makes a task spin
///
/// /// A clock that stands still.
/// #[derive(Clone)]
/// struct Frozen(Instant);
///
/// impl Timers for Frozen {
///     type Sleep = std::future::Pending<()>;
///
///     fn at(&self, _: Instant) -> Self::Sleep {
///         std::future::pending()
///     }
///     fn now(&self) -> Instant {
///         self.0
///     }
/// }
/// is_one(Frozen(Instant::now()));
/// ```
pub trait Timers: Clone + Unpin {
    /// The future of a timer. Its output is ignored.
    type Sleep: Future;

    /// Makes a timer that is ready from `at` on. If `at` has passed, the timer must be ready at
    /// once. A timer may be ready too early: then the task polls once for nothing.
    fn at(&self, at: Instant) -> Self::Sleep;

    /// Returns the time by the clock of these timers. The default is [`Instant::now`]. A test may
    /// simulate another clock.
    fn now(&self) -> Instant {
        Instant::now()
    }
}

impl<F: Fn(Instant) -> S + Clone + Unpin, S: Future> Timers for F {
    type Sleep = S;

    fn at(&self, at: Instant) -> S {
        self(at)
    }
}

type Over<S, T> = Timed<S, FuturesIo<T>>;

/// An open WebSocket over `S`, with timers made by `T`. A server gets a WebSocket from [`accept`],
/// or, if it has to see the request first, from [`Incoming`]. A client gets a WebSocket from
/// [`client`]. The [module](self) has an example.
///
/// One task can both receive and publish. The next receiving call writes the messages that the task
/// has fed. If the stream accepts these messages slowly, the call receives in the meantime.
/// [Recipes](crate::guide::recipes) and [limits](crate::guide::limits) are in the guide.
///
/// Dropping a WebSocket ends the stream at once, and loses messages that were not flushed. So call
/// [`close`](WebSocket::close) first. After the end of the connection, the WebSocket keeps the
/// stream until you drop the WebSocket.
pub struct WebSocket<S, T: Timers>(task::WebSocket<Over<S, T>>);

/// A client's opening request, and its stream. Look at the request, then accept or reject it. See
/// [Know who is asking](crate::guide::recipes::servers#know-who-is-asking) for what to check.
pub struct Incoming<S, T: Timers>(drive::Incoming<Over<S, T>>);

/// The half of a [`WebSocket`] that receives. Keep receiving: receiving calls answer Pings, handle
/// the peer's Close, and check all deadlines. (A waiting [`Writer`] checks the deadline on writing
/// too.) Dropping the `Reader` ends receiving: nothing that arrives is answered any more, and
/// nobody waits for the peer's Close. After that, the [`Writer`] can still send, but learns of the
/// connection's end only when a write fails or times out. The stream is dropped with the second
/// half.
pub struct Reader<R, W, T: Timers>(Socket<Half<Over<W, T>>, Over<R, T>>);

/// The half of a [`WebSocket`] that sends. Dropping the `Writer` does not close the connection:
/// call `close` first. After the drop, the [`Reader`] goes on: it still answers Pings, the peer's
/// Close and violations. Messages that are not flushed are written only when the [`Reader`] writes
/// something. `closed` of the [`Reader`] says how the connection ended.
///
/// There is only one `Writer`. If several tasks send, put a channel in front of the `Writer`.
pub struct Writer<W, T: Timers>(drive::Writer<Over<W, T>>);

/// The two halves of a WebSocket.
pub type Halves<R, W, T> = (Reader<R, W, T>, Writer<W, T>);

pub use task::MessageOrRoom;

adapter!(AsyncRead, AsyncWrite, timers: T: Timers);

/// A derived `Debug` would require `T: Debug`, which no closure implements.
macro_rules! shown {
    ($($Type:ident<$($S:ident),*>)*) => {$(
        impl<$($S: fmt::Debug,)* T: Timers> fmt::Debug for $Type<$($S,)* T> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_tuple(stringify!($Type)).field(&self.0).finish()
            }
        }
    )*};
}
shown!(WebSocket<S> Incoming<S> Reader<R, W> Writer<W>);

/// Reads an opening request, and accepts every valid request. This call sets no option of the
/// stream. So on TCP, turn off Nagle's algorithm first, otherwise small messages may wait 40 ms:
/// `stream.set_nodelay(true)?`.
///
/// To check the path, the [user](crate::handshake::server#who-is-asking) or the
/// [origin](crate::handshake::server::Origins) first, use [`Incoming`]. A server that recognises
/// users by cookies must check the origin.
///
/// This call waits for the request for at most [`handshake_timeout`](Config::handshake_timeout). If
/// the stream refuses the response, the call waits for up to
/// [`write_timeout`](Config::write_timeout) more. (A socket accepts the response at once.) After a
/// bad request the call discards input for up to a second more. So call `accept` in a task of its
/// own, not in the loop that accepts sockets.
///
/// Dropping the future drops the stream.
///
/// # Errors
///
/// [`Error::Handshake`] for a bad request, which was rejected. [`Error::Io`] if the stream fails.
/// [`Error::Recv`] if the stream took too few bytes of the response for `write_timeout`.
pub async fn accept<S, T>(io: S, timers: T, config: &Config) -> Result<WebSocket<S, T>, Error>
where
    S: AsyncRead + AsyncWrite + Unpin,
    T: Timers,
{
    task::accept(Timed::new(io, timers), config).await.map(WebSocket)
}

/// Makes the opening handshake as a client, over a stream that is already connected. This call sets
/// no option of the stream. [`handshake_timeout`](Config::handshake_timeout) bounds the handshake.
///
/// Dropping the future drops the stream.
///
/// # Errors
///
/// [`Error::Io`] if the stream fails. [`Error::Handshake`] if the handshake fails.
/// [`Error::Refused`] for a status other than 101.
#[cfg(feature = "client")]
pub async fn client<S, T>(
    io: S,
    timers: T,
    request: &Request,
    config: &Config,
) -> Result<WebSocket<S, T>, Error>
where
    S: AsyncRead + AsyncWrite + Unpin,
    T: Timers,
{
    drive::client(Timed::new(io, timers), request, config).await.map(WebSocket)
}

/// In a row without a wait: then the task yields, so that others run, even if a peer sends faster
/// than this task reads. With more they would wait longer; with fewer, a busy task would be woken
/// more often.
const READS_A_TURN: u8 = 64;

/// `timer` is `None` until a call first waits for a deadline.
struct FuturesIo<T: Timers> {
    timers: T,
    epoch: Instant,
    timer: Option<Pin<Box<T::Sleep>>>,
    /// When `timer` is due; `None` once it was ready. The next wait then sets it again, because a
    /// future that was ready must not be polled again.
    due: Option<Time>,
    /// How many reads there were in a row, without a wait.
    reads: u8,
}

impl<S, T: Timers> Timed<S, FuturesIo<T>> {
    fn new(io: S, timers: T) -> Self {
        let epoch = timers.now();
        Self { io, wait: FuturesIo { timers, epoch, timer: None, due: None, reads: 0 } }
    }
}

impl<T: Timers> FuturesIo<T> {
    fn twin(&self) -> Self {
        let timers = self.timers.clone();
        Self { timers, epoch: self.epoch, timer: None, due: None, reads: 0 }
    }
}

impl<T: Timers> fmt::Debug for FuturesIo<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FuturesIo").finish_non_exhaustive()
    }
}

impl<S, T: Timers> drive::Io for Timed<S, FuturesIo<T>> {
    fn now(&self) -> Time {
        Time::new(self.wait.timers.now().saturating_duration_since(self.wait.epoch))
    }

    fn poll_sleep(&mut self, until: Time, cx: &mut Context<'_>) -> Poll<()> {
        // At most a year, so that `Instant` does not overflow. An early wake-up does no harm.
        const FAR: Duration = Duration::from_secs(365 * 24 * 60 * 60);
        let FuturesIo { timers, epoch, timer, due, .. } = &mut self.wait;
        let set = || {
            let now = timers.now();
            let far = now.saturating_duration_since(*epoch) + FAR;
            timers.at(*epoch + (until - Time::ZERO).min(far))
        };
        // Each read may put the deadline off. The timer is not set anew for the later one: an early
        // wake-up now and then costs less than that at each read.
        if due.is_none_or(|due| until < due) {
            match timer {
                Some(timer) => timer.set(set()),
                None => *timer = Some(Box::pin(set())),
            }
            *due = Some(until);
        }
        if let Some(timer) = timer {
            ready!(timer.as_mut().poll(cx));
        }
        *due = None;
        Poll::Ready(())
    }
}

impl<S: AsyncRead + Unpin, T: Timers> drive::Source for Timed<S, FuturesIo<T>> {
    #[inline(always)]
    fn poll_read(&mut self, spare: &mut [u8], cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let reads = &mut self.wait.reads;
        if *reads == READS_A_TURN {
            *reads = 0;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let read = Pin::new(&mut self.io).poll_read(cx, spare);
        *reads = if read.is_pending() { 0 } else { *reads + 1 };
        if read.is_pending() {
            tape::stream_blocked();
        }
        read
    }
}

output!([S: AsyncWrite + Unpin, T: Timers] FuturesIo<T>, poll_close, |_stream| false);
