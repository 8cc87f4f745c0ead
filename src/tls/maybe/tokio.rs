//! What tokio's `connect` gives a connection to read and write.
use super::{Maybe, inner};
use crate::{
    drive::Error,
    proto::url::Target,
    tls::{
        Client,
        tokio::{TlsStream, below, client},
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

/// The stream of a connection made by [`connect`](crate::tokio::connect): TCP, with TLS around it
/// where the URL asks for that.
///
/// `into_split` puts a lock around it. For two halves without a lock, over plain TCP, dial yourself and
/// use [`client`](fn@crate::tokio::client) and `into_split_with(TcpStream::into_split)`.
#[derive(Debug)]
pub struct MaybeTls(Maybe<TcpStream, TlsStream<TcpStream>>);

impl MaybeTls {
    /// Puts TLS around a stream to the target, if there is a configuration for it.
    pub(crate) fn new(tcp: TcpStream, to: &Target, tls: Option<Client>) -> Result<Self, Error> {
        Ok(Self(match tls {
            None => Maybe::Plain(tcp),
            Some(tls) => Maybe::Tls(client(tcp, to, tls)?),
        }))
    }

    /// The TCP stream, below TLS if there is any.
    pub fn tcp(&self) -> &TcpStream {
        self.0.tcp(below)
    }

    /// TLS, if there is any. Feature `rustls`.
    #[cfg(feature = "rustls")]
    pub fn tls(&self) -> Option<&TlsStream<TcpStream>> {
        self.0.tls()
    }
}

impl AsyncRead for MaybeTls {
    #[inline]
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        inner!(&mut self.0, stream => Pin::new(stream).poll_read(cx, buf))
    }
}

impl AsyncWrite for MaybeTls {
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
