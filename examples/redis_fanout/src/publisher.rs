//! Publishing: numbers, envelopes, batches, one connection to Redis.
//!
//! What waits is published together, in its order, in one write. What fails is not tried again: Redis
//! may have it, and twice is worse than a gap that everybody is told of.
use crate::{
    bus::{PATIENCE, answer, backoff},
    options::Prefix,
    protocol::Envelope,
};
use redis::{AsyncConnectionConfig, Client, Pipeline, RedisError, aio::MultiplexedConnection};
use std::{
    collections::HashMap,
    io,
    time::{Duration, SystemTime, UNIX_EPOCH},
};
use tickwire::{Backoff, Entropy, SystemEntropy};
use tokio::time::Instant;

/// As many channels are counted; a publisher on more takes a new name and counts from 1.
const MAX_CHANNELS: usize = 65_536;

/// A connection that was silent for longer is asked whether it still is one, before it is trusted.
const IDLE: Duration = Duration::from_secs(1);

/// Nanoseconds since 1970: as true between machines as their clocks are.
pub fn nanos() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    since.as_nanos() as u64
}

pub struct Publisher {
    client: Client,
    prefix: Prefix,
    numbers: Numbers,
    connection: Option<MultiplexedConnection>,
    /// When it last was seen to work.
    used: Instant,
    backoff: Backoff,
    /// Not before this is another connection tried.
    not_before: Instant,
}

impl Publisher {
    pub fn new(client: Client, prefix: Prefix) -> io::Result<Self> {
        let (numbers, backoff, now) = (Numbers::new()?, backoff()?, Instant::now());
        Ok(Self { client, prefix, numbers, connection: None, used: now, backoff, not_before: now })
    }

    /// Publishes all, in order, each now, and says by which numbers.
    ///
    /// # Errors
    ///
    /// That of the first that failed; which of them Redis has taken is unknown then. The numbers are
    /// spent.
    pub async fn publish<'a>(
        &mut self,
        messages: impl IntoIterator<Item = (&'a str, &'a [u8])>,
    ) -> Result<Vec<u64>, RedisError> {
        let (mut pipe, mut spent) = (redis::pipe(), Vec::new());
        for (channel, payload) in messages {
            let (from, seq) = self.numbers.next(channel)?;
            let message = Envelope { from, seq, nanos: nanos(), payload }.seal();
            pipe.publish(self.prefix.of(channel), message).ignore();
            spent.push(seq);
        }
        if self.connection.is_none() && Instant::now() < self.not_before {
            return Err(io::Error::from(io::ErrorKind::NotConnected).into());
        }
        match self.send(&pipe).await {
            Ok(()) => {
                self.backoff.proved_useful();
                Ok(spent)
            }
            Err(error) => {
                self.connection = None;
                self.not_before = Instant::now() + self.backoff.next().unwrap_or(PATIENCE);
                Err(error)
            }
        }
    }

    async fn send(&mut self, pipe: &Pipeline) -> Result<(), RedisError> {
        // One that broke unseen would take what we publish along: a PING may be lost.
        if let Some(connection) = &mut self.connection
            && self.used.elapsed() > IDLE
            && answer(redis::cmd("PING").exec_async(connection)).await.is_err()
        {
            self.connection = None;
        }
        let connection = match &mut self.connection {
            Some(connection) => connection,
            none => {
                let config = AsyncConnectionConfig::new()
                    .set_connection_timeout(Some(PATIENCE))
                    .set_response_timeout(Some(PATIENCE));
                let made = self.client.get_multiplexed_async_connection_with_config(&config);
                none.insert(made.await?)
            }
        };
        answer(pipe.exec_async(connection)).await?;
        self.used = Instant::now();
        Ok(())
    }
}

/// Who publishes, and what number comes next on each channel.
struct Numbers {
    from: String,
    last: HashMap<String, u64>,
}

impl Numbers {
    fn new() -> io::Result<Self> {
        let mut name = [0; 8];
        SystemEntropy::new()?.fill(&mut name);
        Ok(Self { from: format!("{:016x}", u64::from_ne_bytes(name)), last: HashMap::new() })
    }

    fn next(&mut self, channel: &str) -> io::Result<(&str, u64)> {
        if let Some(last) = self.last.get_mut(channel) {
            *last += 1;
            return Ok((&self.from, *last));
        }
        if self.last.len() >= MAX_CHANNELS {
            *self = Self::new()?;
        }
        self.last.insert(channel.to_owned(), 1);
        Ok((&self.from, 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_channel_is_counted_from_1() {
        let mut numbers = Numbers::new().unwrap();
        let from = numbers.from.clone();
        for (channel, seq) in [("a", 1), ("a", 2), ("b", 1), ("a", 3), ("b", 2)] {
            assert_eq!(numbers.next(channel).unwrap(), (&*from, seq));
        }
    }

    #[test]
    fn too_many_channels_make_a_new_publisher() {
        let mut numbers = Numbers::new().unwrap();
        let from = numbers.from.clone();
        for channel in 0..MAX_CHANNELS {
            numbers.next(&channel.to_string()).unwrap();
        }
        assert_eq!(numbers.next("0").unwrap(), (&*from, 2));
        let (other, seq) = numbers.next("one more").unwrap();
        assert_ne!(other, from);
        assert_eq!(seq, 1);
        assert_eq!(numbers.last.len(), 1);
    }
}
