//! The cost of a message from two lines in an `Arbiter`, which delivers in order and reports gaps.
//! The bench compares this cost with a hash set of the same numbers, which only drops duplicates.
//! Then the cost of a message in a `Follower` of one line, by the number of its subscriptions.
//!
//! ```text
//! # ns a message: medians of 101 rounds, the sides in turns
//! cargo bench -p tickwire-feed --bench arbiter
//! # counted by callgrind, on a machine that is busy
//! cargo bench -p tickwire-feed --bench arbiter -- --instructions
//! ```
use std::{
    collections::HashSet,
    env,
    error::Error,
    hint::black_box,
    process::Command,
    time::{Duration, Instant},
};
use tickwire::Time;
use tickwire_feed::{
    Action, Arbiter, Asked, Attempts, Event, Follower, Incoming, Limits, Pace, Recovery, Say,
    Settings, Subscription, Verdict,
};
use tickwire_parts::Backoff;

const LAYOUTS: [(&str, Layout); 4] = [
    ("one line", |at| (at.is_multiple_of(2)).then_some((0, at / 2))),
    ("two lines, one message apart", |at| Some(((at % 2) as usize, at / 2))),
    ("two lines, 100 apart", apart),
    ("the same, each without a tenth", |at| {
        apart(at).filter(|&(line, number)| (number / 50) % 10 != 3 + 4 * line as u64)
    }),
];

/// The line and the number of the message at a given place of the input, if there is a message.
type Layout = fn(u64) -> Option<(usize, u64)>;

fn apart(at: u64) -> Option<(usize, u64)> {
    let line = (at % 2) as usize;
    (at / 2).checked_sub(100 * line as u64).map(|number| (line, number))
}

/// Subscriptions of a follower.
const FOLLOWED: [usize; 2] = [1, 1_000];

/// Calls `heard` and `poll` for each message, and returns how many were delivered.
fn follower(subscriptions: usize, messages: u64) -> u64 {
    let mut attempts = Attempts::new(1, Duration::from_secs(1));
    let mut now = Time::ZERO;
    let pace = Pace::new(1_000_000, Duration::from_millis(1));
    let probe_after = Some(Duration::from_secs(2));
    let settings = Settings { pace, probe_after, batch: 1_000, ..Settings::new(|_: &u64| 0) };
    let mut follower = Follower::new(settings);
    follower.add_line(Backoff::seeded(1), Duration::MAX, Duration::ZERO);
    let watch = Subscription {
        ask_after: Some(Duration::from_secs(10)),
        leave_after: Some(Duration::from_secs(60)),
        recovery: Recovery::Resume,
        ..Subscription::default()
    };
    for _ in 0..subscriptions {
        follower.subscribe(watch);
    }
    let mut open = None;
    loop {
        match follower.poll(now, &mut attempts) {
            Action::Dial { connection, .. } => {
                follower.opened(connection, now, &mut attempts);
                open = Some(connection);
            }
            Action::Send { connection, say: Say::Subscribe { id, .. } } => {
                let answer = Incoming::Answer(Asked::Question(id));
                follower.heard(connection, answer, now, || 0);
            }
            _ => break,
        }
    }
    let Some(open) = open else { return 0 };
    let mut delivered = 0;
    for number in 0..messages {
        now = now + Duration::from_micros(1);
        let subscription = number as usize % subscriptions;
        let numbers = Some((number / subscriptions as u64).into());
        let data = Incoming::Data { subscription, numbers };
        let verdict = follower.heard(open, black_box(data), now, || number);
        delivered += u64::from(verdict == Some(Verdict::Next));
        black_box(follower.poll(now, &mut attempts));
    }
    delivered
}

/// Delivers these messages, and returns how many of them were not dropped.
type Side = fn(&[(usize, u64)]) -> u64;

const SIDES: [(&str, Side); 3] =
    [("arbiter", arbiter), ("hash set", hash_set), ("hash set, newest 4096", bounded_hash_set)];

fn arbiter(messages: &[(usize, u64)]) -> u64 {
    let mut arbiter: Arbiter<u64> = Arbiter::new(Limits::default(), |_| 0);
    let lines = [arbiter.open(), arbiter.open()];
    let now = Time::ZERO;
    arbiter.resync(0, now);
    let mut delivered = 0;
    for &(line, number) in messages {
        if arbiter.offer(&lines[line], number, now, || number) == Verdict::Next {
            delivered += 1;
            black_box(number);
        }
        while let Some(Event::Message(number)) = arbiter.poll(now) {
            delivered += 1;
            black_box(number);
        }
    }
    delivered
}

fn hash_set(messages: &[(usize, u64)]) -> u64 {
    let mut seen = HashSet::new();
    let mut delivered = 0;
    for &(_, number) in messages {
        if seen.insert(number) {
            delivered += 1;
            black_box(number);
        }
    }
    delivered
}

fn bounded_hash_set(messages: &[(usize, u64)]) -> u64 {
    let mut seen = HashSet::new();
    let mut delivered = 0;
    for &(_, number) in messages {
        if seen.insert(number) {
            seen.remove(&number.wrapping_sub(4096));
            delivered += 1;
            black_box(number);
        }
    }
    delivered
}

fn stream(layout: Layout, places: u64) -> Vec<(usize, u64)> {
    (0..places).filter_map(layout).collect()
}

fn nanoseconds() {
    for (name, layout) in LAYOUTS {
        let messages = stream(layout, 200_000);
        let mut taken = [const { Vec::new() }; SIDES.len()];
        for round in 0..101 {
            for offset in 0..SIDES.len() {
                let side = (round + offset) % SIDES.len();
                let begin = Instant::now();
                black_box(SIDES[side].1(black_box(&messages)));
                taken[side].push(begin.elapsed().as_nanos() as f64 / messages.len() as f64);
            }
        }
        print(name, taken.each_mut().map(|taken| median(taken)));
    }
    for subscriptions in FOLLOWED {
        let mut taken = Vec::new();
        for _ in 0..21 {
            let begin = Instant::now();
            black_box(follower(subscriptions, 200_000));
            taken.push(begin.elapsed().as_nanos() as f64 / 200_000.0);
        }
        print_follower(subscriptions, median(&mut taken));
    }
}

fn median(taken: &mut [f64]) -> f64 {
    taken.sort_by(f64::total_cmp);
    taken[taken.len() / 2]
}

fn print_follower(subscriptions: usize, figure: f64) {
    println!(
        "{:32}  heard and poll {figure:6.1}",
        format!("follower, subscriptions: {subscriptions}")
    );
}

fn print(layout: &str, figures: [f64; SIDES.len()]) {
    print!("{layout:32}");
    for ((side, _), figure) in SIDES.iter().zip(figures) {
        print!("  {side} {figure:6.1}");
    }
    println!();
}

/// Runs itself under callgrind, with fewer and with more messages.
fn instructions() -> Result<(), Box<dyn Error>> {
    let out = env::temp_dir().join(format!("tickwire-feed-{}", std::process::id()));
    let count = |what: [usize; 2], messages: usize| -> Result<f64, Box<dyn Error>> {
        let [layout, side] = what;
        let done = Command::new("valgrind")
            .args(["--tool=callgrind", "--quiet"])
            .arg(format!("--callgrind-out-file={}", out.display()))
            .arg(env::current_exe()?)
            .args(["--work", &layout.to_string(), &side.to_string(), &messages.to_string()])
            .status()?;
        let text = std::fs::read_to_string(&out)?;
        let total = text.lines().find_map(|line| line.strip_prefix("totals: "));
        let total = total.filter(|_| done.success()).ok_or("callgrind gave no total")?;
        Ok(total.trim().parse()?)
    };
    for (layout, (name, _)) in LAYOUTS.iter().enumerate() {
        let mut figures = [0.0; SIDES.len()];
        for (side, figure) in figures.iter_mut().enumerate() {
            let what = [layout, side];
            *figure = (count(what, 90_000)? - count(what, 50_000)?) / 40_000.0;
        }
        print(name, figures);
    }
    for subscriptions in FOLLOWED {
        let what = [LAYOUTS.len(), subscriptions];
        print_follower(subscriptions, (count(what, 90_000)? - count(what, 50_000)?) / 40_000.0);
    }
    std::fs::remove_file(out)?;
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let mut work = arguments.iter().skip_while(|argument| *argument != "--work").skip(1);
    if let (Some(layout), Some(side), Some(count)) = (work.next(), work.next(), work.next()) {
        let (layout, side, count): (usize, usize, usize) =
            (layout.parse()?, side.parse()?, count.parse()?);
        let Some((_, layout)) = LAYOUTS.get(layout) else {
            black_box(follower(side, count as u64));
            return Ok(());
        };
        let messages = stream(*layout, 200_000); // the same for each count
        black_box(SIDES[side].1(&messages[..count]));
        return Ok(());
    }
    if arguments.iter().any(|argument| argument == "--instructions") {
        return instructions();
    }
    nanoseconds();
    Ok(())
}
