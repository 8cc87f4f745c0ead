//! Redis Pub/Sub: at most once. What is published while nobody listens is gone.
use crate::{
    bus::{
        Arrived, Began, Bus, Link, Outgoing, PATIENCE, Result, Start, Subscriptions, answer, broken,
    },
    hub::lock,
    options::{Access, Prefix},
};
use futures_util::{Stream, StreamExt, stream::unfold};
use redis::{
    AsyncConnectionConfig, Client, IntoConnectionInfo, ProtocolVersion, PushInfo, PushKind,
    TlsCertificates, Value, aio::MultiplexedConnection,
};
use std::{
    future::ready,
    str,
    sync::{
        Arc, Mutex, Weak,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};
use tokio::sync::mpsc;

#[derive(Clone)]
pub struct Redis {
    client: Client,
    prefix: Prefix,
    shared: Arc<tokio::sync::Mutex<Weak<Shared>>>,
}

impl Redis {
    pub fn new(url: &str, prefix: Prefix, access: Access) -> Result<Self> {
        let Access { user, password, tls, ca } = access;
        let url = if tls { url.replacen("redis:", "rediss:", 1) } else { url.to_owned() };
        let mut to = url.into_connection_info()?;
        let mut settings = to.redis_settings().clone().set_protocol(ProtocolVersion::RESP3);
        if let Some(user) = user {
            settings = settings.set_username(user);
        }
        if let Some(password) = password {
            settings = settings.set_password(password);
        }
        to = to.set_redis_settings(settings);
        let client = match ca {
            None => Client::open(to)?,
            root_cert => {
                Client::build_with_tls(to, TlsCertificates { client_tls: None, root_cert })?
            }
        };
        Ok(Self { client, prefix, shared: Arc::default() })
    }
}

/// One connection for all (RESP3, which Redis has since version 6), while somebody uses it.
struct Shared {
    connection: MultiplexedConnection,
    /// What subscriptions get; for one who subscribes.
    arrived: Mutex<Option<mpsc::UnboundedReceiver<PushInfo>>>,
    /// The one who subscribed has gone.
    over: AtomicBool,
}

/// What one user of the connection needs.
pub struct Commands {
    connection: MultiplexedConnection,
    shared: Arc<Shared>,
    prefix: Prefix,
}

pub struct PubSub(Commands);

impl Drop for PubSub {
    fn drop(&mut self) {
        self.0.shared.over.store(true, Relaxed);
    }
}

impl Redis {
    /// A user of the connection that there is, if it is `good`, or else of a new one.
    async fn user(&self, good: impl Fn(&Shared) -> bool) -> Result<Commands> {
        let mut known = self.shared.lock().await;
        let shared = match known.upgrade().filter(|shared| good(shared)) {
            Some(shared) => shared,
            None => {
                let (pushed, arrived) = mpsc::unbounded_channel();
                let config = AsyncConnectionConfig::new()
                    .set_connection_timeout(Some(PATIENCE))
                    .set_response_timeout(Some(PATIENCE))
                    .set_push_sender(pushed);
                let made = self.client.get_multiplexed_async_connection_with_config(&config);
                let (arrived, over) = (Mutex::new(Some(arrived)), AtomicBool::new(false));
                Arc::new(Shared { connection: made.await?, arrived, over })
            }
        };
        *known = Arc::downgrade(&shared);
        Ok(Commands { connection: shared.connection.clone(), shared, prefix: self.prefix.clone() })
    }
}

impl Bus for Redis {
    const NAME: &'static str = "Redis";
    const KEEPS: bool = false;
    type Link = Commands;
    type Subscriptions = PubSub;

    async fn link(&self) -> Result<Commands> {
        self.user(|shared| !shared.over.load(Relaxed)).await
    }

    async fn subscriptions(&self) -> Result<(PubSub, impl Stream<Item = Result<Arrived>>)> {
        let user = self.user(|shared| lock(&shared.arrived).is_some()).await?;
        let arrived = lock(&user.shared.arrived).take().ok_or_else(broken)?;
        let prefix = self.prefix.clone();
        let pushed = unfold(arrived, |mut arrived| async {
            arrived.recv().await.map(|push| (push, arrived))
        });
        let arrived = pushed.filter_map(move |push| {
            ready(match (push.kind, &push.data[..]) {
                (PushKind::Message, [Value::BulkString(name), Value::BulkString(message)]) => {
                    let name = str::from_utf8(name).ok().and_then(|name| prefix.strip(name));
                    let message = message.clone();
                    name.map(|name| {
                        Ok(Arrived { channel: name.into(), message, at: None, more: false })
                    })
                }
                (PushKind::Disconnection, _) => Some(Err(broken())),
                _ => None,
            })
        });
        Ok((PubSub(user), arrived))
    }
}

impl Link for Commands {
    async fn ping(&mut self) -> Result<()> {
        if self.shared.over.load(Relaxed) {
            return Err(broken());
        }
        answer(redis::cmd("PING").exec_async(&mut self.connection)).await
    }

    async fn publish(&mut self, messages: &[Outgoing<'_>]) -> Result<()> {
        let mut pipe = redis::pipe();
        for outgoing in messages {
            pipe.publish(self.prefix.of(outgoing.channel), &outgoing.message).ignore();
        }
        answer(pipe.exec_async(&mut self.connection)).await
    }
}

impl Subscriptions for PubSub {
    async fn ping(&mut self) -> Result<()> {
        self.0.ping().await
    }

    async fn subscribe(&mut self, channels: &[(Arc<str>, Start)]) -> Result<Vec<Began>> {
        let names: Vec<_> = channels.iter().map(|(name, _)| self.0.prefix.of(name)).collect();
        answer(self.0.connection.subscribe(names)).await?;
        Ok(vec![Began::NO_LOG; channels.len()])
    }

    async fn unsubscribe(&mut self, channels: &[Arc<str>]) -> Result<()> {
        let names: Vec<_> = channels.iter().map(|name| self.0.prefix.of(name)).collect();
        answer(self.0.connection.unsubscribe(names)).await
    }
}
