//! The two halves of a stream. `futures-io` has no types for halves.
//!
//! Each half locks the stream for one call. A call never waits for the stream, so a half need not
//! wake the other half when it unlocks the stream. Two tasks may wait for the two halves at the
//! same time, because the stream keeps one waker for reading and one for writing. (The contracts of
//! `AsyncRead` and `AsyncWrite` ask for both wakers.)
use crate::drive::sync::{Mutex, lock};
use ::futures_io::{AsyncRead, AsyncWrite};
use std::{
    io::{self, IoSlice},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

/// The reading half of a stream: see [`into_split`](super::WebSocket::into_split).
#[derive(Debug)]
pub struct ReadHalf<S>(Arc<Mutex<S>>);

/// The writing half of a stream: see [`into_split`](super::WebSocket::into_split).
#[derive(Debug)]
pub struct WriteHalf<S>(Arc<Mutex<S>>);

pub(super) fn split<S>(stream: S) -> (ReadHalf<S>, WriteHalf<S>) {
    let shared = Arc::new(Mutex::new(stream));
    (ReadHalf(shared.clone()), WriteHalf(shared))
}

/// Locks the stream, and makes one call. A panic in a call does not prevent later calls.
fn with<S: Unpin, T>(stream: &Mutex<S>, call: impl FnOnce(Pin<&mut S>) -> T) -> T {
    call(Pin::new(&mut *lock(stream)))
}

impl<S: AsyncRead + Unpin> AsyncRead for ReadHalf<S> {
    #[inline]
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        with(&self.0, |stream| stream.poll_read(cx, buf))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for WriteHalf<S> {
    #[inline]
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        with(&self.0, |stream| stream.poll_write(cx, buf))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        with(&self.0, |stream| stream.poll_write_vectored(cx, bufs))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        with(&self.0, |stream| stream.poll_flush(cx))
    }

    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        with(&self.0, |stream| stream.poll_close(cx))
    }
}
