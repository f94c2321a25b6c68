//! Reads a file of behaviors and prints how long it took, as one JSON line.
//!
//! ```text
//! cargo run --release -p nb-data --example behaviors_throughput -- behaviors.tsv news.tsv
//! ```
//!
//! A file that ends in `.parquet` has MIND's columns `impression_id`, `history` and `impressions`; this needs the feature
//! `parquet`. The article ids are the first column of their file. Reading them is not timed.

use std::fs;
use std::time::Instant;

use nb_data::IdIndex;
use nb_data::behaviors::{BehaviorSource, Behaviors, ClickRule, UNKNOWN};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [behaviors, news] = arguments.as_slice() else {
        return Err("usage: behaviors_throughput BEHAVIORS.tsv NEWS.tsv".into());
    };
    let news = fs::read_to_string(news)?;
    let news = IdIndex::new(news.lines().map(|line| line.split('\t').next()));
    let bytes = fs::metadata(behaviors)?.len();
    let path = behaviors.into();
    let source = BehaviorSource { path, history: usize::MAX, clicks: ClickRule::Required, allowed_unusable: 0.1 };

    let start = Instant::now();
    let behaviors = read(&source, &news)?;
    let seconds = start.elapsed().as_secs_f64();

    let all = 0..behaviors.len();
    let history: usize = all.clone().map(|i| behaviors.history(i).len()).sum();
    let candidates: usize = all.clone().map(|i| behaviors.candidates(i).len()).sum();
    let known: usize = all.clone().map(|i| behaviors.candidates(i).iter().filter(|&&row| row != UNKNOWN).count()).sum();
    let clicks: u64 = all.map(|i| behaviors.clicked(i).iter().map(|&click| u64::from(click)).sum::<u64>()).sum();
    println!(
        "{{\"bytes\": {bytes}, \"seconds\": {seconds:.4}, \"impressions\": {}, \"history\": {history}, \
         \"candidates\": {candidates}, \"known\": {known}, \"clicks\": {clicks}}}",
        behaviors.len()
    );
    Ok(())
}

#[cfg(feature = "parquet")]
fn read(source: &BehaviorSource, news: &IdIndex) -> Result<Behaviors, nb_data::DataError> {
    match source.path.extension() {
        Some(extension) if extension == "parquet" => {
            Behaviors::read_parquet(source, &nb_data::behaviors::ImpressionLayout::mind(), news)
        }
        _ => Behaviors::read(source, news),
    }
}

#[cfg(not(feature = "parquet"))]
fn read(source: &BehaviorSource, news: &IdIndex) -> Result<Behaviors, nb_data::DataError> {
    Behaviors::read(source, news)
}
