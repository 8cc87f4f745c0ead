//! Sending ticks of some 200 bytes that are built where they are sent from, as many a write as make
//! 16 KiB, beside building each in a `Vec` and feeding that (`floor`).
mod floor;
mod sides;

use criterion::{Criterion, criterion_group, criterion_main};
use sides::{Layout, building, measure};

fn benches(c: &mut Criterion) {
    for (layout, what) in [(Layout::Json, "json"), (Layout::Fixed, "fixed")] {
        for (client, role) in [(false, "server"), (true, "client")] {
            let mut group = c.benchmark_group(format!("build/{what}"));
            measure(&mut group, role, building(layout, client));
        }
    }
}

criterion_group!(all, benches);
criterion_main!(all);
