//! The server's opening handshake.
use super::{
    Source, Timer, WebSocket,
    source::{read, within, write_bytes},
};
use crate::{
    drive::{Error, Output, io::flush},
    proto::{
        config::Config,
        connection::closing::LINGER,
        error::RecvError,
        handshake::{
            HandshakeError, Progress,
            server::{self, Accept, Rejection, RequestHead},
        },
    },
};
use std::{
    future::{Future, poll_fn},
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

/// Reads an opening request and accepts it, whatever it asks for.
pub(crate) async fn accept<I: Source + Timer + Output + Unpin>(
    io: I,
    config: &Config,
) -> Result<WebSocket<I>, Error> {
    let refused = match Accepting::Reading(Incoming::new(io, config)).await? {
        Ok(ws) => return Ok(ws),
        Err(refused) => refused,
    };
    let (handshake, error) = *refused;
    Err(handshake.reject_bad(error).await)
}

/// What [`accept`] does with a good request. Written by hand: an `async fn` would have room for
/// the handshake and for the connection, and so would the task, for as long as that lives.
#[allow(clippy::large_enum_variant)] // the room of the one is the room of the other
enum Accepting<I> {
    Reading(Incoming<I>),
    Writing(WebSocket<I>),
    Done,
}

impl<I: Source + Timer + Output + Unpin> Future for Accepting<I> {
    /// The connection, or a request to be refused.
    type Output = Result<Result<WebSocket<I>, Box<(Incoming<I>, HandshakeError)>>, Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        if let Self::Reading(handshake) = this {
            let checked = ready!(handshake.poll_fill(cx));
            let Self::Reading(handshake) = core::mem::replace(this, Self::Done) else {
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

/// An opening request that has been read, to be accepted or rejected when you are ready.
#[derive(Debug)]
pub struct Incoming<I> {
    io: I,
    handshake: server::Handshake,
    write_timeout: Duration,
}

impl<I: Source + Timer + Output + Unpin> Incoming<I> {
    pub(crate) fn new(io: I, config: &Config) -> Self {
        Self { io, handshake: server::Handshake::new(config), write_timeout: config.write_timeout }
    }

    /// Reads a request; a bad one is refused.
    pub(crate) async fn read_good(mut self) -> Result<Self, Error> {
        match self.fill().await? {
            Ok(()) => Ok(self),
            Err(error) => Err(self.reject_bad(error).await),
        }
    }

    /// Answers a bad request. On the heap, so that good ones need no room for it.
    fn reject_bad(self, error: HandshakeError) -> Pin<Box<impl Future<Output = Error>>> {
        Box::pin(async move {
            // It does not matter if the peer did not take the answer.
            let _ = self.reject(error).await;
            error.into()
        })
    }

    /// Reads a request.
    pub(crate) async fn fill(&mut self) -> Result<Result<(), HandshakeError>, Error> {
        poll_fn(|cx| self.poll_fill(cx)).await
    }

    /// The clock is looked at, and a timer made, only where the stream has to be waited for.
    fn poll_fill(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Result<(), HandshakeError>, Error>> {
        let Self { io, handshake, .. } = self;
        loop {
            match handshake.step() {
                Ok(Progress::Complete) => return Poll::Ready(Ok(Ok(()))),
                Ok(Progress::Partial) => {}
                Err(error) => return Poll::Ready(Ok(Err(error))),
            }
            match read(io, handshake.spare_mut(), cx) {
                Poll::Ready(Ok(0)) => handshake.end_of_stream(),
                Poll::Ready(Ok(n)) => handshake.commit(n),
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error.into())),
                Poll::Pending => {
                    // The first call arms the timer.
                    if let Err(error) = handshake.handle_timeout(io.now()) {
                        return Poll::Ready(Ok(Err(error)));
                    }
                    match handshake.poll_timeout() {
                        Some(at) => ready!(io.poll_sleep(at, cx)),
                        None => return Poll::Pending, // no limit
                    }
                }
            }
        }
    }

    /// The request. Its method is empty if [`read_any`](Self::read_any) read something that is not HTTP.
    pub fn request(&self) -> RequestHead<'_> {
        self.handshake.request().unwrap_or_default()
    }

    /// Accepts, and writes the response before it returns.
    ///
    /// Dropping the future drops the stream.
    ///
    /// # Errors
    ///
    /// [`Error::Io`]; [`Error::Handshake`] for a request that [`read_any`](Self::read_any) found
    /// bad.
    pub async fn accept(self, accept: Accept<'_>) -> Result<WebSocket<I>, Error> {
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
    pub fn accept_corked(self, accept: Accept<'_>) -> Result<WebSocket<I>, Error> {
        let Self { io, handshake, .. } = self;
        let conn = handshake.accept(accept)?;
        Ok(WebSocket::with_pool(io, conn))
    }

    /// Refuses: writes the response, with the date unless it has one, and ends the stream.
    ///
    /// Dropping the future drops the stream.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] when the response could not be written.
    pub async fn reject(self, rejection: impl Into<Rejection>) -> Result<(), Error> {
        let response = self.handshake.reject(rejection.into().dated());
        self.end(&response).await
    }

    /// Writes, shuts for writing, and drains, so that unread input does not turn FIN into RST.
    async fn end(mut self, response: &[u8]) -> Result<(), Error> {
        let by = self.io.now() + self.write_timeout;
        let mut rest = response;
        let written = within(&mut self.io, Some(by), |io, cx| {
            while !rest.is_empty() {
                let n = ready!(write_bytes(io, rest, cx))?;
                rest = rest.get(n..).unwrap_or_default();
            }
            flush(io, cx)
        });
        match written.await {
            Some(written) => written?,
            None => return Err(RecvError::WriteTimeout.into()),
        }
        let by = self.io.now() + LINGER;
        let mut sink = vec![0; 4 << 10];
        let mut shut = false;
        let drained = within(&mut self.io, Some(by), |io, cx| {
            if !shut {
                let _ = ready!(io.poll_shutdown(cx)); // a stream that cannot is as good as shut
                shut = true;
            }
            while let Ok(1..) = ready!(read(io, &mut sink, cx)) {}
            Poll::Ready(())
        });
        drained.await;
        Ok(())
    }
}
