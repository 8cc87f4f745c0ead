//! Tests the example `reconnect` over tokio, threads and the loop, with every kind of loss.
#![cfg(feature = "tokio")]

#[path = "../../reconnect/client.rs"]
mod client;
#[path = "../../reconnect/on_loop.rs"]
mod on_loop;
#[path = "../../reconnect/on_threads.rs"]
mod on_threads;
#[path = "../../reconnect/on_tokio.rs"]
mod on_tokio;
#[path = "../../reconnect/unreliable.rs"]
mod unreliable;

use self::client::Client;
use self::unreliable::{End, Server};
use std::{
    io::ErrorKind,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU8, Ordering::Relaxed},
    },
    time::Duration,
};
use testkit::tasks::bounded;
use tickwire::{CloseCode, handshake::client::Request};
use tickwire_parts::Backoff;
use tokio::sync::oneshot;

#[derive(Clone, Copy)]
enum Adapter {
    Tokio,
    Blocking,
    Loop,
}

/// The lines that the client showed.
#[derive(Clone, Default)]
struct Shown(Arc<Mutex<Vec<String>>>);

impl Shown {
    /// Without their clocks.
    fn lines(&self) -> Vec<String> {
        let lines = self.0.lock().unwrap();
        lines.iter().filter_map(|line| Some(line.get(9..)?.to_owned())).collect()
    }

    async fn until(&self, line: &str) {
        while !self.lines().iter().any(|shown| shown == line) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}

/// A client under test, in a task or a thread.
fn start(urls: &[String], adapter: Adapter) -> (Shown, tokio::task::JoinHandle<()>) {
    let shown = Shown::default();
    let lines = shown.clone();
    let mut backoff = Backoff::seeded(1);
    backoff.first_delay = Duration::from_millis(1);
    backoff.max_delay = Duration::from_millis(20);
    let requests = urls.iter().map(|url| Request::new(url).unwrap()).collect();
    let topics = vec!["a".into(), "b".into()];
    let show = move |line: &str| lines.0.lock().unwrap().push(line.to_owned());
    let mut client = Client::new(requests, "secret".into(), topics, backoff, show);
    let running = match adapter {
        Adapter::Tokio => tokio::spawn(on_tokio::run(client)),
        Adapter::Blocking => on_a_thread(move || on_threads::run(&mut client)),
        Adapter::Loop => on_a_thread(move || on_loop::run(&mut client).unwrap()),
    };
    (shown, running)
}

/// Not by `spawn_blocking`: after an assertion that fails, the runtime would wait for a client that
/// never ends.
fn on_a_thread(run: impl FnOnce() + Send + 'static) -> tokio::task::JoinHandle<()> {
    let (ends, ended) = oneshot::channel();
    std::thread::spawn(move || {
        run();
        let _ = ends.send(());
    });
    tokio::spawn(async { ended.await.unwrap() })
}

/// An address whose port nobody else takes while the server is down.
fn address() -> SocketAddr {
    static NEXT: AtomicU8 = AtomicU8::new(2);
    let [.., a, b] = std::process::id().to_be_bytes();
    let own = [127, a, b, NEXT.fetch_add(1, Relaxed)];
    let host = if cfg!(target_os = "linux") { own } else { [127, 0, 0, 1] };
    (host, 0).into()
}

async fn through_every_kind_of_loss(adapter: Adapter) {
    let mut server = Server::bind(address()).await.unwrap();
    let (shown, client) = start(&[server.url()], adapter);
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
        // On each connection, the client logs in and subscribes once, and says nothing else.
        if !matches!(end, End::InHandshake | End::Refused(..)) {
            assert_eq!(said, ["auth secret", "subscribe a", "subscribe b"], "{end:?}");
        }
    }
    server.down();
    shown.until("message 12").await;
    // A program that another test starts has our sockets until it runs, and so the port is in use.
    while let Err(error) = server.up().await {
        assert_eq!(error.kind(), ErrorKind::AddrInUse, "{error}");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    server.skip(2); // sent while nobody listened
    server.serve(3, End::Eof).await.unwrap();
    shown.until("message 16").await; // a gap is reported within a second
    server.serve(3, End::Refused(401, None)).await.unwrap();
    client.await.unwrap();

    let lines = shown.lines();
    let fed: Vec<_> = lines
        .iter()
        .filter(|line| line.starts_with("message") || line.starts_with("-- lost"))
        .map(String::as_str)
        .collect();
    let mut all: Vec<_> = (1..=12).map(|n| format!("message {n}")).collect();
    all.extend(["-- lost: 13 to 14", "message 15", "message 16"].map(String::from));
    assert_eq!(fed, all);
    for (ended, times) in [
        ("waits to dial: the connection was cut without a Close", 4), // and the reset
        ("waits to dial: the server closed with 1012", 1),
        ("waits to dial: server answered 503", 1),
        ("opens another connection: the server did not answer a probe", 1),
        ("waits to dial: the server closed with 1013", 1),
        ("waits to dial: the server closed with 1001", 1),
        ("no message for ", 6),
    ] {
        let shown = lines.iter().filter(|shown| shown.contains(ended)).count();
        assert!(shown >= times, "{ended}: {lines:#?}"); // more often while nobody listens
    }
    let last = lines.last().unwrap();
    assert!(last.starts_with("-- stopped until told to go on: server answered 401"), "{last}");
}

#[tokio::test]
async fn tokio_goes_through_every_kind_of_loss_and_stops_at_401() {
    bounded(through_every_kind_of_loss(Adapter::Tokio)).await;
}

#[tokio::test]
async fn blocking_goes_through_every_kind_of_loss_and_stops_at_401() {
    bounded(through_every_kind_of_loss(Adapter::Blocking)).await;
}

#[tokio::test]
async fn the_loop_goes_through_every_kind_of_loss_and_stops_at_401() {
    bounded(through_every_kind_of_loss(Adapter::Loop)).await;
}

#[tokio::test]
async fn a_close_that_means_it_raises_an_alarm() {
    bounded(async {
        let mut server = Server::bind(address()).await.unwrap();
        let (shown, client) = start(&[server.url()], Adapter::Tokio);
        for _ in 0..3 {
            server.serve(3, End::Closed(CloseCode::POLICY_VIOLATION)).await.unwrap();
        }
        let alarm = "-- look at this; waits to dial: the server closed with 1008";
        shown.until(alarm).await;
        client.abort();
    })
    .await;
}
