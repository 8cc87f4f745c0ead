//! The server that Socket.IO's own protocol tests want, as another application of the library: those
//! of github.com/socketio/socket.io-protocol, folder `test-suite`, but for HTTP long-polling.
//!
//! ```text
//! cargo run -p socketio_server --example suite            # on port 3000, where they look for it
//! npm install && npm test -- --grep 'WebSocket|Socket.IO protocol'     # in that folder
//! ```
//!
//! 22 of these pass; the 2 others begin with polling. The tests lose one of two messages that come in
//! one read, as this server's do: give the WebSocket in their `node-imports.js` the option
//! `allowSynchronousEvents: false`.
#![allow(dead_code)] // is a module of a test too

use serde_json::value::RawValue;
use socketio_server::{
    packet::Args,
    server::{Service, bind},
    session::{Event, Handler, Refusal, Settings, Shared, Socket},
};
use std::{io, time::Duration};
use tokio::sync::watch;

/// Tells each client what it sent as `auth`, and gives back what it is told.
pub(crate) struct Suite;

impl Handler for Suite {
    fn connect(&self, socket: &mut Socket<'_>, auth: Option<&RawValue>) -> Result<(), Refusal> {
        if !matches!(socket.namespace(), "/" | "/custom") {
            return Err(Refusal::NAMESPACE);
        }
        let nothing = RawValue::from_string("{}".into()).map_err(|_| Refusal::AUTHORIZATION)?;
        socket.emit("auth", Args::of(&[auth.unwrap_or(&nothing)]));
        Ok(())
    }

    fn event(&self, socket: &mut Socket<'_>, event: Event<'_>) {
        match (event.name, event.ack) {
            ("message", _) => socket.emit("message-back", event.args),
            ("message-with-ack", Some(ack)) => socket.acknowledge(ack, event.args),
            _ => {}
        }
    }
}

/// With the times that the suite expects.
pub(crate) fn suite() -> Shared {
    let mut settings = Settings::default();
    settings.ping_interval = Duration::from_millis(300);
    settings.ping_timeout = Duration::from_millis(200);
    settings.connect_timeout = Duration::from_secs(1);
    Shared::new(Suite, settings)
}

#[tokio::main]
async fn main() -> io::Result<()> {
    let (listener, address) = bind(([127, 0, 0, 1], 3000).into()).await?;
    println!("listening on {address}");
    let (_running, stop) = watch::channel(());
    Service::new(suite()).serve(listener, stop, |line| eprintln!("{line}")).await;
    Ok(())
}
