//! What `cargo bench -p benches` measures: the hot paths at 64 B, on every side, in under two
//! minutes. The other benches have more sizes, and more paths.
mod floor;
mod sides;

use criterion::{BenchmarkGroup, Criterion, Throughput, criterion_group, measurement::WallTime};
use floor::Body;
use sides::{Sides, accepting, echoing, receiving, sending};
use std::{
    hint::black_box,
    time::{Duration, Instant},
};
use tickwire::frame::{Header, OpCode};

const LEN: usize = 64;

/// Has criterion measure every side, in time for each message.
fn measure(group: &mut BenchmarkGroup<'_, WallTime>, id: &str, sides: Sides) {
    for (side, mut work) in sides {
        group.bench_function(format!("{id}/{side}"), |b| {
            b.iter_custom(|n| {
                let begin = Instant::now();
                work(n as usize);
                begin.elapsed()
            });
        });
    }
}

fn benches(c: &mut Criterion) {
    let mut group = c.benchmark_group("header");
    let header =
        Header { masking_key: Some([1, 2, 3, 4]), ..Header::new(OpCode::Binary, LEN as u64) };
    let (wire, n) = header.encode();
    group.bench_function("parse", |b| b.iter(|| Header::parse(black_box(&wire[..n]))));
    group.finish();

    for (client, name) in [(false, "server"), (true, "client")] {
        let mut group = c.benchmark_group(name);
        group.throughput(Throughput::Elements(1));
        measure(&mut group, "receive", receiving(LEN, Body::Binary, client, false));
        measure(&mut group, "receive text", receiving(LEN, Body::Ascii, client, false));
        measure(&mut group, "send", sending(LEN, client));
    }
    let mut group = c.benchmark_group("server");
    group.throughput(Throughput::Elements(1));
    measure(&mut group, "echo 16 a write", echoing(LEN, 16));
    measure(&mut group, "opening handshake", accepting());
}

criterion_group!(
    name = all;
    config = Criterion::default()
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1))
        .sample_size(50)
        .nresamples(20_000);
    targets = benches
);

fn main() {
    all();
    Criterion::default().configure_from_args().final_summary();
    let manifest = include_str!("Cargo.toml");
    let names = manifest.lines().skip_while(|line| *line != "[[bench]]");
    let others: Vec<_> = names
        .filter_map(|line| line.strip_prefix("name = \"")?.strip_suffix('"'))
        .filter(|name| *name != "hot_paths")
        .collect();
    println!("\nOther benches, by `cargo bench -p benches --bench NAME`: {}", others.join(", "));
    println!("benches/README.md says what each measures, and names those of other packages.");
}
