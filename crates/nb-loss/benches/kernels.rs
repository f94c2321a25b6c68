//! Benchmarks of softmax, every loss and the functions that compute a loss's inputs, forward only and with backward, at
//! the sizes of a training step: the logits of a batch of 32 over 15 topics, and the packed hidden states of 2,048 real
//! tokens. Throughput counts the elements of one input.
//!
//! Calls on the CPU are synchronous, so the timing needs no wait for a device.

use criterion::{BenchmarkGroup, Criterion, Throughput, criterion_group, criterion_main, measurement::WallTime};
use nb_loss::{
    Distillation, Soft, SoftLoss, SoftScaling, Temperature, agreement, cosine_distance, cwsm_temperatures,
    distillation_loss, flsw_temperatures, hard_cross_entropy, log_softmax_with_temperature, logits_weighted_by_loss,
    mean_logits, normalised_state_mse, score_mse, similarity_kl, similarity_mse, soft_cross_entropy,
    soft_kl_divergence, soft_loss, softmax_with_temperature, squared_distance, state_mse,
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

/// Times a function without a gradient over tensors of `size`.
fn forward(group: &mut BenchmarkGroup<'_, WallTime>, name: &str, size: [i64; 2], value: impl Fn() -> Tensor) {
    group.throughput(Throughput::Elements((size[0] * size[1]).unsigned_abs()));
    group.bench_function(format!("{name}/{}x{}/forward", size[0], size[1]), |b| b.iter(&value));
}

/// Times the losses of states, vectors and scores, which have no classes.
fn losses_of_states(group: &mut BenchmarkGroup<'_, WallTime>, size: [i64; 2], teacher: &Tensor) {
    let n_rows = size[0];
    forward_and_backward(group, "state_mse", size, |s| state_mse(teacher, s, n_rows));
    forward_and_backward(group, "normalised_state_mse", size, |s| normalised_state_mse(teacher, s, n_rows));
    forward_and_backward(group, "cosine_distance", size, |s| cosine_distance(teacher, s, n_rows));
    forward_and_backward(group, "squared_distance", size, |s| squared_distance(teacher, s, n_rows));
    forward_and_backward(group, "similarity_mse", size, |s| similarity_mse(teacher, s, n_rows * (n_rows - 1)));
    let scale = (size[1] as f64).recip(); // products of random rows have a spread of √H
    forward_and_backward(group, "similarity_kl", size, |s| similarity_kl(teacher, s, scale, n_rows));
    let scores = teacher.flatten(0, -1);
    forward_and_backward(group, "score_mse", size, |s| score_mse(&scores, &s.flatten(0, -1), n_rows * size[1]));
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
        forward_and_backward(&mut group, "soft_kl_divergence", size, |z| {
            soft_kl_divergence(&teacher, z, TEMPERATURE, size[0])
        });
        let temperatures = Tensor::full(size[0], TEMPERATURE, (Kind::Float, Device::Cpu));
        let per_row = Soft {
            loss: SoftLoss::CrossEntropy,
            temperature: Temperature::PerRow(&temperatures),
            scaling: SoftScaling::TemperatureSquared,
        };
        forward_and_backward(&mut group, "soft_loss_per_row", size, |z| soft_loss(&teacher, z, &per_row, size[0]));
        forward_and_backward(&mut group, "hard_cross_entropy", size, |z| hard_cross_entropy(z, &labels, size[0]));
        losses_of_states(&mut group, size, &teacher);
        forward_and_backward(&mut group, "distillation_loss", size, |z| {
            distillation_loss(&teacher, z, &labels, &settings, size[0])
        });

        let student = random(size);
        let teachers = [random(size), random(size)];
        forward(&mut group, "flsw_temperatures", size, || flsw_temperatures(&teacher, &student, TEMPERATURE, 1.0, 1.0));
        forward(&mut group, "cwsm_temperatures", size, || cwsm_temperatures(&student, TEMPERATURE, 1.0));
        forward(&mut group, "mean_logits", size, || mean_logits(&teachers));
        forward(&mut group, "logits_weighted_by_loss", size, || logits_weighted_by_loss(&teachers, &labels));
        forward(&mut group, "agreement", size, || agreement(&teacher, &student));
    }
    group.finish();
}

criterion_group!(benches, kernels);
criterion_main!(benches);
