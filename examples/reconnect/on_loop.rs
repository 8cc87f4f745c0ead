//! The sockets, on `tickwire-loop`: all connections on this thread, and no copy of a message.
use super::client::Client;
use std::collections::HashMap;
use tickwire::{Config, Error};
use tickwire_feed::{Action, ConnectionId};
use tickwire_loop::{Dial, End, Event, Loop, Settings};

/// Follows the feed until the client stops for good.
pub(crate) fn run(client: &mut Client) -> Result<(), Error> {
    let mut net = Loop::<ConnectionId>::new(Settings::default())?;
    let mut open = HashMap::new();
    while let Some(action) = client.poll(net.net().now()) {
        match action {
            Action::Dial { connection, address, .. } => {
                let dial = Dial::new(client.application.requests[address].clone())
                    .config(Config::trading());
                open.insert(connection, net.net().dial(dial, connection)?);
            }
            Action::Send { connection, say } => {
                _ = net.net().send(open[&connection], client.application.message(say));
            }
            Action::Leave { connection, .. } => {
                _ = open.remove(&connection).and_then(|handle| net.net().remove(handle));
            }
            Action::Wait(until) => {
                let most = until - net.net().now();
                net.turn(most, |net, event| match event {
                    Event::Open(handle) => client.opened(net.value(handle), net.now()),
                    Event::Message { from, message, .. } => {
                        let text = message.as_text().unwrap_or_default();
                        client.heard(net.value(from), text, net.now());
                    }
                    Event::Closed { end, value: id, .. } => {
                        open.remove(&id);
                        let ended = match end {
                            End::Closed(end) => end.error.map_or(Ok(end.code), |e| Err(e.into())),
                            End::Failed(error) => Err(error),
                            _ => Ok(1006), // only with an outbox
                        };
                        client.ended(id, ended, net.now());
                    }
                    _ => {}
                })?;
            }
            _ => {}
        }
    }
    Ok(())
}
