//! Metrics at the size of MIND-small's development data: 73,152 impressions of 37 articles, and their interval.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use nb_eval::{Bootstrap, Impression, bootstrap_mean, macro_f1, ranking};

const IMPRESSIONS: usize = 73_152;
const ARTICLES: usize = 37;

/// Numbers without order, the same in every call.
fn hash(i: usize) -> usize {
    (i as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(31) as usize
}

fn metrics(c: &mut Criterion) {
    let scores: Vec<f64> = (0..IMPRESSIONS * ARTICLES).map(|i| (hash(i) % 10_007) as f64).collect();
    let labels: Vec<u8> =
        (0..IMPRESSIONS * ARTICLES).map(|i| u8::from(i % ARTICLES == 0 || hash(i).is_multiple_of(40))).collect();
    let impressions: Vec<Impression<'_>> = scores
        .chunks(ARTICLES)
        .zip(labels.chunks(ARTICLES))
        .map(|(scores, labels)| Impression { labels, scores })
        .collect();
    let mut group = c.benchmark_group("metrics");
    group.sample_size(10);
    group.throughput(Throughput::Elements((IMPRESSIONS * ARTICLES) as u64));
    group.bench_function("ranking", |b| b.iter(|| ranking(&impressions).map(|r| r.auc)));

    let truth: Vec<usize> = (0..IMPRESSIONS).map(|i| i % 18).collect();
    let predicted: Vec<usize> = (0..IMPRESSIONS).map(|i| hash(i) % 18).collect();
    let values: Vec<f64> = (0..IMPRESSIONS).map(|i| (hash(i) % 1000) as f64 / 1000.0).collect();
    group.throughput(Throughput::Elements(IMPRESSIONS as u64));
    group.bench_function("macro_f1", |b| b.iter(|| macro_f1(&truth, &predicted)));
    group.bench_function("bootstrap_1000", |b| {
        b.iter(|| bootstrap_mean(&values, Bootstrap { resamples: 1000, ..Bootstrap::default() }));
    });
    group.finish();
}

criterion_group!(benches, metrics);
criterion_main!(benches);
