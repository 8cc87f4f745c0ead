//! `Feed` over a connection that always has data: what does not come must be missed all the same.
use std::{
    future::{Future, pending},
    sync::{Arc, Mutex},
    time::Duration,
};
use tickwire::{
    Config, Message, OwnedMessage,
    handshake::client::Request,
    tokio::{WebSocket, accept, client},
};
use tickwire_feed::{
    Attempts, Ended, Follower, Say, Settings, Subscription,
    tokio::{Event, Exchange, Feed, Heard},
};
use tickwire_parts::Backoff;
use tokio::{
    io::{DuplexStream, duplex},
    sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
    time::{Instant, sleep, timeout},
};

const SECOND: Duration = Duration::from_secs(1);

/// Two books, whose snapshots come over the connection. Where each connection's other end goes.
struct Desk(UnboundedSender<DuplexStream>);

impl Exchange for Desk {
    type Stream = DuplexStream;
    type Data = ();
    type Snapshot = ();

    fn connect(
        &mut self,
        _: usize,
        _: usize,
        _: Option<Ended>,
    ) -> impl Future<Output = Result<WebSocket<DuplexStream>, Ended>> + Send + 'static {
        let (near, far) = duplex(64 * 1024);
        self.0.send(far).unwrap();
        async move {
            let request = Request::new("ws://exchange.test/").unwrap();
            Ok(client(near, &request, &Config::default()).await?)
        }
    }

    fn write(&mut self, _: Say, _: &mut Vec<OwnedMessage>) {}

    /// `data BOOK NUMBER` or `snapshot BOOK NUMBER`.
    fn read(&mut self, message: Message<'_>, heard: &mut Heard<'_, (), ()>) {
        let mut words = message.as_text().unwrap().split(' ');
        let what = words.next();
        let mut number = || words.next().unwrap().parse::<u64>().unwrap();
        let book = usize::try_from(number()).unwrap();
        match what {
            Some("data") => {
                heard.data(book, Some(number().into()), ());
            }
            _ => heard.snapshot(book, number(), ()),
        }
    }

    fn snapshot(
        &mut self,
        book: usize,
        ask: &mut Vec<OwnedMessage>,
    ) -> impl Future<Output = Result<(u64, ()), Option<Duration>>> + Send + 'static {
        ask.push(format!("get {book}").into());
        pending()
    }
}

fn feed() -> (Feed<Desk>, UnboundedReceiver<DuplexStream>) {
    let mut follower = Follower::new(Settings::new(|_| 0));
    follower.add_line(Backoff::seeded(1).trading(), Duration::MAX, Duration::ZERO);
    for _ in 0..2 {
        follower.subscribe(Subscription::default()).unwrap();
    }
    let (sender, accepts) = unbounded_channel();
    let attempts = Arc::new(Mutex::new(Attempts::new(250, 300 * SECOND)));
    (Feed::new(Desk(sender), follower, attempts), accepts)
}

/// "It is asked for again, with another id, if neither comes within `snapshot_within`": 10 s.
#[tokio::test(start_paused = true)]
async fn a_snapshot_that_does_not_come_is_asked_for_again_though_data_comes() {
    let (mut feed, mut accepts) = feed();
    let serving = tokio::spawn(async move {
        let mut peer = accept(accepts.recv().await.unwrap(), &Config::default()).await.unwrap();
        let mut asked = 0;
        for number in 1..=300_u64 {
            peer.send(format!("data 0 {number}").as_str()).await.unwrap();
            let read = async {
                while let Ok(Some(message)) = peer.recv().await {
                    asked += usize::from(message.as_text() == Some("get 0"));
                }
            };
            timeout(SECOND / 5, read).await.unwrap_err();
        }
        asked
    });
    while !serving.is_finished() {
        let _ = timeout(SECOND, feed.next()).await;
    }
    assert!(serving.await.unwrap() >= 2, "asked once in a minute");
}

/// "A line went back below its own last number .. The event comes after the patience": 1 s.
#[tokio::test(start_paused = true)]
async fn a_count_that_goes_back_begins_anew_though_data_comes() {
    let (mut feed, mut accepts) = feed();
    let serving = tokio::spawn(async move {
        let mut peer = accept(accepts.recv().await.unwrap(), &Config::default()).await.unwrap();
        peer.send("snapshot 0 1000").await.unwrap();
        for number in (1000..1005).chain(1..300) {
            peer.send(format!("data 0 {number}").as_str()).await.unwrap();
            sleep(SECOND / 5).await;
        }
        pending::<()>().await;
    });
    let mut restarts = Vec::new();
    let began = Instant::now();
    while began.elapsed() < 30 * SECOND {
        if let Ok(Event::Restart { subscription: 0 }) = timeout(SECOND, feed.next()).await {
            restarts.push(began.elapsed());
        }
    }
    // The first one is that of the first message.
    assert!(restarts.iter().any(|at| *at > SECOND), "{restarts:?}");
    serving.abort();
}
