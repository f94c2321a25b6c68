//! Throughput of reading behaviors (in bytes) and of making samples, cuts and batches (in samples). The impressions are
//! drawn from a seed: on average 38 candidates and a history of 33, out of 100,000 articles, as in MIND.
//!
//! `cargo bench -p nb-data --bench behaviors`; `behaviors_against_pandas.py` in this folder compares with pandas.

use std::fmt::Write;
use std::fs;

use criterion::{BatchSize as Fresh, Criterion, Throughput, criterion_group, criterion_main};
use nb_data::behaviors::{BehaviorSource, Behaviors, ClickRule, ClickedBefore, Draw, ReaderBatch, cut_distinct};
use nb_data::random::Stream;
use nb_data::{BatchSize, IdIndex, batch};

const IMPRESSIONS: usize = 50_000;
const NEWS: u64 = 100_000;
const READERS: usize = 32;

/// Draws an article by the square of a uniform draw: few articles have many readers, most have few.
fn news(stream: &mut Stream) -> u64 {
    let unit = stream.unit();
    (unit * unit * NEWS as f64) as u64
}

fn text() -> String {
    let mut stream = Stream::new(0);
    let mut text = String::new();
    let mut line = || -> std::fmt::Result {
        write!(text, "{}\tU{}\t11/12/2019 2:14:46 PM\t", stream.below(1 << 21), stream.below(1 << 20))?;
        for _ in 0..stream.below(67) {
            write!(text, "N{} ", news(&mut stream))?;
        }
        write!(text, "\tN{}-1", news(&mut stream))?;
        for _ in 0..stream.below(75) {
            write!(text, " N{}-{}", news(&mut stream), u8::from(stream.below(25) == 0))?;
        }
        writeln!(text)
    };
    for _ in 0..IMPRESSIONS {
        line().expect("writing to a string cannot fail");
    }
    text
}

fn behaviors(criterion: &mut Criterion) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("behaviors.tsv");
    let text = text();
    fs::write(&path, &text).expect("a temporary folder can be written");
    let ids: Vec<String> = (0..NEWS).map(|row| format!("N{row}")).collect();
    let news = IdIndex::new(ids.iter().map(|id| Some(id.as_str())));
    let source = BehaviorSource { path, history: 50, clicks: ClickRule::Required, allowed_unusable: 0.0 };
    let behaviors = Behaviors::read(&source, &news).expect("the lines were just written");

    let mut group = criterion.benchmark_group("behaviors");
    group.sample_size(10);
    group.throughput(Throughput::Bytes(text.len() as u64));
    group.bench_function("read", |bencher| bencher.iter(|| Behaviors::read(&source, &news)));

    let impressions = batch::order(behaviors.len(), 0, 0);
    let samples = behaviors.samples(&impressions).samples;
    let order = batch::order(samples.len(), 0, 0);
    let draw = Draw { negatives: 4, seed: 0, epoch: 0, clicked_before: ClickedBefore::Keep };
    let length = |row: u32| 10 + row as usize % 23;
    group.throughput(Throughput::Elements(samples.len() as u64));
    group.bench_function("samples", |bencher| bencher.iter(|| behaviors.samples(&impressions)));
    group.bench_function("cut", |bencher| {
        bencher.iter(|| cut_distinct(&behaviors, &samples, &order, &draw, length, BatchSize::Tokens(16_384)));
    });
    group.throughput(Throughput::Elements(READERS as u64));
    group.bench_function("batch", |bencher| {
        let mut batches = order.chunks(READERS).cycle();
        let mut next = || -> Vec<_> {
            let numbers = batches.next().unwrap_or_default();
            numbers.iter().map(|&number| samples[number as usize]).collect()
        };
        bencher.iter_batched(
            &mut next,
            |samples| ReaderBatch::new(&behaviors, &samples, &draw, length),
            Fresh::SmallInput,
        );
    });
    group.finish();
}

criterion_group!(benches, behaviors);
criterion_main!(benches);
