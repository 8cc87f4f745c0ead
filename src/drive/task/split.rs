//! Two halves of a WebSocket, for two tasks.
use super::Task;
#[cfg(doc)]
use super::WebSocket;
use crate::{
    drive::{Error, Half, Output, Socket, begun},
    proto::{close::CloseFrame, outbound::Outbound},
};
use std::{
    future::poll_fn,
    task::{Poll, ready},
};

/// The half that receives.
pub(crate) type Reader<R, W> = Socket<Half<W>, R>;

/// The half that sends.
pub(crate) use crate::drive::Writer;

impl<W: Output + Task> Writer<W> {
    /// As [`WebSocket::send`], and as cancel safe.
    ///
    /// # Errors
    ///
    /// As [`WebSocket::send`].
    pub async fn send<'m>(&mut self, message: impl Into<Outbound<'m>>) -> Result<(), Error> {
        let mut message = Some(message);
        poll_fn(|cx| {
            ready!(self.poll_room(cx))?;
            let fed = message.take().map(|message| self.feed(message));
            Poll::Ready(fed.transpose().map_err(Error::from))
        })
        .await?;
        self.flush().await
    }

    /// As [`WebSocket::ready`]; cancel safe.
    ///
    /// # Errors
    ///
    /// As [`WebSocket::ready`].
    pub async fn ready(&mut self) -> Result<(), Error> {
        poll_fn(|cx| self.poll_room(cx)).await
    }

    /// As [`WebSocket::flush`]; cancel safe.
    ///
    /// # Errors
    ///
    /// As [`WebSocket::flush`]; and the error of receiving, if that has failed.
    pub async fn flush(&mut self) -> Result<(), Error> {
        poll_fn(|cx| self.poll_flush(cx, false)).await
    }

    /// Queues a Close behind everything fed, and writes it. The half that receives goes on to the peer's
    /// Close, and ends the stream, within the time that [`close_timeout`](crate::Config::close_timeout) says.
    ///
    /// Cancel safe: call it again.
    ///
    /// # Errors
    ///
    /// [`Error::Send`] for a frame that cannot be sent, otherwise as [`flush`](Self::flush).
    pub async fn close<'f>(
        &mut self,
        frame: impl Into<Option<CloseFrame<'f>>>,
    ) -> Result<(), Error> {
        begun(self.sender().close(frame))?;
        self.flush().await
    }
}
