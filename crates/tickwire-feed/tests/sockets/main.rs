//! `Feed` over loopback sockets, against a server that a test scripts.
//!
//! A message of the server is a list: `data SUBSCRIPTION NUMBER`, `snapshot SUBSCRIPTION NUMBER`,
//! `refused SUBSCRIPTION`, which is about a snapshot, or `challenge TEXT`, which wants
//! `answer TEXT`, separated by semicolons.
#![allow(clippy::unwrap_used, clippy::panic)]
mod memory;
mod server;

use server::Server;
use std::{
    collections::VecDeque,
    future::{Future, pending, poll_fn},
    pin::{Pin, pin},
    sync::{Arc, Mutex},
    task::Poll,
    time::Duration,
};
use testkit::tasks::bounded;
use tickwire::{
    Config, Dial, Message, OwnedMessage,
    handshake::client::Request,
    tokio::{MaybeTls, WebSocket},
};
use tickwire_feed::{
    Attempts, Cause, ConnectionId, Count, Ended, Follower, Incoming, Pace, Recovery, Say, Settings,
    State, Subscription, Verdict,
    tokio::{Event, Exchange, Feed, Heard},
};
use tickwire_parts::Backoff;
use tokio::{
    sync::{mpsc::unbounded_channel, oneshot},
    time::sleep,
};

#[global_allocator]
static ALLOCATOR: testkit::alloc::Counting = testkit::alloc::Counting;

type Snapshot = Pin<Box<dyn Future<Output = Result<(u64, u64), Option<Duration>>> + Send>>;

#[derive(Default)]
struct Desk {
    urls: Vec<String>,
    /// The line and the address of each attempt.
    dialed: Vec<(usize, usize)>,
    /// What each attempt has to wait for, in turn.
    tokens: VecDeque<oneshot::Receiver<()>>,
    snapshots: VecDeque<Snapshot>,
    /// How many snapshots were asked for.
    asked: usize,
    /// What asks for a snapshot over the connection, if that is how.
    asks: Option<&'static str>,
    verdicts: Vec<Option<Verdict>>,
    probe_after: Option<Duration>,
}

impl Exchange for Desk {
    type Stream = MaybeTls;
    type Data = u64;
    type Snapshot = u64;

    fn connect(
        &mut self,
        line: usize,
        address: usize,
        _: Option<Ended>,
    ) -> impl Future<Output = Result<WebSocket<MaybeTls>, Ended>> + Send + 'static {
        let request = Request::new(&self.urls[address]).unwrap();
        self.dialed.push((line, address));
        let token = self.tokens.pop_front();
        async move {
            if let Some(token) = token {
                token.await.map_err(|_| Ended::Failed(Cause::Network))?;
            }
            Ok(Dial::new(&request).connect(&Config::trading()).await?)
        }
    }

    fn write(&mut self, say: Say, out: &mut Vec<OwnedMessage>) {
        let text = match say {
            Say::Subscribe { subscriptions, .. } => format!("subscribe {}", subscriptions.start),
            Say::Probe => "ping".to_owned(),
            // The exchange speaks first.
            Say::Login if self.asks.is_none() => return,
            Say::Login => {
                out.push("key".into());
                "secret".to_owned()
            }
        };
        out.push(text.into());
    }

    fn read(&mut self, message: Message<'_>, heard: &mut Heard<'_, u64, u64>) {
        for part in message.as_text().unwrap().split(';') {
            let words: Vec<_> = part.split(' ').collect();
            let number = |at: usize| words[at].parse::<u64>().unwrap();
            match words[0] {
                "data" => {
                    let numbers = Some(number(2).into());
                    let verdict = heard.data(number(1) as usize, numbers, number(2));
                    self.verdicts.push(verdict);
                }
                "snapshot" => heard.snapshot(number(1) as usize, number(2) + 1, number(2)),
                "anew" => heard.snapshot_anew(number(1) as usize, number(2) + 1, number(2)),
                "refused" => heard.no_snapshot(number(1) as usize, None),
                "welcome" => heard.is(Incoming::LoggedIn),
                "challenge" => heard.reply(format!("answer {}", words[1])),
                _ => heard.is(Incoming::Other),
            }
        }
    }

    fn snapshot(
        &mut self,
        _: usize,
        ask: &mut Vec<OwnedMessage>,
    ) -> impl Future<Output = Result<(u64, u64), Option<Duration>>> + Send + 'static {
        self.asked += 1;
        ask.extend(self.asks.map(OwnedMessage::from));
        self.snapshots.pop_front().unwrap_or_else(|| Box::pin(pending()))
    }
}

/// A feed with so many lines and subscriptions, and answers that come soon.
fn feed(desk: Desk, lines: u64, subscriptions: usize, recovery: Recovery) -> Feed<Desk> {
    feed_with(soon(&desk), desk, lines, subscriptions, recovery)
}

fn soon(desk: &Desk) -> Settings<u64> {
    Settings {
        addresses: desk.urls.len(),
        probe_after: desk.probe_after,
        answer_within: Duration::from_millis(500),
        ..Settings::new(|_| 0)
    }
}

fn feed_with(
    settings: Settings<u64>,
    desk: Desk,
    lines: u64,
    subscriptions: usize,
    recovery: Recovery,
) -> Feed<Desk> {
    let mut follower = Follower::new(settings);
    for seed in 1..=lines {
        follower.add_line(Backoff::seeded(seed).trading(), Duration::MAX, Duration::ZERO);
    }
    for _ in 0..subscriptions {
        follower.subscribe(Subscription { recovery, ..Subscription::default() }).unwrap();
    }
    let attempts = Attempts::new(250, Duration::from_secs(300));
    Feed::new(desk, follower, Arc::new(Mutex::new(attempts)))
}

/// The next event of a subscription.
async fn next(feed: &mut Feed<Desk>) -> Event<u64, u64> {
    loop {
        match feed.next().await {
            Event::State { .. } | Event::Opened { .. } | Event::Ended { .. } => {}
            event => return event,
        }
    }
}

/// The first open connection.
async fn connected(feed: &mut Feed<Desk>) -> ConnectionId {
    loop {
        if let Some(id) = feed.connections().next() {
            return id;
        }
        let _ = feed.next().await;
    }
}

fn data(subscription: usize, data: u64) -> Event<u64, u64> {
    Event::Data { subscription, data }
}

#[tokio::test]
async fn next_may_be_dropped_at_each_poll() {
    bounded(async {
        let mut server = Server::bind().await;
        let desk = Desk { urls: vec![server.url()], ..Desk::default() };
        let mut feed = feed(desk, 1, 1, Recovery::Resume);
        let serving = tokio::spawn(async move {
            let mut peer = server.accept().await;
            assert_eq!(peer.recv().await.unwrap(), "subscribe 0");
            for number in 1..=500 {
                peer.send(&format!("data 0 {number}")).await;
                if number % 50 == 0 {
                    sleep(Duration::from_millis(2)).await;
                }
            }
            peer
        });
        let mut numbers = Vec::new();
        while numbers.len() < 500 {
            // A new future for each poll.
            let polled = poll_fn(|cx| Poll::Ready(pin!(feed.next()).poll(cx))).await;
            match polled {
                Poll::Ready(Event::Data { data, .. }) => numbers.push(data),
                Poll::Ready(Event::State { .. } | Event::Opened { .. } | Event::Restart { .. }) => {
                }
                Poll::Ready(other) => panic!("{other:?}"),
                Poll::Pending => sleep(Duration::from_millis(1)).await,
            }
        }
        assert_eq!(numbers, Vec::from_iter(1..=500));
        drop(serving.await.unwrap());
    })
    .await;
}

#[tokio::test]
async fn a_line_that_fetches_a_token_holds_up_no_other() {
    bounded(async {
        let (mut one, mut two) = (Server::bind().await, Server::bind().await);
        let (give, first) = oneshot::channel();
        give.send(()).unwrap();
        let (give, second) = oneshot::channel();
        let desk = Desk {
            urls: vec![one.url(), two.url()],
            tokens: [first, second].into(),
            ..Desk::default()
        };
        let mut feed = feed(desk, 2, 1, Recovery::Resume);
        let serving = tokio::spawn(async move {
            let mut peer = one.accept().await;
            for number in 1..=3 {
                peer.send(&format!("data 0 {number}")).await;
            }
            peer
        });
        // `Recovery::Resume` begins with the first number.
        for number in 1..=3 {
            assert_eq!(next(&mut feed).await, data(0, number));
        }
        assert!(!give.is_closed(), "the second line still waits for its token");
        give.send(()).unwrap();
        let other = tokio::spawn(async move {
            let mut peer = two.accept().await;
            peer.send("data 0 3;data 0 4").await;
            peer
        });
        assert_eq!(next(&mut feed).await, data(0, 4));
        drop((serving.await.unwrap(), other.await.unwrap()));
    })
    .await;
}

/// An exchange needs that to give each line a key of its own.
#[tokio::test]
async fn an_attempt_is_told_its_line() {
    bounded(async {
        let mut server = Server::bind().await;
        let desk = Desk { urls: vec![server.url()], ..Desk::default() };
        let mut feed = feed(desk, 2, 1, Recovery::Resume);
        let serving = tokio::spawn(async move {
            let peers = [server.accept().await, server.accept().await];
            let [mut peer, _other] = peers;
            peer.send("data 0 1").await;
            (peer, _other)
        });
        assert_eq!(next(&mut feed).await, data(0, 1));
        assert_eq!(feed.exchange().dialed, [(0, 0), (1, 0)]);
        drop(serving.await.unwrap());
    })
    .await;
}

#[tokio::test]
async fn a_dead_peer_is_replaced_and_left() {
    bounded(async {
        let (mut one, mut two) = (Server::bind().await, Server::bind().await);
        let probe_after = Some(Duration::from_millis(200));
        let desk = Desk { urls: vec![one.url(), two.url()], probe_after, ..Desk::default() };
        let mut feed = feed(desk, 1, 1, Recovery::Resume);
        let serving = tokio::spawn(async move {
            let mut dead = one.accept().await;
            dead.send("data 0 1").await;
            // It neither reads nor writes from here on.
            let mut peer = two.accept().await;
            peer.send("data 0 2").await;
            (dead, peer)
        });
        assert_eq!(next(&mut feed).await, data(0, 1));
        let mut silent = false;
        loop {
            match feed.next().await {
                Event::State { state, .. } => silent |= matches!(state, State::Silent { .. }),
                Event::Opened { .. } => {}
                event => {
                    assert_eq!(event, data(0, 2));
                    break;
                }
            }
        }
        assert!(silent);
        let (mut dead, _peer) = serving.await.unwrap();
        // Leaving goes on in later calls, and reaches the old peer.
        let read = async { while dead.recv().await.is_some() {} };
        tokio::select! {
            () = read => {}
            event = next(&mut feed) => panic!("{event:?}"),
        }
    })
    .await;
}

/// For a desk's log, and for what it keeps for each connection.
#[tokio::test]
async fn what_opens_and_what_ends_are_events_and_say_why() {
    bounded(async {
        let (mut one, mut two) = (Server::bind().await, Server::bind().await);
        let probe_after = Some(Duration::from_millis(200));
        let desk = Desk { urls: vec![one.url(), two.url()], probe_after, ..Desk::default() };
        let mut feed = feed(desk, 1, 1, Recovery::Resume);
        let (cut, cuts) = oneshot::channel();
        let serving = tokio::spawn(async move {
            one.refuse(503).await;
            let silent = two.accept().await;
            let mut successor = one.accept().await;
            successor.send("data 0 1").await;
            cuts.await.unwrap();
            drop(successor);
            silent
        });
        let mut cut = Some(cut);
        let mut open = Vec::new();
        let mut seen = Vec::new();
        while seen.len() < 5 {
            match feed.next().await {
                Event::Opened(link) => {
                    open.push(link.connection);
                    seen.push((link.address, None));
                }
                Event::Ended { link, why } => {
                    let was_open = open.contains(&link.connection);
                    open.retain(|open| *open != link.connection);
                    seen.push((link.address, why));
                    if was_open && let Some(cut) = cut.take() {
                        cut.send(()).unwrap();
                    }
                }
                Event::State { .. } | Event::Data { .. } => {}
                event => panic!("{event:?}"),
            }
        }
        assert_eq!(open, []);
        let Some(Ended::Refused { status: 503, .. }) = seen[0].1 else { panic!("{seen:?}") };
        assert_eq!(seen[0].0, 0);
        let failed = |cause| Some(Ended::Failed(cause));
        let then =
            [(1, None), (0, None), (1, failed(Cause::ProbeUnanswered)), (0, failed(Cause::Cut))];
        assert_eq!(seen[1..], then);
        drop(serving.await.unwrap());
    })
    .await;
}

#[tokio::test]
async fn a_message_may_have_several_data_and_gets_a_reply() {
    bounded(async {
        let mut server = Server::bind().await;
        let desk = Desk { urls: vec![server.url()], ..Desk::default() };
        let mut feed = feed(desk, 1, 2, Recovery::Resume);
        let serving = tokio::spawn(async move {
            let mut peer = server.accept().await;
            peer.send("data 0 1;data 1 7;data 0 1;challenge x").await;
            while peer.recv().await.unwrap() != "answer x" {}
            peer.send("data 0 2").await;
            peer
        });
        for expected in [data(0, 1), data(1, 7), data(0, 2)] {
            assert_eq!(next(&mut feed).await, expected);
        }
        let verdicts = [Verdict::Next, Verdict::Next, Verdict::Duplicate, Verdict::Next];
        assert_eq!(feed.exchange().verdicts, verdicts.map(Some));
        drop(serving.await.unwrap());
    })
    .await;
}

#[tokio::test]
async fn what_the_program_sends_counts_and_at_the_end_it_says_goodbye() {
    for is_reply in [true, false] {
        bounded(async {
            let mut server = Server::bind().await;
            let desk = Desk { urls: vec![server.url()], ..Desk::default() };
            let pace = Pace::new(1, Duration::from_secs(3600));
            let settings = Settings { pace, ..Settings::new(|_| 0) };
            let mut feed = feed_with(settings, desk, 1, 0, Recovery::Resume);
            let (tell, mut came) = oneshot::channel();
            let (ask, asked) = oneshot::channel();
            let serving = tokio::spawn(async move {
                let mut peer = server.accept().await;
                if is_reply {
                    peer.send("challenge x").await;
                }
                let first = peer.recv().await;
                tell.send(()).unwrap();
                asked.await.unwrap();
                peer.send("data 0 1").await;
                (first, peer.recv().await, peer.code())
            });
            let id = connected(&mut feed).await;
            if !is_reply {
                assert!(feed.send(id, "order"));
            }
            loop {
                tokio::select! {
                    came = &mut came => break came.unwrap(),
                    _ = feed.next() => {}
                }
            }
            // The pace has one message in an hour, so the subscription waits.
            let resume = Subscription { recovery: Recovery::Resume, ..Subscription::default() };
            feed.follower_mut().subscribe(resume).unwrap();
            ask.send(()).unwrap();
            assert_eq!(next(&mut feed).await, data(0, 1));
            feed.leave(Duration::from_secs(60)).await;
            let first = if is_reply { "answer x" } else { "order" };
            let all = (Some(first.to_owned()), None, Some(1000));
            assert_eq!(serving.await.unwrap(), all);
        })
        .await;
    }
}

#[tokio::test]
async fn nothing_is_sent_over_what_has_ended() {
    bounded(async {
        let mut server = Server::bind().await;
        let desk = Desk { urls: vec![server.url()], ..Desk::default() };
        let mut feed = feed(desk, 1, 1, Recovery::Resume);
        let (cut, cuts) = oneshot::channel();
        let serving = tokio::spawn(async move {
            let peer = server.accept().await;
            cuts.await.unwrap();
            drop(peer);
        });
        let id = connected(&mut feed).await;
        cut.send(()).unwrap();
        serving.await.unwrap();
        while feed.connections().any(|open| open == id) {
            let _ = feed.next().await;
        }
        assert!(!feed.send(id, "order"));
    })
    .await;
}

#[tokio::test]
async fn a_snapshot_that_fails_is_asked_for_again_and_data_wait_for_it() {
    bounded(async {
        let mut server = Server::bind().await;
        let (give, wait) = oneshot::channel();
        let snapshots: [Snapshot; 2] =
            [Box::pin(async { Err(None) }), Box::pin(async { wait.await.map_err(|_| None) })];
        let desk =
            Desk { urls: vec![server.url()], snapshots: snapshots.into(), ..Desk::default() };
        let mut feed = feed(desk, 1, 1, Recovery::Snapshot);
        let serving = tokio::spawn(async move {
            let mut peer = server.accept().await;
            peer.send("data 0 1;data 0 2;data 0 3").await;
            peer
        });
        assert_eq!(next(&mut feed).await, Event::Restart { subscription: 0 });
        // The second one is under way, and holds up nothing.
        while feed.exchange().asked < 2 {
            let step = async {
                loop {
                    match feed.next().await {
                        Event::State { .. } | Event::Opened { .. } => {}
                        event => panic!("{event:?}"),
                    }
                }
            };
            let _ = tokio::time::timeout(Duration::from_millis(20), step).await;
        }
        give.send((2, 1)).unwrap();
        let snapshot = Event::Snapshot { subscription: 0, snapshot: 1 };
        for expected in [snapshot, data(0, 2), data(0, 3)] {
            assert_eq!(next(&mut feed).await, expected);
        }
        drop(serving.await.unwrap());
    })
    .await;
}

#[tokio::test]
async fn a_snapshot_may_come_over_the_connection() {
    bounded(async {
        let mut server = Server::bind().await;
        let desk = Desk { urls: vec![server.url()], ..Desk::default() };
        let mut feed = feed(desk, 1, 1, Recovery::Snapshot);
        let serving = tokio::spawn(async move {
            let mut peer = server.accept().await;
            peer.send("snapshot 0 5;data 0 5;data 0 6").await;
            peer.send("data 0 7").await;
            peer
        });
        let mut events = Vec::new();
        while events.last() != Some(&data(0, 7)) {
            match next(&mut feed).await {
                Event::Restart { .. } => {}
                event => events.push(event),
            }
        }
        let snapshot = Event::Snapshot { subscription: 0, snapshot: 5 };
        assert_eq!(events, [snapshot, data(0, 6), data(0, 7)]);
        drop(serving.await.unwrap());
    })
    .await;
}

/// It was longer on its way than an update, and nobody has asked for it. But the exchange may say
/// that the book begins anew with it.
#[tokio::test]
async fn a_pushed_snapshot_that_is_older_than_a_right_book_is_left_out() {
    bounded(async {
        let mut server = Server::bind().await;
        let desk = Desk { urls: vec![server.url()], ..Desk::default() };
        let mut feed = feed(desk, 1, 1, Recovery::Snapshot);
        let serving = tokio::spawn(async move {
            let mut peer = server.accept().await;
            assert_eq!(peer.recv().await.as_deref(), Some("subscribe 0"));
            peer.send("snapshot 0 5;data 0 6;data 0 7;data 0 8;data 0 9").await;
            peer.send("snapshot 0 7;data 0 10").await;
            peer.send("anew 0 8;data 0 9").await;
            peer
        });
        let snapshot = |snapshot| Event::Snapshot { subscription: 0, snapshot };
        let mut events = Vec::new();
        while events.len() < 10 {
            events.push(next(&mut feed).await);
        }
        let first = [Event::Restart { subscription: 0 }, snapshot(5)];
        let then = [data(0, 6), data(0, 7), data(0, 8), data(0, 9), data(0, 10)];
        assert_eq!(events[..2], first, "{events:?}");
        assert_eq!(events[2..7], then, "{events:?}");
        assert_eq!(events[7..], [Event::Restart { subscription: 0 }, snapshot(8), data(0, 9)]);
        drop(serving.await.unwrap());
    })
    .await;
}

/// The first datum behind each snapshot is the next one, so nothing is ever kept.
#[tokio::test]
async fn a_pushed_snapshot_of_a_count_that_began_anew_in_an_outage_is_taken() {
    bounded(async {
        let mut server = Server::bind().await;
        let desk = Desk { urls: vec![server.url()], ..Desk::default() };
        let mut feed = feed(desk, 1, 1, Recovery::Snapshot);
        let (seen, mut sees) = unbounded_channel();
        let serving = tokio::spawn(async move {
            for number in [1000, 50] {
                let mut peer = server.accept().await;
                assert_eq!(peer.recv().await.as_deref(), Some("subscribe 0"));
                for text in ["snapshot 0", "data 0"].into_iter().zip(number..) {
                    peer.send(&format!("{} {}", text.0, text.1)).await;
                    sees.recv().await.unwrap();
                }
            }
        });
        for number in [1000, 50] {
            if number == 50 {
                assert_eq!(next(&mut feed).await, Event::Restart { subscription: 0 });
            }
            let snapshot = Event::Snapshot { subscription: 0, snapshot: number };
            for expected in [snapshot, data(0, number + 1)] {
                assert_eq!(next(&mut feed).await, expected);
                seen.send(()).unwrap();
            }
        }
        assert_eq!(feed.exchange().asked, 0);
        serving.await.unwrap();
    })
    .await;
}

/// Each connection brings a snapshot first, and counts on from it.
#[tokio::test]
async fn a_pushed_snapshot_begins_the_count_of_its_connection() {
    for (count, [first, second]) in [(Count::Connection, [6, 3]), (Count::Shared, [7, 4])] {
        bounded(async {
            let mut server = Server::bind().await;
            let desk = Desk { urls: vec![server.url()], ..Desk::default() };
            let mut feed = feed(desk, 1, 0, Recovery::Snapshot);
            for _ in 0..2 {
                let watch = Subscription { count, ..Subscription::default() };
                feed.follower_mut().subscribe(watch).unwrap();
            }
            let (cut, cuts) = oneshot::channel();
            let serving = tokio::spawn(async move {
                let mut peer = server.accept().await;
                for _ in 0..2 {
                    peer.recv().await.unwrap(); // what is unread would reset the connection
                }
                peer.send(&format!("snapshot 0 5;snapshot 1 6;data 0 {first}")).await;
                cuts.await.unwrap(); // what a connection that is over has brought would go
                drop(peer);
                let mut peer = server.accept().await;
                peer.send(&format!("snapshot 0 2;snapshot 1 3;data 0 {second}")).await;
                peer
            });
            let mut events = Vec::new();
            while !events.contains(&data(0, first)) {
                events.push(next(&mut feed).await);
            }
            cut.send(()).unwrap();
            while !events.contains(&data(0, second)) {
                events.push(next(&mut feed).await);
            }
            drop(serving.await.unwrap());
            let snapshot = |subscription, snapshot| Event::Snapshot { subscription, snapshot };
            let restart = |subscription| Event::Restart { subscription };
            let first = [restart(0), snapshot(0, 5), data(0, first), snapshot(1, 6)];
            let second = [restart(0), restart(1), snapshot(0, 2), data(0, second)];
            assert_eq!(events, [first, second].concat());
            assert_eq!(feed.exchange().asked, 0, "none is asked for while one is there");
        })
        .await;
    }
}

/// Two lines, each with a count of its own: one connection's data are used, and its snapshots.
#[tokio::test]
async fn a_pushed_snapshot_of_the_other_lines_count_is_left_out() {
    bounded(async {
        let (mut one, mut two) = (Server::bind().await, Server::bind().await);
        let (give, first) = oneshot::channel();
        give.send(()).unwrap();
        let (open, second) = oneshot::channel();
        let desk = Desk {
            urls: vec![one.url(), two.url()],
            tokens: [first, second].into(),
            asks: Some("again"),
            ..Desk::default()
        };
        let mut feed = feed(desk, 2, 0, Recovery::Snapshot);
        let watch = Subscription { count: Count::Connection, ..Subscription::default() };
        feed.follower_mut().subscribe(watch).unwrap();
        let (lose, loses) = oneshot::channel();
        let serving = tokio::spawn(async move {
            let mut used = one.accept().await;
            assert_eq!(used.recv().await.unwrap(), "subscribe 0");
            used.send("snapshot 0 5;data 0 6").await;
            let mut other = two.accept().await;
            assert_eq!(other.recv().await.unwrap(), "subscribe 0");
            other.send("snapshot 0 1;data 0 2").await;
            loses.await.unwrap();
            used.send("data 0 8").await;
            assert_eq!(used.recv().await.unwrap(), "again");
            used.send("snapshot 0 9;data 0 10").await;
            (used, other)
        });
        let mut events = Vec::new();
        while !events.contains(&data(0, 6)) {
            events.push(next(&mut feed).await);
        }
        open.send(()).unwrap();
        while feed.exchange().verdicts.last() != Some(&Some(Verdict::Duplicate)) {
            let step = tokio::time::timeout(Duration::from_millis(5), next(&mut feed)).await;
            events.extend(step);
        }
        lose.send(()).unwrap();
        while !events.contains(&data(0, 10)) {
            events.push(next(&mut feed).await);
        }
        drop(serving.await.unwrap());
        let snapshot = |snapshot| Event::Snapshot { subscription: 0, snapshot };
        assert_eq!(events[..3], [Event::Restart { subscription: 0 }, snapshot(5), data(0, 6)]);
        let Event::Gap { subscription: 0, gap } = events[3] else { panic!("{events:?}") };
        assert_eq!((gap.first, gap.last), (7, 7));
        assert_eq!(events[4..], [snapshot(9), data(0, 10)]);
    })
    .await;
}

#[tokio::test]
async fn a_login_may_be_no_message_or_several() {
    for asks in [None, Some("again")] {
        bounded(async {
            let mut server = Server::bind().await;
            let desk = Desk { urls: vec![server.url()], asks, ..Desk::default() };
            let settings = Settings { login: true, ..Settings::new(|_| 0) };
            let mut feed = feed_with(settings, desk, 1, 1, Recovery::Resume);
            let serving = tokio::spawn(async move {
                let mut peer = server.accept().await;
                let mut texts = Vec::new();
                if asks.is_some() {
                    texts.extend([peer.recv().await.unwrap(), peer.recv().await.unwrap()]);
                }
                peer.send("welcome").await;
                texts.push(peer.recv().await.unwrap());
                peer.send("data 0 1").await;
                (texts, peer)
            });
            assert_eq!(next(&mut feed).await, data(0, 1));
            let (texts, _peer) = serving.await.unwrap();
            let expected = ["key", "secret", "subscribe 0"];
            assert_eq!(texts, expected[if asks.is_some() { 0 } else { 2 }..]);
        })
        .await;
    }
}

#[tokio::test]
async fn a_snapshot_may_be_asked_for_over_the_connection() {
    bounded(async {
        let mut server = Server::bind().await;
        let desk = Desk { urls: vec![server.url()], asks: Some("again"), ..Desk::default() };
        let mut feed = feed(desk, 1, 1, Recovery::Snapshot);
        let serving = tokio::spawn(async move {
            let mut peer = server.accept().await;
            peer.send("data 0 1;data 0 2").await;
            while peer.recv().await.unwrap() != "again" {}
            peer.send("snapshot 0 1").await;
            peer
        });
        let snapshot = Event::Snapshot { subscription: 0, snapshot: 1 };
        for expected in [Event::Restart { subscription: 0 }, snapshot, data(0, 2)] {
            assert_eq!(next(&mut feed).await, expected);
        }
        drop(serving.await.unwrap());
    })
    .await;
}

/// It does not wait for the time that an answer may take, which is an hour.
#[tokio::test]
async fn a_snapshot_that_is_refused_over_the_connection_is_asked_for_again() {
    bounded(async {
        let mut server = Server::bind().await;
        let desk = Desk { urls: vec![server.url()], asks: Some("again"), ..Desk::default() };
        let hour = Duration::from_secs(3600);
        let settings = Settings { snapshot_within: hour, ..Settings::new(|_| 0) };
        let mut feed = feed_with(settings, desk, 1, 1, Recovery::Snapshot);
        let serving = tokio::spawn(async move {
            let mut peer = server.accept().await;
            peer.send("data 0 1;data 0 2").await;
            while peer.recv().await.unwrap() != "again" {}
            peer.send("refused 0").await;
            while peer.recv().await.unwrap() != "again" {}
            peer.send("snapshot 0 1").await;
            peer
        });
        let snapshot = Event::Snapshot { subscription: 0, snapshot: 1 };
        for expected in [Event::Restart { subscription: 0 }, snapshot, data(0, 2)] {
            assert_eq!(next(&mut feed).await, expected);
        }
        assert_eq!(feed.exchange().asked, 2);
        drop(serving.await.unwrap());
    })
    .await;
}

#[tokio::test]
async fn a_stop_is_the_last_event_until_the_line_goes_on() {
    bounded(async {
        let mut server = Server::bind().await;
        let desk = Desk { urls: vec![server.url()], ..Desk::default() };
        let settings = Settings { refused_logins: Some(1), ..soon(&desk) };
        let mut feed = feed_with(settings, desk, 1, 1, Recovery::Resume);
        let serving = tokio::spawn(async move {
            server.refuse(401).await;
            server
        });
        let is_stop = |event| matches!(event, Event::State { state: State::Stopped { .. }, .. });
        while !is_stop(feed.next().await) {}
        let more = tokio::time::timeout(Duration::from_millis(20), feed.next()).await;
        assert!(more.is_err(), "{more:?}");
        let mut server = serving.await.unwrap();
        feed.follower_mut().go_on();
        let serving = tokio::spawn(async move {
            let mut peer = server.accept().await;
            peer.send("data 0 1").await;
            peer
        });
        assert_eq!(next(&mut feed).await, data(0, 1));
        drop(serving.await.unwrap());
    })
    .await;
}

#[tokio::test]
async fn feeds_share_their_attempts() {
    bounded(async {
        let mut server = Server::bind().await;
        let attempts = Arc::new(Mutex::new(Attempts::new(1, Duration::from_secs(300))));
        let mut feeds = [(); 2].map(|()| {
            let mut follower = Follower::new(Settings::new(|_: &u64| 0));
            follower.add_line(Backoff::seeded(1), Duration::MAX, Duration::ZERO);
            let desk = Desk { urls: vec![server.url()], ..Desk::default() };
            Feed::new(desk, follower, attempts.clone())
        });
        let serving = tokio::spawn(async move { server.accept().await });
        let mut states = Vec::new();
        for feed in &mut feeds {
            // The first feed uses up the only attempt.
            while let Ok(event) =
                tokio::time::timeout(Duration::from_millis(300), feed.next()).await
            {
                states.push(event);
            }
        }
        drop(serving.await.unwrap());
        let last = states.last();
        assert!(matches!(last, Some(Event::State { state: State::Held { .. }, .. })), "{states:?}");
    })
    .await;
}

/// A feed is `Send` if the exchange is.
#[test]
fn a_feed_is_send() {
    fn is_send<T: Send>(value: T) -> T {
        value
    }
    let desk = Desk { urls: vec![String::new()], ..Desk::default() };
    let mut feed = is_send(feed(desk, 1, 1, Recovery::Resume));
    drop(is_send(feed.next()));
}
