//! The stream of a connection: reading, writing, and waiting.
use crate::proto::{
    connection::{Blocked, Outgoing},
    time::Time,
};
use bytes::Buf;
use std::{
    io::{self, IoSlice},
    task::{Context, Poll, ready},
};

/// The largest number of slices in one vectored write. Every number above 0 is correct, because the
/// caller writes the remaining slices next. [`with_many`] first tries 4 slices (`few`), so only a
/// number above 4 can save writes. It does so if many payloads are queued that `feed` did not copy.
/// Each slice takes 16 bytes of stack.
const SLICES: usize = 32;

/// A stream (or half of a stream) `S` together with `W`, the adapter's own way to wait.
#[derive(Debug)]
pub(crate) struct Timed<S, W> {
    pub(crate) io: S,
    pub(crate) wait: W,
}

/// A stream with a clock and a way to wait.
pub(crate) trait Io {
    /// Whether the caller is a thread that serves only this connection. If so, the thread keeps the
    /// connection's buffers during a wait, and a read [may block](Self::may_wait).
    const WAITS: bool = false;

    /// Returns the time since this stream's epoch. The epoch is an instant stored in `wait`. Each
    /// connection has its own epoch, which both halves of a split connection share.
    fn now(&self) -> Time;

    /// Waits until `until`. May be ready earlier, so callers read the clock again. In a task, a
    /// later call with another time replaces the earlier wait. A thread notes the time, and later
    /// waits for the earliest of the times noted.
    fn poll_sleep(&mut self, until: Time, cx: &mut Context<'_>) -> Poll<()>;

    /// Waits for the stream, at most until `by`. Only handshakes call this. In a task the stream
    /// already has the waker, so this call only adds the wait for `by`. A thread waits inside this
    /// call. `Ready`: poll the stream again, and read the clock.
    fn poll_wait(&mut self, by: Option<Time>, cx: &mut Context<'_>) -> Poll<()> {
        by.map_or(Poll::Pending, |by| self.poll_sleep(by, cx))
    }

    /// Allows the next read, and no later read, to block. The read must end by `until`, the next
    /// deadline. The caller must have nothing left to write. (For the receiving half, messages that
    /// the writer has fed do not count, because the writer flushes them.)
    #[inline(always)]
    fn may_wait(&mut self, until: Option<Time>) {
        let _ = until;
    }

    /// Called after a read that was `Pending`, and whose task was not woken during the read (see
    /// [`Probe`](super::wakers::Probe)). Returns who kept the read from bringing bytes.
    #[inline(always)]
    fn read_blocked(&self) -> Blocked {
        Blocked::Perhaps(self.now())
    }

    /// Whether the wait that follows a `Pending` poll waits. `false` if a thread polls again at
    /// once. Only the tape asks this.
    fn keeps_waiting(&self) -> bool {
        true
    }

    /// Reports that the stream refused bytes, so the next wait must also end when the stream
    /// accepts bytes. The thread of the receiving half needs this report, because it writes by a
    /// handle that both halves share, but waits with its own handle, which learns of the refusal
    /// only here.
    #[inline(always)]
    fn write_blocked(&mut self) {}
}

/// A stream, or half of a stream, to read from.
pub(crate) trait Source: Io {
    /// Reads once. 0 bytes mean the end of the stream. A task's read that ends early, although
    /// there may be bytes, wakes the task before it returns `Pending`.
    fn poll_read(&mut self, spare: &mut [u8], cx: &mut Context<'_>) -> Poll<io::Result<usize>>;
}

/// Reads once. If a signal interrupts the read, returns `Pending` and wakes the task to retry.
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

/// A stream, or half of a stream, to write to.
pub(crate) trait Output: Io {
    /// Writes once, from one slice or from many.
    fn poll_write(
        &mut self,
        slices: &[IoSlice<'_>],
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>>;
    /// Whether one `poll_write` can write more than the first slice.
    fn is_write_vectored(&self) -> bool;
    /// Flushes the stream.
    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;
    /// Shuts the stream down for writing.
    fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;
}

/// Returns the result of a failed call. If a signal interrupted the call, the result is `Pending`,
/// and the task's next poll repeats the call. If this function repeated the call, a stream that
/// fails with `Interrupted` each time would hold the task for ever: no deadline would be checked,
/// and no other task would run. This function wakes the task, because a stream keeps no waker when
/// it returns an error. (A thread handles interruptions itself, in `Thread::failed`.)
#[cold]
pub(crate) fn failed<T>(error: io::Error, cx: &Context<'_>) -> Poll<io::Result<T>> {
    if error.kind() == io::ErrorKind::Interrupted {
        cx.waker().wake_by_ref();
        return Poll::Pending;
    }
    Poll::Ready(Err(error))
}

/// Shuts the stream down for writing. If the shutdown fails, the stream counts as shut down,
/// because the connection's result is already decided, and the error would change nothing.
pub(crate) fn shutdown<I: Output>(io: &mut I, cx: &mut Context<'_>) -> Poll<()> {
    match io.poll_shutdown(cx) {
        Poll::Ready(Err(error)) => failed::<()>(error, cx).map(drop),
        shut => shut.map(drop),
    }
}

/// Writes once. `out` must have bytes, because a write of nothing returns 0, and [`outcome`] turns
/// 0 into an error. The caller advances `out` by the number of bytes written.
#[inline]
pub(super) fn write<I: Output>(
    io: &mut I,
    out: &Outgoing<'_>,
    cx: &mut Context<'_>,
) -> Poll<io::Result<usize>> {
    let written = match out.single() {
        Some(bytes) => io.poll_write(&[IoSlice::new(bytes)], cx),
        None => with_many(out, &mut |slices| io.poll_write(slices, cx)),
    };
    outcome(ready!(written), cx)
}

/// Passes the bytes of `out` to `write`, in at most `SLICES` slices. The bytes that `write` does
/// not take stay in `out`, and the caller writes again. `write` is `dyn`, so that this function is
/// compiled once and not for each type of stream.
#[inline(never)] // keeps the long array out of the stack frame of a write with one slice
fn with_many(
    out: &Outgoing<'_>,
    write: &mut dyn FnMut(&[IoSlice<'_>]) -> Poll<io::Result<usize>>,
) -> Poll<io::Result<usize>> {
    // Most of these writes have only two slices: a header and a payload. If `few` is full, `out`
    // may have more slices, so the long array is filled instead. `get` never returns `None`,
    // because `chunks_vectored` returns at most the length of its array.
    let mut few = [IoSlice::new(&[]); 4];
    let filled = out.chunks_vectored(&mut few);
    if filled < few.len() {
        return write(few.get(..filled).unwrap_or_default());
    }
    let mut slices = [IoSlice::new(&[]); SLICES];
    let filled = out.chunks_vectored(&mut slices);
    write(slices.get(..filled).unwrap_or_default())
}

/// Returns the result of a write. A write of zero bytes counts as an error, because otherwise a
/// loop that writes until nothing is left would never end.
#[inline]
pub(super) fn outcome(written: io::Result<usize>, cx: &Context<'_>) -> Poll<io::Result<usize>> {
    match written {
        Ok(0) => Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
        Ok(n) => Poll::Ready(Ok(n)),
        Err(error) => failed(error, cx),
    }
}

/// Flushes the stream, which holds `unflushed` bytes. On success, sets `unflushed` to 0. While
/// `unflushed` is above 0, the caller flushes again.
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
