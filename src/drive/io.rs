use super::below;
use crate::proto::{
    connection::{Blocked, Outgoing},
    time::Time,
};
use bytes::Buf;
use std::{
    io::{self, IoSlice},
    task::{Context, Poll, ready},
};

/// The most slices of one vectored write. The caller writes the others next, so every number above
/// 0 is correct, but [`with_many`] first tries 4 (`few`), so only one above that can save writes,
/// if many payloads are queued that `feed` did not copy. Each takes 16 bytes of stack.
const SLICES: usize = 32;

/// `W` is the adapter's own way to wait.
#[derive(Debug)]
pub(crate) struct Timed<S, W> {
    pub(crate) io: S,
    pub(crate) wait: W,
}

pub(crate) trait Io {
    /// The caller is a thread that serves only this connection: it keeps the buffers during a wait,
    /// and a read [may block](Self::may_wait).
    const WAITS: bool = false;

    /// Each connection has its own epoch, stored in `wait`, which both halves of a split connection
    /// share.
    fn now(&self) -> Time;

    /// May be ready earlier, so callers read the clock again. In a task, a later call with another
    /// time replaces the earlier wait. A thread notes the time, and later waits for the earliest.
    fn poll_sleep(&mut self, until: Time, cx: &mut Context<'_>) -> Poll<()>;

    /// For the stream, and only in handshakes. In a task the stream already has the waker; a thread
    /// waits inside this call. `Ready`: poll the stream again, and read the clock.
    fn poll_wait(&mut self, by: Option<Time>, cx: &mut Context<'_>) -> Poll<()> {
        by.map_or(Poll::Pending, |by| self.poll_sleep(by, cx))
    }

    /// The next read, and no later one, may block, but must end by `until`, the next deadline. The
    /// caller must have nothing left to write. (What the writer has fed does not count for the
    /// receiving half, because the writer flushes it.)
    #[inline(always)]
    fn may_wait(&mut self, until: Option<Time>) {
        let _ = until;
    }

    /// After a read that was `Pending`, and whose task was not woken during it (see
    /// [`Probe`](super::wakers::Probe)).
    #[inline(always)]
    fn read_blocked(&self) -> Blocked {
        Blocked::Perhaps(self.now())
    }

    /// `false` if a thread polls again at once after `Pending`. Only the tape asks this.
    fn keeps_waiting(&self) -> bool {
        true
    }

    /// The next wait must also end when the stream accepts bytes. The thread of the receiving half
    /// writes by a handle that both halves share, but waits with its own, which learns of a refusal
    /// only here.
    #[inline(always)]
    fn write_blocked(&mut self) {}
}

pub(crate) trait Source: Io {
    /// 0 bytes mean the end of the stream. A task's read that ends early, although there may be
    /// bytes, wakes the task before it returns `Pending`.
    fn poll_read(&mut self, spare: &mut [u8], cx: &mut Context<'_>) -> Poll<io::Result<usize>>;
}

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

pub(crate) trait Output: Io {
    fn poll_write(
        &mut self,
        slices: &[IoSlice<'_>],
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>>;
    fn is_write_vectored(&self) -> bool;
    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;
    fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;
}

/// After a signal, `Pending`, and the task is woken, because the stream keeps no waker when it
/// returns an error. Repeated here, a stream that fails with `Interrupted` each time would hold the
/// task for ever: no deadline would be checked, and no other task would run. (A thread handles this
/// itself, in `Thread::failed`.)
#[cold]
pub(crate) fn failed<T>(error: io::Error, cx: &Context<'_>) -> Poll<io::Result<T>> {
    if error.kind() == io::ErrorKind::Interrupted {
        cx.waker().wake_by_ref();
        return Poll::Pending;
    }
    Poll::Ready(Err(error))
}

/// A stream that fails counts as shut down, because the connection's result is already decided.
pub(crate) fn shutdown<I: Output>(io: &mut I, cx: &mut Context<'_>) -> Poll<()> {
    match io.poll_shutdown(cx) {
        Poll::Ready(Err(error)) => failed::<()>(error, cx).map(drop),
        shut => shut.map(drop),
    }
}

/// `out` must have bytes, because a write of nothing returns 0, which [`outcome`] turns into an
/// error. The caller advances `out`.
#[inline]
pub(super) fn write<I: Output>(
    io: &mut I,
    out: &Outgoing<'_>,
    cx: &mut Context<'_>,
) -> Poll<io::Result<usize>> {
    match out.single() {
        Some(bytes) => write_slices(io, &[IoSlice::new(bytes)], cx),
        None => with_many(out, &mut |slices| write_slices(io, slices, cx)),
    }
}

#[inline]
pub(super) fn write_slices<I: Output>(
    io: &mut I,
    slices: &[IoSlice<'_>],
    cx: &mut Context<'_>,
) -> Poll<io::Result<usize>> {
    outcome(ready!(io.poll_write(slices, cx)), cx)
}

/// The caller writes the bytes that are left in `out` next. `write` is `dyn`, so that this is
/// compiled once and not for each type of stream.
#[inline(never)] // keeps the long array out of the stack frame of a write with one slice
fn with_many(
    out: &Outgoing<'_>,
    write: &mut dyn FnMut(&[IoSlice<'_>]) -> Poll<io::Result<usize>>,
) -> Poll<io::Result<usize>> {
    // Mostly a header and a payload. A full `few` may not be all, so the long array is filled
    // instead. `get` never returns `None`: `chunks_vectored` returns at most the length of its
    // array.
    let mut few = [IoSlice::new(&[]); 4];
    let filled = out.chunks_vectored(&mut few);
    if filled < few.len() {
        return write(few.get(..filled).unwrap_or_default());
    }
    let mut slices = [IoSlice::new(&[]); SLICES];
    let filled = out.chunks_vectored(&mut slices);
    write(slices.get(..filled).unwrap_or_default())
}

/// Zero bytes are an error, because otherwise a loop that writes until nothing is left would never
/// end.
#[inline]
pub(super) fn outcome(written: io::Result<usize>, cx: &Context<'_>) -> Poll<io::Result<usize>> {
    match written {
        Ok(0) => Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
        Ok(n) => Poll::Ready(Ok(n)),
        Err(error) => failed(error, cx),
    }
}

/// On success, `unflushed` is 0. Until then, the caller flushes again, and `unflushed` is what a
/// TLS stream of ours still holds, at least 1, because a stream below it may hold the rest. Any
/// other stream does not tell, so its bytes count until all are flushed.
#[inline]
pub(crate) fn flush<I: Output>(
    io: &mut I,
    unflushed: &mut usize,
    cx: &mut Context<'_>,
) -> Poll<io::Result<()>> {
    below::forget();
    match io.poll_flush(cx) {
        Poll::Ready(Ok(())) => {
            *unflushed = 0;
            Poll::Ready(Ok(()))
        }
        Poll::Ready(Err(error)) => failed(error, cx),
        Poll::Pending => {
            if let Some(held) = below::held() {
                *unflushed = held.max(1);
            }
            Poll::Pending
        }
    }
}
