//! The server's opening handshake on a tokio stream.
use super::{
    WebSocket,
    io::{poll_read, write_all},
};
use crate::{
    config::Config,
    connection::timers::LINGER,
    error::Error,
    handshake::{
        HandshakeError,
        server::{self, Accept, Refuse, Request},
    },
    time::Time,
};
use ::tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt},
    time::{Instant, Sleep, sleep_until, timeout_at},
};
use std::{
    future::{Future, poll_fn},
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

/// Reads an opening request and accepts it, whatever it asks for. Use [`Handshake`] to look first:
/// at the path, at [who is asking](crate::handshake::server#who-is-asking), at the
/// [origin](crate::handshake::server::Origins), as a server has to whose users have cookies.
///
/// Sets nothing on the stream; `set_nodelay(true)` belongs on a TCP stream. Bounded by
/// [`handshake_timeout`](Config::handshake_timeout), and a second more for a request that is refused,
/// so call it in a task of its own, not in the loop that accepts. How many of these there may be at
/// once is for that loop to bound: see the example `bounded`.
///
/// Dropped, the future takes the stream along.
///
/// # Errors
///
/// [`Error::Handshake`] for a bad request, which has been answered; [`Error::Io`].
///
/// # Panics
///
/// tokio panics where the runtime has no time driver.
pub async fn accept<S>(io: S, config: &Config) -> Result<WebSocket<S>, Error>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let refused = match Accepting::Reading(Handshake::new(io, config), Clock::default()).await? {
        Ok(ws) => return Ok(ws),
        Err(refused) => refused,
    };
    let (handshake, error) = *refused;
    Err(handshake.reject(error).await)
}

/// What [`accept`] does with a good request. Written by hand: an `async fn` would have room for
/// the handshake and for the connection, and so would the task, for as long as that lives.
#[allow(clippy::large_enum_variant)] // the room of the one is the room of the other
enum Accepting<S> {
    Reading(Handshake<S>, Clock),
    Writing(WebSocket<S>),
    Done,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Future for Accepting<S> {
    /// The connection, or a request to be refused.
    type Output = Result<Result<WebSocket<S>, Box<(Handshake<S>, HandshakeError)>>, Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        if let Self::Reading(handshake, clock) = this {
            let checked = ready!(handshake.poll_fill(clock, cx));
            let Self::Reading(handshake, _) = core::mem::replace(this, Self::Done) else {
                return Poll::Pending; // it was
            };
            if let Err(error) = checked? {
                return Poll::Ready(Ok(Err(Box::new((handshake, error)))));
            }
            *this = Self::Writing(handshake.accept_corked(Accept::new())?);
        }
        if let Self::Writing(ws) = this {
            ready!(ws.poll_flush(cx, false))?;
        }
        match core::mem::replace(this, Self::Done) {
            Self::Writing(ws) => Poll::Ready(Ok(Ok(ws))),
            _ => Poll::Pending, // polled after completion
        }
    }
}

/// The time since a request was first waited for, and the wait for the deadline.
#[derive(Default)]
struct Clock {
    epoch: Option<Instant>,
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Clock {
    fn now(&mut self) -> Time {
        Time::new(self.epoch.get_or_insert_with(Instant::now).elapsed())
    }

    fn poll_sleep(&mut self, until: Time, cx: &mut Context<'_>) -> Poll<()> {
        let epoch = *self.epoch.get_or_insert_with(Instant::now);
        let Some(at) = epoch.checked_add(until.since_epoch()) else {
            return Poll::Pending; // never
        };
        let sleep = self.sleep.get_or_insert_with(|| Box::pin(sleep_until(at)));
        if sleep.deadline() != at {
            sleep.as_mut().reset(at);
        }
        sleep.as_mut().poll(cx)
    }
}

/// An opening request that was read and is to be accepted or refused, at leisure.
///
/// ```no_run
/// # use tickwire::{Config, Error};
/// use tickwire::handshake::{HandshakeError, server::{Accept, Origins}};
/// use tickwire::tokio::Handshake;
///
/// # async fn serve(stream: tokio::net::TcpStream, origins: &Origins) -> Result<(), Error> {
/// let handshake = Handshake::read(stream, &Config::default()).await?;
/// let request = handshake.request();
/// if request.path() != "/feed" {
///     return handshake.refuse(HandshakeError::NotFound.into()).await;
/// }
/// if !origins.allows(&request) {
///     return handshake.refuse(HandshakeError::OriginNotAllowed.into()).await;
/// }
/// // .. await whoever knows the token in `request.header("authorization")` ..
/// let accept = Accept::new().subprotocols(&["ticks.v2", "ticks.v1"]).header("Server", "feed")?;
/// let mut ws = handshake.accept(accept).await?;
/// if ws.negotiated().subprotocol().is_none() {
///     println!("an old client");
/// }
/// # let _ = ws.recv().await?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Handshake<S> {
    io: S,
    handshake: server::Handshake,
    write_timeout: Duration,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Handshake<S> {
    /// Reads a request and checks all that RFC 6455 §4.2.1 asks for. A bad one is refused: answered
    /// with its status, and the stream ended.
    ///
    /// Dropped, the future takes the stream along.
    ///
    /// # Errors
    ///
    /// [`Error::Handshake`] for a bad request, or one that is not whole within
    /// [`handshake_timeout`](Config::handshake_timeout); [`Error::Io`].
    pub async fn read(io: S, config: &Config) -> Result<Self, Error> {
        let mut this = Self::new(io, config);
        match this.fill().await? {
            Ok(()) => Ok(this),
            Err(error) => Err(this.reject(error).await),
        }
    }

    /// [`read`](Self::read), but a request that is well-formed HTTP and not a good opening request
    /// comes back as well, to be answered with [`refuse`](Self::refuse): for servers that also
    /// have a page to show.
    ///
    /// Dropped, the future takes the stream along.
    ///
    /// # Errors
    ///
    /// [`Error::Io`]. What is wrong with the request is the second value.
    pub async fn read_any(
        io: S,
        config: &Config,
    ) -> Result<(Self, Result<(), HandshakeError>), Error> {
        let mut this = Self::new(io, config);
        let checked = this.fill().await?;
        Ok((this, checked))
    }

    fn new(io: S, config: &Config) -> Self {
        Self { io, handshake: server::Handshake::new(config), write_timeout: config.write_timeout }
    }

    /// Answers a bad request. On the heap, so that good ones need no room for it.
    fn reject(self, error: HandshakeError) -> Pin<Box<impl Future<Output = Error>>> {
        Box::pin(async move {
            // That the peer would not take the answer is of no interest to anybody.
            let _ = self.refuse(error.into()).await;
            error.into()
        })
    }

    async fn fill(&mut self) -> Result<Result<(), HandshakeError>, Error> {
        let mut clock = Clock::default();
        poll_fn(|cx| self.poll_fill(&mut clock, cx)).await
    }

    /// The clock is looked at, and a timer made, only where the stream has to be waited for.
    fn poll_fill(
        &mut self,
        clock: &mut Clock,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Result<(), HandshakeError>, Error>> {
        let Self { io, handshake, .. } = self;
        loop {
            match handshake.step() {
                Ok(true) => return Poll::Ready(Ok(Ok(()))),
                Ok(false) => {}
                Err(error) => return Poll::Ready(Ok(Err(error))),
            }
            match poll_read(io, handshake.spare_mut(), cx) {
                Poll::Ready(Ok(0)) => handshake.end_of_stream(),
                Poll::Ready(Ok(n)) => handshake.commit(n),
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error.into())),
                Poll::Pending => {
                    // The first call arms the timer.
                    if let Err(error) = handshake.handle_timeout(clock.now()) {
                        return Poll::Ready(Ok(Err(error)));
                    }
                    match handshake.poll_timeout() {
                        Some(at) => ready!(clock.poll_sleep(at, cx)),
                        None => return Poll::Pending, // no limit
                    }
                }
            }
        }
    }

    /// The request. Its method is empty where [`read_any`](Self::read_any) met what is not HTTP.
    pub fn request(&self) -> Request<'_> {
        self.handshake.request().unwrap_or(Request::NONE)
    }

    /// Accepts, and writes the response before it returns.
    ///
    /// Dropped, the future takes the stream along.
    ///
    /// # Errors
    ///
    /// [`Error::Io`]; [`Error::Handshake`] for a request that [`read_any`](Self::read_any) found
    /// bad.
    pub async fn accept(self, accept: Accept<'_>) -> Result<WebSocket<S>, Error> {
        let mut ws = self.accept_corked(accept)?;
        ws.flush().await?;
        Ok(ws)
    }

    /// Accepts, and leaves the response to be written with the first messages, in one write: by
    /// the next flush, or the next receiving call.
    ///
    /// # Errors
    ///
    /// [`Error::Handshake`] for a request that [`read_any`](Self::read_any) found bad.
    pub fn accept_corked(self, accept: Accept<'_>) -> Result<WebSocket<S>, Error> {
        let Self { io, handshake, .. } = self;
        let conn = handshake.accept(accept)?;
        Ok(WebSocket::from_parts(io, conn))
    }

    /// Refuses: writes the response, with the date unless it has one, and ends the stream.
    ///
    /// Dropped, the future takes the stream along.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] when the response could not be written.
    pub async fn refuse(self, refuse: Refuse) -> Result<(), Error> {
        let response = self.handshake.refuse(&refuse.dated());
        self.end(&response).await
    }

    /// Writes, shuts for writing, and drains, so that unread input does not turn FIN into RST.
    async fn end(mut self, response: &[u8]) -> Result<(), Error> {
        let by = Instant::now().checked_add(self.write_timeout);
        match until(by, write_all(&mut self.io, response)).await {
            Some(written) => written?,
            None => return Err(crate::error::RecvError::WriteTimeout.into()),
        }
        let drain = async {
            let _ = self.io.shutdown().await;
            let mut sink = vec![0; 4 << 10];
            while let Ok(1..) = poll_fn(|cx| poll_read(&mut self.io, &mut sink, cx)).await {}
        };
        let _ = until(Instant::now().checked_add(LINGER), drain).await;
        Ok(())
    }
}

/// `future`, or `None` when that takes too long.
pub(super) async fn until<F: Future>(by: Option<Instant>, future: F) -> Option<F::Output> {
    match by {
        Some(by) => timeout_at(by, future).await.ok(),
        None => Some(future.await),
    }
}
