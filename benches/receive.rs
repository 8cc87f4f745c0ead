//! Receiving, many messages in a buffer, by size and role, beside the floor.
mod floor;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use floor::{Body, Floor, SIZES, Stream, connection, messages, receive};
use std::hint::black_box;

fn benches(c: &mut Criterion) {
    for (client, name) in [(false, "receive/server"), (true, "receive/client")] {
        let mut group = c.benchmark_group(name);
        for len in SIZES {
            let stream = || Stream::new(&messages(len, Body::Binary), Body::Binary, !client);
            group.throughput(Throughput::Bytes(len as u64));
            let (mut floor, mut from) = (Floor::new(client), stream());
            group.bench_function(format!("{len}/floor"), |b| {
                b.iter(|| black_box(floor.receive(&mut from)).len());
            });
            let (mut conn, mut from) = (connection(client), stream());
            group.bench_function(format!("{len}/tickwire"), |b| {
                b.iter(|| black_box(receive(&mut conn, &mut from)).len());
            });
        }
    }
}

criterion_group!(all, benches);
criterion_main!(all);
