//! The subscriptions of this process at the broker: one connection, which comes back.
//!
//! The broker is asked for what the [hub](crate::hub) wants, in batches, one at a time, so that a
//! confirmation is always that of what was asked last. What comes is handed over as it comes. When
//! the connection breaks, or a ping is not answered, all is asked for again on the next one.
use crate::{
    bus::{Arrived, Bus, Result, Subscriptions},
    hub::Hub,
};
use futures_util::{Stream, StreamExt};
use std::{collections::HashSet, convert::Infallible, io, pin::pin, sync::Arc, time::Duration};
use tickwire::Time;
use tickwire_parts::Backoff;
use tokio::time::{Instant, sleep, timeout};

/// How often the broker is asked whether it is there, when there is nothing else to ask.
const PING_EVERY: Duration = Duration::from_secs(3);

/// Up to as many channels are asked for at once.
const BATCH: usize = 1000;

pub struct Follower<B> {
    pub bus: B,
    pub hub: Arc<Hub>,
    pub epoch: Instant,
}

impl<B: Bus> Follower<B> {
    /// Does not end.
    pub async fn run(self, mut backoff: Backoff) {
        loop {
            let Err(error) = self.follow(&mut backoff).await;
            self.hub.lost(self.now());
            let Some(delay) = backoff.next() else { return };
            eprintln!("{}: {error}; again in {} ms", B::NAME, delay.as_millis());
            sleep(delay).await;
        }
    }

    /// One connection, to its end. Both halves run in this task: the confirmation of a channel
    /// reaches the hub before the first message on it.
    async fn follow(&self, backoff: &mut Backoff) -> Result<Infallible> {
        let (subscriptions, arrived) = self.bus.subscriptions().await?;
        tokio::select! {
            ended = self.subscribe(subscriptions, backoff) => ended,
            ended = self.receive(arrived) => ended,
        }
    }

    /// Hands over what comes until the connection ends. It never waits for anything else: what
    /// the client library holds for us may have no bound.
    async fn receive(&self, arrived: impl Stream<Item = Result<Arrived>>) -> Result<Infallible> {
        let mut arrived = pin!(arrived);
        while let Some(arrived) = arrived.next().await {
            self.hub.deliver(self.now(), &arrived?);
        }
        Err(io::Error::from(io::ErrorKind::UnexpectedEof).into())
    }

    /// Asks the broker for what the hub wants, and whether it is there.
    async fn subscribe(
        &self,
        mut at: B::Subscriptions,
        backoff: &mut Backoff,
    ) -> Result<Infallible> {
        let mut confirmed: HashSet<Arc<str>> = HashSet::new();
        loop {
            let changed = self.hub.changed(BATCH);
            if changed.is_empty() {
                if timeout(PING_EVERY, self.hub.changes.notified()).await.is_err() {
                    at.ping().await?;
                    backoff.reset();
                }
                continue;
            }
            let (mut take_up, mut give_up) = (Vec::new(), Vec::new());
            for (name, wanted) in changed {
                match (wanted, confirmed.contains(&name)) {
                    (true, false) => take_up.push((name.clone(), self.hub.start(&name))),
                    (false, true) => give_up.push(name),
                    // Was given up and taken up again. If that was since it was confirmed, its
                    // members wait: it is asked for once more, and says where it begins.
                    (true, true) if !self.hub.is_confirmed(&name) => {
                        give_up.push(name.clone());
                        take_up.push((name.clone(), self.hub.start(&name)));
                    }
                    (true, true) => {}
                    (false, false) => {}
                }
            }
            if !give_up.is_empty() {
                at.unsubscribe(&give_up).await?;
                give_up.iter().for_each(|name| {
                    confirmed.remove(name);
                });
            }
            if !take_up.is_empty() {
                let began = at.subscribe(&take_up).await?;
                backoff.reset();
                for ((name, _), began) in take_up.into_iter().zip(began) {
                    self.hub.confirm(self.now(), &name, began);
                    confirmed.insert(name);
                }
            }
        }
    }

    fn now(&self) -> Time {
        Time::new(self.epoch.elapsed())
    }
}
