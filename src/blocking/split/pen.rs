//! The right of one half to write: a handle of the stream, and the bytes taken out of the sender.
use crate::{
    blocking::{
        Stream,
        io::{Patience, Timeout, flush, write},
    },
    drive::{
        TURN,
        io::{with_many, with_slices},
    },
    proto::connection::{
        Outgoing,
        out_buffer::{OutBuffer, outgoing::Lending},
    },
};
use bytes::Buf;
use std::{io, task::Poll};

/// The right to write.
#[derive(Debug)]
pub(super) struct Pen<S> {
    pub(super) io: S,
    pub(super) timeout: Timeout,
    pub(super) held: OutBuffer,
    /// How many bytes the stream took and has not flushed.
    pub(super) unflushed: usize,
}

impl<S: Stream> Pen<S> {
    /// Writes `most` of the bytes held, once; 0 is a flush. For one tick at most.
    pub(super) fn write(
        &mut self,
        patience: &mut Patience,
        most: usize,
        exact: bool,
    ) -> Poll<io::Result<usize>> {
        let Self { io, timeout, held, .. } = self;
        patience.before_write(io, timeout);
        let mut out = Outgoing(held);
        let done = if most > 0 {
            with_slices(&out, most.min(TURN), exact, |slices| write(io, slices))
        } else {
            flush(io).map_ok(|()| 0)
        };
        let done = patience.after_write(done, timeout);
        if let Poll::Ready(Ok(n)) = done {
            out.advance(n);
            if most > 0 {
                self.unflushed += n;
            } else {
                held.flushed();
                self.unflushed = 0;
            }
        }
        self.after(patience, &done);
        done
    }

    /// Writes the bytes held, which end with this payload, once, for one tick at most: the reader may have
    /// something to say then. What the stream did not take of the payload is copied.
    pub(super) fn write_lent(&mut self, patience: &mut Patience, payload: &[u8]) -> io::Result<()> {
        let Self { io, timeout, held, .. } = self;
        patience.before_write(io, timeout);
        let mut out = Lending::new(held, payload);
        let done = with_many(&out, usize::MAX, false, |slices| write(io, slices));
        let done = patience.after_write(done, timeout);
        if let Poll::Ready(Ok(n)) = done {
            out.advance(n);
            self.unflushed += n;
        }
        drop(out);
        self.after(patience, &done);
        match done {
            Poll::Ready(Err(error)) => Err(error),
            _ => Ok(()),
        }
    }

    /// Ends writing.
    pub(super) fn shutdown(&mut self, patience: &mut Patience) -> Poll<io::Result<()>> {
        patience.shutdown(&mut self.io, &mut self.timeout)
    }

    /// How a write or flush went.
    fn after(&mut self, patience: &mut Patience, done: &Poll<io::Result<usize>>) {
        match done {
            Poll::Ready(Ok(_)) => {
                patience.moved();
                patience.written();
            }
            Poll::Ready(Err(_)) => {}
            Poll::Pending => self.held.blocked(),
        }
    }
}
