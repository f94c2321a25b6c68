//! The comparison of runs: scores over seeds, and a test of each method against the baseline at the same depth.

use std::collections::BTreeMap;
use std::path::Path;

use nb_eval::{Bootstrap, PairedTest, holm, paired_bootstrap};

use super::measured::{Measured, Speed, mean_of_all, over_seeds, summary};
use super::words::depth;
use super::{cost, notes, teachers};
use crate::record::{Against, COMPARISON_FILE, Comparison, Row, Spread, Sweep};
use crate::{ReportError, RunRecord};

/// The name of a comparison and its baseline.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// Name of the comparison.
    pub name: String,
    /// Label of the baseline. All other entries are tested against the baseline at the same depth.
    pub baseline: String,
}

/// One row of the table: the runs of one method at one depth, which differ only in their seed.
#[derive(Debug, Clone)]
pub struct Entry<'a> {
    /// The label. Each pair of label and depth is unique.
    pub label: String,
    /// Settings to show, by dotted key.
    pub settings: BTreeMap<String, String>,
    /// The runs, one per seed.
    pub runs: Vec<&'a RunRecord>,
}

/// Compares runs of several methods, depths and seeds. The rows are in the order of the entries.
///
/// The score of a run is the primary metric of its student, or of its teacher if the method is `teacher`, which trains
/// only a teacher. It is measured on the test data if the run has any, otherwise on the development data.
///
/// **The test.** Each entry is compared with the entry labelled `header.baseline` at the same depth. Let v_i be the
/// metric of row i (text, impression, query), averaged over the seeds of the entry, and b_i the same for the baseline.
/// [`nb_eval::paired_bootstrap`] tests the differences v_i − b_i (10,000 resamples, 95 % interval), and
/// [`nb_eval::holm`] adjusts the p-values of all tests of the comparison. All models are measured on the same rows, so
/// a hard row is hard for both models and cancels out.
///
/// **Its limits.** Rows are resampled and seeds are averaged. A small p means that *these* trained models would also
/// differ on other rows of the same kind. It does not mean that training with other seeds would give the same
/// difference. The table therefore shows the spread over seeds beside each mean, and a note names every difference that
/// is significant over rows but within twice its standard error over seeds. Rows must be independent of each other;
/// impressions of one reader or near-copies of one text are only partly independent. If the split is `dev`, the best
/// state of each run was chosen on the same rows that are compared; a note says so.
///
/// **Cost.** The cost of a run is that of its own training and of its teacher's. It is unknown if the run started from a
/// trained teacher whose cost the record lacks. The quality at equal cost ([`Row::at_equal_cost`]) is measured within the
/// processor time of the cheapest row, [`Comparison::budget`]. For each run it is the best primary metric among the
/// evaluations on the development data during training whose cost, with the teacher's, is within the budget.
///
/// # Errors
/// If any of these holds:
///
/// * There is no entry, an entry has no run, or two entries have the same label and depth.
/// * The runs of one entry differ in method, depth or size, or share a seed.
/// * A run has no outcomes, or its outcomes are not finite, contain a row twice or do not have the mean in its summary.
/// * Runs differ in task, primary metric, split, data or rows. The message names both folders.
/// * A sweep has a score that is not finite, or does not have exactly one chosen try.
///
/// ```
/// use std::collections::BTreeMap;
/// use nb_report::record::{Outcomes, OutcomesFile};
/// use nb_report::{Entry, Header, RunRecord, compare};
///
/// // `RunRecord::read` returns this for a finished run.
/// let run = |method: &str, seed: u64, right: [f64; 40]| RunRecord {
///     folder: format!("runs/{method}-s{seed}").into(),
///     summary: serde_json::from_value(serde_json::json!({
///         "task": "topic", "method": method, "seed": seed, "primary": "accuracy",
///         "student": {"layers": 1, "parameters": 1000, "accuracy": right.iter().sum::<f64>() / 40.0},
///     }))
///     .expect("a summary"),
///     outcomes: Some(OutcomesFile {
///         split: Some("dev".to_owned()),
///         student: Some(Outcomes {
///             rows: (0..40).collect(),
///             values: vec![("accuracy".into(), right.to_vec())],
///             classes: None,
///         }),
///         ..OutcomesFile::default()
///     }),
///     ..RunRecord::default()
/// };
/// let plain = run("finetune", 0, std::array::from_fn(|row| if row < 20 { 1.0 } else { 0.0 }));
/// let distilled = run("kd", 0, std::array::from_fn(|row| if row < 30 { 1.0 } else { 0.0 }));
/// let entry = |label: &str, run| Entry { label: label.to_owned(), settings: BTreeMap::new(), runs: vec![run] };
/// let header = Header { name: "tiny".to_owned(), baseline: "finetune".to_owned() };
/// let comparison = compare(header, &[entry("finetune", &plain), entry("kd", &distilled)], None, vec![])?;
/// let against = comparison.rows[1].against.as_ref().unwrap();
/// assert_eq!(against.difference, 0.25);
/// assert!(against.low > 0.0 && against.p_holm < 0.01);
/// println!("{}", comparison.text());
/// # Ok::<(), nb_report::ReportError>(())
/// ```
pub fn compare(
    header: Header,
    entries: &[Entry<'_>],
    teacher: Option<&RunRecord>,
    sweeps: Vec<Sweep>,
) -> Result<Comparison, ReportError> {
    let lines = entries.iter().map(Line::new).collect::<Result<Vec<_>, _>>()?;
    let teacher = teacher.map(Measured::teacher).transpose()?;
    let Some(first) = lines.first().and_then(|line| line.runs.first()) else {
        return Err(ReportError::content(Path::new(COMPARISON_FILE), None, "no entry, expected at least one"));
    };
    teacher.iter().chain(lines.iter().flat_map(|line| &line.runs)).try_for_each(|run| run.check_same_rows(first))?;
    unique_labels(&lines)?;
    sweeps.iter().try_for_each(check_sweep)?;

    let against = tests(&header.baseline, &lines)?;
    let score = teacher.as_ref().map(|teacher| teacher.score);
    let row = |(line, against): (&Line<'_>, _)| line.row(score, against, line.speed(&lines));
    let rows: Result<Vec<Row>, _> = lines.iter().zip(against).map(row).collect();
    let runs: Vec<&Measured<'_>> = lines.iter().flat_map(|line| &line.runs).collect();
    let mut comparison = Comparison {
        name: header.name,
        task: first.task()?.to_owned(),
        metric: first.metric.to_owned(),
        baseline: header.baseline,
        teacher: teacher.as_ref().map(|teacher| teachers::trained(teacher, &runs)).transpose()?,
        untouched: teachers::untouched(teacher.as_ref(), &runs),
        rows: rows?,
        sweeps,
        rows_compared: first.rows.len() as u64,
        notes: Vec::new(),
    };
    set_at_equal_cost(&mut comparison, &lines);
    comparison.notes = notes::of(&comparison, first.split);
    Ok(comparison)
}

/// An entry with its measured runs, which differ only in their seed.
struct Line<'a> {
    entry: &'a Entry<'a>,
    runs: Vec<Measured<'a>>,
    seeds: Vec<u64>,
    method: &'a str,
    layers: u64,
    parameters: u64,
}

impl<'a> Line<'a> {
    fn new(entry: &'a Entry<'a>) -> Result<Self, ReportError> {
        let runs = entry.runs.iter().map(|run| Measured::subject(run)).collect::<Result<Vec<_>, _>>()?;
        let Some(first) = runs.first() else {
            let found = format!("no run of {}, expected at least one", entry.label);
            return Err(ReportError::content(Path::new(COMPARISON_FILE), None, found));
        };
        let (method, layers, parameters) = (first.method()?, first.layers()?, first.parameters()?);
        let mut seeds = Vec::new();
        for run in &runs {
            let bad = |found: String| summary(run.run, format!("{found} in the runs of {}", entry.label));
            let (other, depth, size, seed) = (run.method()?, run.layers()?, run.parameters()?, run.seed()?);
            if (other, depth, size) != (method, layers, parameters) {
                return Err(bad(format!(
                    "found method {other}, {depth} layers and {size} parameters, expected {method}, {layers} and \
                     {parameters}"
                )));
            }
            if seeds.contains(&seed) {
                return Err(bad(format!("found seed {seed} twice, expected each seed once")));
            }
            seeds.push(seed);
        }
        Ok(Self { entry, runs, seeds, method, layers, parameters })
    }

    fn is(&self, label: &str, layers: u64) -> bool {
        self.entry.label == label && self.layers == layers
    }

    /// Returns the metric of each row, averaged over the seeds.
    fn values(&self) -> Vec<f64> {
        let mean = |row: usize| self.runs.iter().map(|run| run.values[row]).sum::<f64>() / self.runs.len() as f64;
        (0..self.runs[0].values.len()).map(mean).collect()
    }

    /// Returns the median speed over all runs of models of this shape. The method does not change the speed, and more
    /// runs reduce the influence of other load on the machine.
    fn speed(&self, lines: &[Self]) -> Speed {
        let same_shape = lines.iter().filter(|line| (line.layers, line.parameters) == (self.layers, self.parameters));
        let speeds: Vec<Speed> = same_shape.flat_map(|line| &line.runs).map(Measured::speed).collect();
        Speed::median(&speeds)
    }

    fn row(&self, teacher: Option<f64>, against: Option<Against>, speed: Speed) -> Result<Row, ReportError> {
        let scores: Vec<f64> = self.runs.iter().map(|run| run.score).collect();
        let Spread { mean, spread } = over_seeds(&scores, &self.runs[0].run.folder)?;
        Ok(Row {
            label: self.entry.label.clone(),
            method: self.method.to_owned(),
            layers: self.layers,
            seeds: self.seeds.clone(),
            scores,
            mean,
            spread,
            untouched: mean_of_all(self.runs.iter().map(Measured::untouched)),
            kept: teacher.filter(|&score| score != 0.0).map(|score| mean / score),
            metrics: self.metrics()?,
            parameters: self.parameters,
            megabytes: self.parameters as f64 * 4.0 / 1e6,
            milliseconds_per_text: speed.milliseconds_per_text,
            texts_per_second: speed.texts_per_second,
            cost: cost::of(&self.runs),
            at_equal_cost: None,
            against,
            settings: self.entry.settings.clone(),
            runs: self.runs.iter().map(|run| folder_name(&run.run.folder)).collect(),
        })
    }

    /// Returns the metrics that every seed has, except the primary one.
    fn metrics(&self) -> Result<BTreeMap<String, Spread>, ReportError> {
        let mut all: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
        for (name, value) in self.runs.iter().flat_map(Measured::others) {
            all.entry(name).or_default().push(value);
        }
        let complete = all.into_iter().filter(|(_, values)| values.len() == self.runs.len());
        complete.map(|(name, values)| Ok((name.to_owned(), over_seeds(&values, &self.runs[0].run.folder)?))).collect()
    }
}

/// Sets the quality at equal cost of each row whose cost is known. The budget depends on the costs of all rows.
fn set_at_equal_cost(comparison: &mut Comparison, lines: &[Line<'_>]) {
    let Some(budget) = comparison.budget() else { return };
    let rows = comparison.rows.iter_mut().zip(lines);
    for (row, line) in rows.filter(|(row, _)| row.processor_seconds().is_some()) {
        row.at_equal_cost = cost::metric_within(budget, &line.runs);
    }
}

fn unique_labels(lines: &[Line<'_>]) -> Result<(), ReportError> {
    let twin =
        |(at, line): (usize, &Line<'_>)| lines[..at].iter().any(|other| other.is(&line.entry.label, line.layers));
    match lines.iter().enumerate().find(|&pair| twin(pair)) {
        Some((_, line)) => {
            let label = &line.entry.label;
            let found = format!("a second entry {label} at {}, expected a unique label", depth(line.layers));
            Err(summary(line.runs[0].run, found))
        }
        None => Ok(()),
    }
}

fn check_sweep(sweep: &Sweep) -> Result<(), ReportError> {
    let bad = |found: String| {
        let found = format!("the sweep of {} at {} {found}", sweep.label, depth(sweep.layers));
        Err(ReportError::content(Path::new(COMPARISON_FILE), None, found))
    };
    if let Some(tried) = sweep.tries.iter().find(|tried| !tried.score.is_finite()) {
        return bad(format!("has a score of {}, expected a finite number", tried.score));
    }
    match sweep.tries.iter().filter(|tried| tried.chosen).count() {
        1 => Ok(()),
        n => bad(format!("has {n} chosen settings, expected one")),
    }
}

/// Tests each line against the baseline at its depth and adjusts the p-values for all tests.
fn tests(baseline: &str, lines: &[Line<'_>]) -> Result<Vec<Option<Against>>, ReportError> {
    let bases: BTreeMap<u64, Vec<f64>> =
        lines.iter().filter(|line| line.entry.label == baseline).map(|line| (line.layers, line.values())).collect();
    let test = |line: &Line<'_>| -> Result<Option<PairedTest>, ReportError> {
        let base = bases.get(&line.layers).filter(|_| line.entry.label != baseline);
        let test = base.map(|base| paired_bootstrap(&line.values(), base, Bootstrap::default())).transpose();
        test.map_err(|e| ReportError::content(&line.runs[0].run.folder, None, e.to_string()))
    };
    let tests = lines.iter().map(test).collect::<Result<Vec<_>, _>>()?;
    let p: Vec<f64> = tests.iter().flatten().map(|test| test.p).collect();
    let adjusted = holm(&p).map_err(|e| ReportError::content(Path::new(COMPARISON_FILE), None, e.to_string()))?;
    let mut adjusted = adjusted.into_iter();
    let mut against = |PairedTest { difference, p }: PairedTest| {
        let (label, p_holm) = (baseline.to_owned(), adjusted.next()?);
        Some(Against { label, difference: difference.mean, low: difference.low, high: difference.high, p, p_holm })
    };
    Ok(tests.into_iter().map(|test| test.and_then(&mut against)).collect())
}

fn folder_name(folder: &Path) -> String {
    folder.file_name().unwrap_or(folder.as_os_str()).to_string_lossy().into_owned()
}
