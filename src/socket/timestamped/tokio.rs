//! [`Timestamped`] streams of tokio, whole and split.
use super::{Timestamped, kernel};
use crate::proto::message::Arrival;
use ::tokio::{
    io::{AsyncRead, AsyncWrite, Interest, ReadBuf},
    net::{
        TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
};
use std::{
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll, ready},
};

impl Timestamped<TcpStream> {
    /// Splits the stream into halves that share no lock, for `into_split_with` of a
    /// [`WebSocket`](crate::tokio::WebSocket). Feature `tokio`.
    pub fn into_split(self) -> (Timestamped<OwnedReadHalf>, OwnedWriteHalf) {
        let on = self.on;
        let (read, write) = self.io.into_split();
        (Timestamped::wrap(read, on), write)
    }
}

/// Reads, and clears tokio's readiness in the same cases as tokio's own reads do. A read that
/// returns bytes but does not fill `buf` has emptied the socket. After such a read, the readiness
/// is cleared, so that the next read waits without a system call that would find nothing. To clear
/// it, the closure of `try_io` returns `WouldBlock`. If the readiness were cleared after `try_io`,
/// an arrival in between would be lost.
fn poll(
    tcp: &TcpStream,
    cx: &mut Context<'_>,
    buf: &mut ReadBuf<'_>,
) -> Poll<io::Result<(usize, Option<Arrival>)>> {
    let room = buf.initialize_unfilled();
    loop {
        ready!(tcp.poll_read_ready(cx))?;
        let mut done = None;
        let tried = tcp.try_io(Interest::READABLE, || {
            let (n, arrived) = kernel::read(tcp, room, true)?;
            done = Some((n, arrived));
            if n > 0 && n < room.len() { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(()) }
        });
        match (done, tried) {
            (Some(done), _) => {
                buf.advance(done.0);
                return Poll::Ready(Ok(done));
            }
            (None, Err(error)) if error.kind() != io::ErrorKind::WouldBlock => {
                return Poll::Ready(Err(error));
            }
            (None, _) => {}
        }
    }
}

macro_rules! reads {
    ($stream:ty, $io:ident => $tcp:expr) => {
        impl AsyncRead for Timestamped<$stream> {
            #[inline]
            fn poll_read(
                mut self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                buf: &mut ReadBuf<'_>,
            ) -> Poll<io::Result<()>> {
                if !self.on {
                    return Pin::new(&mut self.io).poll_read(cx, buf);
                }
                let $io = &self.io;
                let read = ready!(poll($tcp, cx, buf))?;
                self.note(read);
                Poll::Ready(Ok(()))
            }
        }
    };
}

reads!(TcpStream, io => io);
reads!(OwnedReadHalf, io => io.as_ref());

impl<S: AsyncWrite + Unpin> AsyncWrite for Timestamped<S> {
    #[inline]
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    #[inline]
    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
