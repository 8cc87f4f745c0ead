//! Redis Pub/Sub: at most once. What is published while nobody listens is gone.
use crate::{
    bus::{Arrived, Began, Bus, Link, Outgoing, PATIENCE, Result, Start, Subscriptions, answer},
    options::{Access, Prefix},
};
use futures_util::{Stream, StreamExt};
use redis::{
    AsyncConnectionConfig, Client, IntoConnectionInfo, TlsCertificates,
    aio::{MultiplexedConnection, PubSubSink},
};
use std::{future::ready, sync::Arc};

#[derive(Clone)]
pub struct Redis {
    client: Client,
    prefix: Prefix,
}

impl Redis {
    pub fn new(url: &str, prefix: Prefix, access: Access) -> Result<Self> {
        let Access { user, password, tls, ca } = access;
        let url = if tls { url.replacen("redis:", "rediss:", 1) } else { url.to_owned() };
        let mut to = url.into_connection_info()?;
        let mut settings = to.redis_settings().clone();
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
        Ok(Self { client, prefix })
    }
}

pub struct Commands {
    connection: MultiplexedConnection,
    prefix: Prefix,
}

pub struct PubSub {
    sink: PubSubSink,
    prefix: Prefix,
}

impl Bus for Redis {
    const NAME: &'static str = "Redis";
    const KEEPS: bool = false;
    type Link = Commands;
    type Subscriptions = PubSub;

    async fn link(&self) -> Result<Commands> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(PATIENCE))
            .set_response_timeout(Some(PATIENCE));
        let connection = self.client.get_multiplexed_async_connection_with_config(&config).await?;
        Ok(Commands { connection, prefix: self.prefix.clone() })
    }

    async fn subscriptions(&self) -> Result<(PubSub, impl Stream<Item = Result<Arrived>>)> {
        let (sink, messages) = answer(self.client.get_async_pubsub()).await?.split();
        let prefix = self.prefix.clone();
        let arrived = messages.filter_map(move |message| {
            let channel = prefix.strip(message.get_channel_name()).map(Arc::from);
            ready(channel.map(|channel| {
                let message = message.get_payload_bytes().to_vec();
                Ok(Arrived { channel, message, at: None, more: false })
            }))
        });
        Ok((PubSub { sink, prefix: self.prefix.clone() }, arrived))
    }
}

impl Link for Commands {
    async fn ping(&mut self) -> Result<()> {
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
        answer(self.sink.ping::<redis::Value>()).await.map(drop)
    }

    async fn subscribe(&mut self, channels: &[(Arc<str>, Start)]) -> Result<Vec<Began>> {
        let names: Vec<_> = channels.iter().map(|(name, _)| self.prefix.of(name)).collect();
        answer(self.sink.subscribe(names)).await?;
        Ok(vec![Began::NO_LOG; channels.len()])
    }

    async fn unsubscribe(&mut self, channels: &[Arc<str>]) -> Result<()> {
        let names: Vec<_> = channels.iter().map(|name| self.prefix.of(name)).collect();
        answer(self.sink.unsubscribe(names)).await
    }
}
