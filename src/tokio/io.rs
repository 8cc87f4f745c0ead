//! What the whole and the split WebSocket have in common: one read, a write of all there is, and
//! sleeping until a deadline.
use crate::{
    connection::{Connection, Outgoing, Sender},
    error::RecvError,
    time::Time,
};
use ::tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Instant, Sleep, sleep_until},
};
use bytes::Buf;
use std::{
    future::poll_fn,
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

/// The most slices given to one vectored write.
const SLICES: usize = 32;

#[inline(always)]
pub(super) fn poll_read<S: AsyncRead + Unpin>(
    io: &mut S,
    spare: &mut [u8],
    cx: &mut Context<'_>,
) -> Poll<io::Result<usize>> {
    let mut buf = ReadBuf::new(spare);
    match ready!(Pin::new(io).poll_read(cx, &mut buf)) {
        Ok(()) => Poll::Ready(Ok(buf.filled().len())),
        Err(error) => failed(error, cx),
    }
}

/// An error of the stream, which is none where it was only interrupted: then it is asked again.
#[cold]
fn failed<T>(error: io::Error, cx: &Context<'_>) -> Poll<io::Result<T>> {
    if error.kind() == io::ErrorKind::Interrupted {
        cx.waker().wake_by_ref();
        return Poll::Pending;
    }
    Poll::Ready(Err(error))
}

/// Flushes the stream.
#[inline]
pub(super) fn poll_flush<S: AsyncWrite + Unpin>(
    io: &mut S,
    cx: &mut Context<'_>,
) -> Poll<io::Result<()>> {
    match Pin::new(io).poll_flush(cx) {
        Poll::Ready(Err(error)) => failed(error, cx),
        flushed => flushed,
    }
}

/// Writes until nothing is left, then flushes. What the stream took is forgotten at once. `dirty`:
/// it took something since it was last flushed.
#[inline]
pub(super) fn poll_write<S: AsyncWrite + Unpin>(
    io: &mut S,
    tx: &mut Sender,
    dirty: &mut bool,
    cx: &mut Context<'_>,
) -> Poll<io::Result<()>> {
    loop {
        let mut out = tx.outgoing();
        if !out.has_remaining() {
            break;
        }
        let n = ready!(poll_write_once(io, &out, usize::MAX, cx))?;
        out.advance(n);
        *dirty = true;
    }
    if *dirty {
        let flushed = poll_flush(io, cx);
        tx.unflushed(flushed.is_pending());
        ready!(flushed)?;
        *dirty = false;
    }
    Poll::Ready(Ok(()))
}

/// One write, of about `most` bytes.
#[inline]
pub(super) fn poll_write_once<S: AsyncWrite + Unpin>(
    io: &mut S,
    out: &Outgoing<'_>,
    most: usize,
    cx: &mut Context<'_>,
) -> Poll<io::Result<usize>> {
    let io = Pin::new(io);
    let written = match out.single() {
        Some(bytes) => io.poll_write(cx, bytes.get(..most).unwrap_or(bytes)),
        None => {
            let mut slices = [IoSlice::new(&[]); SLICES];
            let filled = out.chunks_vectored(&mut slices);
            io.poll_write_vectored(cx, slices.get(..filled).unwrap_or_default())
        }
    };
    outcome(ready!(written), cx)
}

#[inline]
fn outcome(written: io::Result<usize>, cx: &Context<'_>) -> Poll<io::Result<usize>> {
    match written {
        Ok(0) => Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
        Ok(n) => Poll::Ready(Ok(n)),
        Err(error) => failed(error, cx),
    }
}

/// One write of bytes.
pub(super) fn poll_write_slice<S: AsyncWrite + Unpin>(
    io: &mut S,
    bytes: &[u8],
    cx: &mut Context<'_>,
) -> Poll<io::Result<usize>> {
    outcome(ready!(Pin::new(io).poll_write(cx, bytes)), cx)
}

/// Writes all of `bytes`.
pub(super) async fn write_all<S: AsyncWrite + Unpin>(io: &mut S, bytes: &[u8]) -> io::Result<()> {
    let mut rest = bytes;
    while !rest.is_empty() {
        let n = poll_fn(|cx| poll_write_slice(io, rest, cx)).await?;
        rest = rest.get(n..).unwrap_or_default();
    }
    poll_fn(|cx| poll_flush(io, cx)).await
}

/// What has deadlines.
pub(super) trait Deadlines {
    /// When the next one is.
    fn next(&mut self) -> Option<Time>;
    /// Tells the time.
    fn tell(&mut self, now: Time) -> Result<(), RecvError>;
    /// Whether something is to be written.
    fn writes(&mut self) -> bool;
    /// Whether something was received since the heartbeat last asked.
    fn heard(&mut self) -> bool;
}

impl Deadlines for Connection {
    fn next(&mut self) -> Option<Time> {
        self.poll_timeout()
    }
    fn tell(&mut self, now: Time) -> Result<(), RecvError> {
        self.handle_timeout(now)
    }
    fn writes(&mut self) -> bool {
        self.sender().has_outgoing()
    }
    fn heard(&mut self) -> bool {
        self.receiver().heard()
    }
}

/// A clock, and a sleep until the next deadline, made when one is first armed.
#[derive(Debug)]
pub(super) struct Alarm {
    epoch: Instant,
    sleep: Option<Pin<Box<Sleep>>>,
    /// A deadline that passed when there was nothing left to receive that could show it.
    error: Option<RecvError>,
}

impl Alarm {
    pub(super) fn new() -> Self {
        Self { epoch: Instant::now(), sleep: None, error: None }
    }

    /// Another one, of the same clock.
    pub(super) fn twin(&self) -> Self {
        Self { epoch: self.epoch, ..Self::new() }
    }

    pub(super) fn now(&self) -> Time {
        Time::new(self.epoch.elapsed())
    }

    /// A deadline that passed when the peer had closed already.
    pub(super) fn error(&self) -> Option<RecvError> {
        self.error
    }

    /// Waits for the next deadline. `Ready` when one has passed that changed something.
    #[inline]
    pub(super) fn poll(&mut self, of: &mut impl Deadlines, cx: &mut Context<'_>) -> Poll<()> {
        match of.next() {
            None => Poll::Pending,
            Some(at) => self.poll_until(at, of, cx),
        }
    }

    #[inline(never)]
    fn poll_until(
        &mut self,
        mut at: Time,
        of: &mut impl Deadlines,
        cx: &mut Context<'_>,
    ) -> Poll<()> {
        loop {
            let now = self.now();
            if at > now {
                ready!(self.poll_sleep(at.since_epoch(), cx));
            } else {
                // A task that used up its budget cannot read: that nothing came means nothing then.
                // The timer shares the budget.
                if at > Time::ZERO && !of.heard() {
                    ready!(self.poll_sleep(at.since_epoch(), cx));
                }
                let wrote = of.writes();
                if let Err(error) = of.tell(now) {
                    self.error = Some(error);
                    return Poll::Ready(());
                }
                if !wrote && of.writes() {
                    return Poll::Ready(());
                }
            }
            match of.next() {
                None => return Poll::Ready(()), // a phase has ended
                Some(next) => at = next,
            }
        }
    }

    fn poll_sleep(&mut self, after: Duration, cx: &mut Context<'_>) -> Poll<()> {
        // Farther than that tokio cannot sleep; waking up once in a while does no harm.
        let after = after.min(self.epoch.elapsed() + Duration::from_secs(365 * 24 * 60 * 60));
        let at = self.epoch + after;
        let sleep = self.sleep.get_or_insert_with(|| Box::pin(sleep_until(at)));
        if sleep.deadline() != at {
            sleep.as_mut().reset(at);
        }
        sleep.as_mut().poll(cx)
    }
}
