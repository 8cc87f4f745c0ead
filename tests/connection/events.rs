//! What a handler may do while it looks at an event.
#[cfg(all(feature = "blocking", not(miri)))]
mod over_sockets;
