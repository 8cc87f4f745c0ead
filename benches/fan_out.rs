//! One message to many subscribers: encoded once, 8 of them a write, on every side; and, to 100 of
//! the core, fed as it is or encoded once.
mod floor;
mod sides;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use floor::{Body, SIZES, Stream, connection, flush, messages};
use sides::{fanning_out, measure};
use std::hint::black_box;
use tickwire::{Connection, Prepared};

const SUBSCRIBERS: usize = 100;

fn benches(c: &mut Criterion) {
    let mut group = c.benchmark_group("fan_out_8_a_write");
    for len in [32, 125, 1400] {
        measure(&mut group, &len.to_string(), fanning_out(len));
    }
    group.finish();

    let mut group = c.benchmark_group("fan_out");
    group.throughput(Throughput::Elements(SUBSCRIBERS as u64));
    for len in SIZES {
        let message = messages(len, Body::Binary).swap_remove(0);
        let mut to = Stream::new(std::slice::from_ref(&message), Body::Binary, false);
        let mut all: Vec<Connection> = (0..SUBSCRIBERS).map(|_| connection(false)).collect();
        // Written at once, as a feed would: nothing piles up.
        let mut each = |feed: &mut dyn FnMut(&mut Connection)| {
            for conn in &mut all {
                feed(conn);
                flush(conn, &mut to);
            }
        };
        group.bench_function(format!("{len}/feed"), |b| {
            b.iter(|| {
                each(&mut |conn| assert!(conn.sender_mut().feed(black_box(&message)).is_ok()))
            });
        });
        group.bench_function(format!("{len}/feed_prepared"), |b| {
            b.iter(|| {
                let tick = Prepared::new(black_box(&message));
                each(&mut |conn| assert!(conn.sender_mut().feed(&tick).is_ok()));
            });
        });
    }
}

criterion_group!(all, benches);
criterion_main!(all);
