//! Futures dropped wherever they wait.
#[cfg(all(feature = "std", not(miri)))]
mod over_sockets;
