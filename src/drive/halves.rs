//! The state that both halves of a split connection share, whatever locks it.
use super::{again, lost};
use crate::{
    drive::Error,
    drive::sync::MutexGuard,
    proto::{
        connection::{Ending, Inbound, Sender, Step, out_buffer::OutBuffer},
        error::RecvError,
        time::Time,
    },
};
use std::{
    fmt, io,
    ops::{Deref, DerefMut},
};

/// How much is written before the sender is looked at again, so that a Pong does not wait long.
pub(crate) const TURN: usize = 64 << 10;

/// The core's sender, and why it ended.
#[derive(Debug)]
pub(crate) struct Queue {
    pub(crate) tx: Sender,
    /// How the stream failed first.
    pub(crate) io_error: Option<io::Error>,
    /// Why receiving ended, for the writer to know; or why writing did, for the reader.
    pub(crate) ended: Option<RecvError>,
}

impl Queue {
    pub(crate) fn new(tx: Sender, io_error: Option<io::Error>, ended: Option<RecvError>) -> Self {
        Self { tx, io_error, ended }
    }

    /// Why what was fed will not be written, if so.
    pub(crate) fn lost(&self) -> Option<Error> {
        match self.ended {
            Some(error) => Some(error.into()),
            None if self.tx.is_broken() => Some(lost(self.io_error.as_ref(), None)),
            None => None,
        }
    }

    /// Why nothing more can be fed, where this half is closed.
    pub(crate) fn why_closed(&self) -> Error {
        lost(None, self.ended)
    }

    /// Closes the sending half after a failed write.
    pub(crate) fn fail(&mut self, held: &mut OutBuffer, error: &io::Error) {
        self.tx.note(held);
        self.tx.write_failed();
        held.clear();
        self.io_error.get_or_insert_with(|| again(error));
    }

    /// The deadline on writing, which whoever waits for the stream drives.
    pub(crate) fn tell(&mut self, now: Time) -> Result<(), RecvError> {
        self.tx.handle_timeout(now).inspect_err(|&error| self.ended = Some(error))
    }

    /// What the reader's step calls for. Whether that has to be written.
    pub(crate) fn answer(&mut self, inbound: &Inbound, step: &Result<Step, RecvError>) -> bool {
        inbound.respond(step, &mut self.tx);
        *step != Ok(Step::Pong) // which calls for nothing
    }

    /// How the stream is to end. An error of the reader's is told to the writer, the first time
    /// `true`.
    pub(crate) fn ending(&mut self, inbound: &Inbound) -> (Ending, bool) {
        let error = inbound.receiver().error();
        let news = error.is_some() && self.ended.is_none();
        self.ended = error.or(self.ended);
        (inbound.ending(&self.tx), news)
    }
}

/// How the reading half learns that the sending one was closed, and that a deadline begins.
pub(crate) trait Closing: Sync {
    fn closed(&self);
}

/// The [`Sender`] of a split connection, locked: both halves wait for it while this lives. On drop
/// it tells the reading half if the sender was closed meanwhile, by either half.
pub struct SenderGuard<'a> {
    was_closed: bool,
    queue: MutexGuard<'a, Queue>,
    news: News<'a>, // behind the lock, so that nobody is woken under it
}

struct News<'a> {
    due: bool,
    reader: &'a dyn Closing,
}

impl<'a> SenderGuard<'a> {
    pub(crate) fn new(queue: MutexGuard<'a, Queue>, reader: &'a dyn Closing) -> Self {
        Self { was_closed: queue.tx.is_closed(), queue, news: News { due: false, reader } }
    }
}

impl Deref for SenderGuard<'_> {
    type Target = Sender;

    fn deref(&self) -> &Sender {
        &self.queue.tx
    }
}

impl DerefMut for SenderGuard<'_> {
    fn deref_mut(&mut self) -> &mut Sender {
        &mut self.queue.tx
    }
}

impl Drop for SenderGuard<'_> {
    fn drop(&mut self) {
        self.news.due = self.queue.tx.is_closed() && !self.was_closed;
    }
}

impl Drop for News<'_> {
    fn drop(&mut self) {
        if self.due {
            self.reader.closed();
        }
    }
}

impl fmt::Debug for SenderGuard<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.queue.tx.fmt(f)
    }
}
