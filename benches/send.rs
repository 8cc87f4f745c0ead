//! Sending, as many messages a write as make 16 KiB, by size and role, on every side; shared
//! payloads too.
mod floor;
mod sides;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use floor::SIZES;
use sides::{measure, sending, sharing};

fn benches(c: &mut Criterion) {
    for (client, name) in [(false, "server"), (true, "client")] {
        let mut group = c.benchmark_group(format!("send/{name}"));
        for len in SIZES {
            group.throughput(Throughput::Bytes(len as u64));
            measure(&mut group, &len.to_string(), sending(len, client));
        }
    }
    let mut group = c.benchmark_group("send_shared"); // a client masks, and so copies, all it sends
    for len in SIZES {
        group.throughput(Throughput::Bytes(len as u64));
        measure(&mut group, &len.to_string(), sharing(len));
    }
}

criterion_group!(all, benches);
criterion_main!(all);
