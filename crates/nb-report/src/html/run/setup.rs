//! The sources of a run: data, machine, versions, configuration.

use maud::{Markup, html};
use serde::Serialize;
use serde_json::Value;

use crate::RunRecord;
use crate::format::{NONE, duration, integer, name, number as written, plain};
use crate::html::page::{folded, table};
use crate::record::{DataFile, Summary, TrainSummary};

/// Returns a table for each subject that the summary covers, and the configuration in a collapsible section.
pub(super) fn tables(record: &RunRecord) -> Markup {
    let summary = &record.summary;
    let tables = [
        data(summary),
        summary.train.as_ref().and_then(train),
        summary.machine.as_ref().and_then(|machine| entries("Machine", machine, |_, value| Some(plain(value)))),
        summary.sources.versions.as_ref().and_then(|all| entries("Versions", all, |_, value| Some(plain(value)))),
    ];
    html! {
        div.tables { @for table in tables.into_iter().flatten() { (table) } }
        (folded("Configuration (config.yaml)", &html! { pre tabindex="0" { code { (record.config) } } }))
    }
}

/// A file of a split.
struct SplitFile<'a> {
    split: &'a str,
    file: &'a DataFile,
}

/// Returns a table with a row for each data file.
fn data(summary: &Summary) -> Option<Markup> {
    let splits = summary.sources.data.as_ref()?;
    let files = splits.iter().flat_map(|(split, data)| data.files().iter().map(move |file| SplitFile { split, file }));
    let files: Vec<SplitFile<'_>> = files.collect();
    let counted = files.iter().any(|entry| entry.file.rows.is_some());
    let text = |text: &Option<String>| text.clone().unwrap_or_else(|| NONE.to_owned());
    let row = |SplitFile { split, file }: &SplitFile<'_>| {
        let hash = text(&file.blake3);
        let mut cells = vec![html! { (split) }];
        cells.extend(counted.then(|| html! { (file.rows.map_or_else(|| NONE.to_owned(), integer)) }));
        cells.push(html! { span.path { (text(&file.path)) } });
        cells.push(html! { code.hash title=(hash) { (hash) } });
        cells
    };
    let head = ["split", "rows", "path", "BLAKE3"].into_iter().filter(|name| counted || *name != "rows");
    let rows: Vec<Vec<Markup>> = files.iter().map(row).collect();
    (!rows.is_empty()).then(|| table("Data", &head.map(str::to_owned).collect::<Vec<_>>(), &rows))
}

fn train(train: &TrainSummary) -> Option<Markup> {
    entries("Training", train, |key, value| {
        let value = value.as_f64()?;
        Some(if key == "seconds" { duration(value) } else { written(value) })
    })
}

/// Returns a table of the entries of `record`. Entries for which `text` returns `None` are skipped.
fn entries(caption: &str, record: &impl Serialize, text: impl Fn(&str, &Value) -> Option<String>) -> Option<Markup> {
    let Ok(Value::Object(record)) = serde_json::to_value(record) else { return None };
    let title = |key: &str| if key == "seconds" { "time".to_owned() } else { name(key) };
    let row = |(key, value): (&String, &Value)| Some(vec![html! { (title(key)) }, html! { (text(key, value)?) }]);
    let rows: Vec<Vec<Markup>> = record.iter().filter_map(row).collect();
    (!rows.is_empty()).then(|| table(caption, &["what", "value"].map(str::to_owned), &rows))
}
