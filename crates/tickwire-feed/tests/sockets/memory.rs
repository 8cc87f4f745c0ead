//! `Feed` over sockets in memory, on a clock that passes as soon as nothing else is to be done.
use std::{
    future::{Future, pending},
    sync::{Arc, Mutex},
    time::Duration,
};
use testkit::alloc::live;
use tickwire::{
    Config, Message, OwnedMessage,
    handshake::client::Request,
    tokio::{WebSocket, accept, client},
};
use tickwire_feed::{
    Attempts, Ended, Follower, Recovery, Say, Settings, Subscription,
    tokio::{Event, Exchange, Feed, Heard},
};
use tickwire_parts::Backoff;
use tokio::{
    io::{AsyncWriteExt, DuplexStream, duplex},
    sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
    time::{Instant, sleep, timeout},
};

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3600);

/// Where each connection's other end goes.
struct Desk(UnboundedSender<DuplexStream>);

impl Exchange for Desk {
    type Stream = DuplexStream;
    type Data = usize;
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

    fn write(&mut self, say: Say, out: &mut Vec<OwnedMessage>) {
        out.push(format!("{say:?}").into());
    }

    /// `snapshot` and a number, or a number and anything behind it.
    fn read(&mut self, message: Message<'_>, heard: &mut Heard<'_, usize, ()>) {
        let text = message.as_text().unwrap();
        if let Some(next) = text.strip_prefix("snapshot ") {
            return heard.snapshot(0, next.parse().unwrap(), ());
        }
        let number = text.split(' ').next().unwrap().parse::<u64>().unwrap();
        heard.data(0, Some(number.into()), text.len());
    }

    fn snapshot(
        &mut self,
        _: usize,
        ask: &mut Vec<OwnedMessage>,
    ) -> impl Future<Output = Result<(u64, ()), Option<Duration>>> + Send + 'static {
        ask.push("get".into());
        pending()
    }
}

fn feed(
    recovery: Recovery,
    probe_after: Option<Duration>,
) -> (Feed<Desk>, UnboundedReceiver<DuplexStream>) {
    let set = Settings { probe_after, ..Settings::new(|_| 0) };
    let mut follower = Follower::new(set);
    follower.add_line(Backoff::seeded(1).trading(), Duration::MAX, Duration::ZERO);
    follower.subscribe(Subscription { recovery, ..Subscription::default() }).unwrap();
    let (sender, accepts) = unbounded_channel();
    let attempts = Arc::new(Mutex::new(Attempts::new(250, 300 * SECOND)));
    (Feed::new(Desk(sender), follower, attempts), accepts)
}

/// An exchange that sends a number each minute, and cuts each connection after an hour. What the
/// feed has of the heap stays as it is.
#[tokio::test(start_paused = true)]
async fn a_day_passes_in_a_second() {
    let (mut feed, mut accepts) = feed(Recovery::Resume, None);
    let serving = tokio::spawn(async move {
        let mut number = 0;
        while let Some(io) = accepts.recv().await {
            let mut peer = accept(io, &Config::default()).await.unwrap();
            for _ in 0..60 {
                number += 1;
                peer.send(number.to_string().as_str()).await.unwrap();
                // Reads what the feed has to say.
                let read = async { while let Ok(Some(_)) = peer.recv().await {} };
                timeout(60 * SECOND, read).await.unwrap_err();
            }
        }
    });
    let began = Instant::now();
    let mut delivered = 0;
    let mut opened = 0;
    let mut after_an_hour = None;
    while began.elapsed() < 24 * HOUR {
        match feed.next().await {
            Event::Data { .. } => delivered += 1,
            Event::Opened(_) => {
                opened += 1;
                if opened == 2 {
                    after_an_hour = Some(live());
                } else if let Some(before) = after_an_hour {
                    assert!(live() - before < 1024, "{} bytes more", live() - before);
                }
            }
            Event::Gap { gap, .. } => panic!("{gap:?}"),
            _ => {}
        }
    }
    assert_eq!(opened, 24);
    assert!((24 * 60..=24 * 60 + 1).contains(&delivered), "{delivered}");
    serving.abort();
}

/// Nothing else can come meanwhile, so nothing proves that the server is silent.
#[tokio::test(start_paused = true)]
async fn a_message_that_is_long_on_its_way_is_life() {
    let (mut feed, mut accepts) = feed(Recovery::Resume, Some(2 * SECOND));
    let serving = tokio::spawn(async move {
        let mut peer = accept(accepts.recv().await.unwrap(), &Config::default()).await.unwrap();
        peer.send("1 ").await.unwrap();
        let (mut io, _) = peer.into_parts();
        let payload = [b"2 ".as_slice(), &[b'x'; 3_000_000]].concat();
        let length = (payload.len() as u64).to_be_bytes();
        let frame = [&[0x81, 127], &length[..], &payload].concat();
        for chunk in frame.chunks(30_000) {
            io.write_all(chunk).await.unwrap();
            sleep(SECOND / 5).await;
        }
        pending::<()>().await; // and the connection stays open
    });
    let began = Instant::now();
    let mut sizes = Vec::new();
    while sizes.len() < 2 {
        match feed.next().await {
            Event::Data { data, .. } => sizes.push(data),
            Event::Ended { why, .. } => panic!("{why:?} after {:?}", began.elapsed()),
            _ => {}
        }
    }
    assert_eq!(sizes, [2, 3_000_002]);
    assert!(began.elapsed() > 15 * SECOND);
    assert_eq!(feed.connections().count(), 1);
    serving.abort();
}

/// "It is asked for again, with another id, if neither comes within `snapshot_within`": 10 s.
#[tokio::test(start_paused = true)]
async fn a_snapshot_that_does_not_come_is_asked_for_again_though_data_comes() {
    let (mut feed, mut accepts) = feed(Recovery::Snapshot, None);
    let serving = tokio::spawn(async move {
        let mut peer = accept(accepts.recv().await.unwrap(), &Config::default()).await.unwrap();
        let mut asked = 0;
        for number in 1..=300_u64 {
            peer.send(number.to_string().as_str()).await.unwrap();
            let read = async {
                while let Ok(Some(message)) = peer.recv().await {
                    asked += usize::from(message.as_text() == Some("get"));
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
    let (mut feed, mut accepts) = feed(Recovery::Snapshot, None);
    let serving = tokio::spawn(async move {
        let mut peer = accept(accepts.recv().await.unwrap(), &Config::default()).await.unwrap();
        peer.send("snapshot 1000").await.unwrap();
        for number in (1000..1005).chain(1..300) {
            peer.send(number.to_string().as_str()).await.unwrap();
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
