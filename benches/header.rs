//! Parsing and encoding one header, by the form of its length.
use criterion::{Criterion, criterion_group, criterion_main};
use std::hint::black_box;
use tickwire::frame::{Header, OpCode};

fn benches(c: &mut Criterion) {
    for (name, key) in [("unmasked", None), ("masked", Some([1, 2, 3, 4]))] {
        let mut group = c.benchmark_group(format!("header/{name}"));
        for len in [32, 126, 1 << 20] {
            let header = Header { masking_key: key, ..Header::new(OpCode::Binary, len) };
            let (wire, n) = header.encode();
            group.bench_function(format!("{len}/parse"), |b| {
                b.iter(|| Header::parse(black_box(&wire[..n])));
            });
            group
                .bench_function(format!("{len}/encode"), |b| b.iter(|| black_box(header).encode()));
        }
    }
}

criterion_group!(all, benches);
criterion_main!(all);
