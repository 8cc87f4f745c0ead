//! NATS core: at most once, as Redis. What is published while nobody listens is gone.
//!
//! The client library would connect again by itself, and send then what was published before. Here
//! a connection ends when it breaks, so that nothing is published later than those were told who
//! asked.
use crate::{
    bus::{
        Arrived, Began, Bus, Link, Outgoing, PATIENCE, Result, Start, Subscriptions, answer, broken,
    },
    options::{Access, Prefix},
};
use async_nats::{
    Client, ConnectOptions, Event, Subscriber,
    rustls::{
        self,
        pki_types::{CertificateDer, pem::PemObject},
    },
};
use futures_util::{Stream, StreamExt, stream::unfold};
use std::{
    collections::HashMap,
    sync::{Arc, Weak},
};
use tokio::{
    select,
    sync::{Mutex, mpsc, watch},
    task::JoinSet,
};

/// As many messages wait between a subscription and the hub.
const WAITING: usize = 1024;

/// One connection for all who publish, subscribe or read, until it breaks.
#[derive(Clone)]
pub struct Nats {
    url: String,
    pub prefix: Prefix,
    access: Access,
    /// Only those who use it hold it, so that a broken connection ends and does not come back by
    /// itself.
    shared: Arc<Mutex<Weak<Shared>>>,
}

struct Shared {
    client: Client,
    broken: watch::Sender<bool>,
}

/// What one user of the connection needs.
pub struct Connection {
    pub client: Client,
    shared: Arc<Shared>,
    /// What is published there comes back: all before it has been taken by the broker then.
    echo: Subscriber,
    inbox: String,
    broken: watch::Receiver<bool>,
    pub prefix: Prefix,
}

impl Nats {
    pub fn new(url: String, prefix: Prefix, access: Access) -> Self {
        Self { url, prefix, access, shared: Arc::default() }
    }

    pub async fn connect(&self) -> Result<Connection> {
        let mut shared = self.shared.lock().await;
        let known = shared.upgrade().filter(|shared| !*shared.broken.borrow());
        let used = match known {
            Some(used) => used,
            None => Arc::new(self.open().await?),
        };
        *shared = Arc::downgrade(&used);
        let client = used.client.clone();
        let inbox = client.new_inbox();
        let echo = client.subscribe(inbox.clone()).await?;
        let (broken, prefix) = (used.broken.subscribe(), self.prefix.clone());
        Ok(Connection { client, shared: used, echo, inbox, broken, prefix })
    }

    async fn open(&self) -> Result<Shared> {
        let broken = watch::Sender::new(false);
        let says = broken.clone();
        let Access { user, password, tls, ca } = self.access.clone();
        let mut options = match (user, password) {
            (Some(user), password) => {
                ConnectOptions::with_user_and_password(user, password.unwrap_or_default())
            }
            (None, Some(token)) => ConnectOptions::with_token(token),
            (None, None) => ConnectOptions::new(),
        };
        options = options
            .require_tls(tls)
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
        if let Some(ca) = ca {
            let mut roots = rustls::RootCertStore::empty();
            for certificate in CertificateDer::pem_slice_iter(&ca) {
                roots.add(certificate?)?;
            }
            let config = rustls::ClientConfig::builder().with_root_certificates(roots);
            options = options.tls_client_config(config.with_no_client_auth());
        }
        Ok(Shared { client: answer(options.connect(&self.url)).await?, broken })
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
        let settled = select! {
            echo = answer(async { self.echo.next().await.ok_or_else(broken) }) => echo.map(drop),
            _ = until.wait_for(|broken| *broken) => Err(broken()),
        };
        if settled.is_err() {
            self.shared.broken.send_replace(true); // for all who share a connection that is silent
        }
        settled
    }
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
