//! NATS JetStream: a log on the broker's disk. What was missed is read from it, in order and once.
//!
//! All channels are one stream, whose numbers all see. A subscription is an ordered consumer: the broker
//! pushes from a number on, and counts what it pushes; when a count is left out, the connection ends and the
//! next one begins where this one was.
use crate::{
    bus::{Arrived, Began, Bus, Failure, Link, Outgoing, Page, Result, Subscriptions, answer},
    over_nats::{Connection, Nats, Streams, broken},
    protocol::Place,
};
use async_nats::{
    StatusCode, Subscriber,
    jetstream::{
        self, Context, Message,
        consumer::{AckPolicy, DeliverPolicy, pull, push},
        message::PublishMessage,
        stream::{Config, Info, Stream as Log},
    },
};
use futures_util::{Stream, StreamExt, TryStreamExt, stream};
use std::{
    future::{IntoFuture, ready},
    io,
    sync::Arc,
    time::Duration,
};
use tokio::time::timeout;

/// As many messages are read at once.
const PAGE: usize = 100;

/// As many consumers are made at once.
const AT_ONCE: usize = 32;

/// How long the broker keeps a consumer that nobody listens to.
const FORGOTTEN: Duration = Duration::from_secs(10);

/// How often the broker shows that a consumer lives while nothing comes.
const HEARTBEAT: Duration = Duration::from_secs(5);

/// Within this a message that is published again is kept once.
const DUPLICATES: Duration = Duration::from_secs(120);

/// What the stream is made with. One that exists stays as it is.
#[derive(Clone)]
pub struct Keep {
    pub time: Duration,
    pub bytes: i64,
    /// On so many brokers of a cluster.
    pub replicas: usize,
}

#[derive(Clone)]
pub struct JetStream {
    pub nats: Nats,
    pub keep: Keep,
}

/// A connection to publish on and to read the log.
pub struct Kept {
    connection: Connection,
    context: Context,
    log: Log,
    /// Something was published on this connection.
    proven: bool,
}

pub struct Consumers {
    streams: Streams,
    context: Context,
    log: Log,
}

impl JetStream {
    async fn open(&self) -> Result<(Connection, Context, Log)> {
        let connection = self.nats.connect().await?;
        let context = jetstream::new(connection.client.clone());
        let prefix = &self.nats.prefix;
        let config = Config {
            name: prefix.stream(),
            subjects: vec![prefix.all_subjects()],
            max_age: self.keep.time,
            max_bytes: self.keep.bytes,
            num_replicas: self.keep.replicas,
            duplicate_window: DUPLICATES.min(self.keep.time),
            ..Config::default()
        };
        let log = answer(context.get_or_create_stream(config)).await?;
        Ok((connection, context, log))
    }
}

impl Bus for JetStream {
    const NAME: &'static str = "NATS";
    const KEEPS: bool = true;
    type Link = Kept;
    type Subscriptions = Consumers;

    async fn link(&self) -> Result<Kept> {
        let (connection, context, log) = self.open().await?;
        Ok(Kept { connection, context, log, proven: false })
    }

    async fn subscriptions(&self) -> Result<(Consumers, impl Stream<Item = Result<Arrived>>)> {
        let (connection, context, log) = self.open().await?;
        let (streams, arrived) = Streams::new(connection);
        Ok((Consumers { streams, context, log }, arrived))
    }
}

impl Link for Kept {
    async fn ping(&mut self) -> Result<()> {
        self.connection.settle().await
    }

    async fn publish(&mut self, mut messages: &[Outgoing<'_>]) -> Result<()> {
        // The first alone: if that is refused, none behind it may be taken before it.
        if !self.proven
            && let Some((first, others)) = messages.split_first()
        {
            answer(self.send(first).await?.into_future()).await?;
            (self.proven, messages) = (true, others);
        }
        let mut sent = Vec::with_capacity(messages.len());
        for outgoing in messages {
            sent.push(self.send(outgoing).await?);
        }
        for sent in sent {
            answer(sent.into_future()).await?;
        }
        Ok(())
    }

    async fn read(&self, channel: &str, after: u64) -> Result<Page> {
        let info = self.log.get_info().await?;
        let config = pull::Config {
            deliver_policy: DeliverPolicy::ByStartSequence {
                start_sequence: after.saturating_add(1),
            },
            ack_policy: AckPolicy::None,
            filter_subject: self.connection.prefix.subject(channel),
            inactive_threshold: FORGOTTEN,
            memory_storage: true,
            ..pull::Config::default()
        };
        let consumer = self.log.create_consumer(config).await?;
        let messages = consumer.fetch().max_messages(PAGE).messages().await?;
        let messages = messages
            .and_then(|message| {
                ready(numbers(&message).map(|(_, at)| (at, message.payload.to_vec())))
            })
            .try_collect()
            .await?;
        self.log.delete_consumer(&consumer.cached_info().name).await?;
        let (log, state) = (made(&info), &info.state);
        Ok(Page { log, first: state.first_sequence, last: state.last_sequence, messages })
    }
}

impl Kept {
    async fn send(&self, outgoing: &Outgoing<'_>) -> Result<jetstream::context::PublishAckFuture> {
        let message = PublishMessage::build()
            .message_id(&*outgoing.id)
            .payload(outgoing.message.clone().into());
        let subject = self.connection.prefix.subject(outgoing.channel);
        Ok(self.context.send_publish(subject, message).await?)
    }
}

impl Subscriptions for Consumers {
    async fn ping(&mut self) -> Result<()> {
        self.streams.connection.settle().await
    }

    async fn subscribe(&mut self, channels: &[(Arc<str>, Option<Place>)]) -> Result<Vec<Began>> {
        let info = answer(self.log.get_info()).await?;
        let begun: Vec<_> = stream::iter(channels)
            .map(|(channel, from)| {
                let began = began(*from, &info);
                self.consumer(channel, began)
            })
            .buffered(AT_ONCE)
            .try_collect()
            .await?;
        let mut all = Vec::new();
        for ((channel, _), (began, messages)) in channels.iter().zip(begun) {
            let arrived = in_order(channel.clone(), messages, self.context.clone());
            self.streams.run(channel, Box::pin(arrived));
            all.push(began);
        }
        Ok(all)
    }

    async fn unsubscribe(&mut self, channels: &[Arc<str>]) -> Result<()> {
        self.streams.end(channels);
        self.streams.connection.settle().await
    }
}

impl Consumers {
    async fn consumer(&self, channel: &str, began: Began) -> Result<(Began, Subscriber)> {
        let connection = &self.streams.connection;
        let inbox = connection.client.new_inbox();
        let messages = connection.client.subscribe(inbox.clone()).await?;
        let start_sequence = began.place.map_or(0, |place| place.at) + 1;
        let config = push::Config {
            deliver_subject: inbox,
            deliver_policy: DeliverPolicy::ByStartSequence { start_sequence },
            ack_policy: AckPolicy::None,
            filter_subject: connection.prefix.subject(channel),
            inactive_threshold: FORGOTTEN,
            flow_control: true,
            idle_heartbeat: HEARTBEAT,
            memory_storage: true,
            num_replicas: 1,
            max_deliver: 1,
            ..push::Config::default()
        };
        answer(self.log.create_consumer(config)).await?;
        Ok((began, messages))
    }
}

/// Where a subscription begins that is to go on behind a place, by what the log has.
fn began(from: Option<Place>, info: &Info) -> Began {
    let (log, state) = (made(info), &info.state);
    match from {
        Some(place) if place.log == log && place.at <= state.last_sequence => {
            Began { place: Some(place), whole: place.at + 1 >= state.first_sequence }
        }
        _ => Began { place: Some(Place { log, at: state.last_sequence }), whole: false },
    }
}

/// Which log it is: when it was made, in ns since 1970.
fn made(info: &Info) -> u64 {
    info.created.unix_timestamp_nanos().try_into().unwrap_or(0)
}

/// The numbers of a message, of its consumer and of the log.
fn numbers(message: &Message) -> std::result::Result<(u64, u64), Failure> {
    let info = message.info()?;
    Ok((info.consumer_sequence, info.stream_sequence))
}

/// What a consumer pushes, each number of it once.
fn in_order(
    channel: Arc<str>,
    messages: Subscriber,
    context: Context,
) -> impl Stream<Item = Result<Arrived>> + Send {
    let last = 0;
    stream::unfold((messages, last), move |(mut messages, last)| {
        let (channel, context) = (channel.clone(), context.clone());
        async move {
            loop {
                let next = timeout(3 * HEARTBEAT, messages.next()).await;
                let Ok(Some(message)) = next else {
                    return Some((Err(broken()), (messages, last)));
                };
                // A heartbeat, or the broker asks whether we keep up.
                if message.status == Some(StatusCode::IDLE_HEARTBEAT) {
                    if let Some(reply) = message.reply
                        && context.client().publish(reply, Default::default()).await.is_err()
                    {
                        return Some((Err(broken()), (messages, last)));
                    }
                    continue;
                }
                let message = Message { message, context: context.clone() };
                let arrived = numbers(&message).and_then(|(count, at)| {
                    if count != last + 1 {
                        return Err(io::Error::other("the consumer left something out").into());
                    }
                    let (channel, message) = (channel.clone(), message.payload.to_vec());
                    Ok(Arrived { channel, message, at: Some(at) })
                });
                return Some((arrived, (messages, last + 1)));
            }
        }
    })
}
