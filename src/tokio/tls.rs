//! TLS over a tokio stream.
use crate::{drive::Error, proto::url::Target, tls::Client};
use ::tokio::io::{AsyncRead, AsyncWrite};

pub use tickwire_tls::tokio::TlsStream;

/// Makes a client's TLS stream. `ahead` has the bytes that were read from the stream before.
pub(crate) fn client<S: AsyncRead + AsyncWrite + Unpin>(
    io: S,
    target: &Target,
    config: Client,
    ahead: &[u8],
) -> Result<TlsStream<S>, Error> {
    let mut stream = TlsStream::client(io, target, config)?;
    stream.begin_with(ahead);
    Ok(stream)
}
