//! A comparison as CSV.

use std::collections::BTreeSet;

use crate::record::{Comparison, Row, TeacherRow};

/// The columns after those of the metrics and before those of the cost.
const SIZE_AND_SPEED: [&str; 4] = ["parameters", "megabytes", "milliseconds_per_text", "texts_per_second"];

impl Comparison {
    /// Returns the table as CSV: a header line, then the rows of the untouched and the trained teacher, then the other
    /// rows. Numbers have full precision, and the cell of an unknown value is empty. Spaces separate the entries of a
    /// list (seeds, scores, settings, runs). The columns `before`, `seconds`, `processor_seconds` and `at_equal_cost` are
    /// absent if the text table lacks them.
    #[must_use]
    pub fn csv(&self) -> String {
        let columns = Columns::of(self);
        let titles = columns.titles();
        let teacher = |label: &str, row: &TeacherRow| titles.iter().map(|title| cell(label, row, title)).collect();
        let mut records: Vec<Vec<String>> = vec![titles.clone()];
        records.extend(self.untouched.iter().map(|row| teacher("untouched teacher", row)));
        records.extend(self.teacher.iter().map(|row| teacher("teacher", row)));
        records.extend(self.rows.iter().map(|row| columns.record(row)));
        let mut writer = csv::Writer::from_writer(Vec::new());
        for record in records {
            writer.write_record(record).expect("records of equal length, written to memory");
        }
        let bytes = writer.into_inner().expect("memory needs no flush");
        String::from_utf8(bytes).expect("UTF-8 was written")
    }
}

/// The columns that only some comparisons have.
struct Columns<'a> {
    metrics: BTreeSet<&'a str>,
    before: bool,
    seconds: bool,
    processor_seconds: bool,
    at_equal_cost: bool,
}

impl<'a> Columns<'a> {
    fn of(comparison: &'a Comparison) -> Self {
        let any = |value: fn(&Row) -> Option<f64>| comparison.rows.iter().any(|row| value(row).is_some());
        Self {
            metrics: comparison.other_metrics(),
            before: any(|row| row.untouched),
            seconds: any(Row::seconds),
            processor_seconds: any(Row::processor_seconds),
            at_equal_cost: comparison.shown_budget().is_some(),
        }
    }

    fn titles(&self) -> Vec<String> {
        let mut titles = ["label", "method", "layers", "seeds", "scores", "mean", "spread"].map(str::to_owned).to_vec();
        titles.extend(self.before.then(|| "before".to_owned()));
        titles.push("kept".to_owned());
        titles.extend(self.metrics.iter().flat_map(|metric| [format!("{metric} mean"), format!("{metric} spread")]));
        titles.extend(SIZE_AND_SPEED.map(str::to_owned));
        let costs = [
            ("seconds", self.seconds),
            ("processor_seconds", self.processor_seconds),
            ("at_equal_cost", self.at_equal_cost),
        ];
        titles.extend(costs.into_iter().filter(|(_, is_shown)| *is_shown).map(|(title, _)| title.to_owned()));
        let last = ["against", "difference", "low", "high", "p", "p_holm", "settings", "runs"];
        titles.extend(last.map(str::to_owned));
        titles
    }

    fn record(&self, row: &Row) -> Vec<String> {
        let join = |items: &mut dyn Iterator<Item = String>| items.collect::<Vec<_>>().join(" ");
        let seeds = join(&mut row.seeds.iter().map(u64::to_string));
        let scores = join(&mut row.scores.iter().map(f64::to_string));
        let mut record = vec![row.label.clone(), row.method.clone(), row.layers.to_string(), seeds, scores];
        record.extend([Some(row.mean), row.spread].map(full));
        record.extend(self.before.then(|| full(row.untouched)));
        record.push(full(row.kept));
        for name in &self.metrics {
            let metric = row.metrics.get(*name);
            record.extend([metric.map(|m| m.mean), metric.and_then(|m| m.spread)].map(full));
        }
        record.extend([row.parameters.to_string(), row.megabytes.to_string()]);
        record.extend([row.milliseconds_per_text, row.texts_per_second].map(full));
        record.extend(self.seconds.then(|| full(row.seconds())));
        record.extend(self.processor_seconds.then(|| full(row.processor_seconds())));
        record.extend(self.at_equal_cost.then(|| full(row.at_equal_cost)));
        let against = row.against.as_ref();
        record.push(against.map(|a| a.label.clone()).unwrap_or_default());
        let numbers = against.map(|a| [a.difference, a.low, a.high, a.p, a.p_holm]);
        record.extend((0..5).map(|at| full(numbers.map(|numbers| numbers[at]))));
        record.push(join(&mut row.settings.iter().map(|(key, value)| format!("{key}={value}"))));
        record.push(row.runs.join(" "));
        record
    }
}

/// Returns the cell of a teacher in the column `title`.
fn cell(label: &str, teacher: &TeacherRow, title: &str) -> String {
    match title {
        "label" => label.to_owned(),
        "layers" => teacher.layers.to_string(),
        "mean" => teacher.score.to_string(),
        "parameters" => teacher.parameters.to_string(),
        "megabytes" => (teacher.parameters as f64 * 4.0 / 1e6).to_string(),
        "milliseconds_per_text" => full(teacher.milliseconds_per_text),
        "texts_per_second" => full(teacher.texts_per_second),
        _ => String::new(),
    }
}

/// Formats a number in full precision; the text of `None` is empty.
fn full(number: Option<f64>) -> String {
    number.map(|number| number.to_string()).unwrap_or_default()
}
