//! What the run was made from: data, machine, versions, configuration.

use maud::{Markup, html};
use serde_json::Value;

use crate::RunRecord;
use crate::html::format::{duration, name, number as written, plain};
use crate::html::page::{folded, table};
use crate::html::read::{at, number};

/// A table for each that the summary tells of, and the configuration folded away.
pub(super) fn tables(record: &RunRecord) -> Markup {
    let summary = &record.summary;
    let pairs = |caption: &str, key: &str| {
        let rows = at(summary, &[key])
            .as_object()?
            .iter()
            .map(|(key, value)| vec![html! { (name(key)) }, html! { (plain(value)) }]);
        let rows: Vec<Vec<Markup>> = rows.collect();
        (!rows.is_empty()).then(|| table(caption, &["what", "value"].map(str::to_owned), &rows))
    };
    let tables = [data(summary), train(summary), pairs("Machine", "machine"), pairs("Versions", "versions")];
    html! {
        div.tables { @for table in tables.into_iter().flatten() { (table) } }
        (folded("Configuration (config.yaml)", &html! { pre tabindex="0" { code { (record.config) } } }))
    }
}

/// A row for each file: a split is one file, or a list of them.
fn data(summary: &Value) -> Option<Markup> {
    let files = |(split, data): (&'_ String, &'_ Value)| -> Vec<(String, Value)> {
        let files = data.as_array().cloned().unwrap_or_else(|| vec![data.clone()]);
        files.into_iter().filter(Value::is_object).map(|file| (split.clone(), file)).collect()
    };
    let files: Vec<(String, Value)> = at(summary, &["data"]).as_object()?.iter().flat_map(files).collect();
    let counted = files.iter().any(|(_, file)| !file["rows"].is_null());
    let row = |(split, file): &(String, Value)| {
        let hash = plain(&file["blake3"]);
        let mut cells = vec![html! { (split) }];
        cells.extend(counted.then(|| html! { (plain(&file["rows"])) }));
        cells.push(html! { span.path { (plain(&file["path"])) } });
        cells.push(html! { code.hash title=(hash) { (hash) } });
        cells
    };
    let head = ["split", "rows", "path", "BLAKE3"].into_iter().filter(|name| counted || *name != "rows");
    let rows: Vec<Vec<Markup>> = files.iter().map(row).collect();
    (!rows.is_empty()).then(|| table("Data", &head.map(str::to_owned).collect::<Vec<_>>(), &rows))
}

fn train(summary: &Value) -> Option<Markup> {
    let all = at(summary, &["train"]).as_object()?.iter();
    let known = all.filter_map(|(key, value)| {
        let value = if key == "seconds" { duration(number(value, &[])?) } else { written(number(value, &[])?) };
        let key = if key == "seconds" { "time".to_owned() } else { name(key) };
        Some(vec![html! { (key) }, html! { (value) }])
    });
    let rows: Vec<Vec<Markup>> = known.collect();
    (!rows.is_empty()).then(|| table("Training", &["what", "value"].map(str::to_owned), &rows))
}
