//! Under turmoil: `Follower` of `tickwire-feed` over WebSockets, twenty hours at an exchange that
//! freezes, refuses, falls silent, cuts and crashes, and behind a network that partitions.
#![cfg(not(madsim))]
use std::{cell::RefCell, collections::HashMap, rc::Rc, time::Duration};
use tickwire::{
    CloseCode, Config, Error, Retry, Time,
    handshake::{client::Request, server::Rejection},
    tokio::{Incoming, client},
};
use tickwire_feed::{
    Action, Asked, Attempts, ConnectionId, Ended, Follower, Gap, Incoming as Heard, Recovery, Say,
    Settings, Subscription, Verdict,
};
use tickwire_parts::Backoff;
use tokio::{
    select,
    sync::mpsc::{UnboundedSender, unbounded_channel},
    time::{sleep, timeout},
};
use turmoil::net::{TcpListener, TcpStream};

const PORT: u16 = 9000;
const HOSTS: [&str; 2] = ["east", "west"];
const HOUR: u64 = 3600;
/// The trouble of a host changes after so many seconds.
const SLOT: u64 = 300;

#[derive(Clone, Copy, PartialEq)]
enum Trouble {
    None,
    /// Reads and sends nothing, but its system accepts connections.
    Frozen,
    /// Answers what it is asked, except a subscription, and sends no data.
    Mute,
    /// Ends connections with 1012, and refuses new ones with 503.
    Restarting,
    Crashed,
    /// The network drops everything between it and the client.
    Apart,
}

fn trouble(seed: u64, host: usize, second: u64) -> Trouble {
    if second / HOUR % 4 == 0 {
        return Trouble::None; // a calm hour
    }
    let mut x = seed ^ (second / SLOT) << 8 ^ (host as u64) << 56;
    for _ in 0..4 {
        x = (x ^ x >> 31).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    }
    match x >> 60 {
        0 | 1 => Trouble::Frozen,
        2 => Trouble::Mute,
        3 => Trouble::Restarting,
        4 => Trouble::Crashed,
        5 | 6 => Trouble::Apart,
        _ => Trouble::None,
    }
}

fn seconds() -> u64 {
    turmoil::sim_elapsed().expect("in a simulation").as_secs()
}

async fn next_second() -> u64 {
    let now = turmoil::sim_elapsed().expect("in a simulation");
    sleep(Duration::from_secs(now.as_secs() + 1) - now).await;
    seconds()
}

async fn exchange(seed: u64, host: usize) -> Result<(), Box<dyn std::error::Error>> {
    let listener = TcpListener::bind(("0.0.0.0", PORT)).await?;
    loop {
        let (stream, _) = listener.accept().await?;
        tokio::task::spawn_local(serve(stream, seed, host));
    }
}

/// The number of a message is the second in which it is sent.
async fn serve(stream: TcpStream, seed: u64, host: usize) -> Result<(), Error> {
    let trouble = |second| trouble(seed, host, second);
    while trouble(seconds()) == Trouble::Frozen {
        next_second().await;
    }
    let incoming = Incoming::read(stream, &Config::default()).await?;
    if trouble(seconds()) == Trouble::Restarting {
        return incoming.reject(Rejection::new(503)).await;
    }
    let mut ws = incoming.accept(Default::default()).await?;
    let (began, mut subscribed) = (seconds(), false);
    loop {
        let said = select! {
            message = ws.recv() => match message? {
                Some(message) => Ok(message.as_text().unwrap_or_default().to_owned()),
                None => return Ok(()),
            },
            second = next_second() => Err(second),
        };
        let now = trouble(seconds());
        match said {
            _ if now == Trouble::Frozen => {
                while trouble(seconds()) == Trouble::Frozen {
                    next_second().await;
                }
            }
            Err(second) if now == Trouble::Restarting || second - began >= 2 * HOUR => {
                return ws.close(CloseCode::SERVICE_RESTART).await;
            }
            Err(second) if subscribed && now != Trouble::Mute => {
                ws.send(&second.to_string()).await?;
            }
            Ok(said) if said == "subscribe" && now != Trouble::Mute => {
                subscribed = true;
                ws.send("ok").await?;
            }
            Ok(said) if said == "ping" => ws.send("pong").await?,
            _ => {}
        }
    }
}

/// What the client was told, and when.
#[derive(Default)]
struct Told {
    /// The number that has to come next.
    next: Option<u64>,
    delivered: u64,
    lost: u64,
    last_at: u64,
    dials: Vec<u64>,
}

impl Told {
    fn number(&mut self, number: u64) {
        assert!(self.next.is_none_or(|next| next == number), "{number}, not {:?}", self.next);
        (self.next, self.last_at) = (Some(number + 1), seconds());
        self.delivered += 1;
    }

    fn gap(&mut self, gap: Gap) {
        assert_eq!(self.next, Some(gap.first), "{gap:?}");
        self.next = Some(gap.last + 1);
        self.lost += gap.last + 1 - gap.first;
    }
}

enum News {
    Opened(UnboundedSender<String>),
    Text(String),
    Ended(Ended),
}

async fn follow(told: Rc<RefCell<Told>>) {
    let mut attempts = Attempts::new(250, Duration::from_secs(300)).and(20, Duration::from_secs(1));
    let mut follower = Follower::<u64>::new(Settings {
        addresses: HOSTS.len(),
        probe_after: Some(Duration::from_secs(10)),
        ..Settings::new(|_| 0)
    });
    let life = Duration::from_secs(2 * HOUR);
    follower.add_line(Backoff::seeded(1), life, Duration::from_secs(60));
    let ask_after = Some(Duration::from_secs(20));
    follower.subscribe(Subscription {
        ask_after,
        recovery: Recovery::Resume,
        ..Default::default()
    });
    let (tell, mut news) = unbounded_channel();
    let mut open: HashMap<ConnectionId, UnboundedSender<String>> = HashMap::new();
    let now = || Time::new(turmoil::sim_elapsed().expect("in a simulation"));
    loop {
        match follower.poll(now(), &mut attempts) {
            Action::Dial { connection, address, .. } => {
                told.borrow_mut().dials.push(seconds());
                let tell = tell.clone();
                tokio::task::spawn_local(async move {
                    let ended = connect(connection, address, &tell).await;
                    let ended = ended.unwrap_or_else(Ended::from);
                    let _ = tell.send((connection, News::Ended(ended)));
                });
            }
            Action::Send { connection, say } => {
                let text = if matches!(say, Say::Probe) { "ping" } else { "subscribe" };
                let _ = open[&connection].send(text.into());
            }
            Action::Leave { connection, .. } => drop(open.remove(&connection)),
            Action::Message { message, .. } => told.borrow_mut().number(message),
            Action::Gap { gap, .. } => told.borrow_mut().gap(gap),
            Action::Restart { .. } => panic!("the numbers never begin anew"),
            Action::Snapshot { .. } => panic!("no snapshot is needed"),
            Action::Mute { .. } => panic!("the feed is never mute"),
            Action::Wait(until) => {
                let until = until - now();
                let Ok(Some((from, news))) = timeout(until, news.recv()).await else { continue };
                match news {
                    News::Opened(says) => {
                        open.insert(from, says);
                        follower.opened(from, now(), &mut attempts);
                    }
                    News::Text(text) => {
                        let number = text.parse().ok();
                        let heard = match (number, text.as_str()) {
                            (Some(_), _) => Heard::Data {
                                subscription: 0,
                                numbers: number.map(|number: u64| number.into()),
                            },
                            (None, "ok") => Heard::Answer(Asked::Subscription(0)),
                            (None, _) => Heard::Other,
                        };
                        let own = || number.unwrap_or_default();
                        let verdict = follower.heard(from, heard, now(), own);
                        if verdict == Some(Verdict::Next) {
                            told.borrow_mut().number(number.expect("only data is next"));
                        }
                    }
                    News::Ended(ended) => {
                        open.remove(&from);
                        follower.ended(from, ended, now(), &mut attempts);
                    }
                }
            }
        }
    }
}

type Tell = UnboundedSender<(ConnectionId, News)>;

async fn connect(id: ConnectionId, address: usize, tell: &Tell) -> Result<Ended, Error> {
    let stream = TcpStream::connect((HOSTS[address], PORT));
    let Ok(stream) = timeout(Duration::from_secs(3), stream).await else {
        return Ok(Ended::from(Retry::BackOff));
    };
    let request = Request::new("ws://exchange/feed")?;
    let mut ws = client(stream?, &request, &Config::trading()).await?;
    let (says, mut said) = unbounded_channel::<String>();
    let _ = tell.send((id, News::Opened(says)));
    loop {
        select! {
            text = said.recv() => match text {
                Some(text) => ws.send(text).await?,
                None => {
                    ws.leave(CloseCode::GOING_AWAY, Duration::ZERO).await?;
                    return Ok(Ended::closed(1001, ""));
                }
            },
            message = ws.recv() => match message? {
                Some(message) => {
                    let text = message.as_text().unwrap_or_default().to_owned();
                    let _ = tell.send((id, News::Text(text)));
                }
                None => return Ok(ws.closed().map_or(Ended::closed(1006, ""), Ended::from)),
            },
        }
    }
}

#[test]
fn a_follower_loses_no_number_silently_and_comes_back_from_every_trouble() {
    for seed in 1..=2 {
        let mut sim = turmoil::Builder::new()
            .rng_seed(seed)
            .tick_duration(Duration::from_millis(50))
            .simulation_duration(Duration::from_secs(21 * HOUR))
            .build();
        for (host, name) in HOSTS.into_iter().enumerate() {
            sim.host(name, move || exchange(seed, host));
        }
        let told = Rc::new(RefCell::new(Told::default()));
        let of_client = told.clone();
        sim.client("client", async move {
            follow(of_client).await;
            Ok(())
        });
        let mut before = [Trouble::None; 2];
        for second in 0..20 * HOUR {
            for (host, name) in HOSTS.into_iter().enumerate() {
                let now = trouble(seed, host, second);
                let was = std::mem::replace(&mut before[host], now);
                if was == now {
                    continue;
                }
                match was {
                    Trouble::Crashed => sim.bounce(name),
                    Trouble::Apart => sim.repair("client", name),
                    _ => {}
                }
                match now {
                    Trouble::Crashed => sim.crash(name),
                    Trouble::Apart => sim.partition("client", name),
                    _ => {}
                }
            }
            while sim.elapsed() < Duration::from_secs(second + 1) {
                sim.step().expect("no host fails");
            }
            // In a slot in which a host has no trouble, the client has found it at the end.
            let ends = (second + 1) % SLOT == 0;
            if ends && (0..2).any(|host| trouble(seed, host, second) == Trouble::None) {
                let last = told.borrow().last_at;
                assert!(second - last <= 2, "seed {seed}: at {second}, the last came at {last}");
            }
        }
        let told = told.borrow();
        for hour in (4..20).step_by(4) {
            let calm = hour * HOUR + SLOT..(hour + 1) * HOUR;
            let dials = told.dials.iter().filter(|at| calm.contains(at)).count();
            assert!(dials <= 1, "seed {seed}: {dials} dials in a calm hour"); // one: a successor
        }
        let (delivered, lost, dials) = (told.delivered, told.lost, told.dials.len());
        println!("seed {seed}: {delivered} delivered, {lost} told as lost, {dials} dials");
        assert!(lost > 0 && delivered > 10 * HOUR, "the troubles are real, and end");
    }
}
