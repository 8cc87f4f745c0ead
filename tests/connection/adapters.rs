//! What an adapter has to do once there is a connection: over each adapter, whole and split, and
//! what only one has.
mod blocking;
#[cfg(all(unix, feature = "tokio", feature = "futures"))]
mod endings;
#[cfg(all(unix, feature = "tokio", feature = "futures"))]
mod futures_io;
#[cfg(all(unix, feature = "tokio", feature = "futures"))]
mod leaving;
#[cfg(all(unix, feature = "tokio", feature = "futures"))]
mod messages;
mod odd_streams;
#[cfg(feature = "tokio")]
mod tokio;
