//! Stands in for TLS if the feature `rustls` is off. The type of the configuration has no values,
//! so no TLS stream is ever made.
pub(crate) mod maybe;

use crate::proto::url::Target;
use std::io;

#[derive(Clone, Debug)]
pub(crate) enum Client {}

pub(crate) fn default_client() -> io::Result<Option<Client>> {
    Ok(None)
}

/// Stands in for the TLS streams of both adapters.
pub(crate) mod stream {
    use super::{Client, Target, io};

    pub(crate) type TlsStream<S> = S;

    pub(crate) fn client<S>(
        _: S,
        _: &Target,
        config: Client,
        _: &[u8],
    ) -> io::Result<TlsStream<S>> {
        match config {}
    }

    pub(crate) fn below<S>(stream: &TlsStream<S>) -> &S {
        stream
    }
}
pub(crate) use stream as blocking;
#[cfg(feature = "tokio")]
pub(crate) use stream as tokio;
