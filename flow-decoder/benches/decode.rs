//! Decoding and encoding, in records a second on one core.

#[path = "../tests/capture/mod.rs"]
mod capture;
mod cases;
#[path = "../tests/wire/mod.rs"]
mod wire;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};

fn decode(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("decode");
    for named in cases::all() {
        let case = named.build();
        let mut run = case.start();
        group.throughput(Throughput::Elements(run.once()));
        group.bench_function(&named.name, |bencher| bencher.iter(|| run.once()));
    }
    group.finish();
}

criterion_group!(benches, decode);
criterion_main!(benches);
