//! Throughput of parsing (bytes) and of tokenising and storing (rows), on the sample corpus.
//!
//! `cargo bench -p nb-data` uses the vocabulary of the checkpoint folder in `NB_BENCH_TOKENIZER` or, if that is not
//! set, a vocabulary of the words of the corpus.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use nb_data::read::{Field, Format, Source, read};
use nb_data::sample::{SampleSize, write};
use nb_data::{TokenStore, Tokenizer, batch};

const ROWS: usize = 20_000;
const MAX_TOKENS: usize = 64;

fn tokenizer(folder: &Path, text: &str) -> Tokenizer {
    if let Some(checkpoint) = std::env::var_os("NB_BENCH_TOKENIZER") {
        return Tokenizer::from_folder(Path::new(&checkpoint)).expect("NB_BENCH_TOKENIZER names a checkpoint");
    }
    let text = text.to_lowercase();
    let words: BTreeSet<&str> = text.split(|c: char| !c.is_alphabetic()).collect();
    let vocab: String = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", ".", ",", ":"]
        .into_iter()
        .chain(words)
        .map(|word| format!("{word}\n"))
        .collect();
    fs::write(folder.join("vocab.txt"), vocab).expect("a temporary folder can be written");
    Tokenizer::from_folder(folder).expect("the vocabulary was just written")
}

fn throughput(criterion: &mut Criterion) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let sample = write(folder.path(), 0, SampleSize { train: ROWS, dev: 1 }).expect("the sample can be written");
    let text = fs::read_to_string(&sample.train).expect("the sample was just written");
    let tokenizer = tokenizer(folder.path(), &text);
    let source = Source::labelled(sample.train, Format::MindNews { fields: vec![Field::Title, Field::Abstract] });
    let articles = read(&source).expect("the sample can be read").articles;
    let cache = folder.path().join("cache");

    let mut group = criterion.benchmark_group("data");
    group.sample_size(10);
    group.throughput(Throughput::Bytes(text.len() as u64));
    group.bench_function("parse", |bencher| bencher.iter(|| read(&source).map(|corpus| corpus.articles.len())));
    group.throughput(Throughput::Elements(ROWS as u64));
    group.bench_function("tokenise", |bencher| bencher.iter(|| tokenizer.encode_all(&articles, MAX_TOKENS)));
    group.bench_function("build", |bencher| {
        bencher.iter(|| {
            let store = TokenStore::open_or_build(&cache, &source, &tokenizer, MAX_TOKENS).expect("the sample fits");
            fs::remove_file(store.path()).expect("the store was just built");
        });
    });
    let store = TokenStore::open_or_build(&cache, &source, &tokenizer, MAX_TOKENS).expect("the sample fits");
    group.bench_function("open", |bencher| {
        bencher.iter(|| TokenStore::open_or_build(&cache, &source, &tokenizer, MAX_TOKENS));
    });
    let rows = batch::order(ROWS, 0, 0);
    group.throughput(Throughput::Elements(store.token_count()));
    group.bench_function("batch", |bencher| {
        bencher.iter(|| rows.chunks(32).map(|rows| store.batch(rows).ids.len()).sum::<usize>());
    });
    group.finish();
}

criterion_group!(benches, throughput);
criterion_main!(benches);
