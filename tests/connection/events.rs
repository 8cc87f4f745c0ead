//! What a handler may do while it looks at an event.
#[cfg(all(feature = "std", not(miri)))]
mod over_sockets;
