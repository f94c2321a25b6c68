//! Throughput of the blend at MiniLM's size: 6 teacher layers of 1.77 M parameters to 2 student layers.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use nb_momentum::{Beta, blend_layers};
use tch::{Device, Kind, Tensor};

fn blend(c: &mut Criterion) {
    const PARAMETERS: i64 = 1_774_464;
    let draw = |layers| Tensor::randn([layers, PARAMETERS], (Kind::Float, Device::Cpu));
    let (teacher, mut student) = (draw(6), draw(2));
    let beta = Beta::new(0.15).expect("0.15 is between 0 and 1");
    let mut group = c.benchmark_group("blend");
    group.throughput(Throughput::Bytes((6 + 2 * 2) * PARAMETERS as u64 * 4));
    group.bench_function("6 to 2 layers", |b| b.iter(|| blend_layers(&teacher, &mut student, 3, beta)));
    group.finish();
}

criterion_group!(benches, blend);
criterion_main!(benches);
