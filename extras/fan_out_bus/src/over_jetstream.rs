//! NATS JetStream keeps a log on the broker's disk. Missed messages are read from it, in order.
//!
//! All channels are in one stream, and share its numbers. A subscription is an ordered consumer:
//! the broker pushes messages from a number on, and counts them. If a count is missing, the client
//! library makes another consumer, which continues after the last message.
use crate::{
    bus::{Arrived, Began, Bus, Link, Page, Result, Start, answer},
    nats::{Connection, Streams},
    options::{Access, Prefix},
    protocol::Place,
};
use async_nats::jetstream::{
    self, Message,
    consumer::{AckPolicy, DeliverPolicy, pull, push},
    stream::{Config, Info, Stream as Log},
};
use futures_util::{Stream, StreamExt, TryStreamExt, stream};
use std::{io, sync::Arc, time::Duration};

/// The most messages, and the most bytes, of one page. The longest message has fewer bytes.
const PAGE: usize = 1000;
const PAGE_BYTES: usize = 2 << 20;

/// A usual outage: the first delay of `Backoff`, at most 30 s after Close 1012, and time to
/// connect.
const USUAL: Duration = Duration::from_secs(45);

/// The most consumers that are made at the same time.
const AT_ONCE: usize = 32;

/// How long the broker keeps a consumer that nobody asks for messages.
const FORGOTTEN: Duration = Duration::from_secs(10);

/// Within this time, a message published again with the same `Nats-Msg-Id` is kept once.
const DUPLICATES: Duration = Duration::from_secs(120);

/// The limits of a new stream. A stream that exists already stays as it is. So if you want other
/// settings, such as three replicas, make the stream before, with `nats stream add`.
const MAX_AGE: Duration = Duration::from_secs(3600);
const MAX_BYTES: i64 = 1 << 30;

#[derive(Clone)]
pub struct JetStream {
    pub url: String,
    pub access: Access,
    pub prefix: Prefix,
}

pub struct Kept {
    connection: Connection,
    prefix: Prefix,
    log: Log,
    streams: Streams,
}

impl Bus for JetStream {
    const NAME: &'static str = "NATS";
    type Link = Kept;

    async fn connect(&self) -> Result<(Kept, impl Stream<Item = Result<Arrived>>)> {
        let connection = Connection::open(&self.url, self.access.clone()).await?;
        let context = jetstream::new(connection.client.clone());
        let prefix = self.prefix.clone();
        let config = Config {
            name: prefix.0.to_string(),
            subjects: vec![format!("{}.*", prefix.0)],
            max_age: MAX_AGE,
            max_bytes: MAX_BYTES,
            duplicate_window: DUPLICATES,
            ..Config::default()
        };
        let log = answer(context.get_or_create_stream(config)).await?;
        let (streams, arrived) = Streams::new(&connection);
        Ok((Kept { connection, prefix, log, streams }, arrived))
    }
}

impl Link for Kept {
    /// Once the broker answers, all earlier requests are done.
    async fn ping(&mut self) -> Result<()> {
        answer(self.log.get_info()).await.map(drop)
    }

    async fn subscribe(&mut self, channels: &[(Arc<str>, Start)]) -> Result<Vec<Began>> {
        let info = answer(self.log.get_info()).await?;
        let begun: Vec<_> = stream::iter(channels)
            .map(|(channel, start)| self.consumer(channel, *start, &info))
            .buffered(AT_ONCE)
            .try_collect()
            .await?;
        let mut all = Vec::new();
        for ((channel, _), (began, messages)) in channels.iter().zip(begun) {
            let name = channel.clone();
            let arrived = messages.map(move |message| -> Result<_> {
                let message = message?;
                let (at, pending) = numbers(&message)?;
                let (channel, payload) = (name.clone(), message.payload.to_vec());
                Ok(Arrived { channel, payload, at: Some(at), more: pending > 0 })
            });
            self.streams.run(channel, arrived);
            all.push(began);
        }
        Ok(all)
    }

    async fn unsubscribe(&mut self, channels: &[Arc<str>]) -> Result<()> {
        self.streams.running.retain(|channel, _| !channels.contains(channel));
        self.ping().await
    }

    async fn read(&self, channel: &str, after: u64) -> Result<Page<Vec<u8>>> {
        let info = self.log.get_info().await?;
        let config = pull::Config {
            deliver_policy: DeliverPolicy::ByStartSequence {
                start_sequence: after.saturating_add(1),
            },
            ack_policy: AckPolicy::None,
            filter_subject: self.prefix.subject(channel),
            inactive_threshold: FORGOTTEN,
            memory_storage: true,
            ..pull::Config::default()
        };
        let consumer = self.log.create_consumer(config).await?;
        let mut pending = consumer.cached_info().num_pending;
        let mut messages = Vec::new();
        let mut fetched =
            consumer.fetch().max_messages(PAGE).max_bytes(PAGE_BYTES).messages().await?;
        while pending > 0
            && let Some(message) = fetched.next().await
        {
            match message {
                Ok(message) => {
                    let (at, left) = numbers(&message)?;
                    messages.push((at, message.payload.to_vec()));
                    pending = left;
                }
                Err(_) if !messages.is_empty() => break, // `PAGE_BYTES` are used up
                Err(error) => return Err(error),
            }
        }
        self.log.delete_consumer(&consumer.cached_info().name).await?;
        let (log, state) = (made(&info), &info.state);
        let (first, last) = (state.first_sequence, state.last_sequence);
        let end = match (messages.last(), pending) {
            (Some((at, _)), 0) => last.max(*at),
            (Some((at, _)), _) => *at,
            (None, 0) => last,
            (None, _) => return Err(io::Error::from(io::ErrorKind::TimedOut).into()),
        };
        Ok(Page { log, first, last, after, end, messages })
    }
}

impl Kept {
    async fn consumer(
        &self,
        channel: &str,
        start: Start,
        info: &Info,
    ) -> Result<(Began, push::Ordered)> {
        let (log, state) = (made(info), &info.state);
        let (first, end) = (state.first_sequence, state.last_sequence);
        let (mut place, mut whole) = (None, false);
        let deliver_policy = match start {
            Start::Newest => DeliverPolicy::LastPerSubject,
            Start::Recent => {
                let start_time = state.last_timestamp - USUAL; // by the broker's clock
                DeliverPolicy::ByStartTime { start_time }
            }
            Start::Behind(from) => {
                let known = from.log == log && from.at <= end;
                whole = known && from.at + 1 >= first;
                let at = if known { from.at.max(first.saturating_sub(1)) } else { end };
                place = Some(Place { log, at });
                DeliverPolicy::ByStartSequence { start_sequence: at + 1 }
            }
        };
        let mut config = push::OrderedConfig {
            deliver_policy,
            filter_subject: self.prefix.subject(channel),
            ..push::OrderedConfig::default()
        };
        loop {
            config.deliver_subject = self.connection.client.new_inbox();
            let consumer = answer(self.log.create_consumer(config.clone())).await?;
            let made = consumer.cached_info();
            let more = made.num_pending > 0;
            if start == Start::Recent && !more && config.deliver_policy == deliver_policy {
                // The newest message is older than `USUAL`, so begin with the newest message.
                answer(self.log.delete_consumer(&made.name)).await?;
                config.deliver_policy = DeliverPolicy::LastPerSubject;
                continue;
            }
            let at = made.delivered.stream_sequence;
            let place = place.or(Some(Place { log, at }));
            return Ok((Began { place, whole, end, more }, consumer.messages().await?));
        }
    }
}

/// The time when the log was made, in ns since 1970. It identifies the log.
fn made(info: &Info) -> u64 {
    info.created.unix_timestamp_nanos().try_into().unwrap_or(0)
}

/// The broker's data about a message: its number in the log, and how many more are to come.
fn numbers(message: &Message) -> Result<(u64, u64)> {
    let info = message.info()?;
    Ok((info.stream_sequence, info.pending))
}
