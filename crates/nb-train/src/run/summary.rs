//! The summary of a finished run: the table at its end and `summary.json`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use comfy_table::{CellAlignment, Table, presets};
use nb_data::TokenBatch;
use nb_model::Bert;
use nb_report::record;

use crate::model::Role;
use crate::task::{Measurements, Part};

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

    fn part(&self, name: &str) -> Option<&Part> {
        self.last_evaluation().and_then(|evaluation| evaluation.parts.iter().find(|part| part.name == name))
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
    let singles = batches.iter().flat_map(singles);
    // Every n-th text: the sample includes short and long texts.
    let texts: usize = batches.iter().map(|b| b.lengths.len()).sum();
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

/// Splits a batch into batches of one sequence each.
fn singles(batch: &TokenBatch) -> impl Iterator<Item = TokenBatch> + '_ {
    let mut start = 0;
    batch.rows.iter().zip(&batch.lengths).map(move |(&row, &length)| {
        let range = start..start + length as usize;
        start = range.end;
        let part = |values: &[i64]| values[range.clone()].to_vec();
        TokenBatch { rows: vec![row], ids: part(&batch.ids), segments: part(&batch.segments), lengths: vec![length] }
    })
}

/// Returns the table of a finished run, followed by the folders of its models.
pub(crate) fn text(folder: &Path, models: &[FinishedModel<'_>]) -> String {
    let place = |m: &FinishedModel<'_>| format!("{:<8} {}", m.role.name(), folder.join(&m.folder).display());
    let places: Vec<String> = models.iter().map(place).collect();
    format!("{}\n{}", table(models), places.join("\n"))
}

fn table(models: &[FinishedModel<'_>]) -> Table {
    let mut table = Table::new();
    table.load_preset(presets::UTF8_FULL_CONDENSED);
    table.set_header(std::iter::once("").chain(models.iter().map(|m| m.role.name())));
    let mut row = |name: &str, cell: &dyn Fn(&FinishedModel<'_>) -> String| {
        table.add_row(std::iter::once(name.to_owned()).chain(models.iter().map(cell)));
    };
    row("layers", &|m| m.bert.depth().to_string());
    row("parameters", &|m| format!("{:.1} M", m.parameters() as f64 / 1e6));
    let number = |value: Option<f64>| value.map_or_else(|| "–".to_owned(), |v| format!("{v:.4}"));
    let get = |evaluation: &Option<Measurements>, name| evaluation.as_ref().and_then(|e| e.get(name));
    for metric in models.iter().find_map(|m| m.dev.as_ref()).iter().flat_map(|e| &e.metrics) {
        row(&metric.name.replace('_', " "), &|m| number(get(&m.dev, &metric.name)));
    }
    for metric in models.iter().find_map(|m| m.test.as_ref()).iter().flat_map(|e| &e.metrics) {
        row(&format!("test {}", metric.name.replace('_', " ")), &|m| number(get(&m.test, &metric.name)));
    }
    let last = models.iter().find_map(FinishedModel::last_evaluation);
    for part in last.iter().flat_map(|evaluation| &evaluation.parts) {
        let name = part.metrics.first().map_or("", |metric| &metric.name);
        let title = format!("{name}, {} ({})", part.name, part.rows);
        row(&title, &|m| number(m.part(&part.name).and_then(|part| Some(part.metrics.first()?.value))));
    }
    row("ms for one text", &|m| format!("{:.2}", m.speed.milliseconds));
    row("texts per second", &|m| format!("{:.0}", m.speed.texts_per_second));
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}
