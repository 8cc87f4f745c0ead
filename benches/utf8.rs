//! Receiving text, by size and script, on every side, and binary: what checking costs.
mod floor;
mod sides;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use floor::{Body, SIZES};
use sides::{measure, receiving};

fn benches(c: &mut Criterion) {
    let bodies = [("ascii", Body::Ascii), ("mixed", Body::Mixed), ("binary", Body::Binary)];
    for (name, body) in bodies {
        let mut group = c.benchmark_group(format!("utf8/{name}"));
        for len in SIZES {
            group.throughput(Throughput::Bytes(len as u64));
            measure(&mut group, &len.to_string(), receiving(len, body, false, false));
        }
    }
}

criterion_group!(all, benches);
criterion_main!(all);
