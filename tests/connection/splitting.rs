//! Two halves of a connection.
mod blocking;
#[cfg(feature = "tokio")]
mod stress;
#[cfg(feature = "tokio")]
mod tokio;
