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
use serde_json::{Value, json};
use socketio_server::{
    engine::{End, mailbox::Mailbox, session::Layer},
    io::Io,
    server::{Service, bind},
    settings::Settings,
};
use std::{io, sync::Arc, time::Duration};
use tickwire::Time;
use tokio::sync::watch;

/// Engine.IO alone: gives back each message.
struct Echo(Arc<Mailbox>);

impl Layer for Echo {
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
    Settings {
        ping_interval: Duration::from_millis(300),
        ping_timeout: Duration::from_millis(200),
        connect_timeout: Duration::from_secs(1),
        ..Settings::default()
    }
}

/// Tells each client what it sent as `auth`, and gives back what it is told.
pub(crate) fn socketio() -> Service {
    let mut io = Io::new(settings());
    for namespace in ["/", "/custom"] {
        io.of(namespace)
            .on_connection(|socket, auth| {
                socket.emit("auth", auth.get::<Value>(0).unwrap_or_else(|| json!({})));
            })
            .on("message", |socket, args, _| socket.emit("message-back", args))
            .on("message-with-ack", |socket, args, ack| socket.ack(ack, args));
    }
    Service::new(io)
}

pub(crate) fn engineio() -> Service {
    let settings = Settings { path: "/engine.io/".into(), ..settings() };
    let begin =
        |_, mailbox: &Arc<Mailbox>, _| -> Box<dyn Layer> { Box::new(Echo(mailbox.clone())) };
    Service::over(Arc::new(begin), Arc::new(settings))
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
