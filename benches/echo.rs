//! A server's echo in memory, by size and by how many messages go into one write, beside the
//! floor.
mod floor;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use floor::{Body, Floor, SIZES, Stream, connection, echo, messages};

fn benches(c: &mut Criterion) {
    let mut group = c.benchmark_group("echo");
    for len in SIZES {
        for batch in [1, 16, 64] {
            if len * batch > 1 << 20 {
                continue;
            }
            let stream = || {
                let stream = Stream::new(&messages(len, Body::Binary), Body::Binary, true);
                if batch == 1 { stream.by_message() } else { stream }
            };
            group.throughput(Throughput::Elements(batch as u64));
            let (mut floor, mut link) = (Floor::new(false), stream());
            group.bench_function(format!("{len}x{batch}/floor"), |b| {
                b.iter(|| floor.echo(&mut link, batch));
            });
            let (mut conn, mut link) = (connection(false), stream());
            group.bench_function(format!("{len}x{batch}/tickwire"), |b| {
                b.iter(|| echo(&mut conn, &mut link, batch));
            });
        }
    }
}

criterion_group!(all, benches);
criterion_main!(all);
