//! The subscriptions at the broker, over one connection, which is made again when it breaks.
//!
//! The broker is asked for the channels that the [hub](crate::hub) wants, in batches. Only one
//! request is under way at a time, so a confirmation always belongs to the last request. Messages
//! go to the hub as they arrive. When the connection breaks, or a ping is not answered, all
//! channels are asked for again on the next connection.
use crate::{
    bus::{Bus, Link, Result, backoff},
    hub::{Changes, Hub},
};
use futures_util::StreamExt;
use std::{convert::Infallible, io, pin::pin, time::Duration};
use tickwire_parts::Backoff;
use tokio::time::{sleep, timeout};

/// How often the broker gets a ping while there is nothing else to ask.
const PING_EVERY: Duration = Duration::from_secs(3);

/// The most channels in one request.
const BATCH: usize = 1000;

/// Follows for ever: after each broken connection it makes the next.
pub async fn follow<B: Bus>(bus: &B, hub: &Hub) -> io::Result<()> {
    let mut backoff = backoff()?;
    loop {
        let Err(error) = connection(bus, hub, &mut backoff).await;
        hub.lost();
        let Some(delay) = backoff.next() else { return Ok(()) };
        eprintln!("{}: {error}; again in {} ms", B::NAME, delay.as_millis());
        sleep(delay).await;
    }
}

/// Runs one connection to its end. Both halves run in this task, so the confirmation of a channel
/// reaches the hub before the first message on the channel.
async fn connection<B: Bus>(bus: &B, hub: &Hub, backoff: &mut Backoff) -> Result<Infallible> {
    let (link, arrived) = bus.connect().await?;
    // This half waits only for messages, because the client library may hold any number of them.
    let receive = async {
        let mut arrived = pin!(arrived);
        while let Some(arrived) = arrived.next().await {
            hub.deliver(&arrived?);
        }
        Err(io::Error::from(io::ErrorKind::UnexpectedEof).into())
    };
    tokio::select! {
        ended = subscribe(link, hub, backoff) => ended,
        ended = receive => ended,
    }
}

/// Asks the broker for what the hub wants, and whether it is there.
async fn subscribe(mut at: impl Link, hub: &Hub, backoff: &mut Backoff) -> Result<Infallible> {
    loop {
        let Changes { give_up, take_up } = hub.changed(BATCH);
        if give_up.is_empty() && take_up.is_empty() {
            if timeout(PING_EVERY, hub.changes.notified()).await.is_err() {
                at.ping().await?;
                backoff.reset();
            }
            continue;
        }
        if !give_up.is_empty() {
            at.unsubscribe(&give_up).await?;
        }
        if !take_up.is_empty() {
            let began = at.subscribe(&take_up).await?;
            backoff.reset();
            for ((name, _), began) in take_up.into_iter().zip(began) {
                hub.confirm(&name, began);
            }
        }
    }
}
