//! Streams that can do less than a socket, or more.
mod blocking;
#[cfg(feature = "tokio")]
mod buffered;
#[cfg(all(unix, feature = "tokio", feature = "futures"))]
mod everywhere;
#[cfg(feature = "tokio")]
mod holding;
