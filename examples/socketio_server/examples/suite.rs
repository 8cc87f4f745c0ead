//! The servers that the protocols' own tests want, as other applications of the library: those of
//! github.com/socketio/socket.io-protocol, and of github.com/socketio/engine.io-protocol, branches
//! `main` and `v3`; folder `test-suite` each. `checks/interop/run suites` runs them.
//!
//! ```text
//! cargo run -p socketio_server --example suite                 # at the ports 3000 and 3001
//! ```
//!
//! The first has Socket.IO at `/socket.io/`, the second Engine.IO at `/engine.io/`.
#![allow(dead_code)] // is a module of a test too

use bytes::Bytes;
use serde_json::value::RawValue;
use socketio_server::{
    engine::{
        End, Opening,
        mailbox::Mailbox,
        session::{Layer, Layers},
    },
    handler::{Event, Handler, Refusal, Socket},
    packet::Args,
    server::{Service, bind},
    session::Shared,
    settings::Settings,
};
use std::{io, sync::Arc, time::Duration};
use tickwire::Time;
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

/// Engine.IO alone: gives back each message.
pub(crate) struct Echo;

struct Echoed(Arc<Mailbox>);

impl Layers for Echo {
    fn begin(&self, _: Opening, mailbox: &Arc<Mailbox>, _: Time) -> Box<dyn Layer> {
        Box::new(Echoed(mailbox.clone()))
    }
}

impl Layer for Echoed {
    fn text(&mut self, text: &str, _: Time) -> Result<(), End> {
        self.0.push_engine(format!("4{text}"));
        Ok(())
    }

    fn binary(&mut self, bytes: &[u8], _: Time) -> Result<(), End> {
        self.0.push_binary(Bytes::copy_from_slice(bytes));
        Ok(())
    }
}

/// With the times that the suites expect.
pub(crate) fn settings() -> Settings {
    let mut settings = Settings::default();
    settings.ping_interval = Duration::from_millis(300);
    settings.ping_timeout = Duration::from_millis(200);
    settings.connect_timeout = Duration::from_secs(1);
    settings
}

pub(crate) fn socketio() -> Service {
    Service::new(Shared::new(Suite, settings()))
}

pub(crate) fn engineio() -> Service {
    Service::over(Arc::new(Echo), Arc::new(settings()), "/engine.io/", None)
}

#[tokio::main]
async fn main() -> io::Result<()> {
    let ports: Vec<u16> = std::env::args().skip(1).filter_map(|port| port.parse().ok()).collect();
    let (_running, stop) = watch::channel(());
    let mut serving = Vec::new();
    for (i, service) in [socketio(), engineio()].into_iter().enumerate() {
        let port = ports.get(i).copied().unwrap_or(3000 + i as u16);
        let (listener, address) = bind(([127, 0, 0, 1], port).into()).await?;
        println!("listening on {address}");
        let stop = stop.clone();
        serving.push(tokio::spawn(service.serve(listener, stop, |line| eprintln!("{line}"))));
    }
    for server in serving {
        server.await?;
    }
    Ok(())
}
