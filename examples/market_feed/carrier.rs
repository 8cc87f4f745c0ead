//! What the ways to carry the feed have in common.
use crate::{
    BoxError,
    feed::{Encoded, Feed},
    subscriber::{Stats, Tally},
};
use std::{
    net::{SocketAddr, TcpListener},
    sync::Arc,
    time::Duration,
};

/// A way to carry the feed: WebSocket or bare TCP. Each call has its own thread.
pub(crate) trait Carrier {
    /// A tick, encoded once for all.
    type Tick: Encoded;

    /// How subscribers call a server.
    fn target(address: SocketAddr) -> String;

    /// Serves until the feed has ended, and with it the last session.
    fn serve(listener: TcpListener, feed: Feed<Self::Tick>) -> Result<(), BoxError>;

    /// Subscribes `clients` times, until the server ends the feed or `limit` has passed.
    fn subscribe(
        target: &str,
        clients: usize,
        limit: Option<Duration>,
        tally: Arc<Tally>,
    ) -> Result<Stats, BoxError>;
}
