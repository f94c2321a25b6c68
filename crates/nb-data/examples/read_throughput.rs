//! Reads a file of articles and prints how long it took, as one JSON line.
//!
//! ```text
//! cargo run --release -p nb-data --example read_throughput -- news.jsonl title,abstract category
//! cargo run --release -p nb-data --example read_throughput --features parquet -- news.parquet title,abstract category
//! ```
//!
//! The format follows from the extension: `.jsonl`, `.parquet`, `.csv` and `.tsv` with a header, and `.gz` or `.zst`
//! after any but Parquet. An extension `.mind` reads MIND's `news.tsv` and needs no columns.

use std::path::Path;
use std::time::Instant;

use nb_data::read::{
    Column, Compression, CsvLayout, Delimiter, Field, Format, Header, KeyLayout, KeyPath, LabelRule, Quoting, Row,
    Source,
};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [path, text, label] = arguments.as_slice() else {
        return Err("usage: read_throughput FILE TEXT,TEXT LABEL".into());
    };
    let format = format(Path::new(path), text, label)?;
    let source = Source { labels: LabelRule::Optional, ..Source::labelled(path, format) };
    let bytes = std::fs::metadata(path)?.len();

    let start = Instant::now();
    let (mut rows, mut skipped, mut labels, mut characters) = (0_u64, 0_u64, 0, 0);
    for row in source.open()? {
        match row? {
            Row::Article(article) => {
                rows += 1;
                labels += article.labels().count();
                characters += article.first.len() + article.second.map_or(0, |text| text.len());
            }
            Row::Skipped(_) => skipped += 1,
        }
    }
    let seconds = start.elapsed().as_secs_f64();
    println!(
        "{{\"bytes\": {bytes}, \"seconds\": {seconds:.4}, \"rows\": {rows}, \"skipped\": {skipped}, \"labels\": {labels}, \
         \"text_bytes\": {characters}}}"
    );
    Ok(())
}

fn format(path: &Path, text: &str, label: &str) -> Result<Format, Box<dyn std::error::Error>> {
    let extension = Compression::extension(path).unwrap_or_default();
    let keys = || -> Result<KeyLayout, nb_data::DataError> {
        Ok(KeyLayout {
            label: Some(label.parse::<KeyPath>()?.into()),
            text: text.split(',').map(str::parse).collect::<Result<_, _>>()?,
            id: None,
        })
    };
    let csv = |delimiter| -> Result<CsvLayout, nb_data::DataError> {
        Ok(CsvLayout {
            label: Some(label.parse::<Column>()?.into()),
            text: text.split(',').map(str::parse).collect::<Result<_, _>>()?,
            header: Header::Present,
            delimiter,
            quoting: Quoting::Auto,
        })
    };
    Ok(match extension {
        "jsonl" => Format::JsonLines(keys()?),
        "parquet" => Format::Parquet(keys()?),
        "csv" => Format::Csv(csv(Delimiter::COMMA)?),
        "tsv" => Format::Csv(csv(Delimiter::TAB)?),
        "mind" => Format::MindNews { fields: vec![Field::Title, Field::Abstract] },
        other => return Err(format!("extension {other:?} found, expected jsonl, parquet, csv, tsv or mind").into()),
    })
}
