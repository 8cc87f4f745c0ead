//! What is read, how much at once, and where it lies until it is handed out.
mod buffers;
mod busy_loops;
mod chunks;
mod read_sizes;
mod reads;
#[cfg(all(feature = "tokio", not(miri)))]
mod share;
mod zero_copy;
