//! Receiving text, by size and script, beside the floor and beside binary: what checking costs.
mod floor;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use floor::{Body, Floor, SIZES, Stream, connection, messages, receive};
use std::hint::black_box;

fn benches(c: &mut Criterion) {
    let bodies = [("ascii", Body::Ascii), ("mixed", Body::Mixed), ("binary", Body::Binary)];
    for (name, body) in bodies {
        let mut group = c.benchmark_group(format!("utf8/{name}"));
        for len in SIZES {
            let stream = || Stream::new(&messages(len, body), body, true);
            group.throughput(Throughput::Bytes(len as u64));
            let (mut floor, mut from) = (Floor::new(false), stream());
            group.bench_function(format!("{len}/floor"), |b| {
                b.iter(|| black_box(floor.receive(&mut from)).len());
            });
            let (mut conn, mut from) = (connection(false), stream());
            group.bench_function(format!("{len}/tickwire"), |b| {
                b.iter(|| black_box(receive(&mut conn, &mut from)).len());
            });
        }
    }
}

criterion_group!(all, benches);
criterion_main!(all);
