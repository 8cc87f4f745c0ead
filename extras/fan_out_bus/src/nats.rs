//! A connection to NATS.
//!
//! The client library would connect again by itself, and would not tell which messages were missed.
//! So here a connection that breaks has ended.
use crate::{
    bus::{Arrived, PATIENCE, Result, answer, broken},
    options::Access,
};
use async_nats::{Client, ConnectOptions, Event};
use futures_util::{Stream, StreamExt, stream::unfold};
use std::{collections::HashMap, sync::Arc};
use tokio::{
    select,
    sync::{mpsc, watch},
    task::JoinSet,
};

/// The most messages that wait between the subscriptions and the hub.
const WAITING: usize = 1024;

pub struct Connection {
    pub client: Client,
    broken: watch::Receiver<bool>,
}

impl Connection {
    pub async fn open(url: &str, access: Access) -> Result<Self> {
        let (says, broken) = watch::channel(false);
        let Access { user, password, tls, ca } = access;
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
                    // `SlowConsumer`: this process was too slow, so messages were lost.
                    Event::Disconnected | Event::Closed | Event::SlowConsumer(_) => {
                        says.send_replace(true);
                    }
                    Event::ServerError(error) => eprintln!("NATS: {error}"),
                    _ => {}
                }
                async {}
            });
        if let Some(ca) = ca {
            options = options.add_root_certificates(ca.into()); // in place of the system's
        }
        let client = answer(options.connect(url)).await?;
        Ok(Self { client, broken })
    }
}

/// The subscriptions of a connection. Each has a task, which puts its messages into one queue.
pub struct Streams {
    queue: mpsc::Sender<Result<Arrived>>,
    /// Dropping a task ends its subscription.
    pub running: HashMap<Arc<str>, JoinSet<()>>,
}

impl Streams {
    pub fn new(connection: &Connection) -> (Self, impl Stream<Item = Result<Arrived>> + use<>) {
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
        (Self { queue, running: HashMap::new() }, arrived)
    }

    /// Starts the task that puts the messages of a subscription into the queue.
    pub fn run(
        &mut self,
        channel: &Arc<str>,
        messages: impl Stream<Item = Result<Arrived>> + Send + 'static,
    ) {
        let (queue, mut task) = (self.queue.clone(), JoinSet::new());
        task.spawn(async move {
            let mut messages = std::pin::pin!(messages);
            while let Some(message) = messages.next().await {
                if queue.send(message).await.is_err() {
                    return;
                }
            }
        });
        self.running.insert(channel.clone(), task);
    }
}
