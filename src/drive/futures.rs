//! The state of a `Stream` and a `Sink`: empty without the feature `futures`.
#[cfg(feature = "futures")]
pub(crate) use super::task::streams::Streams;

#[cfg(not(feature = "futures"))]
#[derive(Debug, Default)]
pub(crate) struct Streams {}
