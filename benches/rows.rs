//! The core against the floor, as a table of ratios: what criterion's separate runs cannot show on
//! a machine that is shared. Both are run in turns, many times, and the medians compared.
//!
//! `cargo bench --bench rows [-- FILTER [ROUNDS]]`
mod floor;

use floor::{Body, Floor, Stream, batch, connection, messages, receive};
use std::{hint::black_box, time::Instant};

/// How long one turn takes, about.
const TURN: f64 = 1.5e6;

/// Runs both for many rounds, and prints their medians and the median of the ratios. Each does as
/// many messages as it is told.
fn row(name: &str, was: &str, mut base: impl FnMut(usize), mut ours: impl FnMut(usize)) {
    let args: Vec<String> = std::env::args().skip(1).filter(|a| !a.starts_with("--")).collect();
    if args.first().is_some_and(|filter| !name.contains(filter.as_str())) {
        return;
    }
    let rounds = args.get(1).and_then(|n| n.parse().ok()).unwrap_or(201_usize);
    fn time(work: &mut dyn FnMut(usize), n: usize) -> f64 {
        let begin = Instant::now();
        work(n);
        begin.elapsed().as_nanos() as f64 / n as f64
    }
    let mut n = 64;
    while time(&mut base, n) * (n as f64) < TURN {
        n *= 2;
    }
    time(&mut ours, n);
    let (mut floor, mut core, mut ratio) = (vec![], vec![], vec![]);
    for round in 0..rounds {
        let (a, b) = if round % 2 == 0 {
            let a = time(&mut base, n);
            (a, time(&mut ours, n))
        } else {
            let b = time(&mut ours, n);
            (time(&mut base, n), b)
        };
        floor.push(a);
        core.push(b);
        ratio.push(b / a);
    }
    let [floor, core, ratio] = [floor, core, ratio].map(|mut all: Vec<f64>| {
        all.sort_by(f64::total_cmp);
        all[all.len() / 2]
    });
    println!("{name:<44} {floor:>9.1} {core:>9.1} {ratio:>6.2} {was:>10}");
}

fn receiving(name: &str, was: &str, len: usize, body: Body, client: bool, by_message: bool) {
    let stream = || {
        let stream = Stream::new(&messages(len, body), body, !client);
        if by_message { stream.by_message() } else { stream }
    };
    let (mut floor, mut from) = (Floor::new(client), stream());
    let base = move |n| {
        for _ in 0..n {
            assert!(black_box(floor.receive(&mut from)).len() == len);
        }
    };
    let (mut conn, mut from) = (connection(client), stream());
    row(name, was, base, move |n| {
        for _ in 0..n {
            assert!(black_box(receive(&mut conn, &mut from)).len() == len);
        }
    });
}

fn sending(name: &str, was: &str, len: usize, client: bool) {
    let all = messages(len, Body::Binary);
    let per = batch(len);
    let stream = || Stream::new(&all[..1], Body::Binary, false);
    let (mut floor, mut to) = (Floor::new(client), stream());
    let mut batches = all.chunks(per).cycle();
    let base = |n| {
        for _ in 0..n / per {
            for message in batches.next().unwrap_or_default() {
                floor.feed(black_box(message));
            }
            floor.flush(&mut to);
        }
    };
    let (mut conn, mut to) = (connection(client), stream());
    let mut batches = all.chunks(per).cycle();
    row(name, was, base, |n| {
        for _ in 0..n / per {
            for message in batches.next().unwrap_or_default() {
                assert!(conn.sender().feed(black_box(message)).is_ok());
            }
            floor::flush(&mut conn, &mut to);
        }
    });
}

fn echoing(name: &str, was: &str, len: usize, per: usize) {
    let stream = || Stream::new(&messages(len, Body::Binary), Body::Binary, true);
    let (mut floor, mut link) = (Floor::new(false), stream());
    let base = move |n| (0..n / per).for_each(|_| floor.echo(&mut link, per));
    let (mut conn, mut link) = (connection(false), stream());
    row(name, was, base, move |n| {
        (0..n / per).for_each(|_| floor::echo(&mut conn, &mut link, per));
    });
}

fn main() {
    println!("{:<44} {:>9} {:>9} {:>6} {:>10}", "", "floor ns", "core ns", "ratio", "prototype");
    receiving("receive 64 B, server", "1.14", 64, Body::Binary, false, false);
    receiving("receive 64 B, client", "1.40", 64, Body::Binary, true, false);
    receiving("one message a read 64 B, server", "1.07", 64, Body::Binary, false, true);
    receiving("one message a read 64 B, client", "1.02", 64, Body::Binary, true, true);
    sending("feed 64 B, server", "0.75", 64, false);
    sending("feed 64 B, client", "0.76", 64, true);
    receiving("receive 1 KiB, server", "1.11", 1 << 10, Body::Binary, false, false);
    receiving("receive 1 KiB, client", "1.15", 1 << 10, Body::Binary, true, false);
    receiving("receive 16 KiB, server", "1.12", 16 << 10, Body::Binary, false, false);
    receiving("receive 16 KiB, client", "1.20", 16 << 10, Body::Binary, true, false);
    receiving("receive 1 MiB, server", "0.90", 1 << 20, Body::Binary, false, false);
    receiving("receive 1 MiB, client", "1.02", 1 << 20, Body::Binary, true, false);
    receiving("text 1 KiB, ASCII", "1.20", 1 << 10, Body::Ascii, false, false);
    receiving("text 1 KiB, mixed", "1.11", 1 << 10, Body::Mixed, false, false);
    echoing("echo 64 B, 16 a batch", "", 64, 16);
    echoing("echo 1000 B, 16 a batch", "", 1000, 16);
}
