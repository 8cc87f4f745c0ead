//! Receiving, by size and role, on every side: many messages in a buffer, and one message a read.
mod floor;
mod sides;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use floor::{Body, SIZES};
use sides::{measure, receiving};

fn benches(c: &mut Criterion) {
    for (client, name) in [(false, "server"), (true, "client")] {
        let mut group = c.benchmark_group(format!("receive/{name}"));
        for len in SIZES {
            group.throughput(Throughput::Bytes(len as u64));
            let sides = receiving(len, Body::Binary, client, false);
            measure(&mut group, &len.to_string(), sides);
        }
        group.finish();
        let mut group = c.benchmark_group(format!("receive_one_a_read/{name}"));
        for len in [32, 1400] {
            group.throughput(Throughput::Bytes(len as u64));
            measure(&mut group, &len.to_string(), receiving(len, Body::Binary, client, true));
        }
    }
}

criterion_group!(all, benches);
criterion_main!(all);
