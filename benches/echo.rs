//! A server's echo in memory, by size and by how many messages go into one write, on every side. Of
//! one a write, one a read too.
mod floor;
mod sides;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use floor::SIZES;
use sides::{echoing, measure};

fn benches(c: &mut Criterion) {
    let mut group = c.benchmark_group("echo");
    for len in SIZES {
        for batch in [1, 16, 64] {
            if len * batch > 1 << 20 {
                continue;
            }
            group.throughput(Throughput::Bytes(len as u64));
            measure(&mut group, &format!("{len}x{batch}"), echoing(len, batch));
        }
    }
}

criterion_group!(all, benches);
criterion_main!(all);
