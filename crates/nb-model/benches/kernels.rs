//! Benchmarks of the encoder's operations on tensors and of their plain libtorch forms, at the sizes of a training step: 32
//! texts of up to 64 tokens, 384 hidden units, 12 heads. Throughput is in tokens or multiply-adds. `nb-kernels` has the
//! benchmarks of the kernels alone.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use nb_kernels::dropout::Dropout;
use nb_model::kernel::attention;
use nb_model::kernel::linear::{Grads, Linear};
use nb_model::{Capture, Packed};
use tch::{Device, Kind, Tensor};

const HIDDEN: i64 = 384;
const FEED_FORWARD: i64 = 4 * HIDDEN;
const HEADS: i64 = 12;

fn random(rows: i64, width: i64) -> Tensor {
    Tensor::randn([rows, width], (Kind::Float, Device::Cpu))
}

/// The lengths of 32 texts, the longest first, as in a batch of real articles.
fn lengths() -> Vec<i64> {
    (0..32).map(|i| 64 - i * 26 / 31).collect()
}

fn tokens() -> i64 {
    lengths().into_iter().sum()
}

/// Forward and backward, with dropout. The plain form also returns the scores.
fn attention(c: &mut Criterion) {
    let (n, lengths) = (tokens(), lengths());
    let zeros = vec![0; n as usize];
    let packed = Packed::new(&zeros, &zeros, &lengths, Device::Cpu);
    let mut group = c.benchmark_group("attention");
    group.throughput(Throughput::Elements(n.unsigned_abs()));
    for kind in [Kind::Float, Kind::BFloat16] {
        let (qkv, grad) = (random(n, 3 * HIDDEN).to_kind(kind), random(n, HIDDEN).to_kind(kind));
        let dropout = |part: usize| Dropout::new(0.1, Some(part as u64));
        for (name, capture) in [("fused", Capture::Last), ("plain", Capture::Scores)] {
            group.bench_function(format!("{name}/{kind:?}"), |b| {
                b.iter(|| {
                    let (out, tape) = attention::forward(&qkv, &packed, HEADS, dropout, capture);
                    (out, attention::backward(&grad, None, &packed, HEADS, dropout, &tape))
                });
            });
        }
    }
    group.finish();
}

fn layer(kind: Kind) -> Linear {
    let zeros = |size: &[i64], kind| Tensor::zeros(size, (kind, Device::Cpu));
    Linear {
        weight: random(FEED_FORWARD, HIDDEN).to_kind(kind),
        bias: zeros(&[FEED_FORWARD], kind),
        grads: Some(Grads {
            weight: zeros(&[FEED_FORWARD, HIDDEN], Kind::Float),
            bias: zeros(&[FEED_FORWARD], Kind::Float),
        }),
    }
}

/// In isolation, a product of many rows requests the pages of its result from the system each time, and ours also the pages of
/// two copies. With MALLOC_MMAP_THRESHOLD_=268435456 MALLOC_TRIM_THRESHOLD_=1073741824 it reuses memory, as a training step
/// does.
fn linear(c: &mut Criterion) {
    let mut group = c.benchmark_group("linear");
    let ours = layer(Kind::Float);
    for rows in [10, tokens()] {
        let x = random(rows, HIDDEN);
        group.throughput(Throughput::Elements((rows * HIDDEN * FEED_FORWARD).unsigned_abs()));
        group.bench_function(format!("ours/{rows}"), |b| b.iter(|| ours.forward(&x)));
        group.bench_function(format!("libtorch/{rows}"), |b| b.iter(|| x.linear(&ours.weight, Some(&ours.bias))));
    }
    group.finish();
}

/// Forward and backward.
fn linear_in_bf16(c: &mut Criterion) {
    let mut group = c.benchmark_group("linear in bf16, forward and backward");
    let ours = layer(Kind::BFloat16);
    let n = tokens();
    let (x, grad) = (random(n, HIDDEN).to_kind(Kind::BFloat16), random(n, FEED_FORWARD).to_kind(Kind::BFloat16));
    group.throughput(Throughput::Elements((3 * n * HIDDEN * FEED_FORWARD).unsigned_abs()));
    group.bench_function("ours", |b| b.iter(|| (ours.forward(&x), ours.backward(&grad, &x))));
    group.bench_function("libtorch", |b| {
        b.iter(|| {
            let weight_grad = ours.weight.zeros_like().to_kind(Kind::Float).g_add_(&grad.tr().matmul(&x));
            let bias_grad = grad.sum_dim_intlist(0, false, Kind::Float);
            (x.linear(&ours.weight, Some(&ours.bias)), grad.matmul(&ours.weight), weight_grad, bias_grad)
        });
    });
    group.finish();
}

fn kernels(c: &mut Criterion) {
    tch::manual_seed(0);
    attention(c);
    linear(c);
    linear_in_bf16(c);
}

criterion_group!(benches, kernels);
criterion_main!(benches);
