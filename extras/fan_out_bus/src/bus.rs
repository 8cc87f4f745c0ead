//! A broker, as the rest of the program sees it.
//!
//! A process has one connection to the broker, and a second one while it reads the log. A
//! connection ends with its first error. [`follow`](crate::follow) and [`replay`](crate::replay)
//! make the next connection: nothing here connects again by itself.
use crate::protocol::Place;
use futures_util::Stream;
use std::{error::Error, future::Future, io, sync::Arc, time::Duration};
use tickwire::SystemEntropy;
use tickwire_parts::Backoff;
use tokio::time::timeout;

/// An error of the broker or of its client library.
pub type Failure = Box<dyn Error + Send + Sync>;

pub type Result<T> = std::result::Result<T, Failure>;

/// How long a broker may take to answer.
pub const PATIENCE: Duration = Duration::from_secs(3);

pub trait Bus: Clone {
    /// The name of the broker, for people.
    const NAME: &'static str;
    type Link: Link;

    /// Connects. Returns the connection, and the stream of what arrives on its subscriptions.
    async fn connect(&self) -> Result<(Self::Link, impl Stream<Item = Result<Arrived>>)>;
}

pub trait Link {
    /// Returns an error if the broker does not answer.
    async fn ping(&mut self) -> Result<()>;

    /// Subscribes to all these channels, and returns where each subscription began. No message of
    /// these channels arrives before this call has returned. Without a log, all subscriptions begin
    /// now.
    async fn subscribe(&mut self, channels: &[(Arc<str>, Start)]) -> Result<Vec<Began>>;

    async fn unsubscribe(&mut self, channels: &[Arc<str>]) -> Result<()>;

    /// Reads a page of a channel's log, beginning with the first message after number `after`.
    async fn read(&self, _channel: &str, _after: u64) -> Result<Page<Vec<u8>>> {
        Err(io::Error::from(io::ErrorKind::Unsupported).into()) // nothing is kept
    }
}

/// A message that arrived on a subscription.
pub struct Arrived {
    pub channel: Arc<str>,
    pub payload: Vec<u8>,
    /// The message's number in the log. `None` if the broker keeps no log.
    pub at: Option<u64>,
    /// The broker has more messages of the channel, which come next.
    pub more: bool,
}

/// Where a subscription is to begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// With the channel's newest message.
    Newest,
    /// With the messages of the last 45 s, because several subscribers come back after an outage.
    Recent,
    /// After this place.
    Behind(Place),
}

/// Where a subscription began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Began {
    /// Every message after this place comes. `None` if the broker has no log.
    pub place: Option<Place>,
    /// Whether `place` is the place that was asked for, and no message after it has been deleted.
    pub whole: bool,
    /// The log's last number.
    pub end: u64,
    /// Whether messages up to `end` are about to come.
    pub more: bool,
}

impl Began {
    pub const NO_LOG: Self = Self { place: None, whole: false, end: 0, more: false };
}

/// All messages of a channel, with their numbers, after number `after` and up to `end`.
pub struct Page<M> {
    pub log: u64,
    /// The numbers of the first and the last message that the log keeps, of any channel.
    pub first: u64,
    pub last: u64,
    pub after: u64,
    pub end: u64,
    pub messages: Vec<(u64, M)>,
}

/// Delays between attempts to reach the broker. Short, because all subscribers wait for it.
pub fn backoff() -> io::Result<Backoff> {
    let mut backoff = Backoff::new(SystemEntropy::new()?);
    backoff.first_delay = Duration::from_millis(50);
    backoff.max_delay = Duration::from_secs(2);
    Ok(backoff)
}

pub fn broken() -> Failure {
    io::Error::from(io::ErrorKind::ConnectionAborted).into()
}

/// Waits for the broker's answer, at most for `PATIENCE`.
pub async fn answer<T, E: Into<Failure>>(
    asked: impl Future<Output = std::result::Result<T, E>>,
) -> Result<T> {
    match timeout(PATIENCE, asked).await {
        Ok(answer) => answer.map_err(Into::into),
        Err(_) => Err(io::Error::from(io::ErrorKind::TimedOut).into()),
    }
}
