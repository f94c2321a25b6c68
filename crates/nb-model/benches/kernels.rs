//! The kernels of the encoder, forward and backward, at the sizes of a training step: 32 texts of up to 64 tokens, 384
//! hidden units, 12 heads. Throughput counts tokens, or entries where every entry is alike.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use nb_model::{Capture, Packed, bench};
use tch::{Device, Kind, Tensor};

const HIDDEN: i64 = 384;
const FEED_FORWARD: i64 = 4 * HIDDEN;
const HEADS: i64 = 12;

fn random(rows: i64, width: i64) -> Tensor {
    Tensor::randn([rows, width], (Kind::Float, Device::Cpu))
}

/// The lengths of 32 texts, the longest first, as a batch of real news has them.
fn lengths() -> Vec<i64> {
    (0..32).map(|i| 64 - i * 26 / 31).collect()
}

fn kernels(c: &mut Criterion) {
    tch::manual_seed(0);
    let lengths = lengths();
    let n: i64 = lengths.iter().sum();
    let nothing = vec![0; n as usize];
    let packed = Packed::new(&nothing, &nothing, &lengths, Device::Cpu);
    let mut group = c.benchmark_group("encoder");

    group.throughput(Throughput::Elements(n.unsigned_abs()));
    for kind in [Kind::Float, Kind::BFloat16] {
        let (qkv, grad) = (random(n, 3 * HIDDEN).to_kind(kind), random(n, HIDDEN).to_kind(kind));
        for (name, capture) in [("fused", Capture::Last), ("plain", Capture::Scores)] {
            group.bench_function(format!("attention/{name}/{kind:?}"), |b| {
                b.iter(|| bench::attention(&qkv, &grad, &packed, HEADS, capture));
            });
        }
    }

    group.throughput(Throughput::Elements((n * HIDDEN).unsigned_abs()));
    let (x, residual) = (random(n, HIDDEN), random(n, HIDDEN));
    group.bench_function("layer_norm", |b| b.iter(|| bench::layer_norm(&x, &residual)));
    let mut dropped = random(n, HIDDEN);
    group.bench_function("dropout", |b| b.iter(|| bench::dropout(&mut dropped)));

    group.throughput(Throughput::Elements((n * FEED_FORWARD).unsigned_abs()));
    let (x, grad) = (random(n, FEED_FORWARD), random(n, FEED_FORWARD));
    group.bench_function("gelu", |b| {
        b.iter(|| bench::gelu(&x, &grad));
    });

    // Multiply-adds; `libtorch` is its own product. Called alone, a product of many rows takes the pages of its result from
    // the system each time, and ours of two copies: with MALLOC_MMAP_THRESHOLD_=268435456
    // MALLOC_TRIM_THRESHOLD_=1073741824 it does not, as in a training step, whose memory is there already.
    let weight = random(FEED_FORWARD, HIDDEN);
    for rows in [10, n] {
        let x = random(rows, HIDDEN);
        group.throughput(Throughput::Elements((rows * HIDDEN * FEED_FORWARD).unsigned_abs()));
        group.bench_function(format!("linear/ours/{rows}"), |b| b.iter(|| bench::linear(&x, &weight)));
        group.bench_function(format!("linear/libtorch/{rows}"), |b| b.iter(|| x.linear(&weight, None::<Tensor>)));
    }
    let (x, weight) = (random(n, HIDDEN).to_kind(Kind::BFloat16), weight.to_kind(Kind::BFloat16));
    let grad = random(n, FEED_FORWARD).to_kind(Kind::BFloat16);
    group.throughput(Throughput::Elements((3 * n * HIDDEN * FEED_FORWARD).unsigned_abs()));
    group.bench_function("linear in bf16, forward and backward/ours", |b| {
        b.iter(|| (bench::linear(&x, &weight), bench::linear_backward(&grad, &x, &weight)));
    });
    let bias = Tensor::zeros([FEED_FORWARD], (Kind::BFloat16, Device::Cpu));
    group.bench_function("linear in bf16, forward and backward/libtorch", |b| {
        b.iter(|| {
            let weight_grad = weight.zeros_like().to_kind(Kind::Float).g_add_(&grad.tr().matmul(&x));
            let bias_grad = grad.sum_dim_intlist(0, false, Kind::Float);
            (x.linear(&weight, Some(&bias)), grad.matmul(&weight), weight_grad, bias_grad)
        });
    });
    group.finish();
}

criterion_group!(benches, kernels);
criterion_main!(benches);
