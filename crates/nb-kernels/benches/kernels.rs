//! Benchmarks of the kernels at the sizes of a training step: 32 texts of up to 64 tokens, 384 hidden units, 12 heads.
//! Throughput is in tokens, in entries for elementwise operations, or in multiply-adds.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use half::bf16;
use nb_kernels::attention::{Batch, Heads, Softmax};
use nb_kernels::dropout::Dropout;
use nb_kernels::gemm::{Element, Isa, Matrix, PackedLinear, skinny};
use nb_kernels::layer_norm::{Forward, Parameters};
use nb_kernels::{Activation, Float};
use nb_testing::wave;

const HIDDEN: usize = 384;
const FEED_FORWARD: usize = 4 * HIDDEN;
const HEADS: usize = 12;

/// The lengths of 32 texts, the longest first, as in a batch of real articles.
fn lengths() -> Vec<usize> {
    (0..32).map(|i| 64 - i * 26 / 31).collect()
}

fn tokens() -> usize {
    lengths().into_iter().sum()
}

fn numbers<T: Float>(len: usize) -> Vec<T> {
    wave(len, 0.0).into_iter().map(T::from_f32).collect()
}

fn attention<T: Float>(c: &mut Criterion, name: &str) {
    let (lengths, heads) = (lengths(), Heads::new(HIDDEN, HEADS));
    let n = tokens();
    let batch = Batch { lengths: &lengths, heads, dropout: Dropout::new(0.1, Some(1)) };
    let (qkv, grad) = (numbers::<T>(n * 3 * HIDDEN), numbers::<T>(n * HIDDEN));
    let mut softmax = vec![Softmax::default(); n * HEADS];
    let (mut out, mut back) = (grad.clone(), qkv.clone());
    let mut group = c.benchmark_group("attention");
    group.throughput(Throughput::Elements(n as u64));
    group.bench_function(format!("forward and backward/{name}"), |b| {
        b.iter(|| {
            batch.forward(&qkv, &mut out, &mut softmax);
            batch.backward(&grad, &qkv, &softmax, &mut back);
        });
    });
    group.finish();
}

fn elementwise(c: &mut Criterion) {
    let len = tokens() * HIDDEN;
    let mut group = c.benchmark_group("elementwise");
    group.throughput(Throughput::Elements(len as u64));
    let (x, residual) = (numbers::<f32>(len), numbers::<f32>(len));
    let (mut out, mut normalised, mut inverse) = (x.clone(), x.clone(), vec![0.0; tokens()]);
    let parameters = Parameters { weight: &[1.0; HIDDEN], bias: &[0.0; HIDDEN], eps: 1e-12 };
    group.bench_function("layer_norm", |b| {
        b.iter(|| {
            let (out, normalised, inverse_deviation) = (&mut out[..], &mut normalised[..], &mut inverse[..]);
            let forward = Forward { x: &x, residual: &residual, out, normalised, inverse_deviation, low: &mut [] };
            forward.run(&parameters, Dropout::new(0.1, Some(1)));
        });
    });
    let mut dropped = numbers::<f32>(len);
    if let Some(dropout) = Dropout::new(0.1, Some(1)) {
        group.bench_function("dropout", |b| b.iter(|| dropout.apply(&mut dropped)));
    }
    let mut activated = numbers::<f32>(len);
    group.bench_function("gelu", |b| b.iter(|| Activation::Gelu.apply(&mut activated)));
    group.finish();
}

/// Products of many rows, forward and backward.
fn linear<T: Element>(c: &mut Criterion, name: &str) {
    let Some(isa) = Isa::<T>::detect() else {
        eprintln!("skipped: the processor has no instructions for products of {name}");
        return;
    };
    let n = tokens();
    let matrix = |entries, columns| Matrix { entries, columns };
    let (x, weight) = (numbers::<T>(n * HIDDEN), numbers::<T>(FEED_FORWARD * HIDDEN));
    let (grad, bias) = (numbers::<T>(n * FEED_FORWARD), numbers::<T>(FEED_FORWARD));
    let (x, weight, grad) = (matrix(&x[..], HIDDEN), matrix(&weight[..], HIDDEN), matrix(&grad[..], FEED_FORWARD));
    let (mut values, mut slopes) = (grad.entries.to_vec(), grad.entries.to_vec());
    let mut sum = vec![0.0; n * HIDDEN];
    let (mut weight_grad, mut bias_grad) = (vec![0.0; FEED_FORWARD * HIDDEN], vec![0.0; FEED_FORWARD]);
    let mut group = c.benchmark_group(format!("linear/{name}"));
    group.throughput(Throughput::Elements((n * HIDDEN * FEED_FORWARD) as u64));
    group.bench_function("forward", |b| b.iter(|| isa.linear(x, weight, &bias, None, &mut values)));
    group.bench_function("forward with GELU and slope", |b| {
        b.iter(|| isa.linear_with_slope(x, weight, &bias, Activation::Gelu, &mut values, &mut slopes));
    });
    group.bench_function("gradient of the input", |b| b.iter(|| isa.add_input_grad(grad, weight, &mut sum)));
    group.bench_function("gradients of the parameters", |b| {
        b.iter(|| isa.add_parameter_grads(grad, x, &mut weight_grad, &mut bias_grad));
    });
    group.finish();
}

/// Products of the rows of one title.
fn few_rows(c: &mut Criterion) {
    const ROWS: usize = 10;
    let (x, weight) = (numbers::<f32>(ROWS * HIDDEN), numbers::<f32>(FEED_FORWARD * HIDDEN));
    let (bias, mut out) = (numbers::<f32>(FEED_FORWARD), vec![0.0; ROWS * FEED_FORWARD]);
    let matrix = |entries| Matrix { entries, columns: HIDDEN };
    let mut group = c.benchmark_group("few rows");
    group.throughput(Throughput::Elements((ROWS * HIDDEN * FEED_FORWARD) as u64));
    group.bench_function("weights in place", |b| {
        b.iter(|| skinny::linear(matrix(&x), matrix(&weight), &bias, &mut out));
    });
    let (layer, mut scratch) = (PackedLinear::new(matrix(&weight), &bias, None), Vec::new());
    group.bench_function("packed weights", |b| b.iter(|| layer.forward(&x, &mut scratch, &mut out)));
    group.finish();
}

fn kernels(c: &mut Criterion) {
    attention::<f32>(c, "f32");
    attention::<bf16>(c, "bf16");
    elementwise(c);
    linear::<f32>(c, "f32");
    linear::<bf16>(c, "bf16");
    few_rows(c);
}

criterion_group!(benches, kernels);
criterion_main!(benches);
