//! Builds a token store and prints how long it took: rows, tokens and seconds as one JSON line.
//!
//! ```text
//! cargo run --release -p nb-data --example store_throughput -- train.csv checkpoint/ 64
//! ```
//!
//! The CSV has no header; the label comes first, then title and text. Parsing is also timed separately.

use std::path::Path;
use std::time::Instant;

use nb_data::read::{Column, CsvLayout, Delimiter, Format, Header, Quoting, Row, Source};
use nb_data::{TokenStore, Tokenizer};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [csv, checkpoint, max_tokens] = arguments.as_slice() else {
        return Err("usage: store_throughput FILE.csv CHECKPOINT MAX_TOKENS".into());
    };
    let text = vec![Column::Number(1), Column::Number(2)];
    let (label, header, delimiter) = (Some(Column::Number(0).into()), Header::Absent, Delimiter::COMMA);
    let layout = CsvLayout { label, text, header, delimiter, quoting: Quoting::Auto };
    let source = Source::labelled(csv, Format::Csv(layout));
    let tokenizer = Tokenizer::from_folder(Path::new(checkpoint))?;
    let cache = tempfile::tempdir()?;

    let start = Instant::now();
    let mut parsed = 0;
    for row in source.open()? {
        parsed += usize::from(matches!(row?, Row::Article(_)));
    }
    let parse = start.elapsed().as_secs_f64();

    let start = Instant::now();
    let store = TokenStore::open_or_build(cache.path(), &source, &tokenizer, max_tokens.parse()?)?;
    let build = start.elapsed().as_secs_f64();
    assert_eq!(store.len(), parsed);

    let start = Instant::now();
    assert!(!TokenStore::open_or_build(cache.path(), &source, &tokenizer, max_tokens.parse()?)?.built());
    let open = start.elapsed().as_secs_f64();
    println!(
        "{{\"rows\": {parsed}, \"tokens\": {}, \"parse\": {parse:.4}, \"build\": {build:.4}, \"open\": {open:.4}}}",
        store.token_count()
    );
    Ok(())
}
