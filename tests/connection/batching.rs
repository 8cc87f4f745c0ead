//! What comes in one read, and what leaves in one write.
#[cfg(all(feature = "std", not(miri)))]
mod over_sockets;
