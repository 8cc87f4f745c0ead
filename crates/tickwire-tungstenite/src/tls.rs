pub use crate::tungstenite::Connector;
use crate::{
    WebSocketStream, client_async_with_config,
    tungstenite::{
        error::Result,
        handshake::client::{Request, Response},
        protocol::WebSocketConfig,
        tls::Setup,
    },
};
use std::{
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll},
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
#[cfg(feature = "__rustls-tls")]
use {
    crate::tungstenite::{client::IntoClientRequest, tls::setup},
    tokio_rustls::TlsConnector,
};

#[cfg(feature = "__rustls-tls")]
type Tls<S> = tokio_rustls::client::TlsStream<S>;

/// A stream, perhaps with TLS.
#[non_exhaustive]
#[derive(Debug)]
#[allow(clippy::large_enum_variant)] // as in tungstenite's API
pub enum MaybeTlsStream<S> {
    /// A stream without TLS.
    Plain(S),
    /// A stream inside TLS, by rustls.
    #[cfg(feature = "__rustls-tls")]
    Rustls(Tls<S>),
}

impl<S> MaybeTlsStream<S> {
    /// The stream below TLS.
    pub fn get_ref(&self) -> &S {
        match self {
            Self::Plain(stream) => stream,
            #[cfg(feature = "__rustls-tls")]
            Self::Rustls(stream) => stream.get_ref().0,
        }
    }
}

macro_rules! either {
    ($self:ident.$method:ident($($argument:expr),*)) => {
        match $self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).$method($($argument),*),
            #[cfg(feature = "__rustls-tls")]
            Self::Rustls(stream) => Pin::new(stream).$method($($argument),*),
        }
    };
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for MaybeTlsStream<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        either!(self.poll_read(cx, buf))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for MaybeTlsStream<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        either!(self.poll_write(cx, buf))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        either!(self.poll_write_vectored(cx, bufs))
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Plain(stream) => stream.is_write_vectored(),
            #[cfg(feature = "__rustls-tls")]
            Self::Rustls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        either!(self.poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        either!(self.poll_shutdown(cx))
    }
}

/// Does TLS if the URL asks for it, then the opening handshake. Needs one of the features
/// `rustls-tls-*`, whose roots it trusts.
///
/// # Errors
///
/// The errors of TLS, and of [`client_async`](crate::client_async).
#[cfg(feature = "__rustls-tls")]
pub async fn client_async_tls<R, S>(
    request: R,
    stream: S,
) -> Result<(WebSocketStream<MaybeTlsStream<S>>, Response)>
where
    R: IntoClientRequest + Unpin,
    S: 'static + AsyncRead + AsyncWrite + Send + Unpin,
{
    client_async_tls_with_config(request, stream, None, None).await
}

/// [`client_async_tls`] with configurations for the connection and for TLS.
///
/// # Errors
///
/// As [`client_async_tls`].
#[cfg(feature = "__rustls-tls")]
pub async fn client_async_tls_with_config<R, S>(
    request: R,
    stream: S,
    config: Option<WebSocketConfig>,
    connector: Option<Connector>,
) -> Result<(WebSocketStream<MaybeTlsStream<S>>, Response)>
where
    R: IntoClientRequest + Unpin,
    S: 'static + AsyncRead + AsyncWrite + Send + Unpin,
{
    let request = request.into_client_request()?;
    let tls = setup(request.uri(), connector)?;
    client(request, stream, config, tls).await
}

#[allow(dead_code)] // without `connect` and without TLS nobody calls it
pub(crate) async fn client<S: AsyncRead + AsyncWrite + Unpin>(
    request: Request,
    stream: S,
    config: Option<WebSocketConfig>,
    tls: Option<Setup>,
) -> Result<(WebSocketStream<MaybeTlsStream<S>>, Response)> {
    let stream = match tls {
        None => MaybeTlsStream::Plain(stream),
        #[cfg(feature = "__rustls-tls")]
        Some((name, config)) => {
            MaybeTlsStream::Rustls(TlsConnector::from(config).connect(name, stream).await?)
        }
    };
    client_async_with_config(request, stream, config).await
}
