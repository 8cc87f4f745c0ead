//! HTTP long-polling and the upgrade from it, byte for byte, in both revisions of the protocol;
//! each attack has its number in the list of them. Time is virtual: the default deadlines pass at
//! once.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod bodies;
mod requests;
mod revision_3;
mod sessions;
#[path = "../support/mod.rs"]
mod support;
mod upgrade;

use serde_json::Value;
use socketio_server::{
    engine::End,
    http::Refused,
    server::{Service, bind},
    settings::Settings,
    transport::Ended,
};
use std::{collections::HashSet, time::Duration};
use support::{
    Answer, Ends, answer, app, bounded, connect, http, http_from, service, service_with,
};
use tickwire::{
    Config, Message,
    handshake::client::Request,
    tokio::{WebSocket, client},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream},
    net::TcpStream,
    sync::watch,
    task::JoinHandle,
    time::{Instant, sleep},
};

const BYTES: &str = "Content-Type: application/octet-stream\r\n";

/// A session over polling, each request on a connection of its own.
struct Client {
    service: Service,
    target: String,
    ends: Ends,
}

impl Client {
    /// Opened, and what was said first.
    async fn open(service: &Service, query: &str) -> (Self, Answer) {
        let target = format!("/socket.io/?transport=polling&{query}");
        let (first, ends) = http(service, "GET", &target, "", b"").await;
        assert_eq!(first.status, 200, "{}", first.head);
        let text = first.text();
        let json = &text[text.find('{').unwrap()..=text.find('}').unwrap()];
        let open: Value = serde_json::from_str(json).unwrap();
        let sid = open["sid"].as_str().unwrap();
        (Self { service: service.clone(), target: format!("{target}&sid={sid}"), ends }, first)
    }

    /// Of revision 4, in the main namespace.
    async fn joined(service: &Service) -> Self {
        let (client, _) = Self::open(service, "EIO=4").await;
        client.says("40").await;
        assert!(client.hears().await.starts_with("40{\"sid\":\""));
        client
    }

    async fn post(&self, headers: &str, body: impl AsRef<[u8]>) -> Answer {
        http(&self.service, "POST", &self.target, headers, body.as_ref()).await.0
    }

    async fn get(&self) -> Answer {
        http(&self.service, "GET", &self.target, "", b"").await.0
    }

    async fn says(&self, body: impl AsRef<[u8]>) {
        let answer = self.post("", body).await;
        assert_eq!((answer.status, answer.text().as_str()), (200, "ok"));
    }

    async fn hears(&self) -> String {
        let answer = self.get().await;
        assert_eq!(answer.status, 200);
        answer.text()
    }

    async fn lives(&self) {
        self.says(r#"420["echo"]"#).await;
        assert_eq!(self.hears().await, "430[]");
    }

    /// A poll that waits.
    async fn polls(&self) -> JoinHandle<Answer> {
        let (service, target) = (self.service.clone(), self.target.clone());
        let poll = tokio::spawn(async move { http(&service, "GET", &target, "", b"").await.0 });
        sleep(Duration::from_millis(1)).await; // it is there
        assert!(!poll.is_finished());
        poll
    }

    /// There is no such session any more.
    async fn is_over(&self) {
        for answer in [self.get().await, self.post("", "3").await] {
            assert_eq!(answer.status, 400);
            assert_eq!(answer.text(), r#"{"code":1,"message":"Session ID unknown"}"#);
        }
    }

    async fn ended_with(&mut self, end: End) {
        let ended = self.ends.next().await;
        assert!(support::is(&ended, end), "{ended:?} instead of {end:?}");
        self.is_over().await;
    }

    /// A WebSocket that names the session.
    async fn websocket(&self) -> WebSocket<DuplexStream> {
        let (near, running, _) = connect(&self.service);
        std::mem::forget(running);
        let target = self.target.replace("=polling", "=websocket");
        let request = Request::new(&format!("ws://localhost{target}")).unwrap();
        client(near, &request, &Config::default()).await.unwrap()
    }

    /// It may take over.
    async fn probed(&self) -> WebSocket<DuplexStream> {
        let mut ws = self.websocket().await;
        ws.send("2probe").await.unwrap();
        assert_eq!(text(&mut ws).await, "3probe");
        ws
    }
}

async fn text(ws: &mut WebSocket<DuplexStream>) -> String {
    bounded(ws.recv()).await.unwrap().unwrap().as_text().unwrap().to_owned()
}

const MALFORMED: End = End::Malformed(socketio_server::engine::Malformed(""));
