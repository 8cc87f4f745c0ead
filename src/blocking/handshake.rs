//! The server's opening handshake on a stream that blocks.
use super::{
    Stream, WebSocket,
    io::{Timeout, flush, read, write_slice},
};
use crate::{
    drive::Error,
    proto::{
        config::Config,
        connection::closing::LINGER,
        error::RecvError,
        handshake::{
            HandshakeError, Progress,
            server::{self, Accept, Rejection, RequestHead},
        },
        time::Time,
    },
};
use std::{
    task::Poll,
    time::{Duration, Instant},
};

/// Reads an opening request and accepts it, whatever it asks for, with TCP_NODELAY on. Use
/// [`Incoming`] to look at it first: at the path, at
/// [who is asking](crate::handshake::server#who-is-asking), at the
/// [origin](crate::handshake::server::Origins), which a server whose users have cookies has to check.
///
/// Waits for at most [`handshake_timeout`](Config::handshake_timeout),
/// [`write_timeout`](Config::write_timeout) for the answer, and a second more after a refusal, so
/// call it in a thread of its own, not in the loop that accepts. That loop has to bound how many run
/// at once: see the example `bounded`.
///
/// # Errors
///
/// As [`Incoming::read`].
pub fn accept<S: Stream>(io: S, config: &Config) -> Result<WebSocket<S>, Error> {
    Incoming::read(io, config)?.accept(Accept::new())
}

/// An opening request that has been read, to be accepted or rejected when you are ready.
#[derive(Debug)]
pub struct Incoming<S> {
    wire: Wire<S>,
    handshake: server::Handshake,
    write_timeout: Duration,
}

impl<S: Stream> Incoming<S> {
    /// Reads a request and makes all checks of RFC 6455 §4.2.1. A bad one is rejected: answered
    /// with its status, and the stream ended.
    ///
    /// Sets TCP_NODELAY, where the stream has it, and the stream's timeouts.
    ///
    /// # Errors
    ///
    /// [`Error::Handshake`] for a bad request, which has been answered, or one that is not whole
    /// within [`handshake_timeout`](Config::handshake_timeout); [`Error::Io`];
    /// [`Error::WouldBlock`] for a non-blocking stream: make it block until it is accepted,
    /// or use [`server::Handshake`] and [`WebSocket::from_parts`].
    pub fn read(io: S, config: &Config) -> Result<Self, Error> {
        let (this, checked) = Self::read_any(io, config)?;
        match checked {
            Ok(()) => Ok(this),
            Err(error) => {
                // It does not matter if the peer did not take the answer.
                let _ = this.reject(error);
                Err(error.into())
            }
        }
    }

    /// [`read`](Self::read), but also returns well-formed HTTP that is not a good opening request, to be
    /// answered with [`reject`](Self::reject): for servers that also have a page to show. The second
    /// value says what is wrong with the request.
    ///
    /// # Errors
    ///
    /// [`Error::Io`], [`Error::WouldBlock`].
    pub fn read_any(io: S, config: &Config) -> Result<(Self, Result<(), HandshakeError>), Error> {
        let handshake = server::Handshake::new(config);
        let mut this = Self {
            wire: Wire::new(io, Instant::now()),
            handshake,
            write_timeout: config.write_timeout,
        };
        let checked = this.fill()?;
        Ok((this, checked))
    }

    fn fill(&mut self) -> Result<Result<(), HandshakeError>, Error> {
        let Self { wire, handshake, .. } = self;
        loop {
            match handshake.step() {
                Ok(Progress::Complete) => return Ok(Ok(())),
                Ok(Progress::Partial) => {}
                Err(error) => return Ok(Err(error)),
            }
            // The first call arms the timer.
            if let Err(error) = handshake.handle_timeout(wire.now()) {
                return Ok(Err(error));
            }
            let by = handshake.poll_timeout();
            match wire.read(handshake.spare_mut(), by)? {
                Some(0) => handshake.end_of_stream(),
                Some(n) => handshake.commit(n),
                None => {}
            }
        }
    }

    /// The request. Its method is empty if [`read_any`](Self::read_any) read something that is not HTTP.
    pub fn request(&self) -> RequestHead<'_> {
        self.handshake.request().unwrap_or_default()
    }

    /// Accepts, and writes the response before it returns.
    ///
    /// # Errors
    ///
    /// [`Error::Io`]; [`Error::Recv`] if the stream took nothing for
    /// [`write_timeout`](Config::write_timeout); [`Error::Handshake`] for a request that
    /// [`read_any`](Self::read_any) found bad.
    pub fn accept(self, accept: Accept<'_>) -> Result<WebSocket<S>, Error> {
        let mut ws = self.accept_corked(accept)?;
        ws.flush()?;
        Ok(ws)
    }

    /// Accepts, and leaves the response to be written with the first messages, in one write: by
    /// the next flush, or the next receiving call.
    ///
    /// # Errors
    ///
    /// [`Error::Handshake`] for a request that [`read_any`](Self::read_any) found bad.
    pub fn accept_corked(self, accept: Accept<'_>) -> Result<WebSocket<S>, Error> {
        let Self { wire, handshake, .. } = self;
        let conn = handshake.accept(accept)?;
        let (io, timeouts) = wire.into_parts();
        Ok(WebSocket::with_timeouts(io, conn, timeouts))
    }

    /// Rejects: writes the response, with the date unless it has one, ends the stream, and waits up to a
    /// second for the peer to end its side, since unread input could cost the peer the response.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] if the response could not be written, [`Error::Recv`] if that took longer
    /// than [`write_timeout`](Config::write_timeout).
    pub fn reject(self, rejection: impl Into<Rejection>) -> Result<(), Error> {
        let response = self.handshake.reject(rejection.into().dated());
        self.end(&response)
    }

    /// Writes, shuts for writing, and drains, so that unread input does not turn FIN into RST.
    fn end(mut self, response: &[u8]) -> Result<(), Error> {
        let wire = &mut self.wire;
        let by = wire.now() + self.write_timeout;
        let mut rest = response;
        while !rest.is_empty() {
            match wire.write(rest, Some(by))? {
                Some(n) => rest = rest.get(n..).unwrap_or_default(),
                None if wire.now() >= by => return Err(RecvError::WriteTimeout.into()),
                None => {}
            }
        }
        let _ = wire.io.shutdown();
        let by = wire.now() + LINGER;
        let mut sink = [0; 4 << 10];
        while wire.now() < by && !matches!(wire.read(&mut sink, Some(by)), Ok(Some(0)) | Err(_)) {}
        Ok(())
    }
}

/// A stream during the handshake: each read and write has a deadline.
#[derive(Debug)]
pub(super) struct Wire<S> {
    pub(super) io: S,
    pub(super) read_timeout: Timeout,
    pub(super) write_timeout: Timeout,
    epoch: Instant,
    /// When a call would have blocked, if none has done anything since.
    blocked_at: Option<Time>,
}

impl<S: Stream> Wire<S> {
    /// `epoch` is when the handshake began.
    pub(super) fn new(io: S, epoch: Instant) -> Self {
        let _ = io.set_nodelay(true); // if that fails, reading will too
        let (read_timeout, write_timeout) = (Timeout::default(), Timeout::default());
        Self { io, read_timeout, write_timeout, epoch, blocked_at: None }
    }

    /// The stream, which may block for ever again, as before the handshake: a timeout costs the
    /// system a timer for each read that waits.
    pub(super) fn into_parts(mut self) -> (S, (Timeout, Timeout)) {
        let _ = self.read_timeout.set(None, |to| self.io.set_read_timeout(to));
        (self.io, (self.read_timeout, self.write_timeout))
    }

    pub(super) fn now(&self) -> Time {
        Time::new(self.epoch.elapsed())
    }

    /// One read. `None`: the deadline has passed.
    pub(super) fn read(&mut self, to: &mut [u8], by: Option<Time>) -> Result<Option<usize>, Error> {
        let rest = self.rest(by);
        let _ = self.read_timeout.set(rest, |to| self.io.set_read_timeout(to));
        let done = read(&mut self.io, to);
        self.outcome(done, rest.filter(|_| self.read_timeout.is_set()))
    }

    /// One write, flushed if the stream took everything. `None`: the deadline has passed.
    pub(super) fn write(&mut self, from: &[u8], by: Option<Time>) -> Result<Option<usize>, Error> {
        let tick = self.limit_writes(by);
        let done = write_slice(&mut self.io, from);
        let written = self.outcome(done, tick)?;
        if written.is_some_and(|n| n == from.len()) {
            self.flush(by)?;
        }
        Ok(written)
    }

    /// Flushes. If that takes too long, the next wait notices.
    fn flush(&mut self, by: Option<Time>) -> Result<(), Error> {
        loop {
            let tick = self.limit_writes(by);
            let done = flush(&mut self.io).map_ok(|()| 0);
            let flushed = self.outcome(done, tick)?.is_some();
            if flushed || by.is_some_and(|by| self.now() >= by) {
                return Ok(());
            }
        }
    }

    /// How long a write may block now, if that is known.
    fn limit_writes(&mut self, by: Option<Time>) -> Option<Duration> {
        let rest = self.rest(by);
        let _ = self.write_timeout.set(rest, |to| self.io.set_write_timeout(to));
        rest.filter(|_| self.write_timeout.is_set())
    }

    fn rest(&self, by: Option<Time>) -> Option<Duration> {
        by.map(|by| (by - self.now()).max(Duration::from_millis(1)))
    }

    fn outcome(
        &mut self,
        done: Poll<std::io::Result<usize>>,
        tick: Option<Duration>,
    ) -> Result<Option<usize>, Error> {
        let (Poll::Pending, Some(tick)) = (&done, tick) else {
            self.blocked_at = None;
            return match done {
                Poll::Ready(done) => Ok(Some(done?)),
                Poll::Pending => Err(Error::WouldBlock),
            };
        };
        // Two in a row that took no time: the stream does not block. See `io`.
        let now = self.now();
        match self.blocked_at.replace(now) {
            Some(at) if now - at < tick / 2 => Err(Error::WouldBlock),
            _ => Ok(None),
        }
    }
}
