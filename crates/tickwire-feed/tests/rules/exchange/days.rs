//! 200 connections from one address for three days: each is cut after 24 hours, and every 30 hours
//! the exchange goes away for 10 minutes. A connection has a Ping every 20 s and an order twice a
//! minute; after its first minute a ninth of that, unless `TESTS=all`.
use super::limits::{Address, Inbound, SECOND};
use crate::support::sampled;
use std::{cmp::Reverse, collections::BinaryHeap, time::Duration};
use testkit::Rng;
use tickwire::Time;
use tickwire_feed::{Attempts, Pace};
use tickwire_parts::Backoff;

const HOUR: Duration = Duration::from_secs(3600);
const DAYS: Time = Time::new(Duration::from_secs(3 * 24 * 3600));
const CONNECTIONS: usize = 200;
/// So many messages it takes to subscribe.
const BATCHES: usize = 10;
/// A message takes up to this long to the exchange.
const JITTER: Duration = Duration::from_millis(150);

/// Anything from 0 to `most`.
fn upto(rng: &mut Rng, most: Duration) -> Duration {
    Duration::from_nanos(rng.between(0, most.as_nanos() as u64))
}

/// When the exchange goes away next, or comes back.
fn outage(now: Time) -> (bool, Time) {
    let cycle = 30 * HOUR;
    let cycles = ((now - Time::ZERO).as_secs() / cycle.as_secs()) as u32;
    let begins = Time::ZERO + cycle * cycles;
    let back = begins + Duration::from_secs(600);
    if cycles > 0 && now < back { (true, back) } else { (false, begins + cycle) }
}

struct Open {
    until: Time,
    pace: Pace,
    /// What waits for the pace: orders, and subscriptions behind them.
    orders: usize,
    subscriptions: usize,
    /// When the pace allows the next of them; `None` if none waits.
    paced: Option<Time>,
    inbound: Inbound,
    /// When the last message arrives at the exchange.
    arrives: Time,
    pong: Time,
    order: Time,
}

enum State {
    Away { until: Time },
    Open(Box<Open>),
}

struct Client {
    /// Without these parts.
    careless: bool,
    state: State,
    backoff: Backoff,
}

#[derive(Default)]
struct Outcome {
    orders: usize,
    longest_wait: Duration,
    opened: usize,
    /// For all connections together.
    connected: Duration,
}

struct World {
    address: Address,
    attempts: Attempts,
    rng: Rng,
    /// How many times as long as in its first minute a connection waits for a Ping and an order.
    calm: u32,
    outcome: Outcome,
}

impl World {
    /// What a client does now, and when it has to be asked again.
    fn step(&mut self, client: &mut Client, now: Time) -> Time {
        match &mut client.state {
            State::Away { until } if now < *until => *until,
            State::Away { .. } => {
                let until = self.dial(client, now);
                match &mut client.state {
                    State::Away { until: wait } => *wait = until,
                    State::Open(_) => {}
                }
                until
            }
            State::Open(open) => {
                let wait = if now >= open.until {
                    // The exchange's doing: it goes away, or it is 24 hours.
                    client.backoff.after_close(1006, 24 * HOUR).unwrap()
                } else if self.talk(open, now) {
                    return open
                        .pong
                        .min(open.order)
                        .min(open.until)
                        .min(open.paced.unwrap_or(open.until));
                } else {
                    self.address.strike(now);
                    SECOND
                };
                let until = now + if client.careless { SECOND } else { wait };
                client.state = State::Away { until };
                until
            }
        }
    }

    fn dial(&mut self, client: &mut Client, now: Time) -> Time {
        if !client.careless
            && let Err(again) = self.attempts.take(now)
        {
            return again;
        }
        let (away, turns) = outage(now);
        let answer = match self.address.attempt(now) {
            Ok(()) if away => Err((503, None)),
            answer => answer.map_err(|(status, retry_after)| (status, Some(retry_after))),
        };
        let Err((status, retry_after)) = answer else {
            let pace = if client.careless {
                Pace::new(1_000, SECOND).at_once(1_000)
            } else {
                // One less than 5, for a Pong, in a stretch longer by what the path's delay varies.
                Pace::new(4, Duration::from_millis(1_200))
            };
            let open = Open {
                until: turns.min(now + 24 * HOUR),
                pace,
                orders: 0,
                subscriptions: BATCHES,
                paced: None,
                inbound: Inbound::default(),
                arrives: now,
                pong: now + 20 * SECOND,
                order: now + upto(&mut self.rng, 60 * SECOND),
            };
            self.outcome.opened += 1;
            self.outcome.connected += open.until - now;
            client.state = State::Open(Box::new(open));
            return now;
        };
        if client.careless {
            return now + SECOND;
        }
        self.attempts
            .refused(status, retry_after, now, now)
            .or_else(|| client.backoff.after_refusal(status, retry_after).map(|delay| now + delay))
            .unwrap()
    }

    /// Whether the exchange lets the connection stay.
    fn talk(&mut self, open: &mut Open, now: Time) -> bool {
        let mut messages = 0;
        if now >= open.pong {
            open.pong = open.pong + 20 * SECOND * self.calm;
            messages += 1;
        }
        if now >= open.order {
            open.order = now + upto(&mut self.rng, 60 * SECOND * self.calm);
            open.orders += 1;
            self.outcome.orders += 1;
        }
        open.paced = None;
        while open.paced.is_none() && open.orders + open.subscriptions > 0 {
            match open.pace.take(now) {
                Ok(()) => {
                    messages += 1;
                    match open.orders {
                        0 => open.subscriptions -= 1,
                        _ => open.orders -= 1,
                    }
                }
                Err(again) => open.paced = Some(again),
            }
        }
        if let Some(again) = open.paced.filter(|_| open.orders > 0) {
            self.outcome.longest_wait = self.outcome.longest_wait.max(again - now);
        }
        (0..messages).all(|_| {
            open.arrives = open.arrives.max(now + upto(&mut self.rng, JITTER));
            open.inbound.message(open.arrives)
        })
    }
}

fn run(careless: bool, end: Time) -> World {
    let mut world = World {
        address: Address::new(Duration::from_secs(60), Duration::from_secs(120)),
        attempts: Attempts::new(280, Duration::from_secs(300)).and(50, SECOND),
        rng: Rng::new(3),
        calm: sampled(1, 9),
        outcome: Outcome::default(),
    };
    let mut clients: Vec<Client> = (0..CONNECTIONS as u64)
        .map(|seed| Client {
            careless,
            state: State::Away { until: Time::ZERO },
            backoff: Backoff::seeded(seed),
        })
        .collect();
    let mut due: BinaryHeap<_> =
        (0..CONNECTIONS).map(|index| Reverse((Time::ZERO, index))).collect();
    while let Some(Reverse((now, index))) = due.pop().filter(|Reverse((now, _))| *now < end) {
        let again = world.step(&mut clients[index], now);
        due.push(Reverse((again, index)));
    }
    world
}

#[test]
fn three_days_without_one_cut_or_refusal_for_what_the_client_did() {
    let World { address, outcome, calm, .. } = run(false, DAYS);
    assert_eq!((address.cut, address.refused_429, address.refused_418), (0, 0, 0));
    // At the beginning, after 24 hours twice, and after each of two outages.
    assert_eq!(outcome.opened, 5 * CONNECTIONS);
    // What is missing: 10 minutes twice, and each time 4 until all have had their attempt.
    let share =
        outcome.connected.as_secs_f64() / (DAYS - Time::ZERO).as_secs_f64() / CONNECTIONS as f64;
    assert!(share > 0.985, "connected for {share} of the time");
    assert!(outcome.orders > 1_000_000 / calm as usize, "{}", outcome.orders);
    assert!(outcome.longest_wait <= Duration::from_millis(1_200), "{:?}", outcome.longest_wait);
}

#[test]
fn without_these_parts_the_address_is_banned_on_the_first_day() {
    let end = Time::new(HOUR / 4);
    let World { address, .. } = run(true, end);
    assert!(address.cut > 0 && address.refused_429 > 0 && address.refused_418 > 10_000);
    assert!(address.is_banned(end));
}
