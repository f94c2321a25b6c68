//! Methods × student depths × seeds over one data set, each run with the settings that did best on a split of the training
//! set, and a table of what came out.
//!
//! ```text
//! compare.yaml ─ CompareConfig ─ Comparing (all runs checked) ─ teacher ─ tries, the best taken ─ runs ─ table, report
//! ```
//!
//! A frozen teacher is trained once and shared. What is done is not done again: each run has a folder, and one that holds a
//! finished run of the same configuration is taken as it is.

mod config;
mod runs;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use anyhow::{Context, Result};
use nb_report::{Comparison, Entry, Header, RunRecord, Sweep, Try};

use crate::model::Role;
use crate::run_folder::REPORT;
use crate::run_folder::atomic_file::write_file;

pub use config::{CompareConfig, EntryConfig, Settings, TeacherEntryConfig};
pub use runs::{Comparing, Line, Spec};

/// How a comparison ended.
#[derive(Debug)]
pub enum Compared {
    /// With a table; the folder holds it.
    Finished(Box<Comparison>, PathBuf),
    /// By a signal; what is done is kept.
    Interrupted,
}

/// Runs everything that is not done yet, and writes `compare.json`, `compare.csv`, `compare.txt` and `report.html`.
///
/// # Errors
/// What a run returns, or if a file cannot be written.
pub fn compare(comparing: &Comparing, stop: &Arc<AtomicBool>) -> Result<Compared> {
    let mut at = 0;
    let mut run = |spec: &Spec| {
        at += 1;
        tracing::info!("{at} of {}: {}", comparing.count(), spec.name());
        comparing.run(spec, stop)
    };
    let mut sweeps = Vec::new();
    let mut teacher = comparing.teacher.clone();
    if !teacher.tries.is_empty() {
        let Some((best, _)) = sweep(&teacher, &mut run, None)? else { return Ok(Compared::Interrupted) };
        teacher.settings = best;
    }
    let Some(teacher) = run(&teacher.spec(comparing.seeds[0], None))? else { return Ok(Compared::Interrupted) };
    let trained = teacher.join(Role::Teacher.name());

    let mut done: Vec<(Line, Vec<PathBuf>)> = Vec::new();
    for line in &comparing.lines {
        let mut line = line.clone();
        if !line.tries.is_empty() {
            let Some((best, tried)) = sweep(&line, &mut run, Some(&trained))? else { return Ok(Compared::Interrupted) };
            line.settings = best;
            sweeps.push(tried);
        }
        let mut folders = Vec::new();
        for &seed in &line.seeds {
            match run(&line.spec(seed, Some(&trained)))? {
                Some(folder) => folders.push(folder),
                None => return Ok(Compared::Interrupted),
            }
        }
        done.push((line, folders));
    }
    let comparison = table(comparing, &done, &teacher, sweeps)?;
    Ok(Compared::Finished(Box::new(comparison), comparing.output.clone()))
}

/// Runs a line's tries on the split of the training set and takes the best settings; of equal ones the first.
fn sweep(
    line: &Line,
    run: &mut impl FnMut(&Spec) -> Result<Option<PathBuf>>,
    trained: Option<&Path>,
) -> Result<Option<(Settings, Sweep)>> {
    let mut tries: Vec<(Settings, f64)> = Vec::new();
    for spec in line.tried(trained) {
        let Some(folder) = run(&spec)? else { return Ok(None) };
        tries.push((spec.settings.clone(), score(&folder)?));
    }
    let best = tries.iter().map(|(_, score)| *score).fold(f64::NEG_INFINITY, f64::max);
    let chosen = tries.iter().position(|(_, score)| *score == best).context("a sweep without a try")?;
    let settings = tries[chosen].0.clone();
    let tried = tries.into_iter().enumerate().map(|(i, (settings, score))| Try {
        settings: shown(&settings),
        score,
        chosen: i == chosen,
    });
    Ok(Some((settings, Sweep { label: line.label.clone(), layers: line.depth as u64, tries: tried.collect() })))
}

/// The metric of a try, on the rows that settings are chosen by.
fn score(folder: &Path) -> Result<f64> {
    let summary = RunRecord::read(folder)?.summary;
    let metric = summary.primary.as_deref().unwrap_or_default();
    let (name, model) = match &summary.student {
        Some(student) => ("student", Some(student)),
        None => ("teacher", summary.teacher.as_ref()),
    };
    let score = model.and_then(|model| model.dev.scores.metric(metric));
    score.with_context(|| format!("{}: summary.json has no {name}.{metric}", folder.display()))
}

/// Settings as text, for tables.
fn shown(settings: &Settings) -> BTreeMap<String, String> {
    let text = |value: &serde_yaml::Value| match value {
        serde_yaml::Value::String(text) => text.clone(),
        // The flow style of JSON, which is YAML too, since a table has one line for it.
        other => serde_json::to_string(other).unwrap_or_default().replace('"', ""),
    };
    settings.iter().map(|(key, value)| (key.clone(), text(value))).collect()
}

fn table(
    comparing: &Comparing,
    done: &[(Line, Vec<PathBuf>)],
    teacher: &Path,
    sweeps: Vec<Sweep>,
) -> Result<Comparison> {
    let read = |folders: &Vec<PathBuf>| folders.iter().map(|f| RunRecord::read(f)).collect::<Result<Vec<_>, _>>();
    let records: Vec<Vec<RunRecord>> = done.iter().map(|(_, folders)| read(folders)).collect::<Result<_, _>>()?;
    let entries: Vec<Entry<'_>> = done
        .iter()
        .zip(&records)
        .map(|((line, _), records)| Entry {
            label: line.label.clone(),
            settings: shown(&line.settings),
            runs: records.iter().collect(),
        })
        .collect();
    let header = Header { name: comparing.name.clone(), baseline: comparing.baseline.clone() };
    let mut comparison = nb_report::compare(header, &entries, Some(&RunRecord::read(teacher)?), sweeps)?;
    comparison.notes.extend(unequal_budgets(&comparison.sweeps));
    if !comparing.has_test && !comparison.sweeps.is_empty() {
        comparison.notes.push(
            "Settings were chosen on the very rows that the table reports, since there is no data.test.".to_owned(),
        );
    }
    comparison.write(&comparing.output)?;
    let all: Vec<RunRecord> = records.into_iter().flatten().collect();
    match nb_report::comparison_report(&comparison, &all) {
        Ok(html) => write_file(&comparing.output.join(REPORT), html.as_bytes())?,
        Err(e) => tracing::warn!("no report was written: {e}"),
    }
    Ok(comparison)
}

/// A fair choice of settings gives every method as many tries.
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
