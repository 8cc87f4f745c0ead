//! Subscribers by the thousand, which check the order and measure the lag.
use crate::{
    client::Hub,
    hub::lock,
    stats::{Lag, percentiles},
};
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
use tokio::{
    sync::Semaphore,
    task::JoinSet,
    time::{Instant, sleep, sleep_until},
};

/// As many open a connection at once.
const AT_ONCE: usize = 64;

/// What all see.
#[derive(Default)]
struct Seen {
    subscribed: AtomicU64,
    received: AtomicU64,
    /// By the publishers' numbers.
    missing: AtomicU64,
    disordered: AtomicU64,
    /// How often one was told `stale`.
    stale: AtomicU64,
    last_error: Mutex<Option<String>>,
}

pub async fn watch(
    channel: &str,
    urls: &[String],
    subscribers: usize,
    time: Option<Duration>,
) -> Result<(), Box<dyn Error>> {
    let all_see = Arc::new((Seen::default(), Lag::new()?, Semaphore::new(AT_ONCE)));
    let (seen, lags, _) = &*all_see;
    let mut tasks = JoinSet::new();
    for urls in urls.iter().flat_map(|urls| std::iter::repeat_n(urls, subscribers)) {
        let mut hub = Hub::new(urls, &[channel.to_owned()])?;
        let all_see = all_see.clone();
        tasks.spawn(async move {
            let mut last = HashMap::new();
            loop {
                let mut subscribed = false;
                let ended = subscriber(&mut hub, &mut last, &all_see, &mut subscribed).await;
                let seen = &all_see.0;
                seen.subscribed.fetch_sub(subscribed.into(), Relaxed);
                let delay = hub.delay(&ended);
                let why = ended.map_or_else(|e| e.to_string(), |code| format!("closed {code}"));
                *lock(&seen.last_error) = Some(why);
                let Some(delay) = delay else { return };
                sleep(delay).await;
            }
        });
    }

    let wanted = (urls.len() * subscribers) as u64;
    let mut all = lags.take();
    let mut until = None;
    let (mut before, mut first, mut began) = (0, 0, Instant::now());
    let mut second = Instant::now();
    while until.is_none_or(|until| Instant::now() < until) {
        second += Duration::from_secs(1);
        sleep_until(second).await;
        let (received, subscribed) = (seen.received.load(Relaxed), seen.subscribed.load(Relaxed));
        let lag = lags.take();
        all.add(&lag)?;
        let rate = received - before;
        let mut line = format!("{subscribed} subscribed, {rate}/s{}", percentiles(&lag));
        if let Some(error) = lock(&seen.last_error).take() {
            line += &format!("; {error}");
        }
        writeln!(io::stdout(), "{line}")?;
        while tasks.try_join_next().is_some() {}
        if tasks.is_empty() {
            return Err("closed for good".into());
        }
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
        "{received} received in {took:.1} s, {:.0}/s{}, {} missing, {} out of order, {} stale",
        received as f64 / took,
        percentiles(&all),
        seen.missing.load(Relaxed),
        seen.disordered.load(Relaxed),
        seen.stale.load(Relaxed),
    )?;
    Ok(())
}

/// One connection, to its end: the close code. `last`: the last number of each publisher.
async fn subscriber(
    hub: &mut Hub,
    last: &mut HashMap<String, u64>,
    (seen, lag, opening): &(Seen, Lag, Semaphore),
    subscribed: &mut bool,
) -> Result<u16, tickwire::Error> {
    let turn = opening.acquire().await;
    let mut ws = hub.open().await?;
    drop(turn);
    while let Some(message) = ws.recv().await? {
        let Some(told) = hub.heed(message.as_bytes()) else { continue };
        match told.word {
            "subscribed" => {
                let first = !std::mem::replace(subscribed, true);
                seen.subscribed.fetch_add(first.into(), Relaxed);
                if told.payload.is_empty() {
                    last.clear(); // there is no log: what is missing is no surprise
                }
                continue;
            }
            "stale" => _ = seen.stale.fetch_add(1, Relaxed),
            "message" | "entry" => _ = seen.received.fetch_add(1, Relaxed),
            _ => {}
        }
        if told.seq == 0 {
            continue;
        }
        lag.record(told.nanos);
        match last.get_mut(told.from) {
            Some(last) if told.seq <= *last => _ = seen.disordered.fetch_add(1, Relaxed),
            Some(last) => {
                seen.missing.fetch_add(told.seq - *last - 1, Relaxed);
                *last = told.seq;
            }
            None => _ = last.insert(told.from.to_owned(), told.seq),
        }
    }
    Ok(ws.closed().map_or(1006, |end| end.code))
}
