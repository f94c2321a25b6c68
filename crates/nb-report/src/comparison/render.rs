//! A comparison as a text table, CSV and JSON, and the files of all three.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use comfy_table::{CellAlignment, Table, presets};

use super::words::{SIGNIFICANT, depth};
use crate::ReportError;
use crate::record::{COMPARISON_FILE, Comparison, Row, Sweep};

/// The text shown for an unknown value.
const NONE: &str = "–";

/// A column of the text table.
struct Column {
    title: String,
    cells: Vec<String>,
}

impl Comparison {
    /// Returns the text table. The teacher comes first, scores are mean ± sample standard deviation over seeds, and `*`
    /// marks a difference whose adjusted p-value is below 0.05. Chosen settings and notes follow the table. A column
    /// without values is skipped.
    #[must_use]
    pub fn text(&self) -> String {
        let mut table = Table::new();
        table.load_preset(presets::UTF8_FULL_CONDENSED);
        let mut columns = self.columns();
        columns.retain(|column| column.cells.iter().any(|cell| cell != NONE));
        table.set_header(columns.iter().map(|column| &column.title));
        for line in 0..self.rows.len() + usize::from(self.teacher.is_some()) {
            table.add_row(columns.iter().map(|column| &column.cells[line]));
        }
        for column in table.column_iter_mut().skip(1) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        let mark = self.rows.iter().any(significant).then(|| format!("* p (Holm) < {SIGNIFICANT}"));
        let below = mark.into_iter().chain(self.sweeps.iter().filter_map(chosen)).chain(self.notes.iter().cloned());
        let below: String = below.map(|line| format!("\n{line}")).collect();
        format!("{}, {} of {} rows\n{table}{below}\n", self.name, self.metric, self.rows_compared)
    }

    /// Returns the columns. If there is a teacher, its cell comes first.
    fn columns(&self) -> Vec<Column> {
        let teacher = self.teacher.as_ref();
        let column = |title: &str, first: Option<String>, cell: &dyn Fn(&Row) -> Option<String>| {
            let first = teacher.map(|_| first.unwrap_or_else(|| NONE.to_owned()));
            let rest = self.rows.iter().map(|row| cell(row).unwrap_or_else(|| NONE.to_owned()));
            Column { title: title.to_owned(), cells: first.into_iter().chain(rest).collect() }
        };
        let millions = |parameters: u64| format!("{:.1} M", parameters as f64 / 1e6);
        let mut columns = vec![
            column("", Some("teacher".to_owned()), &|row| Some(row.label.clone())),
            column("layers", teacher.map(|t| t.layers.to_string()), &|row| Some(row.layers.to_string())),
            column("seeds", None, &|row| Some(row.seeds.len().to_string())),
            column(&self.metric.replace('_', " "), teacher.map(|t| format!("{:.4}", t.score)), &|row| {
                Some(spread(row.mean, row.spread))
            }),
            column("kept", None, &|row| row.kept.map(|kept| format!("{:.1} %", 100.0 * kept))),
            column(&format!("against {}", self.baseline), None, &difference),
            column("p (Holm)", None, &|row| row.against.as_ref().map(|against| p_value(against.p_holm))),
        ];
        columns.extend(self.other_metrics().into_iter().map(|name| {
            column(&name.replace('_', " "), None, &|row| {
                row.metrics.get(name).map(|metric| spread(metric.mean, metric.spread))
            })
        }));
        columns.extend([
            column("parameters", teacher.map(|t| millions(t.parameters)), &|row| Some(millions(row.parameters))),
            column("MB", teacher.map(|t| format!("{:.1}", t.parameters as f64 * 4.0 / 1e6)), &|row| {
                Some(format!("{:.1}", row.megabytes))
            }),
            column("ms for one text", teacher.and_then(|t| fixed(t.milliseconds_per_text, 2)), &|row| {
                fixed(row.milliseconds_per_text, 2)
            }),
            column("texts per second", teacher.and_then(|t| fixed(t.texts_per_second, 0)), &|row| {
                fixed(row.texts_per_second, 0)
            }),
        ]);
        columns
    }

    fn other_metrics(&self) -> BTreeSet<&str> {
        self.rows.iter().flat_map(|row| row.metrics.keys().map(String::as_str)).collect()
    }

    /// Returns the table as CSV: a header line, then the teacher's row, then the other rows. Numbers have full
    /// precision, and the cell of an unknown value is empty. Spaces separate the entries of a list (seeds, scores,
    /// settings, runs).
    #[must_use]
    pub fn csv(&self) -> String {
        let mut writer = csv::Writer::from_writer(Vec::new());
        let metrics = self.other_metrics();
        let titles = ["label", "method", "layers", "seeds", "scores", "mean", "spread", "kept"].map(str::to_owned);
        let titles =
            titles.into_iter().chain(metrics.iter().flat_map(|m| [format!("{m} mean"), format!("{m} spread")]));
        let last = ["parameters", "megabytes", "milliseconds_per_text", "texts_per_second"].into_iter();
        let last = last.chain(["against", "difference", "low", "high", "p", "p_holm", "settings", "runs"]);
        let mut records = vec![titles.chain(last.map(str::to_owned)).collect::<Vec<String>>()];
        records.extend(self.teacher_record(metrics.len()));
        records.extend(self.rows.iter().map(|row| record(row, &metrics)));
        for record in records {
            writer.write_record(record).expect("records of equal length, written to memory");
        }
        let bytes = writer.into_inner().expect("memory needs no flush");
        String::from_utf8(bytes).expect("UTF-8 was written")
    }

    fn teacher_record(&self, metrics: usize) -> Option<Vec<String>> {
        let teacher = self.teacher.as_ref()?;
        let (score, size) = (teacher.score.to_string(), teacher.parameters as f64 * 4.0 / 1e6);
        let first = ["teacher".into(), String::new(), teacher.layers.to_string(), String::new(), String::new(), score];
        let blank = |n| std::iter::repeat_n(String::new(), n);
        let sizes = [teacher.parameters.to_string(), size.to_string()];
        let speeds = [teacher.milliseconds_per_text, teacher.texts_per_second].map(full);
        Some(first.into_iter().chain(blank(2 + 2 * metrics)).chain(sizes).chain(speeds).chain(blank(8)).collect())
    }

    /// Returns the text of `compare.json`.
    #[must_use]
    pub fn json(&self) -> String {
        serde_json::to_string_pretty(self).expect("numbers and texts are JSON") + "\n"
    }

    /// Reads `compare.json`.
    ///
    /// # Errors
    /// If the file cannot be read or is not a comparison; the message names the file and the line.
    pub fn read(path: &Path) -> Result<Self, ReportError> {
        let text = fs::read_to_string(path).map_err(ReportError::io(path))?;
        serde_json::from_str(&text).map_err(|e| ReportError::content(path, Some(e.line()), e.to_string()))
    }

    /// Writes `compare.json`, `compare.csv` and `compare.txt` into an existing folder. Each file is written atomically:
    /// an earlier version stays in place until the new one is complete.
    ///
    /// # Errors
    /// If a file cannot be written.
    pub fn write(&self, folder: &Path) -> Result<(), ReportError> {
        let files = [(COMPARISON_FILE, self.json()), ("compare.csv", self.csv()), ("compare.txt", self.text())];
        for (name, text) in files {
            let path = folder.join(name);
            nb_files::write(&path, text.as_bytes()).map_err(ReportError::io(&path))?;
        }
        Ok(())
    }
}

fn record(row: &Row, metrics: &BTreeSet<&str>) -> Vec<String> {
    let join = |items: &mut dyn Iterator<Item = String>| items.collect::<Vec<_>>().join(" ");
    let seeds = join(&mut row.seeds.iter().map(u64::to_string));
    let scores = join(&mut row.scores.iter().map(f64::to_string));
    let mut record = vec![row.label.clone(), row.method.clone(), row.layers.to_string(), seeds, scores];
    record.extend([Some(row.mean), row.spread, row.kept].map(full));
    for name in metrics {
        let metric = row.metrics.get(*name);
        record.extend([metric.map(|m| m.mean), metric.and_then(|m| m.spread)].map(full));
    }
    record.extend([row.parameters.to_string(), row.megabytes.to_string()]);
    record.extend([row.milliseconds_per_text, row.texts_per_second].map(full));
    let against = row.against.as_ref();
    record.push(against.map(|a| a.label.clone()).unwrap_or_default());
    let numbers = against.map(|a| [a.difference, a.low, a.high, a.p, a.p_holm]);
    record.extend((0..5).map(|at| full(numbers.map(|numbers| numbers[at]))));
    record.push(join(&mut row.settings.iter().map(|(key, value)| format!("{key}={value}"))));
    record.push(row.runs.join(" "));
    record
}

/// Formats a number in full precision; the text of `None` is empty.
fn full(number: Option<f64>) -> String {
    number.map(|number| number.to_string()).unwrap_or_default()
}

fn fixed(number: Option<f64>, decimals: usize) -> Option<String> {
    number.map(|number| format!("{number:.decimals$}"))
}

fn spread(mean: f64, spread: Option<f64>) -> String {
    spread.map_or_else(|| format!("{mean:.4}"), |spread| format!("{mean:.4} ± {spread:.4}"))
}

fn significant(row: &Row) -> bool {
    row.against.as_ref().is_some_and(|against| against.p_holm < SIGNIFICANT)
}

fn difference(row: &Row) -> Option<String> {
    let against = row.against.as_ref()?;
    let mark = if significant(row) { "*" } else { " " };
    Some(format!("{:+.4} [{:+.4}, {:+.4}] {mark}", against.difference, against.low, against.high))
}

fn p_value(p: f64) -> String {
    if p < 0.0001 { "< 0.0001".to_owned() } else { format!("{p:.4}") }
}

/// Formats the settings that a sweep chose.
fn chosen(sweep: &Sweep) -> Option<String> {
    let tried = sweep.tries.iter().find(|tried| tried.chosen)?;
    let settings: Vec<String> = tried.settings.iter().map(|(key, value)| format!("{key}={value}")).collect();
    let (label, layers, n) = (&sweep.label, depth(sweep.layers), sweep.tries.len());
    Some(format!("{label}, {layers}: {} of {n} tried ({:.4})", settings.join(" "), tried.score))
}
