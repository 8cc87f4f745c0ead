//! What a hostile or broken client may send, byte for byte, through a plain WebSocket; each attack
//! has its number in the list of them. Time is virtual: the default deadlines pass at once.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod joining;
mod packets;
mod requests;
mod rooms;
mod server;
mod sessions;
#[path = "../../examples/suite.rs"]
mod suite;
#[path = "../support/mod.rs"]
mod support;

use bytes::Buf;
use serde_json::Value;
use socketio_server::{
    engine::{End, Malformed, Opening},
    http::Refused,
    io::{Io, Refusal},
    packet::Args,
    server::Service,
    settings::Settings,
    transport::Ended,
};
use std::{collections::HashSet, sync::mpsc, time::Duration};
use support::{Ends, app, bounded, connect, http, service, service_with, upgrade};
use tickwire::{
    CloseCode, Config, Connection, Message, Negotiated, Time,
    handshake::client::Request,
    tokio::{WebSocket, client},
};
use tokio::{io::DuplexStream, sync::watch, time::Instant};

const PATH: &str = "/socket.io/?EIO=4&transport=websocket";

/// A connection served, and how its session ended.
struct Client {
    ws: WebSocket<DuplexStream>,
    served: Ends,
    running: watch::Sender<()>,
}

impl Client {
    /// Connected, and nothing said yet but the server's first packet.
    async fn open(service: &Service) -> Self {
        let (near, running, served) = connect(service);
        let request = Request::new(&format!("ws://localhost{PATH}")).unwrap();
        let ws = client(near, &request, &Config::default()).await.unwrap();
        let mut client = Self { ws, served, running };
        let open = client.text().await;
        let value: Value = serde_json::from_str(open.strip_prefix('0').unwrap()).unwrap();
        let keys: Vec<_> = value.as_object().unwrap().keys().map(String::as_str).collect();
        let wanted = ["maxPayload", "pingInterval", "pingTimeout", "sid", "upgrades"];
        assert_eq!(keys.iter().collect::<HashSet<_>>(), wanted.iter().collect());
        assert_eq!(value["upgrades"], Value::Array(vec![]));
        client
    }

    /// In the main namespace.
    async fn joined(service: &Service) -> Self {
        let mut client = Self::open(service).await;
        client.join("40").await;
        client
    }

    /// Joins, and returns the socket's id.
    async fn join(&mut self, connect: &str) -> String {
        let answer = self.ask(connect).await;
        let json = answer.get(answer.find('{').unwrap()..).unwrap();
        assert!(answer.starts_with("40"), "{answer}");
        serde_json::from_str::<Value>(json).unwrap()["sid"].as_str().unwrap().to_owned()
    }

    async fn send(&mut self, message: impl Into<Message<'_>>) {
        let _ = self.ws.send(message).await; // the server may have had enough of it
    }

    async fn ask(&mut self, text: &str) -> String {
        self.send(text).await;
        self.text().await
    }

    async fn text(&mut self) -> String {
        bounded(self.ws.recv()).await.unwrap().unwrap().as_text().unwrap().to_owned()
    }

    async fn bytes(&mut self) -> Vec<u8> {
        let message = bounded(self.ws.recv()).await.unwrap().unwrap();
        assert_eq!(message.as_text(), None);
        message.as_bytes().to_vec()
    }

    /// The server closes without another word, for this reason.
    async fn ends_with(mut self, end: End) {
        if let Some(message) = bounded(self.ws.recv()).await.unwrap() {
            panic!("{message:?} instead of {end:?}");
        }
        assert_eq!(self.ws.closed().unwrap().code, end.close_code().get(), "{end:?}");
        let ended = self.served.next().await;
        assert!(support::is(&ended, end), "{ended:?} instead of {end:?}");
    }

    async fn ends_malformed(self) {
        self.ends_with(MALFORMED).await;
    }

    /// What came until the server has answered.
    async fn heard(&mut self) -> Vec<String> {
        self.send(r#"42999["echo"]"#).await;
        let mut heard = Vec::new();
        loop {
            match self.text().await {
                ack if ack == "43999[]" => return heard,
                text => heard.push(text),
            }
        }
    }

    /// It still answers.
    async fn lives(&mut self) {
        assert_eq!(self.ask(r#"420["echo"]"#).await, "430[]");
    }
}

const MALFORMED: End = End::Malformed(Malformed(""));
