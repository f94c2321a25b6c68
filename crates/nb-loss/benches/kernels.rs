//! Softmax and every loss, forward alone and with backward, at the sizes of a training step: the logits of a batch of
//! 32 over 15 topics, and the packed hidden states of 2,048 real tokens. Throughput counts the elements of one input.
//!
//! On the CPU calls return when they are done, so that the clock needs no waiting for a device.

use criterion::{BenchmarkGroup, Criterion, Throughput, criterion_group, criterion_main, measurement::WallTime};
use nb_loss::{
    Distillation, SoftScaling, distillation_loss, hard_cross_entropy, log_softmax_with_temperature, soft_cross_entropy,
    softmax_with_temperature, state_mse,
};
use tch::{Device, Kind, Tensor};

const LOGITS: [i64; 2] = [32, 15];
const STATES: [i64; 2] = [2048, 384];
const TEMPERATURE: f64 = 2.0;

fn random(size: [i64; 2]) -> Tensor {
    Tensor::randn(size, (Kind::Float, Device::Cpu))
}

/// Times `loss` of a tensor of `size`: its value without a graph, then value and gradient.
fn forward_and_backward(
    group: &mut BenchmarkGroup<'_, WallTime>,
    name: &str,
    size: [i64; 2],
    loss: impl Fn(&Tensor) -> Tensor,
) {
    group.throughput(Throughput::Elements((size[0] * size[1]).unsigned_abs()));
    let case = format!("{}x{}", size[0], size[1]);
    let plain = random(size);
    group.bench_function(format!("{name}/{case}/forward"), |b| b.iter(|| loss(&plain)));
    let leaf = random(size).set_requires_grad(true);
    group.bench_function(format!("{name}/{case}/backward"), |b| {
        b.iter(|| Tensor::run_backward(&[loss(&leaf)], &[&leaf], false, false));
    });
}

fn kernels(c: &mut Criterion) {
    tch::manual_seed(0);
    let mut group = c.benchmark_group("kernels");
    for size in [LOGITS, STATES] {
        let teacher = random(size);
        let labels = teacher.argmax(-1, false);
        let settings =
            Distillation { temperature: TEMPERATURE, soft: 1.0, hard: 0.5, scaling: SoftScaling::TemperatureSquared };
        forward_and_backward(&mut group, "softmax", size, |z| {
            softmax_with_temperature(z, TEMPERATURE).sum(Kind::Float)
        });
        forward_and_backward(&mut group, "log_softmax", size, |z| {
            log_softmax_with_temperature(z, TEMPERATURE).sum(Kind::Float)
        });
        forward_and_backward(&mut group, "soft_cross_entropy", size, |z| {
            soft_cross_entropy(&teacher, z, TEMPERATURE, size[0])
        });
        forward_and_backward(&mut group, "hard_cross_entropy", size, |z| hard_cross_entropy(z, &labels, size[0]));
        forward_and_backward(&mut group, "state_mse", size, |s| state_mse(&teacher, s, size[0]));
        forward_and_backward(&mut group, "distillation_loss", size, |z| {
            distillation_loss(&teacher, z, &labels, &settings, size[0])
        });
    }
    group.finish();
}

criterion_group!(benches, kernels);
criterion_main!(benches);
