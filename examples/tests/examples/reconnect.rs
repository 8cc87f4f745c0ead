//! The loops of the example `reconnect`, driven through every kind of loss, on both adapters.
#![cfg(feature = "tokio")]

#[path = "../../reconnect/feed.rs"]
mod feed;
#[path = "../../reconnect/on_threads.rs"]
mod on_threads;
#[path = "../../reconnect/on_tokio.rs"]
mod on_tokio;
#[path = "../../reconnect/unreliable.rs"]
mod unreliable;

use self::feed::{Feed, Subscription};
use self::unreliable::{End, Server};
use crate::bounded::bounded;
use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU8, Ordering::Relaxed},
    },
    time::Duration,
};
use tickwire::{
    CloseCode, Config, Error, Heartbeat, Message, RecvError,
    handshake::{HandshakeError, client::Request},
};
use tickwire_parts::Backoff;

const MAX_DELAY: Duration = Duration::from_millis(20);

/// What the application heard: messages, and gaps in short.
#[derive(Clone, Default)]
struct Heard(Arc<Mutex<Vec<String>>>);

impl Heard {
    fn push(&self, line: String) {
        self.0.lock().unwrap().push(line);
    }

    fn lines(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }
}

impl Feed for Heard {
    fn message(&mut self, message: Message<'_>) {
        self.push(message.as_text().unwrap().to_owned());
    }

    fn gap(&mut self, ended: &Result<u16, Error>, delay: Duration) {
        let why = match ended {
            Ok(code) => format!("closed {code}"),
            Err(Error::Refused(refusal)) => format!("status {}", refusal.status),
            Err(Error::Recv(RecvError::UnexpectedEof)) => "end".into(),
            Err(Error::Recv(RecvError::PongTimeout)) => "dead".into(),
            Err(Error::Handshake(HandshakeError::UnexpectedEof)) => "end in the handshake".into(),
            Err(Error::Io(error)) => match error.kind() {
                io::ErrorKind::ConnectionRefused => "nobody listens".into(),
                io::ErrorKind::ConnectionReset => "reset".into(),
                kind => format!("{kind:?}"),
            },
            Err(error) => format!("{error}"),
        };
        // Longer than the longest delay only where the server asked for it.
        let asked = if why == "status 503" { Duration::from_secs(1) } else { Duration::ZERO };
        assert!(asked <= delay && delay <= asked + MAX_DELAY, "{why}: {delay:?}");
        self.push(format!("gap: {why}"));
    }
}

type Client = tokio::task::JoinHandle<(Result<u16, Error>, Backoff)>;

/// A client of the loop under test, in a task or a thread.
fn start(server: &Server, blocking: bool, backoff: Backoff) -> (Heard, Client) {
    let heard = Heard::default();
    let beat = Heartbeat::new(Duration::from_millis(100), Duration::from_secs(5));
    let subscription = Subscription {
        request: Request::new(&server.url()).unwrap(),
        config: Config { heartbeat: Some(beat), ..Config::default() },
        token: "secret".into(),
        topics: vec!["a".into(), "b".into()],
    };
    let (mut feed, mut backoff) = (heard.clone(), backoff);
    let client = if blocking {
        tokio::task::spawn_blocking(move || {
            let ended = on_threads::run(&subscription, &mut backoff, &mut feed);
            (ended, backoff)
        })
    } else {
        tokio::spawn(async move {
            let ended = on_tokio::run(&subscription, &mut backoff, &mut feed).await;
            (ended, backoff)
        })
    };
    (heard, client)
}

fn quick() -> Backoff {
    let mut backoff = Backoff::seeded(1);
    backoff.first_delay = Duration::from_millis(1);
    backoff.max_delay = MAX_DELAY;
    backoff
}

/// An address whose port nobody else takes while the server is down.
fn address() -> SocketAddr {
    static NEXT: AtomicU8 = AtomicU8::new(2);
    let [.., a, b] = std::process::id().to_be_bytes();
    let own = [127, a, b, NEXT.fetch_add(1, Relaxed)];
    let host = if cfg!(target_os = "linux") { own } else { [127, 0, 0, 1] };
    (host, 0).into()
}

async fn through_every_kind_of_loss(blocking: bool) {
    let mut server = Server::bind(address()).await.unwrap();
    let (heard, client) = start(&server, blocking, quick());
    for end in [
        End::InHandshake,
        End::Eof,
        End::Closed(CloseCode::SERVICE_RESTART),
        End::Reset,
        End::Refused(503, Some(1)),
        End::Dead,
        End::Closed(CloseCode::TRY_AGAIN_LATER),
        End::Closed(CloseCode::GOING_AWAY),
    ] {
        let said = server.serve(3, end).await.unwrap();
        // Who we are and what we want, once for each connection, and nothing else.
        if !matches!(end, End::InHandshake | End::Refused(..)) {
            assert_eq!(said, ["auth secret", "subscribe a", "subscribe b"], "{end:?}");
        }
    }
    server.down();
    while heard.lines().last().unwrap() != "gap: nobody listens" {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    server.up().await.unwrap();
    server.serve(3, End::Eof).await.unwrap();
    server.serve(3, End::Refused(401, None)).await.unwrap();
    let (ended, _) = client.await.unwrap();
    assert!(matches!(ended, Err(Error::Refused(refusal)) if refusal.status == 401));

    let mut lines = heard.lines();
    lines.dedup_by(|a, b| a == b && a == "gap: nobody listens"); // as often as it takes
    // A connection that was closed with something unread may end with RST.
    if lines[0] == "gap: reset" {
        lines[0] = "gap: end in the handshake".into();
    }
    assert_eq!(
        lines,
        [
            "gap: end in the handshake",
            "message 1",
            "message 2",
            "gap: end",
            "message 3",
            "message 4",
            "gap: closed 1012",
            "message 5",
            "message 6",
            "gap: reset",
            "gap: status 503",
            "message 7",
            "message 8",
            "gap: dead",
            "message 9",
            "message 10",
            "gap: closed 1013",
            "message 11",
            "message 12",
            "gap: closed 1001",
            "gap: nobody listens",
            "message 13",
            "message 14",
            "gap: end",
        ]
    );
}

#[tokio::test]
async fn tokio_goes_through_every_kind_of_loss_and_stops_at_401() {
    bounded(through_every_kind_of_loss(false)).await;
}

#[tokio::test]
async fn blocking_goes_through_every_kind_of_loss_and_stops_at_401() {
    bounded(through_every_kind_of_loss(true)).await;
}

// P202, A97.
async fn accepted_and_dropped_a_hundred_times(blocking: bool) {
    let mut server = Server::bind(address()).await.unwrap();
    // Delays of at most 1 ms, and an end: what is counted is that none of these proves useful.
    let mut backoff = quick();
    backoff.max_delay = Duration::from_millis(1);
    backoff.max_attempts = Some(100);
    let (heard, client) = start(&server, blocking, backoff);
    for n in 0..101 {
        let end = if n % 2 == 0 { End::InHandshake } else { End::Refused(500, None) };
        server.serve(0, end).await.unwrap();
    }
    let (ended, backoff) = client.await.unwrap();
    assert!(ended.is_err());
    assert_eq!((backoff.attempts(), heard.lines().len()), (100, 100));
}

#[tokio::test]
async fn tokio_a_server_that_drops_whom_it_accepts_is_given_up() {
    bounded(accepted_and_dropped_a_hundred_times(false)).await;
}

#[tokio::test]
async fn blocking_a_server_that_drops_whom_it_accepts_is_given_up() {
    bounded(accepted_and_dropped_a_hundred_times(true)).await;
}

async fn closed_for_good(blocking: bool) {
    for code in [CloseCode::NORMAL, CloseCode::POLICY_VIOLATION] {
        let mut server = Server::bind(address()).await.unwrap();
        let (heard, client) = start(&server, blocking, quick());
        server.serve(3, End::Closed(code)).await.unwrap();
        let (ended, _) = client.await.unwrap();
        assert_eq!(ended.unwrap(), code.get());
        assert_eq!(heard.lines(), ["message 1", "message 2"]);
    }
}

#[tokio::test]
async fn tokio_stops_where_the_server_means_it() {
    bounded(closed_for_good(false)).await;
}

#[tokio::test]
async fn blocking_stops_where_the_server_means_it() {
    bounded(closed_for_good(true)).await;
}
