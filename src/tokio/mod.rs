//! The connection on a tokio stream: any `AsyncRead + AsyncWrite`.
//!
//! A loop without a protocol rule in it: parse; when the input is used up, write once, then read
//! once; again. So everything fed while there is input left leaves in one write, and a batch of
//! messages costs one read and one write.
//!
//! ```no_run
//! use tickwire::{Config, tokio::accept};
//!
//! # async fn serve() -> Result<(), Box<dyn std::error::Error>> {
//! let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
//! let (stream, _) = listener.accept().await?;
//! stream.set_nodelay(true)?;
//! let mut ws = accept(stream, &Config::default()).await?;
//! while let Some(received) = ws.recv_to_reply().await? {
//!     received.sender.feed(received.message)?; // an echo
//! }
//! # Ok(())
//! # }
//! ```
//!
//! Import its items, not the module: `use tickwire::tokio::connect`. The module itself would hide
//! the crate of that name.
//!
//! **Cancel safety.** All state lives in the [`WebSocket`], none in a future: a future may be
//! dropped at any await point, and nothing is lost, repeated or cut. Each method says what that
//! means for it.
//!
//! **Timers.** Calls drive the deadlines of [`Config`] while they are polled; nothing is spawned,
//! and nothing runs between calls, so keep receiving. Deadlines need a runtime with its time driver
//! on (`enable_time` or `enable_all`); without it tokio panics as soon as one is armed.
//!
//! **Memory.** A connection that waits holds no buffers: they are lent to it, from a pool of the
//! thread, when something arrives or is sent.
//!
//! **Threads.** Connections share only that pool: while messages pass, no lock, counter or cache
//! line goes from thread to thread, except between the halves of a split connection and for the
//! reference count of a large [shared payload](crate::Outbound). So one runtime per thread, each
//! with its own listener on the same port (SO_REUSEPORT), uses every processor: see the example
//! `echo_server`, `--threads`.
mod connect;

pub use crate::tls::maybe::tokio::MaybeTls;
#[cfg(feature = "rustls")]
pub use crate::tls::tokio::TlsStream;
pub use connect::{client, connect};

use crate::{
    drive::{
        self, Half, Socket, Timed,
        task::{
            self,
            calls::{adapter, names::*},
        },
    },
    proto::{config::Config, handshake::HandshakeError, time::Time},
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

/// A WebSocket over `S`.
///
/// A task that both receives and publishes needs no second one: the next receiving call writes what
/// it feeds, and goes on reading while the stream is slow.
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
///                 Ok(tick) if ws.feed(&tick).is_ok() => {}
///                 Err(broadcast::error::RecvError::Closed) => {
///                     return ws.close(CloseCode::GOING_AWAY).await;
///                 }
///                 _ => return ws.close(CloseCode::TRY_AGAIN_LATER).await, // too slow for this feed
///             }
///         }
///     }
/// }
/// ```
///
/// [`buffered_amount`](crate::Sender::buffered_amount) does not include bytes that the system has
/// taken and not sent; a smaller `SO_SNDBUF` makes a slow peer show earlier. An
/// `Outbox` of `tickwire-parts`, together with [`recv_or_room`](WebSocket::recv_or_room), decides
/// what such a peer gets.
///
/// Dropping it ends the stream at once, and loses messages fed and not flushed: call
/// [`close`](WebSocket::close) first. After the end of the connection, the stream stays open until
/// this is dropped.
#[derive(Debug)]
pub struct WebSocket<S>(task::WebSocket<Timed<S, Tokio>>);

/// An opening request that has been read, to be accepted or rejected when you are ready.
///
/// ```no_run
/// # use tickwire::{Config, Error};
/// use tickwire::handshake::{HandshakeError, server::{Accept, Origins}};
/// use tickwire::tokio::Incoming;
///
/// # async fn serve(stream: tokio::net::TcpStream, origins: &Origins) -> Result<(), Error> {
/// let incoming = Incoming::read(stream, &Config::default()).await?;
/// let request = incoming.request();
/// if request.path() != "/feed" {
///     return incoming.reject(HandshakeError::NotFound).await;
/// }
/// if !origins.allows(&request) {
///     return incoming.reject(HandshakeError::OriginNotAllowed).await;
/// }
/// // .. await whoever knows the token in `request.headers().get("authorization")` ..
/// let accept = Accept::default().subprotocols(&["ticks.v2", "ticks.v1"]).header("Server", "feed")?;
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

/// The half of a [`WebSocket`] that receives. Keep receiving: it answers Pings, sees the peer's
/// Close, and drives all deadlines but the one on writing. Dropping it ends receiving; the
/// [`Writer`] learns of the connection's end from a write that fails.
#[derive(Debug)]
pub struct Reader<R, W>(Socket<Half<Timed<W, Tokio>>, Timed<R, Tokio>>);

/// The half of a [`WebSocket`] that sends. Dropping it closes nothing: call `close` first. Messages
/// fed and not flushed then leave with the [`Reader`]'s next write, if there is one. How the
/// connection ended is asked of the [`Reader`].
///
/// There is only one. For several senders, put a channel in front.
#[derive(Debug)]
pub struct Writer<W>(drive::Writer<Timed<W, Tokio>>);

/// A WebSocket in two halves.
pub type Halves<R, W> = (Reader<R, W>, Writer<W>);

pub use task::MessageOrRoom;

adapter!(AsyncRead, AsyncWrite);

/// Reads an opening request and accepts it, whatever it asks for. Use [`Incoming`] to look at it
/// first: at the path, at [who is asking](crate::handshake::server#who-is-asking), at the
/// [origin](crate::handshake::server::Origins), which a server whose users have cookies has to
/// check.
///
/// Sets nothing on the stream; `set_nodelay(true)` belongs on a TCP stream. Waits for at most
/// [`handshake_timeout`](Config::handshake_timeout), [`write_timeout`](Config::write_timeout) for a
/// stream that does not take the answer, as a socket does at once, and a second more after a
/// refusal, so call it in a task of its own, not in the loop that accepts. That loop has to bound
/// how many run at once: see the example `bounded`.
///
/// Dropping the future drops the stream.
///
/// # Errors
///
/// [`Error::Handshake`] for a bad request, which has been answered; [`Error::Io`]; [`Error::Recv`]
/// if the stream took nothing of the answer for `write_timeout`.
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

impl<S: AsyncRead + AsyncWrite + Unpin> WebSocket<S> {
    /// Two halves for two tasks, whatever the stream; see
    /// [`into_split_with`](Self::into_split_with) for streams that can be split without a lock.
    pub fn into_split(self) -> Halves<ReadHalf<S>, WriteHalf<S>> {
        self.into_split_with(::tokio::io::split)
    }

    /// Two halves for two tasks, by the stream's own way to split, such as
    /// `TcpStream::into_split`.
    ///
    /// Messages fed and received before are kept. The [`Writer`] finishes a message in chunks that
    /// is not finished.
    pub fn into_split_with<R, W>(self, split: impl FnOnce(S) -> (R, W)) -> Halves<R, W>
    where
        R: AsyncRead + Unpin,
        W: AsyncWrite + Unpin,
    {
        let halves = self.0.into_halves(|Timed { io, wait }| {
            let ((read, write), epoch) = (split(io), wait.epoch);
            Ok((Timed { io: read, wait }, Timed::since(epoch, write), ()))
        });
        match halves {
            Ok((reader, writer)) => (Reader(reader), Writer(writer)),
            Err(_) => unreachable!("nothing can fail"),
        }
    }
}

/// A clock, and a sleep until the next deadline, made when one is first armed.
#[derive(Debug)]
struct Tokio {
    epoch: Instant,
    sleep: Option<Pin<Box<Sleep>>>,
}

impl<S> Timed<S, Tokio> {
    fn new(io: S) -> Self {
        Self::since(Instant::now(), io)
    }

    fn since(epoch: Instant, io: S) -> Self {
        Self { io, wait: Tokio { epoch, sleep: None } }
    }
}

impl<S> drive::Io for Timed<S, Tokio> {
    fn now(&self) -> Time {
        Time::new(self.wait.epoch.elapsed())
    }

    fn poll_sleep(&mut self, until: Time, cx: &mut Context<'_>) -> Poll<()> {
        // tokio cannot sleep longer; waking up once in a while does no harm.
        const FAR: Duration = Duration::from_secs(365 * 24 * 60 * 60);
        let Tokio { epoch, sleep } = &mut self.wait;
        let at = *epoch + (until - Time::ZERO).min(epoch.elapsed() + FAR);
        let sleep = sleep.get_or_insert_with(|| Box::pin(sleep_until(at)));
        if sleep.deadline() != at {
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
        read.map_ok(|()| buf.filled().len())
    }
}

impl<S: AsyncWrite + Unpin> drive::Output for Timed<S, Tokio> {
    #[inline(always)]
    fn poll_write(
        &mut self,
        slices: &[IoSlice<'_>],
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        let io = Pin::new(&mut self.io);
        match slices {
            [bytes] => io.poll_write(cx, bytes),
            _ => io.poll_write_vectored(cx, slices),
        }
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    #[inline(always)]
    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
