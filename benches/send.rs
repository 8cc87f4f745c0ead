//! Sending, as many messages a write as make 16 KiB, by size and role, beside the floor; shared
//! payloads too.
mod floor;

use bytes::Bytes;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use floor::{Body, Floor, SIZES, Stream, batch, connection, flush, messages};
use std::hint::black_box;

fn benches(c: &mut Criterion) {
    for (client, name) in [(false, "send/server"), (true, "send/client")] {
        let mut group = c.benchmark_group(name);
        for len in SIZES {
            let all = messages(len, Body::Binary);
            let per = batch(len);
            let mut to = Stream::new(&all[..1], Body::Binary, false);
            group.throughput(Throughput::Elements(per as u64));
            let (mut floor, mut batches) = (Floor::new(client), all.chunks_exact(per).cycle());
            group.bench_function(format!("{len}/floor"), |b| {
                b.iter(|| {
                    for message in batches.next().unwrap_or_default() {
                        floor.feed(black_box(message));
                    }
                    floor.flush(&mut to);
                });
            });
            let (mut conn, mut batches) = (connection(client), all.chunks_exact(per).cycle());
            group.bench_function(format!("{len}/feed"), |b| {
                b.iter(|| {
                    for message in batches.next().unwrap_or_default() {
                        assert!(conn.sender().feed(black_box(message)).is_ok());
                    }
                    flush(&mut conn, &mut to);
                });
            });
            if client {
                continue; // it masks, and so copies, whatever it is given
            }
            let shared: Vec<Bytes> = all.iter().cloned().map(Bytes::from).collect();
            let mut batches = shared.chunks_exact(per).cycle();
            group.bench_function(format!("{len}/feed_bytes"), |b| {
                b.iter(|| {
                    for message in batches.next().unwrap_or_default() {
                        assert!(conn.sender().feed_bytes(black_box(message).clone()).is_ok());
                    }
                    flush(&mut conn, &mut to);
                });
            });
        }
    }
}

criterion_group!(all, benches);
criterion_main!(all);
