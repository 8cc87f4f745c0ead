//! The cost of a message from two lines in an `Arbiter`, which delivers in order and reports gaps.
//! The bench compares this cost with a hash set of the same numbers, which only drops duplicates.
//!
//! ```text
//! # ns a message: medians of 101 rounds, the sides in turns
//! cargo bench -p tickwire-feed
//! # counted by callgrind, on a machine that is busy
//! cargo bench -p tickwire-feed -- --instructions
//! ```
use std::{
    collections::HashSet, env, error::Error, hint::black_box, process::Command, time::Instant,
};
use tickwire::Time;
use tickwire_feed::{Arbiter, Event, Limits, Verdict};

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
        print(
            name,
            taken.each_mut().map(|taken| {
                taken.sort_by(f64::total_cmp);
                taken[taken.len() / 2]
            }),
        );
    }
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
    let count = |layout: usize, side: usize, messages: usize| -> Result<f64, Box<dyn Error>> {
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
            *figure = (count(layout, side, 90_000)? - count(layout, side, 50_000)?) / 40_000.0;
        }
        print(name, figures);
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
        let messages = stream(LAYOUTS[layout].1, 200_000); // the same for each count
        black_box(SIDES[side].1(&messages[..count]));
        return Ok(());
    }
    if arguments.iter().any(|argument| argument == "--instructions") {
        return instructions();
    }
    nanoseconds();
    Ok(())
}
