//! What is said to many subscribers, while they come, go and stop reading.
#[cfg(all(feature = "std", not(miri)))]
mod over_sockets;
