//! What a client of a feed does again after each connect, and what its application hears.
use std::time::Duration;
use tickwire::{Config, Error, Message, handshake::client::Request};

/// How long a connection has to be open before a message proves it useful.
pub(crate) const PROVEN: Duration = Duration::from_secs(5);

/// All that is to be said to the server, each time: it has forgotten us.
pub(crate) struct Subscription {
    pub(crate) request: Request,
    pub(crate) config: Config,
    pub(crate) token: String,
    pub(crate) topics: Vec<String>,
}

/// The application.
pub(crate) trait Feed {
    fn message(&mut self, message: Message<'_>);

    /// There is a hole in the feed: what was sent between the last message and the next one is
    /// missing. Whoever keeps state from it (a book, a position) asks for a snapshot, or shows it
    /// as old. `ended` is the code of the server's Close, or the error; `delay`, how long until the
    /// next attempt.
    ///
    /// What was *sent* and not answered may have arrived or not, and nobody here sends it again: an
    /// order could be executed twice. The example `ack` shows what it takes to know.
    fn gap(&mut self, ended: &Result<u16, Error>, delay: Duration);
}
