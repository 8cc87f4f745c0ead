//! The loop of both adapters, written once for the whole WebSocket and for the reading half of a
//! split one: parse; when the input is used up, write once, then read once; again.
//!
//! What a step means is the core's to say; here is only what follows in I/O. `Pending` means that
//! the stream would block: under tokio it wakes the task later; in `blocking` the poll has waited
//! already, for as long as it may.
use crate::{
    connection::{Ending, Step},
    error::{Error, RecvError},
};
use std::{
    io,
    task::{Context, Poll, ready},
};

/// What a poll found. One byte: a `Result<Step, _>` through futures is stored in narrow pieces and
/// loaded as a wide one, which costs more than the step.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ready {
    /// What was wanted: it is the connection's current message, event or chunk.
    Item,
    /// The end, or an error, which is in `failed`.
    End,
}

/// What a call waits for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Want {
    Message,
    Event,
    Chunk,
}

/// A connection and its stream.
pub(crate) trait Link {
    /// `poll_alarm` may be asked at any time, not only when the stream would block.
    const ALWAYS_LOOKS: bool;

    fn step(&mut self, want: Want) -> Result<Step, RecvError>;
    /// Writes what is queued, as far as the stream takes it.
    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;
    /// Reads once.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>>;
    fn commit(&mut self, n: usize);
    fn end_of_stream(&mut self);
    /// Shuts the stream for writing, and tells the core.
    fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<()>;
    fn ending(&mut self) -> Ending;
    /// Waits for the next deadline; ready when one has changed something.
    fn poll_alarm(&mut self, cx: &mut Context<'_>) -> Poll<()>;
    /// A Pong came: tells the core the time, if it waits for that.
    fn time_pong(&mut self);
    /// Gives the buffers back before a wait.
    fn rest(&mut self);
    /// Tells the core that writing failed, and keeps the reason.
    fn write_failed(&mut self, error: io::Error);
    /// Keeps the reason, if it is the first.
    fn io_failed(&mut self, error: io::Error);
    fn take_io_error(&mut self) -> Option<io::Error>;
    /// A deadline that passed when nothing was left to receive.
    fn late(&self) -> Option<RecvError>;
    /// Why there is no item: put here by a poll, taken by the call that returns it.
    fn failed(&mut self) -> &mut Option<Error>;

    /// Why there is no item: an error kept aside, or the end.
    #[cold]
    fn ended<T>(&mut self) -> Result<Option<T>, Error> {
        match self.failed().take() {
            Some(error) => Err(error),
            None => Ok(None),
        }
    }

    #[inline(never)]
    fn poll_more(&mut self, cx: &mut Context<'_>, want: Want) -> Poll<Ready> {
        loop {
            match self.step(want) {
                Ok(Step::Message) => return Poll::Ready(Ready::Item),
                Ok(step @ (Step::Ping | Step::Pong | Step::Close)) => {
                    if step == Step::Pong {
                        self.time_pong();
                    }
                    if want == Want::Event {
                        return Poll::Ready(Ready::Item);
                    }
                    continue;
                }
                Ok(Step::NeedInput) => {}
                Ok(Step::Closed) | Err(_) => return self.poll_end(cx),
            }
            // Reading goes on while writing is blocked, or two peers could wait for each other.
            if let Poll::Ready(Err(error)) = self.poll_write(cx) {
                self.write_failed(error);
            }
            let read = self.poll_read(cx);
            ready!(self.poll_take(cx, read));
        }
    }

    /// Takes what a read gave; where it would block, sees to the deadlines.
    #[inline]
    fn poll_take(&mut self, cx: &mut Context<'_>, read: Poll<io::Result<usize>>) -> Poll<()> {
        match read {
            Poll::Ready(Ok(0)) => self.end_of_stream(),
            Poll::Ready(Ok(n)) => self.commit(n),
            Poll::Ready(Err(error)) => {
                self.io_failed(error);
                self.end_of_stream();
            }
            Poll::Pending => {
                if self.poll_alarm(cx).is_pending() {
                    self.rest();
                    return Poll::Pending;
                }
            }
        }
        Poll::Ready(())
    }

    /// Ends the stream as the core says, then keeps why there is nothing more.
    #[cold]
    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<Ready> {
        loop {
            let done = match self.ending() {
                Ending::Done => break,
                Ending::Flush => self.poll_write(cx).map(|written| {
                    if let Err(error) = written {
                        self.write_failed(error);
                    }
                }),
                Ending::ShutDown => self.poll_shutdown(cx),
                Ending::Discard => self.poll_read(cx).map(|read| match read {
                    Ok(0) | Err(_) => self.end_of_stream(),
                    Ok(n) => self.commit(n),
                }),
            };
            // Deadlines hold also for a stream that never has to wait.
            let late = if done.is_pending() || Self::ALWAYS_LOOKS {
                self.poll_alarm(cx)
            } else {
                Poll::Ready(())
            };
            if done.is_pending() && late.is_pending() {
                self.rest();
                return Poll::Pending;
            }
        }
        self.rest();
        // The peer's own word (a Close, a violation) says more than how the stream broke; that
        // says more than that it ended.
        let failed = match self.step(Want::Message) {
            Err(error) => Some(match self.take_io_error() {
                Some(io) if error.close_code().is_none() => io.into(),
                _ => Error::Recv(error),
            }),
            Ok(_) => self.late().map(Error::Recv),
        };
        *self.failed() = failed;
        Poll::Ready(Ready::End)
    }
}

/// The same error, for a second one who is to be told.
pub(crate) fn again(error: &io::Error) -> io::Error {
    #[cfg(feature = "rustls")]
    if let Some(error) = crate::tls::TlsError::inside(error) {
        return error.into_io();
    }
    match error.raw_os_error() {
        Some(code) => io::Error::from_raw_os_error(code),
        None => error.kind().into(),
    }
}
