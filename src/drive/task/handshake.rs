use super::WebSocket;
use crate::{
    drive::{Incoming, Output, Source},
    error::Error,
    proto::{
        config::Config,
        handshake::{
            HandshakeError,
            server::{Accept, Rejection},
        },
    },
};
use std::{
    future::{Future, poll_fn},
    pin::Pin,
    task::{Context, Poll, ready},
};

/// Answers a bad request with the HTTP status for the error, and returns that. After every error
/// the stream is dropped.
pub(crate) async fn accept<I: Source + Output>(
    io: I,
    config: &Config,
) -> Result<WebSocket<I>, Error> {
    let mut accepting = Accepting::Reading(Some(Incoming::new(io, config)));
    let checked = poll_fn(|cx| accepting.poll(cx)).await?;
    let error = match checked {
        Ok(()) => HandshakeError::Incomplete, // not returned: after `Ok` the state is `Writing`
        Err(error) => error,
    };
    match accepting {
        Accepting::Writing(ws) => Ok(ws),
        Accepting::Reading(Some(handshake)) => Err(handshake.reject_bad(error).await),
        Accepting::Reading(None) => Err(error.into()), // not reached: the poll above has failed
    }
}

/// [`accept`] without the answer to a bad request. Not an `async fn`, whose future would hold
/// memory for both the handshake and the connection while the task lives.
#[allow(clippy::large_enum_variant)] // the variants share memory: the purpose of this type
enum Accepting<I> {
    /// `None` while the handshake becomes a connection, and afterwards if `accept_corked` failed.
    Reading(Option<Incoming<I>>),
    Writing(WebSocket<I>),
}

impl<I: Source + Output> Accepting<I> {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<Result<(), HandshakeError>, Error>> {
        if let Self::Reading(reading) = self
            && let Some(handshake) = reading
        {
            if let Err(error) = ready!(handshake.poll_request(cx))? {
                return Poll::Ready(Ok(Err(error)));
            }
            if let Some(handshake) = reading.take() {
                let ws = handshake.accept_corked(Accept::default())?;
                // The old `Reading(None)` owns nothing. A plain assignment would run code to drop
                // it, and would move `ws` once more.
                core::mem::forget(core::mem::replace(self, Self::Writing(ws)));
            }
        }
        if let Self::Writing(ws) = self {
            ready!(ws.poll_flush(cx, false)).map_err(|error| *error)?;
        }
        Poll::Ready(Ok(Ok(())))
    }
}

impl<I: Source + Output> Incoming<I> {
    pub(crate) async fn read_good(mut self) -> Result<Self, Error> {
        match self.fill().await? {
            Ok(()) => Ok(self),
            Err(error) => Err(self.reject_bad(error).await),
        }
    }

    /// Boxed, so that it takes no memory in the tasks of good requests.
    fn reject_bad(self, error: HandshakeError) -> Pin<Box<impl Future<Output = Error>>> {
        Box::pin(async move {
            // The error of the request is the result, even if the answer cannot be written.
            let _ = self.rejected(error).await;
            error.into()
        })
    }

    pub(crate) async fn fill(&mut self) -> Result<Result<(), HandshakeError>, Error> {
        poll_fn(|cx| self.poll_request(cx)).await
    }

    pub(crate) async fn rejected(mut self, rejection: impl Into<Rejection>) -> Result<(), Error> {
        self.answer(rejection.into()).await?;
        self.linger().await;
        Ok(())
    }
}
