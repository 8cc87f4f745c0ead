//! Futures dropped wherever they wait.
mod over_sockets;
mod tokio;
