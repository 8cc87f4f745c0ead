//! A broker, as the rest of the program sees it.
//!
//! A process has one connection, and a second one while it reads the log. A connection ends with
//! its first error. [`follow`](crate::follow) and [`replay`](crate::replay) make the next one:
//! nothing here connects again by itself.
use crate::protocol::Place;
use futures_util::Stream;
use std::{error::Error, future::Future, io, sync::Arc, time::Duration};
use tickwire::SystemEntropy;
use tickwire_parts::Backoff;
use tokio::time::timeout;

/// What a broker or its client library says is wrong.
pub type Failure = Box<dyn Error + Send + Sync>;

pub type Result<T> = std::result::Result<T, Failure>;

/// How long a broker may take to answer.
pub const PATIENCE: Duration = Duration::from_secs(3);

pub trait Bus: Clone {
    /// As people know it.
    const NAME: &'static str;
    type Link: Link;

    /// A connection, and what comes on its subscriptions, to its end.
    async fn connect(&self) -> Result<(Self::Link, impl Stream<Item = Result<Arrived>>)>;
}

pub trait Link {
    /// Whether the broker is there.
    async fn ping(&mut self) -> Result<()>;

    /// Subscribes to all, and says where each began. Nothing of them arrives before the task that
    /// called this has seen it return. Without a log all begin now.
    async fn subscribe(&mut self, channels: &[(Arc<str>, Start)]) -> Result<Vec<Began>>;

    async fn unsubscribe(&mut self, channels: &[Arc<str>]) -> Result<()>;

    /// Part of what is kept of a channel, from the first behind number `after` on.
    async fn read(&self, _channel: &str, _after: u64) -> Result<Page<Vec<u8>>> {
        Err(io::Error::from(io::ErrorKind::Unsupported).into()) // nothing is kept
    }
}

/// What came on a subscription.
pub struct Arrived {
    pub channel: Arc<str>,
    pub payload: Vec<u8>,
    /// Its number in the log; `None`: the broker keeps none.
    pub at: Option<u64>,
    /// The broker has more messages of the channel, which come next.
    pub more: bool,
}

/// Where a subscription is to begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// With the channel's newest message.
    Newest,
    /// With the messages of a usual outage: several subscribers come back after one.
    Recent,
    /// Behind a place.
    Behind(Place),
}

/// Where a subscription began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Began {
    /// Every message behind it comes; `None`: the broker has no log.
    pub place: Option<Place>,
    /// It is the place that was asked for, and nothing behind it has been deleted.
    pub whole: bool,
    /// The log's last number.
    pub end: u64,
    /// Messages up to there are about to come.
    pub more: bool,
}

impl Began {
    pub const NO_LOG: Self = Self { place: None, whole: false, end: 0, more: false };
}

/// All messages of a channel that the log has behind `after` and up to `end`, with their numbers.
pub struct Page<M> {
    pub log: u64,
    /// The numbers of the first and the last message that the log keeps, of any channel.
    pub first: u64,
    pub last: u64,
    pub after: u64,
    pub end: u64,
    pub messages: Vec<(u64, M)>,
}

/// Delays between attempts to reach the broker: short, since all that our subscribers see is at
/// stake.
pub fn backoff() -> io::Result<Backoff> {
    let mut backoff = Backoff::new(SystemEntropy::new()?);
    backoff.first_delay = Duration::from_millis(50);
    backoff.max_delay = Duration::from_secs(2);
    Ok(backoff)
}

pub fn broken() -> Failure {
    io::Error::from(io::ErrorKind::ConnectionAborted).into()
}

/// A broker has to answer in time.
pub async fn answer<T, E: Into<Failure>>(
    asked: impl Future<Output = std::result::Result<T, E>>,
) -> Result<T> {
    match timeout(PATIENCE, asked).await {
        Ok(answer) => answer.map_err(Into::into),
        Err(_) => Err(io::Error::from(io::ErrorKind::TimedOut).into()),
    }
}
