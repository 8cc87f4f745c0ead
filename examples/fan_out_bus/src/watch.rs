//! Subscribers by the thousand, which check the order and measure the lag.
use crate::{
    hub::lock,
    protocol::{Place, delivered, resumed},
    stats::{Lag, Percentiles},
};
use hdrhistogram::Histogram;
use std::{
    collections::HashMap,
    error::Error,
    io::{self, Write},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};
use tickwire::{Config, SystemEntropy, tokio::connect};
use tickwire_parts::Backoff;
use tokio::{
    task::JoinSet,
    time::{Instant, sleep, sleep_until},
};

/// As many open a connection at once.
const AT_ONCE: usize = 64;

/// What all see.
struct Seen {
    subscribed: AtomicU64,
    received: AtomicU64,
    /// By the publishers' numbers.
    missing: AtomicU64,
    disordered: AtomicU64,
    /// How often one was told `stale`.
    stale: AtomicU64,
    lag: Lag,
    last_error: Mutex<Option<String>>,
}

pub async fn watch(
    channel: &str,
    urls: &[String],
    subscribers: usize,
    time: Option<Duration>,
) -> Result<(), Box<dyn Error>> {
    let seen = Arc::new(Seen {
        subscribed: AtomicU64::new(0),
        received: AtomicU64::new(0),
        missing: AtomicU64::new(0),
        disordered: AtomicU64::new(0),
        stale: AtomicU64::new(0),
        lag: Lag::new()?,
        last_error: Mutex::default(),
    });
    let opening = Arc::new(tokio::sync::Semaphore::new(AT_ONCE));
    let mut tasks = JoinSet::new();
    for at in (0..urls.len()).flat_map(|at| std::iter::repeat_n(at, subscribers)) {
        let (urls, channel) = (urls.to_vec(), channel.to_owned());
        let (mut at, mut had) = (at, Had::default());
        let (seen, opening) = (seen.clone(), opening.clone());
        tasks.spawn(async move {
            let Ok(mut backoff) = SystemEntropy::new().map(Backoff::new) else { return };
            loop {
                let began = Instant::now();
                let url = &urls[at % urls.len()];
                at += 1; // the next time, elsewhere
                let ended = subscriber(url, &channel, &mut had, &seen, &opening).await;
                backoff.connected_for(began.elapsed());
                let delay = match &ended {
                    Ok(code) => backoff.after_close(*code),
                    Err(error) => backoff.after_error(error.retry_delay()),
                };
                let why = ended.map_or_else(|e| e.to_string(), |code| format!("closed {code}"));
                *lock(&seen.last_error) = Some(format!("{url}: {why}"));
                let Some(delay) = delay else { return };
                sleep(delay).await;
            }
        });
    }

    let wanted = (urls.len() * subscribers) as u64;
    let mut all: Histogram<u64> = Histogram::new_with_bounds(1, 60_000_000, 2)?;
    let mut until = None;
    let (mut before, mut first, mut began) = (0, 0, Instant::now());
    let mut second = Instant::now();
    while until.is_none_or(|until| Instant::now() < until) {
        second += Duration::from_secs(1);
        sleep_until(second).await;
        let (received, subscribed) = (seen.received.load(Relaxed), seen.subscribed.load(Relaxed));
        seen.lag.add_to(&mut all);
        let lag = seen.lag.take().map_or(String::new(), |lag| format!(", {lag}"));
        let mut line = format!("{subscribed} subscribed, {}/s{lag}", received - before);
        if let Some(error) = lock(&seen.last_error).take() {
            line += &format!("; {error}");
        }
        writeln!(io::stdout(), "{line}")?;
        before = received;
        // The time runs once all are there, and what went before is left out.
        if until.is_none() && subscribed >= wanted {
            (until, first, began) = (time.map(|time| second + time), received, Instant::now());
            all.reset();
        }
    }
    let (received, took) = (seen.received.load(Relaxed) - first, began.elapsed().as_secs_f64());
    writeln!(
        io::stdout(),
        "{received} received in {took:.1} s, {:.0}/s, {}, {} missing, {} out of order, {} stale",
        received as f64 / took,
        Percentiles::of(&all),
        seen.missing.load(Relaxed),
        seen.disordered.load(Relaxed),
        seen.stale.load(Relaxed),
    )?;
    Ok(())
}

/// What one subscriber knows from one connection to the next.
#[derive(Default)]
struct Had {
    place: Option<Place>,
    /// The last number of each publisher.
    last: HashMap<String, u64>,
}

/// One connection, to its end: the close code.
async fn subscriber(
    url: &str,
    channel: &str,
    Had { place, last }: &mut Had,
    seen: &Seen,
    opening: &tokio::sync::Semaphore,
) -> Result<u16, tickwire::Error> {
    let turn = opening.acquire().await;
    let mut ws = connect(url, &Config::default()).await?;
    match place {
        Some(place) => ws.send(&*format!("sub {channel} {place}")).await?,
        None => {
            last.clear(); // what is missing is no surprise
            ws.send(&*format!("sub {channel}")).await?;
        }
    }
    drop(turn);
    let mut counted = Counted(seen, false);
    while let Some(message) = ws.recv().await? {
        let Some((_, at, envelope)) = delivered(message.as_bytes()) else {
            match message.as_text().and_then(|text| text.split(' ').next()) {
                Some("subscribed") => {
                    counted.subscribed();
                    let began = message.as_bytes().strip_prefix(b"subscribed ");
                    *place = began.and_then(resumed).map(|(_, place)| place);
                }
                Some("stale") => _ = seen.stale.fetch_add(1, Relaxed),
                _ => {}
            }
            continue;
        };
        seen.received.fetch_add(1, Relaxed);
        if let (Some(at), Some(place)) = (at, &mut *place) {
            place.at = at;
        }
        if envelope.seq == 0 {
            continue;
        }
        seen.lag.record(envelope.nanos);
        match last.get_mut(envelope.from) {
            Some(last) if envelope.seq <= *last => _ = seen.disordered.fetch_add(1, Relaxed),
            Some(last) => {
                seen.missing.fetch_add(envelope.seq - *last - 1, Relaxed);
                *last = envelope.seq;
            }
            None => _ = last.insert(envelope.from.to_owned(), envelope.seq),
        }
    }
    Ok(ws.closed().map_or(1006, |end| end.code))
}

/// Is counted as subscribed until it is dropped.
struct Counted<'s>(&'s Seen, bool);

impl Counted<'_> {
    fn subscribed(&mut self) {
        if !std::mem::replace(&mut self.1, true) {
            self.0.subscribed.fetch_add(1, Relaxed);
        }
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        if self.1 {
            self.0.subscribed.fetch_sub(1, Relaxed);
        }
    }
}
