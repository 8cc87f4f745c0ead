//! The figures: many feeds beside one, and bursts.
//!
//! Exchange and handler have a thread each of this process, the exchange's always busy: two
//! processors, and a machine that does nothing else. What is compared is measured in turn, round by
//! round, and the result is the median of the rounds' ratios, with its interval of 95 %.
use crate::{
    BoxError, Pace, Plan,
    exchange::{Exchange, trusting},
    handler::Handler,
};
use rustix::time::{ClockId, clock_gettime};
use std::{
    fmt, thread,
    time::{Duration, Instant},
};

/// Ticks a second, of all feeds together.
const RATE: u32 = 20_000;
const FEEDS: usize = 200;
/// Before what counts, and what counts.
const WARM: Duration = Duration::from_millis(300);
const LENGTH: Duration = Duration::from_millis(700);

fn plan(feeds: usize, pace: Pace) -> Plan {
    Plan {
        feeds,
        lines: 1,
        rate: RATE,
        pace,
        late: Duration::ZERO,
        cut_every: None,
        life: None,
        silence: None,
    }
}

/// Processor time of this thread.
fn cpu() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// A handler that follows an exchange, all feeds open and warm.
fn warm(exchange: &Exchange, uring: bool) -> Result<Handler, BoxError> {
    let tls = trusting(exchange.root())?;
    let mut handler = Handler::new(&exchange.subscriptions(), exchange.rules(), uring, tls)?;
    let patience = Instant::now() + Duration::from_secs(30);
    while handler.feeds().iter().any(|feed| feed.tally.delivered == 0) {
        if Instant::now() > patience {
            return Err("not all feeds come".into());
        }
        handler.turn(Duration::from_millis(1))?;
    }
    follow(&mut handler, WARM)?;
    handler.stages().clear();
    Ok(handler)
}

fn follow(handler: &mut Handler, length: Duration) -> Result<(), BoxError> {
    let until = Instant::now() + length;
    while Instant::now() < until {
        handler.turn(Duration::from_millis(1))?;
    }
    Ok(())
}

/// Of a run: microseconds from the kernel to the callback, and of processor time a message.
struct Sample {
    p50: f64,
    p99: f64,
    p999: f64,
    cpu: f64,
}

fn sample(exchange: &Exchange) -> Result<Sample, BoxError> {
    let mut handler = warm(exchange, false)?;
    let (began, messages) = (cpu(), handler.messages());
    follow(&mut handler, LENGTH)?;
    let cpu = (cpu() - began).as_secs_f64() * 1e6 / (handler.messages() - messages) as f64;
    let stage = &handler.stages().kernel_to_message;
    let at = |part| stage.value_at_quantile(part) as f64 / 1000.0;
    Ok(Sample { p50: at(0.5), p99: at(0.99), p999: at(0.999), cpu })
}

/// One feed beside many, at one total rate, evenly spread.
///
/// # Errors
///
/// Those of the system, and if feeds do not come.
pub fn even(rounds: usize) -> Result<String, BoxError> {
    let mut rows = Rows::default();
    for round in 0..rounds {
        let mut samples = [None, None];
        for at in [round % 2, 1 - round % 2] {
            let exchange = Exchange::start(plan([1, FEEDS][at], Pace::Even))?;
            samples[at] = Some(sample(&exchange)?);
        }
        if let [Some(one), Some(many)] = samples {
            rows.compare("1 feed", &one, "200 feeds", &many);
        }
    }
    Ok(format!("{RATE} messages/s, evenly spread, µs from the kernel to the callback\n{rows}"))
}

/// All feeds at once. First bursts are followed as they come, which says what a message costs; then
/// a burst is in before anything of it is read, and the time until the last of its messages is in
/// its book is compared with that cost of all of them: the median of a round's bursts. Below 1,
/// where reading many at once saves something.
///
/// # Errors
///
/// Those of the system, and if feeds do not come.
pub fn bursts(rounds: usize, uring: bool) -> Result<String, BoxError> {
    let mut rows = Rows::default();
    for _ in 0..rounds {
        let exchange = Exchange::start(plan(FEEDS, Pace::Bursts))?;
        let mut handler = warm(&exchange, uring)?;
        let (busy, messages) = (cpu(), handler.messages());
        follow(&mut handler, LENGTH)?;
        let each = (cpu() - busy).as_secs_f64() / (handler.messages() - messages) as f64;
        let (mut waits, until) = (Vec::new(), Instant::now() + LENGTH);
        while Instant::now() < until {
            // Until the next burst has been sent, and nobody has looked at it.
            thread::sleep(Duration::from_secs(FEEDS as u64) / RATE);
            let (before, began) = (handler.messages(), Instant::now());
            let (mut seen, mut last) = (before, began);
            loop {
                handler.turn(Duration::ZERO)?;
                if handler.messages() == seen {
                    break;
                }
                (seen, last) = (handler.messages(), Instant::now());
            }
            if seen > before {
                waits.push((last - began).as_secs_f64() / ((seen - before) as f64 * each));
            }
        }
        waits.sort_by(f64::total_cmp);
        rows.add(
            "wait for the last / (messages × CPU)",
            *waits.get(waits.len() / 2).ok_or("no burst came")?,
        );
        rows.add("CPU a message, µs", each * 1e6);
    }
    Ok(format!("bursts of {FEEDS} feeds, {RATE} messages/s\n{rows}"))
}

/// Samples by name, one for each round.
#[derive(Default)]
struct Rows(Vec<(String, Vec<f64>)>);

impl Rows {
    fn add(&mut self, name: &str, sample: f64) {
        match self.0.iter_mut().find(|(known, _)| known == name) {
            Some((_, samples)) => samples.push(sample),
            None => self.0.push((name.to_owned(), vec![sample])),
        }
    }

    fn compare(&mut self, base: &str, one: &Sample, name: &str, other: &Sample) {
        let parts =
            |s: &Sample| [("p50", s.p50), ("p99", s.p99), ("p99.9", s.p999), ("CPU", s.cpu)];
        for ((part, one), (_, other)) in parts(one).into_iter().zip(parts(other)) {
            self.add(&format!("{part}, {base}"), one);
            self.add(&format!("{part}, {name}"), other);
            self.add(&format!("{part}, {name} / {base}"), other / one);
        }
    }
}

impl fmt::Display for Rows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, samples) in &self.0 {
            let mut samples = samples.clone();
            samples.sort_by(f64::total_cmp);
            let n = samples.len();
            // By order statistics, whatever the distribution: how many lie below the true median is
            // binomial, of mean n / 2 and deviation √n / 2.
            let rank = (n as f64 + 1.0) / 2.0 - 0.98 * (n as f64).sqrt();
            let at = (rank as usize).saturating_sub(1).min(n / 2);
            let (low, median, high) = (samples[at], samples[n / 2], samples[n - 1 - at]);
            writeln!(f, "  {name:40} {median:10.2}  [{low:.2}, {high:.2}]")?;
        }
        Ok(())
    }
}
