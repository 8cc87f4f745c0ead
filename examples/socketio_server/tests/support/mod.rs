//! Connections to a service over pipes in memory, where time is virtual: a request by itself, or a
//! stream to speak on.
#![allow(dead_code)] // not each test uses all of it

use socketio_server::{
    engine::{End, Opening, mailbox::Mailbox, session::Session},
    io::Io,
    programs,
    server::Service,
    settings::Settings,
    transport::Ended,
};
use std::{net::IpAddr, sync::Arc, time::Duration};
use tickwire::Time;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex},
    sync::{mpsc, watch},
    time::timeout,
};

/// What one write may leave unread.
const PIPE: usize = 64 << 10;

/// The program that has an event for each feature.
pub(crate) fn app(settings: Settings) -> Io {
    let mut io = Io::new(settings);
    programs::echo(&mut io);
    io
}

pub(crate) fn service_with(settings: Settings) -> Service {
    Service::new(app(settings))
}

pub(crate) fn service() -> Service {
    service_with(Settings::default())
}

/// A session without a connection.
pub(crate) fn session(io: &Io, now: Time) -> Session {
    let io = io.clone();
    let begin = move |opening, mailbox: &Arc<Mailbox>, now| io.begin(opening, mailbox, now);
    Session::new(&begin, &Settings::default(), Opening::WEBSOCKET, now).unwrap()
}

/// Virtual time: an hour of it passes as soon as nothing else happens.
pub(crate) async fn bounded<F: Future>(future: F) -> F::Output {
    timeout(Duration::from_secs(3600), future).await.expect("it hangs")
}

/// How the sessions of a connection ended, and what was refused.
pub(crate) struct Ends(mpsc::UnboundedReceiver<Result<(), Ended>>);

impl Ends {
    pub(crate) async fn next(&mut self) -> Result<(), Ended> {
        bounded(self.0.recv()).await.expect("nothing ended")
    }
}

/// Whether a session ended in this way; if malformed, with whatever.
pub(crate) fn is(ended: &Result<(), Ended>, end: End) -> bool {
    match ended {
        Ok(()) => end == End::Closed,
        Err(Ended::Session(End::Malformed(_))) => matches!(end, End::Malformed(_)),
        Err(Ended::Session(got)) => *got == end,
        Err(_) => false,
    }
}

/// A stream to a service, which stops when the middle is dropped.
pub(crate) fn connect(service: &Service) -> (DuplexStream, watch::Sender<()>, Ends) {
    connect_from(service, [127, 0, 0, 1].into())
}

pub(crate) fn connect_from(
    service: &Service,
    peer: IpAddr,
) -> (DuplexStream, watch::Sender<()>, Ends) {
    let (near, far) = duplex(PIPE);
    let (running, stop) = watch::channel(());
    let (log, ends) = mpsc::unbounded_channel();
    let service = service.clone();
    let log = Arc::new(move |ended| {
        let _ = log.send(ended); // nobody may want to know
    });
    tokio::spawn(async move { service.converse(far, peer, stop, log).await });
    (near, running, Ends(ends))
}

/// The headers that ask for a WebSocket.
pub(crate) fn upgrade() -> String {
    "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
        Sec-WebSocket-Version: 13\r\n"
        .to_owned()
}

/// A response.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.body.clone()).unwrap()
    }

    /// The value of a header, in whose name only the case may differ.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let headers = self.head.lines().filter_map(|line| line.split_once(": "));
        headers.into_iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }
}

/// What a service answers to a request on a connection of its own. Its sessions live on.
pub(crate) async fn http(
    service: &Service,
    method: &str,
    target: &str,
    headers: &str,
    body: &[u8],
) -> (Answer, Ends) {
    let peer = [127, 0, 0, 1].into();
    http_from(peer, service, method, target, headers, body).await
}

pub(crate) async fn http_from(
    peer: IpAddr,
    service: &Service,
    method: &str,
    target: &str,
    headers: &str,
    body: &[u8],
) -> (Answer, Ends) {
    let (mut near, running, ends) = connect_from(service, peer);
    std::mem::forget(running); // or the sessions would end with the request
    let length = if method == "POST" {
        format!("Content-Length: {}\r\n", body.len())
    } else {
        String::new()
    };
    let head = format!("{method} {target} HTTP/1.1\r\nHost: h\r\n{headers}{length}\r\n");
    let (mut reader, mut writer) = tokio::io::split(&mut near);
    let body = body.to_vec();
    let write = async {
        let _ = writer.write_all(head.as_bytes()).await; // it may not be read to its end
        let _ = writer.write_all(&body).await;
    };
    let (answer, ()) = bounded(async { tokio::join!(answer(&mut reader), write) }).await;
    (answer, ends)
}

/// Reads a response.
pub(crate) async fn answer(stream: &mut (impl AsyncReadExt + Unpin)) -> Answer {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.expect("a response"));
    }
    let head = String::from_utf8(head).unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    let mut answer = Answer { status, head, body: Vec::new() };
    if answer.header("transfer-encoding") == Some("chunked") {
        loop {
            let mut line = Vec::new();
            while !line.ends_with(b"\r\n") {
                line.push(stream.read_u8().await.unwrap());
            }
            let size = str::from_utf8(&line).unwrap().trim();
            let size = usize::from_str_radix(size, 16).unwrap();
            let mut chunk = vec![0; size + 2];
            stream.read_exact(&mut chunk).await.unwrap();
            if size == 0 {
                break;
            }
            answer.body.extend_from_slice(&chunk[..size]);
        }
    } else {
        let length = answer.header("content-length").map_or(0, |value| value.parse().unwrap());
        answer.body = vec![0; length];
        stream.read_exact(&mut answer.body).await.unwrap();
    }
    answer
}
