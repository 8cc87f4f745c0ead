//! Streams for a connection to read from and write to, and how they wait.
use crate::proto::{connection::Outgoing, time::Time};
use bytes::Buf;
use std::{
    io::{self, IoSlice},
    task::{Context, Poll, ready},
};

/// The most slices given to one vectored write.
const SLICES: usize = 32;

/// A stream, or half of one, and how it is waited for: each adapter has a `W` of its own.
#[derive(Debug)]
pub(crate) struct Timed<S, W> {
    pub(crate) io: S,
    pub(crate) wait: W,
}

/// A stream with a clock, and how its user waits.
pub(crate) trait Io {
    /// The user is a thread that this one connection has to itself: it keeps its buffers, and a
    /// read [may wait](Self::may_wait).
    const WAITS: bool = false;

    /// The time since an epoch of its own.
    fn now(&self) -> Time;

    /// Waits until then, or shorter.
    fn poll_sleep(&mut self, until: Time, cx: &mut Context<'_>) -> Poll<()>;

    /// Waits for the stream, but no longer than until then: in a handshake, whose futures no
    /// adapter polls twice for a thread.
    fn poll_wait(&mut self, by: Option<Time>, cx: &mut Context<'_>) -> Poll<()> {
        by.map_or(Poll::Pending, |by| self.poll_sleep(by, cx))
    }

    /// The next read may wait by itself: there is nothing to write, and `until` is the next
    /// deadline.
    #[inline(always)]
    fn may_wait(&mut self, until: Option<Time>) {
        let _ = until;
    }

    /// Bytes wait until the stream takes them: that is waited for too.
    #[inline(always)]
    fn write_blocked(&mut self) {}
}

/// What is read from.
pub(crate) trait Source: Io {
    /// Reads once, what there is: 0 bytes are the end of the stream.
    fn poll_read(&mut self, spare: &mut [u8], cx: &mut Context<'_>) -> Poll<io::Result<usize>>;
}

/// Reads once.
#[inline(always)]
pub(crate) fn read<I: Source>(
    io: &mut I,
    spare: &mut [u8],
    cx: &mut Context<'_>,
) -> Poll<io::Result<usize>> {
    match io.poll_read(spare, cx) {
        Poll::Ready(Err(error)) => failed(error, cx),
        read => read,
    }
}

/// What a connection writes to.
pub(crate) trait Output: Io {
    /// Writes once: bytes of one place, or of many.
    fn poll_write(
        &mut self,
        slices: &[IoSlice<'_>],
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>>;
    /// Whether that writes more than the first of many.
    fn is_write_vectored(&self) -> bool;
    /// Flushes the stream.
    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;
    /// Ends writing.
    fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;
}

/// The stream's error. If the call was only interrupted, it is made again.
#[cold]
pub(crate) fn failed<T>(error: io::Error, cx: &Context<'_>) -> Poll<io::Result<T>> {
    if error.kind() == io::ErrorKind::Interrupted {
        cx.waker().wake_by_ref();
        return Poll::Pending;
    }
    Poll::Ready(Err(error))
}

/// Ends writing. A stream that cannot is as good as shut.
pub(crate) fn shutdown<I: Output>(io: &mut I, cx: &mut Context<'_>) -> Poll<()> {
    match io.poll_shutdown(cx) {
        Poll::Ready(Err(error)) => failed::<()>(error, cx).map(drop),
        shut => shut.map(drop),
    }
}

/// One write.
#[inline]
pub(super) fn write<I: Output>(
    io: &mut I,
    out: &Outgoing<'_>,
    cx: &mut Context<'_>,
) -> Poll<io::Result<usize>> {
    let written = match out.single() {
        Some(bytes) => io.poll_write(&[IoSlice::new(bytes)], cx),
        None => with_many(out, |slices| io.poll_write(slices, cx)),
    };
    outcome(ready!(written), cx)
}

#[inline(never)]
fn with_many<T>(out: &impl Buf, write: impl FnOnce(&[IoSlice<'_>]) -> T) -> T {
    // Most often there are no more than a header and a payload, and the others need not be made.
    let mut few = [IoSlice::new(&[]); 4];
    let filled = out.chunks_vectored(&mut few);
    if filled < few.len() {
        return write(few.get(..filled).unwrap_or_default());
    }
    let mut slices = [IoSlice::new(&[]); SLICES];
    let filled = out.chunks_vectored(&mut slices);
    write(slices.get(..filled).unwrap_or_default())
}

#[inline]
pub(super) fn outcome(written: io::Result<usize>, cx: &Context<'_>) -> Poll<io::Result<usize>> {
    match written {
        Ok(0) => Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
        Ok(n) => Poll::Ready(Ok(n)),
        Err(error) => failed(error, cx),
    }
}

/// Flushes the stream, which took so many bytes.
#[inline]
pub(crate) fn flush<I: Output>(
    io: &mut I,
    unflushed: &mut usize,
    cx: &mut Context<'_>,
) -> Poll<io::Result<()>> {
    match ready!(io.poll_flush(cx)) {
        Ok(()) => *unflushed = 0,
        Err(error) => return failed(error, cx),
    }
    Poll::Ready(Ok(()))
}
