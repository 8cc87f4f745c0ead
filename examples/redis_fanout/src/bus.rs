//! The subscriptions of this process at Redis: one connection, which comes back.
//!
//! Redis is asked for what the [hub](crate::hub) wants, in batches, one at a time, so that a
//! confirmation is always that of what was asked last. What comes is handed over as it comes. When the
//! connection breaks, or a PING is not answered, all is asked for again on the next one.
use crate::{hub::Hub, options::Prefix};
use futures_util::StreamExt;
use redis::{
    Client, RedisError,
    aio::{PubSubSink, PubSubStream},
};
use std::{
    collections::HashSet, convert::Infallible, future::Future, io, sync::Arc, time::Duration,
};
use tickwire::{Backoff, Time};
use tokio::time::{Instant, sleep, timeout};

/// How long Redis may take to answer.
pub const PATIENCE: Duration = Duration::from_secs(3);

/// How often Redis is asked whether it is there, when there is nothing else to ask.
const PING_EVERY: Duration = Duration::from_secs(3);

/// So many channels in one SUBSCRIBE.
const BATCH: usize = 1000;

/// Delays between attempts to reach Redis: short, since all that our subscribers see is at stake.
pub fn backoff() -> io::Result<Backoff> {
    let mut backoff = Backoff::new()?;
    backoff.first_delay = Duration::from_millis(50);
    backoff.max_delay = Duration::from_secs(2);
    Ok(backoff)
}

pub struct Bus {
    pub client: Client,
    pub prefix: Prefix,
    pub hub: Arc<Hub>,
    pub epoch: Instant,
}

impl Bus {
    /// Does not end.
    pub async fn run(self, mut backoff: Backoff) {
        loop {
            let Err(error) = self.follow(&mut backoff).await;
            self.hub.lost(self.now());
            let Some(delay) = backoff.next() else { return };
            eprintln!("redis: {error}; again in {} ms", delay.as_millis());
            sleep(delay).await;
        }
    }

    /// One connection, to its end.
    async fn follow(&self, backoff: &mut Backoff) -> Result<Infallible, RedisError> {
        let (sink, stream) = answer(self.client.get_async_pubsub()).await?.split();
        tokio::select! {
            ended = self.subscribe(sink, backoff) => ended,
            () = self.receive(stream) => Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()),
        }
    }

    /// Hands over what comes until the connection ends. It never waits for anything else: what
    /// the client library holds for us has no bound.
    async fn receive(&self, mut stream: PubSubStream) {
        while let Some(message) = stream.next().await {
            if let Some(name) = self.prefix.strip(message.get_channel_name()) {
                self.hub.deliver(self.now(), name, message.get_payload_bytes());
            }
        }
    }

    /// Asks Redis for what the hub wants, and whether it is there.
    async fn subscribe(
        &self,
        mut sink: PubSubSink,
        backoff: &mut Backoff,
    ) -> Result<Infallible, RedisError> {
        let mut confirmed: HashSet<Arc<str>> = HashSet::new();
        loop {
            let changed = self.hub.changed(BATCH);
            if changed.is_empty() {
                if timeout(PING_EVERY, self.hub.changes.notified()).await.is_err() {
                    answer(sink.ping::<redis::Value>()).await?;
                    backoff.proved_useful();
                }
                continue;
            }
            let (mut take_up, mut give_up) = (Vec::new(), Vec::new());
            for (name, wanted) in changed {
                match (wanted, confirmed.contains(&name)) {
                    (true, false) => take_up.push(name),
                    (false, true) => give_up.push(name),
                    // Was given up and taken up again: by members who wait for this.
                    (true, true) => self.hub.confirm(self.now(), &name),
                    (false, false) => {}
                }
            }
            if !give_up.is_empty() {
                answer(sink.unsubscribe(self.prefix.all(&give_up))).await?;
                give_up.iter().for_each(|name| {
                    confirmed.remove(name);
                });
            }
            if !take_up.is_empty() {
                answer(sink.subscribe(self.prefix.all(&take_up))).await?;
                backoff.proved_useful();
                for name in take_up {
                    self.hub.confirm(self.now(), &name);
                    confirmed.insert(name);
                }
            }
        }
    }

    fn now(&self) -> Time {
        Time::new(self.epoch.elapsed())
    }
}

/// Redis has to answer in time.
pub async fn answer<T>(
    asked: impl Future<Output = Result<T, RedisError>>,
) -> Result<T, RedisError> {
    match timeout(PATIENCE, asked).await {
        Ok(answer) => answer,
        Err(_) => Err(io::Error::from(io::ErrorKind::TimedOut).into()),
    }
}
