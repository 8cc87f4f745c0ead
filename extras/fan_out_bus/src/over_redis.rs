//! Redis Pub/Sub delivers at most once. A message that is published while nobody listens is lost.
use crate::{
    bus::{Arrived, Began, Bus, Link, PATIENCE, Result, Start, answer, broken},
    options::{Access, Prefix},
};
use futures_util::{Stream, StreamExt, stream::unfold};
use redis::{
    AsyncConnectionConfig, Client, IntoConnectionInfo, ProtocolVersion, PushKind, TlsCertificates,
    Value, aio::MultiplexedConnection,
};
use std::{fs, future::ready, str, sync::Arc};
use tokio::sync::mpsc;

#[derive(Clone)]
pub struct Redis {
    client: Client,
    prefix: Prefix,
}

/// A connection: RESP3, which Redis has since version 6.
pub struct Connection {
    commands: MultiplexedConnection,
    prefix: Prefix,
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
            Some(file) => {
                let root_cert = Some(fs::read(&file).map_err(|e| format!("--ca {file}: {e}"))?);
                Client::build_with_tls(to, TlsCertificates { client_tls: None, root_cert })?
            }
        };
        Ok(Self { client, prefix })
    }
}

impl Bus for Redis {
    const NAME: &'static str = "Redis";
    type Link = Connection;

    async fn connect(&self) -> Result<(Connection, impl Stream<Item = Result<Arrived>>)> {
        let (pushed, arrived) = mpsc::unbounded_channel();
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(PATIENCE))
            .set_response_timeout(Some(PATIENCE))
            .set_push_sender(pushed);
        let commands = self.client.get_multiplexed_async_connection_with_config(&config).await?;
        let connection = Connection { commands, prefix: self.prefix.clone() };
        let prefix = self.prefix.clone();
        let pushed = unfold(arrived, |mut arrived| async {
            arrived.recv().await.map(|push| (push, arrived))
        });
        let arrived = pushed.filter_map(move |push| {
            ready(match (push.kind, &push.data[..]) {
                (PushKind::Message, [Value::BulkString(name), Value::BulkString(payload)]) => {
                    let name = str::from_utf8(name).ok().and_then(|name| prefix.strip(name));
                    let payload = payload.clone();
                    name.map(|name| {
                        Ok(Arrived { channel: name.into(), payload, at: None, more: false })
                    })
                }
                (PushKind::Disconnection, _) => Some(Err(broken())),
                _ => None,
            })
        });
        Ok((connection, arrived))
    }
}

impl Link for Connection {
    async fn ping(&mut self) -> Result<()> {
        answer(redis::cmd("PING").exec_async(&mut self.commands)).await
    }

    async fn subscribe(&mut self, channels: &[(Arc<str>, Start)]) -> Result<Vec<Began>> {
        let names: Vec<_> = channels.iter().map(|(name, _)| self.prefix.of(name)).collect();
        answer(self.commands.subscribe(names)).await?;
        Ok(vec![Began::NO_LOG; channels.len()])
    }

    async fn unsubscribe(&mut self, channels: &[Arc<str>]) -> Result<()> {
        let names: Vec<_> = channels.iter().map(|name| self.prefix.of(name)).collect();
        answer(self.commands.unsubscribe(names)).await
    }
}
