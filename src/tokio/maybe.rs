#[cfg(feature = "rustls")]
use super::TlsStream;
use crate::{
    error::Error,
    proto::url::Target,
    tls::{
        Client,
        layers::{inner, maybe_tls},
    },
};
use ::tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};
use std::{
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll},
};

maybe_tls! {
    /// The stream of a connection made by [`connect`](crate::tokio::connect). Its lowest layer is
    /// TCP, or the stream `S` of the connector given to
    /// [`connect_with`](crate::Dial::connect_with). Above it is TLS to the proxy if the proxy's URL
    /// asks for TLS, then TLS to the server if the server's URL asks for TLS.
    ///
    /// `into_split` puts a lock around the stream. Over plain TCP, the halves need no lock if you
    /// dial the TCP stream yourself, and then use [`client`](fn@crate::tokio::client) and
    /// `into_split_with(TcpStream::into_split)`.
    [AsyncRead + AsyncWrite + Unpin]
}

#[cfg(feature = "rustls")]
impl<S: AsyncRead + AsyncWrite + Unpin> MaybeTls<S> {
    /// The TLS session with the server, if the URL is `wss`. Feature `rustls`.
    pub fn session(&self) -> Option<&crate::tls::Session> {
        match &self.0 {
            Layers::Tls(tls, true) => Some(tls.session()),
            _ => None,
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for MaybeTls<S> {
    #[inline]
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        inner!(&mut self.0, stream => Pin::new(stream).poll_read(cx, buf))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for MaybeTls<S> {
    #[inline]
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        inner!(&mut self.0, stream => Pin::new(stream).poll_write(cx, buf))
    }

    #[inline]
    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        inner!(&mut self.0, stream => Pin::new(stream).poll_write_vectored(cx, bufs))
    }

    fn is_write_vectored(&self) -> bool {
        inner!(&self.0, stream => stream.is_write_vectored())
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        inner!(&mut self.0, stream => Pin::new(stream).poll_flush(cx))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        inner!(&mut self.0, stream => Pin::new(stream).poll_shutdown(cx))
    }
}
