//! What comes in one read, and what leaves in one write.
mod blocking;
mod over_sockets;
#[cfg(feature = "tokio")]
mod tokio;
