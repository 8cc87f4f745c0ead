//! io_uring for loops of their own: this server's, and that of `feed_handler`.
#[cfg(target_os = "linux")]
pub mod ring;
