//! Streams that a task polls, of which a test says only what is special.
use std::{
    io::{self, IoSlice},
    task::{Context, Poll},
};
use tokio::io::ReadBuf;

/// The calls of tokio's `AsyncRead` and `AsyncWrite`, without `Pin`. Unless it says otherwise, a
/// stream gives nothing, and all that it took is written.
pub trait Polled: Unpin {
    fn poll_read(&mut self, _: &mut Context<'_>, _: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Poll::Pending
    }
    fn poll_write(&mut self, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>>;
    /// As the default of tokio has it.
    fn poll_write_vectored(
        &mut self,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.poll_write(cx, bufs.iter().find(|b| !b.is_empty()).map_or(&[][..], |b| &**b))
    }
    fn is_write_vectored(&self) -> bool {
        false
    }
    fn poll_flush(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
    fn poll_shutdown(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// `AsyncRead` and `AsyncWrite` of tokio or of futures-io, for a stream that is [`Polled`].
macro_rules! polled {
    (tokio: $io:ty $(, $param:ident: $($bound:tt)+)?) => {
        impl$(<$param: $($bound)+>)? ::tokio::io::AsyncRead for $io {
            fn poll_read(
                mut self: std::pin::Pin<&mut Self>,
                cx: &mut std::task::Context<'_>,
                buf: &mut ::tokio::io::ReadBuf<'_>,
            ) -> std::task::Poll<std::io::Result<()>> {
                $crate::support::polled::Polled::poll_read(&mut *self, cx, buf)
            }
        }
        impl$(<$param: $($bound)+>)? ::tokio::io::AsyncWrite for $io {
            $crate::support::polled::polled!(poll_shutdown);
            fn is_write_vectored(&self) -> bool {
                $crate::support::polled::Polled::is_write_vectored(self)
            }
        }
    };
    (futures: $io:ty $(, $param:ident: $($bound:tt)+)?) => {
        impl$(<$param: $($bound)+>)? ::futures_io::AsyncRead for $io {
            fn poll_read(
                mut self: std::pin::Pin<&mut Self>,
                cx: &mut std::task::Context<'_>,
                buf: &mut [u8],
            ) -> std::task::Poll<std::io::Result<usize>> {
                let mut buf = ::tokio::io::ReadBuf::new(buf);
                let read = $crate::support::polled::Polled::poll_read(&mut *self, cx, &mut buf);
                read.map_ok(|()| buf.filled().len())
            }
        }
        impl$(<$param: $($bound)+>)? ::futures_io::AsyncWrite for $io {
            $crate::support::polled::polled!(poll_close);
        }
    };
    ($shutdown:ident) => {
        fn poll_write(
            mut self: std::pin::Pin<&mut Self>,
            cx: &mut std::task::Context<'_>,
            buf: &[u8],
        ) -> std::task::Poll<std::io::Result<usize>> {
            $crate::support::polled::Polled::poll_write(&mut *self, cx, buf)
        }
        fn poll_write_vectored(
            mut self: std::pin::Pin<&mut Self>,
            cx: &mut std::task::Context<'_>,
            bufs: &[std::io::IoSlice<'_>],
        ) -> std::task::Poll<std::io::Result<usize>> {
            $crate::support::polled::Polled::poll_write_vectored(&mut *self, cx, bufs)
        }
        fn poll_flush(
            mut self: std::pin::Pin<&mut Self>,
            cx: &mut std::task::Context<'_>,
        ) -> std::task::Poll<std::io::Result<()>> {
            $crate::support::polled::Polled::poll_flush(&mut *self, cx)
        }
        fn $shutdown(
            mut self: std::pin::Pin<&mut Self>,
            cx: &mut std::task::Context<'_>,
        ) -> std::task::Poll<std::io::Result<()>> {
            $crate::support::polled::Polled::poll_shutdown(&mut *self, cx)
        }
    };
}
pub(crate) use polled;
