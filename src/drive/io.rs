//! Streams for a connection to read from and write to, and how they wait.
use crate::proto::{
    connection::{
        Outgoing,
        out_buffer::{OutBuffer, outgoing::Lending},
    },
    time::Time,
};
use bytes::Buf;
use std::{
    io::{self, IoSlice},
    task::{Context, Poll, ready},
};

/// The most slices given to one vectored write.
const SLICES: usize = 32;

/// A stream, or half of one, and how it is waited for: each adapter has a `W` of its own.
#[derive(Debug)]
pub struct Timed<S, W> {
    pub(crate) io: S,
    pub(crate) wait: W,
}

/// A stream and a clock.
pub trait Io {
    /// The time since an epoch of its own.
    fn now(&self) -> Time;
}

/// What a `C` reads from, and how that waits.
pub trait Input<C>: Io {
    /// `poll_alarm` may be asked at any time, not only when the stream would block.
    const ALWAYS_LOOKS: bool;

    /// Reads once into the core.
    fn poll_input(&mut self, core: &mut C, cx: &mut Context<'_>) -> Poll<io::Result<usize>>;
    /// What the core can do without while this waits.
    fn rest(&mut self, core: &mut C);
    /// Waits for the next deadline; ready when one has changed something.
    fn poll_alarm(&mut self, core: &mut C, cx: &mut Context<'_>) -> Poll<()>;
    /// The same after a write that would block, while reading is paused.
    fn poll_pause(&mut self, core: &mut C, cx: &mut Context<'_>) -> Poll<()>;
    /// The stream took everything, and nothing is received.
    fn flushed(&mut self, core: &mut C);
}

/// What a connection writes to.
pub trait Output: Io {
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

    /// Whether, before a read, not to write.
    #[inline(always)]
    fn skips_write(&mut self) -> bool {
        false
    }
    /// A round of writes begins.
    #[inline(always)]
    fn before_write(&mut self) {}
    /// The stream took everything, or will take no more.
    #[inline(always)]
    fn written(&mut self) {}
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

/// One write, of about `most` bytes.
#[inline]
pub(crate) fn write<I: Output>(
    io: &mut I,
    out: &Outgoing<'_>,
    most: usize,
    cx: &mut Context<'_>,
) -> Poll<io::Result<usize>> {
    let written = with_slices(out, most, false, |slices| io.poll_write(slices, cx));
    outcome(ready!(written), cx)
}

/// Writes until a payload that is lent to `out` is written, as far as the stream takes it; `first` is the
/// outcome of a write that was made. What the stream does not take of the payload is copied.
pub(crate) fn write_lent<I: Output>(
    io: &mut I,
    out: &mut OutBuffer,
    payload: &[u8],
    mut first: Option<Poll<io::Result<usize>>>,
    unflushed: &mut usize,
    cx: &mut Context<'_>,
) -> io::Result<()> {
    let mut out = Lending::new(out, payload);
    loop {
        let written = match first.take() {
            Some(first) => first,
            None if !out.is_needed() => return Ok(()),
            None => with_many(&out, usize::MAX, false, |slices| io.poll_write(slices, cx)),
        };
        let Poll::Ready(written) = written else { return Ok(()) };
        let Poll::Ready(written) = outcome(written, cx) else { return Ok(()) };
        let n = written?;
        out.advance(n);
        *unflushed += n;
    }
}

/// Calls `write` with at most `most` bytes, or, if not `exact`, with about as many: a large payload goes
/// along with its header.
#[inline]
pub(crate) fn with_slices<T>(
    out: &Outgoing<'_>,
    most: usize,
    exact: bool,
    write: impl FnOnce(&[IoSlice<'_>]) -> T,
) -> T {
    match out.single() {
        Some(bytes) => write(&[IoSlice::new(bytes.get(..most).unwrap_or(bytes))]),
        None => with_many(out, most, exact, write),
    }
}

#[inline(never)]
pub(crate) fn with_many<T>(
    out: &impl Buf,
    most: usize,
    exact: bool,
    write: impl FnOnce(&[IoSlice<'_>]) -> T,
) -> T {
    // Most often there are no more than a header and a payload, and the others need not be made.
    let mut few = [IoSlice::new(&[]); 4];
    let filled = out.chunks_vectored(&mut few);
    if filled < few.len() {
        return with_first(out, most, exact, few.get(..filled).unwrap_or_default(), write);
    }
    let mut slices = [IoSlice::new(&[]); SLICES];
    let filled = out.chunks_vectored(&mut slices);
    with_first(out, most, exact, slices.get(..filled).unwrap_or_default(), write)
}

#[inline]
fn with_first<T>(
    out: &impl Buf,
    most: usize,
    exact: bool,
    slices: &[IoSlice<'_>],
    write: impl FnOnce(&[IoSlice<'_>]) -> T,
) -> T {
    let mut len = 0;
    let fit = slices.iter().take_while(|slice| {
        let before = len;
        len += slice.len();
        if exact { len <= most } else { before < most }
    });
    match slices.get(..fit.count()) {
        None | Some([]) => {
            let bytes = out.chunk();
            write(&[IoSlice::new(bytes.get(..most).unwrap_or(bytes))])
        }
        Some(slices) => write(slices),
    }
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
