//! Masking in place, by size, beside a loop over bytes and a plain copy.
mod floor;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use floor::{Body, SIZES, messages, xor};
use std::hint::black_box;
use tickwire::mask::Masker;

const KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

fn benches(c: &mut Criterion) {
    let mut group = c.benchmark_group("mask");
    for len in SIZES {
        let from = messages(len, Body::Binary).swap_remove(0);
        // Behind a header a payload lies anywhere.
        let mut to = vec![0; len + 6];
        let to = &mut to[6..];
        group.throughput(Throughput::Bytes(len as u64));
        group.bench_function(format!("{len}/bytes"), |b| {
            b.iter(|| {
                for (byte, key) in black_box(&mut *to).iter_mut().zip(KEY.iter().cycle()) {
                    *byte ^= key;
                }
            });
        });
        group.bench_function(format!("{len}/plain_copy"), |b| {
            b.iter(|| black_box(&mut *to).copy_from_slice(black_box(&from)));
        });
        group.bench_function(format!("{len}/floor"), |b| b.iter(|| xor(black_box(to), KEY)));
        group.bench_function(format!("{len}/apply"), |b| {
            b.iter(|| Masker::new(black_box(KEY)).apply(black_box(to)));
        });
    }
}

criterion_group!(all, benches);
criterion_main!(all);
