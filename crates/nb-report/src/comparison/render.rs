//! A comparison as a text table and JSON, and the files of its table.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use comfy_table::{CellAlignment, Table, presets};

use super::words::{SIGNIFICANT, depth};
use crate::ReportError;
use crate::record::{COMPARISON_FILE, Comparison, Row, Sweep, TeacherRow};

/// The text shown for an unknown value.
const NONE: &str = "–";

/// A column of the text table.
struct Column {
    title: String,
    cells: Vec<String>,
}

/// Returns the cell of a line in one column; `None` if the value is unknown.
type CellOf<'a, T> = dyn Fn(&T) -> Option<String> + 'a;

impl Comparison {
    /// Returns the text table. The untouched and the trained teacher come first, scores are mean ± sample standard deviation over seeds, and `*`
    /// marks a difference whose adjusted p-value is below 0.05. Chosen settings and notes follow the table. A column
    /// without values is skipped.
    #[must_use]
    pub fn text(&self) -> String {
        let mut table = Table::new();
        table.load_preset(presets::UTF8_FULL_CONDENSED);
        let mut columns = self.columns();
        columns.retain(|column| column.cells.iter().any(|cell| cell != NONE));
        table.set_header(columns.iter().map(|column| &column.title));
        for line in 0..self.teachers().count() + self.rows.len() {
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

    /// Returns the columns. The cells of the teachers come first.
    fn columns(&self) -> Vec<Column> {
        let mut columns = vec![
            self.labels(),
            self.column("layers", &|teacher| Some(teacher.layers.to_string()), &|row| Some(row.layers.to_string())),
            self.column("seeds", &none, &|row| Some(row.seeds.len().to_string())),
            self.column(&self.metric.replace('_', " "), &|teacher| fixed(Some(teacher.score), 4), &|row| {
                Some(spread(row.mean, row.spread))
            }),
            self.column("before", &none, &|row| fixed(row.untouched, 4)),
            self.column("kept", &none, &|row| row.kept.map(|kept| format!("{:.1} %", 100.0 * kept))),
            self.column(&format!("against {}", self.baseline), &none, &difference),
            self.column("p (Holm)", &none, &|row| row.against.as_ref().map(|against| p_value(against.p_holm))),
        ];
        columns.extend(self.other_metrics().into_iter().map(|name| {
            self.column(&name.replace('_', " "), &none, &|row| {
                row.metrics.get(name).map(|metric| spread(metric.mean, metric.spread))
            })
        }));
        columns.extend(self.size_and_speed());
        columns.extend(self.costs());
        columns
    }

    fn size_and_speed(&self) -> [Column; 4] {
        let millions = |parameters: u64| Some(format!("{:.1} M", parameters as f64 / 1e6));
        [
            self.column("parameters", &|teacher| millions(teacher.parameters), &|row| millions(row.parameters)),
            self.column("MB", &|teacher| fixed(Some(megabytes(teacher)), 1), &|row| fixed(Some(row.megabytes), 1)),
            self.column("ms for one text", &|teacher| fixed(teacher.milliseconds_per_text, 2), &|row| {
                fixed(row.milliseconds_per_text, 2)
            }),
            self.column("texts per second", &|teacher| fixed(teacher.texts_per_second, 0), &|row| {
                fixed(row.texts_per_second, 0)
            }),
        ]
    }

    fn costs(&self) -> [Column; 3] {
        let is_shown = self.shown_budget().is_some();
        [
            self.column("seconds", &none, &|row| fixed(row.seconds(), 1)),
            self.column("processor seconds", &none, &|row| fixed(row.processor_seconds(), 1)),
            self.column("at equal cost", &none, &|row| fixed(row.at_equal_cost.filter(|_| is_shown), 4)),
        ]
    }

    fn column(&self, title: &str, teacher: &CellOf<'_, TeacherRow>, row: &CellOf<'_, Row>) -> Column {
        let cells = self.teachers().map(teacher).chain(self.rows.iter().map(row));
        Column { title: title.to_owned(), cells: cells.map(|cell| cell.unwrap_or_else(|| NONE.to_owned())).collect() }
    }

    fn labels(&self) -> Column {
        let untouched = self.untouched.as_ref().map(|_| "untouched teacher");
        let teachers = untouched.into_iter().chain(self.teacher.as_ref().map(|_| "teacher"));
        let labels = teachers.chain(self.rows.iter().map(|row| row.label.as_str()));
        Column { title: String::new(), cells: labels.map(str::to_owned).collect() }
    }

    /// Returns the lines of the untouched and of the trained teacher.
    fn teachers(&self) -> impl Iterator<Item = &TeacherRow> {
        self.untouched.iter().chain(&self.teacher)
    }

    /// Returns the names of all metrics except the compared one.
    pub(super) fn other_metrics(&self) -> BTreeSet<&str> {
        self.rows.iter().flat_map(|row| row.metrics.keys().map(String::as_str)).collect()
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

/// Returns no cell, for a column in which teachers have no value.
fn none(_: &TeacherRow) -> Option<String> {
    None
}

fn megabytes(teacher: &TeacherRow) -> f64 {
    teacher.parameters as f64 * 4.0 / 1e6
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
