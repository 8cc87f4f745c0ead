//! `Stream` and `Sink`, of a connection and of its events.
#[cfg(unix)]
mod everywhere;
mod tokio;
