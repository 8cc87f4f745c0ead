//! NATS core: at most once, as Redis. What is published while nobody listens is gone.
//!
//! The client library would connect again by itself, and send then what was published before. Here a
//! connection ends when it breaks, so that nothing is published later than those were told who asked.
use crate::{
    bus::{
        Arrived, Began, Bus, Failure, Link, Outgoing, PATIENCE, Page, Result, Start, Subscriptions,
        answer,
    },
    options::Prefix,
};
use async_nats::{Client, ConnectOptions, Event, Subscriber};
use futures_util::{Stream, StreamExt, stream::unfold};
use std::{collections::HashMap, io, sync::Arc};
use tokio::{
    select,
    sync::{mpsc, watch},
    task::JoinSet,
};

/// As many messages wait between a subscription and the hub.
const WAITING: usize = 1024;

#[derive(Clone)]
pub struct Nats {
    pub url: String,
    pub prefix: Prefix,
}

/// A connection, until it breaks.
pub struct Connection {
    pub client: Client,
    /// What is published there comes back: all before it has been taken by the broker then.
    echo: Subscriber,
    inbox: String,
    broken: watch::Receiver<bool>,
    pub prefix: Prefix,
}

impl Nats {
    pub async fn connect(&self) -> Result<Connection> {
        let (says, broken) = watch::channel(false);
        let options = ConnectOptions::new()
            .connection_timeout(PATIENCE)
            .request_timeout(Some(PATIENCE))
            .max_reconnects(1)
            .event_callback(move |event| {
                match event {
                    // A slow consumer is us: something has been left out.
                    Event::Disconnected | Event::Closed | Event::SlowConsumer(_) => {
                        says.send_replace(true);
                    }
                    Event::ServerError(error) => eprintln!("NATS: {error}"),
                    _ => {}
                }
                async {}
            });
        let client = answer(options.connect(&self.url)).await?;
        let inbox = client.new_inbox();
        let echo = client.subscribe(inbox.clone()).await?;
        Ok(Connection { client, echo, inbox, broken, prefix: self.prefix.clone() })
    }
}

impl Connection {
    /// What was sent before this has been taken when it returns.
    pub async fn settle(&mut self) -> Result<()> {
        if *self.broken.borrow() {
            return Err(broken());
        }
        self.client.publish(self.inbox.clone(), Default::default()).await?;
        let mut until = self.broken.clone();
        select! {
            echo = answer(async { self.echo.next().await.ok_or_else(broken) }) => echo.map(drop),
            _ = until.wait_for(|broken| *broken) => Err(broken()),
        }
    }
}

pub fn broken() -> Failure {
    io::Error::from(io::ErrorKind::ConnectionAborted).into()
}

impl Bus for Nats {
    const NAME: &'static str = "NATS";
    const KEEPS: bool = false;
    type Link = Connection;
    type Subscriptions = Core;

    async fn link(&self) -> Result<Connection> {
        self.connect().await
    }

    async fn subscriptions(&self) -> Result<(Core, impl Stream<Item = Result<Arrived>>)> {
        let (streams, arrived) = Streams::new(self.connect().await?);
        Ok((Core(streams), arrived))
    }
}

impl Link for Connection {
    async fn ping(&mut self) -> Result<()> {
        self.settle().await
    }

    async fn publish(&mut self, messages: &[Outgoing<'_>]) -> Result<()> {
        for outgoing in messages {
            let subject = self.prefix.subject(outgoing.channel);
            self.client.publish(subject, outgoing.message.clone().into()).await?;
        }
        self.settle().await
    }

    async fn read(&self, _: &str, _: u64) -> Result<Page<Vec<u8>>> {
        Err(io::Error::from(io::ErrorKind::Unsupported).into())
    }
}

/// The subscriptions of a connection. A task each takes what comes to one queue.
pub struct Streams {
    pub connection: Connection,
    queue: mpsc::Sender<Result<Arrived>>,
    running: HashMap<Arc<str>, JoinSet<()>>,
}

impl Streams {
    pub fn new(connection: Connection) -> (Self, impl Stream<Item = Result<Arrived>>) {
        let (queue, arrived) = mpsc::channel(WAITING);
        let until = connection.broken.clone();
        let arrived = unfold((arrived, until), |(mut arrived, mut until)| async move {
            let one = select! {
                biased;
                _ = until.wait_for(|broken| *broken) => Some(Err(broken())),
                one = arrived.recv() => one,
            };
            one.map(|one| (one, (arrived, until)))
        });
        (Self { connection, queue, running: HashMap::new() }, arrived)
    }

    /// From now on what a subscription gets is put into the queue.
    pub fn run(
        &mut self,
        channel: &Arc<str>,
        mut messages: impl Stream<Item = Result<Arrived>> + Send + Unpin + 'static,
    ) {
        let (queue, mut task) = (self.queue.clone(), JoinSet::new());
        task.spawn(async move {
            while let Some(message) = messages.next().await {
                if queue.send(message).await.is_err() {
                    return;
                }
            }
        });
        self.running.insert(channel.clone(), task);
    }

    /// Dropping a task ends its subscription.
    pub fn end(&mut self, channels: &[Arc<str>]) {
        channels.iter().for_each(|channel| {
            self.running.remove(channel);
        });
    }
}

pub struct Core(Streams);

impl Subscriptions for Core {
    async fn ping(&mut self) -> Result<()> {
        self.0.connection.settle().await
    }

    async fn subscribe(&mut self, channels: &[(Arc<str>, Start)]) -> Result<Vec<Began>> {
        let Self(streams) = self;
        let mut begun = Vec::new();
        for (channel, _) in channels {
            let subject = streams.connection.prefix.subject(channel);
            begun.push((channel.clone(), streams.connection.client.subscribe(subject).await?));
        }
        streams.connection.settle().await?;
        for (channel, messages) in begun {
            let name = channel.clone();
            let arrived = move |message: async_nats::Message| {
                let message = message.payload.to_vec();
                Ok(Arrived { channel: name.clone(), message, at: None, more: false })
            };
            streams.run(&channel, messages.map(arrived));
        }
        Ok(vec![Began::NO_LOG; channels.len()])
    }

    async fn unsubscribe(&mut self, channels: &[Arc<str>]) -> Result<()> {
        self.0.end(channels);
        self.0.connection.settle().await
    }
}
