//! Comparison of methods × student depths × seeds on one data set: each variant runs with the settings that scored best on
//! the development rows, and the results become a table.
//!
//! ```text
//! compare.yaml ─ CompareConfig ─ ComparePlan (all runs checked) ─ teacher ─ trials ─ best settings ─ runs ─ table, report
//! ```
//!
//! A frozen teacher is trained once and shared. Finished work is not repeated: each run has a folder, and a folder with a
//! finished run of the same configuration is reused.

mod check;
mod config;
mod plan;
mod variant;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use anyhow::{Context, Result};
use nb_report::record::SUMMARY_FILE;
use nb_report::{Comparison, Entry, Header, RunRecord, Sweep, Try};

pub use self::config::{CompareConfig, EntryConfig, Settings, TeacherEntryConfig};
pub use self::plan::{ComparePlan, RunState, RunStatus};
pub(crate) use self::variant::{RunSpec, Variant};
use crate::atomic_file::write_file;
use crate::model::Role;
use crate::run_folder::REPORT;

/// Outcome of a comparison.
#[derive(Debug)]
pub enum CompareOutcome {
    /// All runs have finished.
    Finished {
        /// The table.
        comparison: Box<Comparison>,
        /// The folder of the comparison.
        folder: PathBuf,
    },
    /// A signal stopped the comparison; finished runs remain.
    Interrupted,
}

/// Performs all runs that have not finished yet, and writes `compare.json`, `compare.csv`, `compare.txt` and `report.html`.
///
/// # Errors
/// If a run fails, or if a file cannot be written.
pub fn compare(plan: &ComparePlan, stop: &Arc<AtomicBool>) -> Result<CompareOutcome> {
    let mut number = 0;
    let mut run = |spec: &RunSpec| {
        number += 1;
        tracing::info!("{number} of {}: {}", plan.count(), spec.name());
        plan.run(spec, stop)
    };
    let Some(teacher) = train_teacher(plan, &mut run)? else { return Ok(CompareOutcome::Interrupted) };
    let trained = teacher.join(Role::Teacher.name());
    let (mut finished, mut sweeps) = (Vec::new(), Vec::new());
    for variant in &plan.variants {
        let mut variant = variant.clone();
        if !variant.tries.is_empty() {
            let Some(best) = sweep(&variant, &mut run, Some(&trained))? else {
                return Ok(CompareOutcome::Interrupted);
            };
            variant.settings = best.settings;
            sweeps.push(best.sweep);
        }
        let mut folders = Vec::new();
        for &seed in &variant.seeds {
            match run(&variant.run(seed, Some(&trained)))? {
                Some(folder) => folders.push(folder),
                None => return Ok(CompareOutcome::Interrupted),
            }
        }
        finished.push(FinishedVariant { variant, folders });
    }
    let comparison = Box::new(table(plan, &finished, &teacher, sweeps)?);
    Ok(CompareOutcome::Finished { comparison, folder: plan.output.clone() })
}

/// A variant with the settings that were used, and the folders of its runs.
struct FinishedVariant {
    variant: Variant,
    folders: Vec<PathBuf>,
}

/// Trains the shared teacher and returns the folder of its run; `None` if a signal stopped it.
fn train_teacher(
    plan: &ComparePlan,
    run: &mut impl FnMut(&RunSpec) -> Result<Option<PathBuf>>,
) -> Result<Option<PathBuf>> {
    let mut teacher = plan.teacher.clone();
    if !teacher.tries.is_empty() {
        let Some(best) = sweep(&teacher, run, None)? else { return Ok(None) };
        teacher.settings = best.settings;
    }
    run(&teacher.run(plan.seeds[0], None))
}

/// The result of a variant's trials.
struct Best {
    settings: Settings,
    sweep: Sweep,
}

/// Runs the trials of a variant and returns the best settings, on a tie the first; `None` if a signal stopped them.
fn sweep(
    variant: &Variant,
    run: &mut impl FnMut(&RunSpec) -> Result<Option<PathBuf>>,
    teacher: Option<&Path>,
) -> Result<Option<Best>> {
    let (mut settings, mut scores) = (Vec::new(), Vec::new());
    for trial in variant.trials(teacher) {
        let Some(folder) = run(&trial)? else { return Ok(None) };
        settings.push(trial.settings);
        scores.push(score(&folder)?);
    }
    let highest = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let chosen = scores.iter().position(|score| *score == highest).context("a sweep without a trial")?;
    let tries = (0..scores.len())
        .map(|i| Try { settings: texts(&settings[i]), score: scores[i], chosen: i == chosen })
        .collect();
    let sweep = Sweep { label: variant.label.clone(), layers: variant.depth as u64, tries };
    Ok(Some(Best { settings: settings.swap_remove(chosen), sweep }))
}

/// The primary metric of a trial on the development rows.
fn score(folder: &Path) -> Result<f64> {
    let summary = RunRecord::read(folder)?.summary;
    let metric = summary.primary.as_deref().unwrap_or_default();
    let (name, model) = match &summary.student {
        Some(student) => ("student", Some(student)),
        None => ("teacher", summary.teacher.as_ref()),
    };
    let score = model.and_then(|model| model.dev.scores.metric(metric));
    score.with_context(|| format!("{}: {SUMMARY_FILE} has no {name}.{metric}", folder.display()))
}

/// Settings as text, for tables.
fn texts(settings: &Settings) -> BTreeMap<String, String> {
    let text = |value: &serde_yaml::Value| match value {
        serde_yaml::Value::String(text) => text.clone(),
        // JSON, which is also valid YAML, fits on one line of a table.
        other => serde_json::to_string(other).unwrap_or_default().replace('"', ""),
    };
    settings.iter().map(|(key, value)| (key.clone(), text(value))).collect()
}

fn table(plan: &ComparePlan, finished: &[FinishedVariant], teacher: &Path, sweeps: Vec<Sweep>) -> Result<Comparison> {
    let records: Vec<Vec<RunRecord>> =
        finished.iter().map(|finished| read_records(&finished.folders)).collect::<Result<_>>()?;
    let entries: Vec<Entry<'_>> = (0..finished.len())
        .map(|i| Entry {
            label: finished[i].variant.label.clone(),
            settings: texts(&finished[i].variant.settings),
            runs: records[i].iter().collect(),
        })
        .collect();
    let header = Header { name: plan.name.clone(), baseline: plan.baseline.clone() };
    let mut comparison = nb_report::compare(header, &entries, Some(&RunRecord::read(teacher)?), sweeps)?;
    comparison.notes.extend(unequal_budgets(&comparison.sweeps));
    if !plan.has_test && !comparison.sweeps.is_empty() {
        comparison.notes.push(
            "Settings were chosen on the same rows that the table reports, since data.test is not set.".to_owned(),
        );
    }
    comparison.write(&plan.output)?;
    let all: Vec<RunRecord> = records.into_iter().flatten().collect();
    match nb_report::comparison_report(&comparison, &all) {
        Ok(html) => write_file(&plan.output.join(REPORT), html.as_bytes())?,
        Err(e) => tracing::warn!("no report was written: {e}"),
    }
    Ok(comparison)
}

fn read_records(folders: &[PathBuf]) -> Result<Vec<RunRecord>> {
    folders.iter().map(|folder| Ok(RunRecord::read(folder)?)).collect()
}

/// Returns a note if the methods had different numbers of tries, since a fair comparison gives all methods the same number.
fn unequal_budgets(sweeps: &[Sweep]) -> Option<String> {
    let least = sweeps.iter().min_by_key(|sweep| sweep.tries.len())?;
    let most = sweeps.iter().max_by_key(|sweep| sweep.tries.len())?;
    (least.tries.len() < most.tries.len()).then(|| {
        format!(
            "The methods had unequal numbers of tries: {} had {}, {} had {}.",
            most.label,
            most.tries.len(),
            least.label,
            least.tries.len()
        )
    })
}
