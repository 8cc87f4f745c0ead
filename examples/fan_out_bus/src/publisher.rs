//! Publishing: numbers, envelopes, batches, one connection to the broker.
//!
//! What waits is published together, in its order, in one write. What fails is published again only
//! where the broker keeps it once: elsewhere it may have it, and twice is worse than a gap that
//! everybody is told of.
use crate::{
    bus::{Bus, Failure, Link, Outgoing, PATIENCE, backoff},
    protocol::Envelope,
};
use std::{
    collections::HashMap,
    io,
    time::{Duration, SystemTime, UNIX_EPOCH},
};
use tickwire::{Entropy, SystemEntropy};
use tickwire_parts::Backoff;
use tokio::time::{Instant, sleep};

/// As many channels are counted; a publisher on more takes a new name and counts from 1.
const MAX_CHANNELS: usize = 65_536;

/// A connection that was silent for longer is asked whether it still is one, before it is trusted.
const IDLE: Duration = Duration::from_secs(1);

/// How long publishing is tried again: well within what the broker remembers of what it has.
const PERSISTS: Duration = Duration::from_secs(30);

/// Nanoseconds since 1970: as true between machines as their clocks are.
pub fn nanos() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    since.as_nanos() as u64
}

pub struct Publisher<B: Bus> {
    bus: B,
    numbers: Numbers,
    link: Option<B::Link>,
    /// When it last was seen to work.
    used: Instant,
    backoff: Backoff,
    /// Not before this is another connection tried.
    not_before: Instant,
}

impl<B: Bus> Publisher<B> {
    pub fn new(bus: B) -> io::Result<Self> {
        let (numbers, backoff, now) = (Numbers::new()?, backoff()?, Instant::now());
        Ok(Self { bus, numbers, link: None, used: now, backoff, not_before: now })
    }

    /// Publishes all, in order, and says by which numbers.
    ///
    /// # Errors
    ///
    /// That of the first that failed; which of them the broker has taken is unknown then. The
    /// numbers are spent.
    pub async fn publish<'a>(
        &mut self,
        messages: impl IntoIterator<Item = (&'a str, &'a [u8])>,
    ) -> Result<Vec<u64>, Failure> {
        let (mut outgoing, mut spent) = (Vec::new(), Vec::new());
        for (channel, payload) in messages {
            let (from, seq) = self.numbers.next(channel)?;
            let message = Envelope { from, seq, nanos: nanos(), payload }.seal();
            outgoing.push(Outgoing { channel, id: format!("{from} {seq} {channel}"), message });
            spent.push(seq);
        }
        let until = Instant::now() + PERSISTS;
        loop {
            let error = match self.send(&outgoing).await {
                Ok(()) => return Ok(spent),
                Err(error) => error,
            };
            if !B::KEEPS || Instant::now() > until {
                return Err(error);
            }
            sleep(self.not_before.saturating_duration_since(Instant::now())).await;
        }
    }

    async fn send(&mut self, messages: &[Outgoing<'_>]) -> Result<(), Failure> {
        if self.link.is_none() && Instant::now() < self.not_before {
            return Err(io::Error::from(io::ErrorKind::NotConnected).into());
        }
        match self.try_to_send(messages).await {
            Ok(()) => {
                self.backoff.reset();
                self.used = Instant::now();
                Ok(())
            }
            Err(error) => {
                self.link = None;
                self.not_before = Instant::now() + self.backoff.next().unwrap_or(PATIENCE);
                Err(error)
            }
        }
    }

    async fn try_to_send(&mut self, messages: &[Outgoing<'_>]) -> Result<(), Failure> {
        // One that broke unseen would take what we publish along: a ping may be lost.
        if let Some(link) = &mut self.link
            && self.used.elapsed() > IDLE
            && link.ping().await.is_err()
        {
            self.link = None;
        }
        let link = match &mut self.link {
            Some(link) => link,
            none => none.insert(self.bus.link().await?),
        };
        link.publish(messages).await
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
