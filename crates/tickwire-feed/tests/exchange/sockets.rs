//! The same limits, enforced by a server of tickwire's on the loopback, in real time. It cuts after
//! 4 seconds what Binance cuts after 24 hours, and bans for a second or two.
//!
//! One thread for both ends: where the machine stalls, the client does so as well. Should a burst
//! come of it all the same, time passes half as fast in the next try.
use crate::limits::{Address, Inbound, SECOND};
use std::{
    cell::{Cell, RefCell},
    net::SocketAddr,
    pin::pin,
    rc::Rc,
    time::{Duration, Instant},
};
use tickwire::{
    Config, Dial, Error, Time,
    handshake::{
        client::Request,
        server::{Accept, Rejection},
    },
    tokio::{Incoming, connect},
};
use tickwire_feed::{Arbiter, Attempts, Event, Line, Pace, Paced, Rotation, Verdict};
use tickwire_parts::Backoff;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
    task::{LocalSet, spawn_local},
    time::{Sleep, interval, sleep},
};

const LIFE: Duration = Duration::from_secs(4);
/// It takes more messages to subscribe than may come in a second.
const BATCHES: usize = 6;

/// Real time, or a part of it.
#[derive(Clone, Copy)]
struct Clock {
    epoch: Instant,
    /// How many seconds pass in one of this clock.
    slowed: u32,
}

impl Clock {
    fn now(self) -> Time {
        Time::new(self.epoch.elapsed() / self.slowed)
    }

    fn sleep(self, time: Duration) -> Sleep {
        sleep(time * self.slowed)
    }
}

struct Exchange {
    clock: Clock,
    address: RefCell<Address>,
    /// How many connections have reached the age of `LIFE`.
    aged: Cell<usize>,
}

impl Exchange {
    fn now(&self) -> Time {
        self.clock.now()
    }

    async fn serve(self: Rc<Self>, listener: TcpListener) {
        while let Ok((stream, _)) = listener.accept().await {
            let exchange = Rc::clone(&self);
            spawn_local(async move { exchange.connection(stream).await });
        }
    }

    /// Number `n` is 10 ms times `n` old; they are sent from the first subscription on.
    async fn connection(&self, stream: TcpStream) -> Result<(), Error> {
        stream.set_nodelay(true)?;
        let incoming = Incoming::read(stream, &Config::default()).await?;
        let attempt = self.address.borrow_mut().attempt(self.now());
        if let Err((status, away)) = attempt {
            let seconds = away.as_secs_f64().ceil().to_string();
            return incoming.reject(Rejection::new(status).header("Retry-After", &seconds)?).await;
        }
        let mut ws = incoming.accept(Accept::default()).await?;
        let (mut inbound, mut subscribed, mut next) = (Inbound::default(), 0, 0);
        let mut end = pin!(self.clock.sleep(LIFE));
        let mut tick = interval(Duration::from_millis(10) * self.clock.slowed);
        loop {
            let newest = ((self.now() - Time::ZERO).as_millis() / 10) as u64;
            tokio::select! {
                message = ws.recv() => {
                    let Some(message) = message? else { return Ok(()) };
                    if !inbound.message(self.now()) {
                        self.address.borrow_mut().strike(self.now());
                        return Ok(()); // and the stream is dropped
                    }
                    if message.as_text() == Some("subscribe") {
                        next = if subscribed == 0 { newest } else { next };
                        subscribed += 1;
                    } else {
                        ws.send(format!("ordered with {subscribed} subscribed")).await?;
                    }
                }
                _ = tick.tick(), if subscribed > 0 => {
                    while next <= newest {
                        ws.sender_mut().feed(next.to_string())?;
                        next += 1;
                    }
                    ws.flush().await?;
                }
                () = &mut end => {
                    self.aged.set(self.aged.get() + 1);
                    return Ok(());
                }
            }
        }
    }
}

/// Subscribes at once, comes back at once, and heeds nothing, until it is banned.
async fn careless(url: &str) {
    for _ in 0..100 {
        match connect(url, &Config::default()).await {
            Ok(mut ws) => {
                for _ in 0..BATCHES {
                    let _ = ws.feed("subscribe");
                }
                let _ = ws.flush().await;
                while let Ok(Some(_)) = ws.recv().await {}
            }
            Err(Error::Refused(refusal)) if refusal.status == 418 => return,
            Err(_) => {}
        }
    }
    panic!("it should have been banned");
}

enum News {
    Opened,
    Number(u64),
    Ordered(String),
    /// With the error of the handshake.
    Ended(Option<Error>),
}

/// One connection: tells what happens until `orders` is dropped.
async fn connection(
    id: u64,
    url: String,
    clock: Clock,
    mut orders: UnboundedReceiver<&'static str>,
    news: UnboundedSender<(u64, News)>,
) {
    let tell = |what| news.send((id, what)).unwrap_or_default();
    let request = Request::new(&url).unwrap();
    let mut ws = match Dial::new(&request).connect(&Config::default()).await {
        Ok(ws) => ws,
        Err(error) => return tell(News::Ended(Some(error))),
    };
    tell(News::Opened);
    let now = || clock.now();
    let mut sending = Paced::new(Pace::new(4, Duration::from_millis(1_200)).reserve(1));
    for _ in 0..BATCHES {
        sending.push("subscribe");
    }
    loop {
        while let Some(message) = sending.poll(now()) {
            if ws.send(message).await.is_err() {
                return tell(News::Ended(None));
            }
        }
        let due = sending.poll_timeout().map(|due| due - now());
        tokio::select! {
            message = ws.recv() => match message {
                Ok(Some(message)) => {
                    let text = message.as_text().unwrap();
                    tell(match text.parse() {
                        Ok(number) => News::Number(number),
                        Err(_) => News::Ordered(text.to_owned()),
                    });
                }
                _ => return tell(News::Ended(None)),
            },
            order = orders.recv() => match order {
                Some(order) => sending.push_urgent(order),
                None => {
                    let _ = ws.close(None).await;
                    return;
                }
            },
            () = clock.sleep(due.unwrap_or_default()), if due.is_some() => {}
        }
    }
}

struct Connection {
    id: u64,
    line: Line,
    _orders: UnboundedSender<&'static str>,
}

#[derive(Default)]
struct Outcome {
    refused: Vec<u16>,
    ended: usize,
    retired: usize,
    ordered: Vec<String>,
    delivered: Vec<u64>,
}

/// A client of the parts of this crate, until it has been connected for so long.
async fn careful(url: &str, clock: Clock, stay: Duration) -> Outcome {
    let now = || clock.now();
    let mut attempts = Attempts::new(Pace::new(250, 300 * SECOND).at_once(10));
    let mut backoff = Backoff::seeded(1);
    let mut rotation: Rotation<Connection> = Rotation::new(LIFE, LIFE / 2);
    let mut arbiter: Arbiter<u64> = Arbiter::new();
    arbiter.resume(now());
    let (news, mut events) = unbounded_channel();
    let mut dialing = None;
    let (mut ids, mut not_before, mut end) = (0, Time::ZERO, None);
    let mut outcome = Outcome::default();
    while end.is_none_or(|end| now() < end) {
        let mut wake = if dialing.is_none() { rotation.poll_timeout() } else { None };
        if rotation.is_due(now()) && dialing.is_none() {
            let taken = if now() < not_before { Err(not_before) } else { attempts.take(now()) };
            wake = taken.err();
            if taken.is_ok() {
                let (orders, ordered) = unbounded_channel();
                ids += 1;
                spawn_local(connection(ids, url.to_owned(), clock, ordered, news.clone()));
                dialing = Some(orders);
            }
        }
        let wake = wake.or(end).map_or(SECOND, |wake| wake - now());
        let (id, what) = tokio::select! {
            event = events.recv() => event.unwrap(),
            () = clock.sleep(wake) => continue,
        };
        match what {
            News::Opened => {
                let orders: UnboundedSender<_> = dialing.take().unwrap();
                if id == ids && end.is_none() {
                    end = Some(now() + stay);
                    // Behind `BATCHES` subscriptions, if it did not overtake.
                    orders.send("buy").unwrap();
                }
                rotation.opened(Connection { id, line: arbiter.open(), _orders: orders }, now());
            }
            News::Ended(error) => {
                if let Some(connection) = rotation.ended(|connection| connection.id == id) {
                    outcome.ended += 1;
                    arbiter.close(connection.line);
                    not_before = now() + backoff.after_close(1006).unwrap();
                }
                if let Some(Error::Refused(refusal)) = error {
                    dialing = None;
                    outcome.refused.push(refusal.status);
                    let (status, retry_after) = (refusal.status, refusal.retry_after());
                    not_before = attempts.refused(status, retry_after, now()).unwrap();
                }
            }
            News::Ordered(text) => outcome.ordered.push(text),
            News::Number(number) => {
                let Some(from) = rotation.iter().find(|connection| connection.id == id) else {
                    continue;
                };
                if arbiter.offer(&from.line, number, now(), || number) == Verdict::Next {
                    outcome.delivered.push(number);
                }
                while let Some(event) = arbiter.poll(now()) {
                    match event {
                        Event::Message(number) => outcome.delivered.push(number),
                        Event::Gap(gap) => panic!("{gap:?}"),
                        Event::Restart => panic!("numbers only rise"),
                    }
                }
                if let Some(old) = rotation.retire(|successor| arbiter.in_sequence(&successor.line))
                {
                    outcome.retired += 1;
                    arbiter.close(old.line);
                }
            }
        }
    }
    outcome
}

#[tokio::test(flavor = "current_thread")]
async fn a_server_with_binances_limits_bans_a_careless_client_and_never_cuts_a_careful_one() {
    let mut slowed = 1;
    while !LocalSet::new().run_until(never_cuts(slowed)).await {
        slowed *= 2;
        assert!(slowed < 32, "a careful client is cut");
    }
}

/// Whether the careless client was cut and banned, and the careful one never cut.
async fn never_cuts(slowed: u32) -> bool {
    let clock = Clock { epoch: Instant::now(), slowed };
    let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
    let url = format!("ws://{}/stream", listener.local_addr().unwrap());
    let exchange = Rc::new(Exchange {
        clock,
        address: RefCell::new(Address::new(SECOND, SECOND)),
        aged: Cell::new(0),
    });
    spawn_local(Rc::clone(&exchange).serve(listener));

    careless(&url).await;
    let counts = || {
        let address = exchange.address.borrow();
        (address.cut, address.refused_429, address.refused_418)
    };
    if counts() != (3, 1, 1) {
        return false;
    }

    // From the same address: it is banned for now, and hears so once.
    let outcome = careful(&url, clock, Duration::from_secs(7)).await;
    let Outcome { refused, ended, retired, .. } = &outcome;
    let seen = (&refused[..], counts(), *ended, exchange.aged.get());
    println!("slowed by {slowed}: {seen:?}, {retired} retired");
    // Replaced every 2 seconds, before the server would have cut it.
    if seen != (&[418], (3, 1, 2), 0, 0) || *retired < 2 {
        return false;
    }
    // The order was written while subscriptions were queued.
    let [ordered] = &outcome.ordered[..] else { panic!("{:?}", outcome.ordered) };
    assert!(!ordered.contains(&format!("with {BATCHES}")), "{ordered}");
    // 100 numbers a second: none missing, none twice.
    assert!(outcome.delivered.len() > 500, "{}", outcome.delivered.len());
    assert!(outcome.delivered.windows(2).all(|pair| pair[1] == pair[0] + 1));
    true
}
