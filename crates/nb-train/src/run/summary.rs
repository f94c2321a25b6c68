//! The summary of a finished run: the table at its end and `summary.json`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use comfy_table::{CellAlignment, Table, presets};
use nb_data::TokenBatch;
use nb_model::Bert;
use nb_report::record::{self, ModelSummary, Untouched};

use crate::model::Role;
use nb_rank::Measurements;

/// Number of warm-up passes before the timing, one text each.
const WARM_UP: usize = 5;
/// Number of texts that are timed one at a time.
const TIMED: usize = 50;

/// The speed of a model, without tokenising.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Speed {
    /// Median time for a single text, in milliseconds.
    pub milliseconds: f64,
    /// Texts per second in batches sorted by length.
    pub texts_per_second: f64,
}

/// The result of a run.
#[derive(Debug, Clone)]
pub struct RunResult {
    /// The run folder.
    pub folder: PathBuf,
    /// `summary.json`.
    pub record: record::Summary,
    /// The table, as text.
    pub table: String,
}

/// A model at the end of its run.
#[derive(Debug)]
pub(crate) struct FinishedModel<'a> {
    /// Teacher or student.
    pub role: Role,
    /// Its encoder.
    pub bert: &'a Bert,
    /// Its folder, relative to the run folder or absolute.
    pub folder: String,
    /// The step of the best evaluation, if the model was trained.
    pub best_step: Option<u64>,
    /// The best evaluation on the development data.
    pub dev: Option<Measurements>,
    /// Its evaluation on the test rows, if there are any.
    pub test: Option<Measurements>,
    /// Its speed.
    pub speed: Speed,
}

impl FinishedModel<'_> {
    /// Returns the final evaluation: on the test rows if there are any, else on the development rows.
    pub(crate) fn last_evaluation(&self) -> Option<&Measurements> {
        self.test.as_ref().or(self.dev.as_ref())
    }

    fn parameters(&self) -> i64 {
        self.bert.arena().layout().numel()
    }

    /// Returns the model's record in `summary.json`.
    pub(crate) fn record(&self) -> record::ModelSummary {
        record::ModelSummary {
            layers: Some(self.bert.depth() as u64),
            parameters: Some(self.parameters().unsigned_abs()),
            dev: self.dev.as_ref().map(Measurements::record).unwrap_or_default(),
            best_step: self.best_step,
            test: self.test.as_ref().map(Measurements::record),
            milliseconds_per_text: Some(self.speed.milliseconds),
            texts_per_second: Some(self.speed.texts_per_second),
            folder: Some(self.folder.clone()),
        }
    }
}

/// Times a model on development texts: a sample of texts one at a time, then all batches.
pub(crate) fn speed(batches: &[TokenBatch], mut run: impl FnMut(&TokenBatch) -> Duration) -> Speed {
    let singles = batches.iter().flat_map(TokenBatch::each_row);
    // Every n-th text: the sample includes short and long texts.
    let texts: usize = batches.iter().map(|b| b.rows.len()).sum();
    let chosen: Vec<TokenBatch> = singles.step_by((texts / TIMED).max(1)).take(TIMED).collect();
    chosen.iter().cycle().take(WARM_UP.min(chosen.len())).for_each(|text| {
        run(text);
    });
    let mut times: Vec<Duration> = chosen.iter().map(&mut run).collect();
    times.sort();
    let all: Duration = batches.iter().map(&mut run).sum();
    Speed {
        milliseconds: times.get(times.len() / 2).copied().unwrap_or_default().as_secs_f64() * 1e3,
        texts_per_second: texts as f64 / all.as_secs_f64().max(1e-9),
    }
}

/// Returns the table of a finished run, followed by the folders of its models.
pub(crate) fn text(folder: &Path, models: &[FinishedModel<'_>], untouched: Option<&Untouched>) -> String {
    let place = |m: &FinishedModel<'_>| format!("{:<8} {}", m.role.name(), folder.join(&m.folder).display());
    let places: Vec<String> = models.iter().map(place).collect();
    format!("{}\n{}", table(models, untouched), places.join("\n"))
}

/// A column of the table.
struct Column {
    title: String,
    model: ModelSummary,
}

impl Column {
    fn of(title: &str, model: Option<&ModelSummary>) -> Option<Self> {
        Some(Self { title: title.to_owned(), model: model?.clone() })
    }
}

/// Returns the table: the models before any training, if they were measured, then the trained ones.
fn table(models: &[FinishedModel<'_>], untouched: Option<&Untouched>) -> Table {
    let before = [
        Column::of("untouched\nteacher", untouched.and_then(|untouched| untouched.teacher.as_ref())),
        Column::of("untouched\nstudent", untouched.and_then(|untouched| untouched.student.as_ref())),
    ];
    let trained = models.iter().map(|m| Column { title: m.role.name().to_owned(), model: m.record() });
    let columns: Vec<Column> = before.into_iter().flatten().chain(trained).collect();
    let mut table = Table::new();
    table.load_preset(presets::UTF8_FULL_CONDENSED);
    table.set_header(std::iter::once("").chain(columns.iter().map(|column| column.title.as_str())));
    for row in rows(&columns) {
        table.add_row(std::iter::once(row.title).chain(row.cells));
    }
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

/// A row of the table.
struct TableRow {
    title: String,
    cells: Vec<String>,
}

fn rows(columns: &[Column]) -> Vec<TableRow> {
    let mut rows = Vec::new();
    let mut row = |title: String, cell: &dyn Fn(&ModelSummary) -> Option<String>| {
        let cells = columns.iter().map(|column| cell(&column.model).unwrap_or_else(|| "–".to_owned()));
        rows.push(TableRow { title, cells: cells.collect() });
    };
    let number = |value: Option<f64>| value.map(|value| format!("{value:.4}"));
    row("layers".to_owned(), &|m| Some(m.layers?.to_string()));
    row("parameters".to_owned(), &|m| Some(format!("{:.1} M", m.parameters? as f64 / 1e6)));
    let Some(last) = columns.last().map(|column| &column.model) else { return Vec::new() };
    for (name, _) in last.dev.scores.metrics.iter() {
        row(name.replace('_', " "), &|m| number(m.dev.scores.metric(name)));
    }
    for (name, _) in last.test.iter().flat_map(|test| test.scores.metrics.iter()) {
        row(format!("test {}", name.replace('_', " ")), &|m| number(m.test.as_ref()?.scores.metric(name)));
    }
    for (part, scores) in last.last().parts.iter() {
        let Some((name, _)) = scores.metrics.iter().next() else { continue };
        let count = scores.rows.as_ref().map_or(0, |rows| rows.count);
        row(format!("{name}, {part} ({count})"), &|m| number(m.last().parts.get(part)?.metric(name)));
    }
    row("ms for one text".to_owned(), &|m| Some(format!("{:.2}", m.milliseconds_per_text?)));
    row("texts per second".to_owned(), &|m| Some(format!("{:.0}", m.texts_per_second?)));
    rows
}
