//! Checks of a comparison's file, except for the configurations of its runs.

use std::collections::BTreeSet;
use std::fmt;

use super::config::{CompareConfig, Settings};
use super::variant::{TEACHER, Variant, method_key, variants};
use crate::config::{ConfigError, Tree};

/// Checks everything in a comparison's file except the configurations of its runs.
pub(super) fn check(config: &CompareConfig, run: &mut Tree) -> Result<(), ConfigError> {
    let empty = [
        ("depths", config.depths.is_empty()),
        ("seeds", config.seeds.is_empty()),
        ("methods", config.methods.is_empty()),
    ];
    if let Some((key, _)) = empty.iter().find(|(_, is_empty)| *is_empty) {
        return Err(ConfigError::expected(*key, "empty", "at least one"));
    }
    check_distinct("depths", &config.depths)?;
    check_distinct("seeds", &config.seeds)?;
    check_settings(config, run)?;
    check_variants(config)
}

/// Checks that `run` sets no key that distinguishes the runs, and that no entry sets such a key or one common to all runs.
fn check_settings(config: &CompareConfig, run: &mut Tree) -> Result<(), ConfigError> {
    for key in ["method", "name", "output", "seed", "student.layers"] {
        if run.has(key) {
            let why = "it distinguishes the runs; set it under methods, depths or seeds";
            return Err(ConfigError::conflict(format!("run.{key}"), "given", why));
        }
    }
    if run.is("teacher.train.epochs", 0) || run.is("task", "embed") {
        let why = "a comparison trains the teacher that its methods share; train each method with `nb train` instead";
        return Err(match run.is("task", "embed") {
            true => ConfigError::conflict("run.task", "embed", why),
            false => ConfigError::conflict("run.teacher.train.epochs", 0, why),
        });
    }
    check_entry(TEACHER, &config.teacher.set, &config.teacher.tries)?;
    for (i, entry) in config.methods.iter().enumerate() {
        check_entry(&method_key(i), &entry.set, &entry.tries)?;
    }
    Ok(())
}

/// Checks the settings of the entry with the key `key`.
fn check_entry(key: &str, set: &Settings, tries: &[Settings]) -> Result<(), ConfigError> {
    check_reserved(&format!("{key}.set"), set)?;
    for (i, settings) in tries.iter().enumerate() {
        check_reserved(&format!("{key}.tries[{i}]"), settings)?;
    }
    Ok(())
}

fn check_reserved(key: &str, settings: &Settings) -> Result<(), ConfigError> {
    const RESERVED: [&str; 7] = ["method.name", "method", "name", "output", "seed", "student.layers", "threads"];
    match settings.keys().find(|key| RESERVED.contains(&key.as_str())) {
        Some(found) => {
            let why = "it is common to all runs or distinguishes them; set it under run, methods, depths or seeds";
            Err(ConfigError::conflict(format!("{key}.{found}"), "set for one method", why))
        }
        None => Ok(()),
    }
}

/// Checks that every variant has seeds and a unique name, and that the baseline is the label of a variant.
fn check_variants(config: &CompareConfig) -> Result<(), ConfigError> {
    let variants = variants(config);
    let mut names = BTreeSet::new();
    for variant in &variants {
        check_seeds(variant)?;
        let label = format!("{}.label", variant.key);
        if variant.label == TEACHER {
            let why = "the shared teacher has that name; choose another label";
            return Err(ConfigError::conflict(label, format_args!("`{TEACHER}`"), why));
        }
        if !names.insert(variant.run(0, None).name()) {
            let why = format!("another entry has the same label at depth {}; choose another", variant.depth);
            return Err(ConfigError::conflict(label, format_args!("`{}`", variant.label), why));
        }
    }
    match &config.baseline {
        Some(baseline) if !variants.iter().any(|variant| variant.label == *baseline) => {
            let found = format_args!("`{baseline}`");
            Err(ConfigError::conflict("baseline", found, "no entry of methods has that label"))
        }
        _ => Ok(()),
    }
}

fn check_seeds(variant: &Variant) -> Result<(), ConfigError> {
    let key = format!("{}.seeds", variant.key);
    if variant.seeds.is_empty() {
        return Err(ConfigError::expected(key, "empty", "at least one").and("seeds"));
    }
    check_distinct(&key, &variant.seeds)
}

fn check_distinct<T: Ord + fmt::Debug>(key: &str, values: &[T]) -> Result<(), ConfigError> {
    if values.iter().collect::<BTreeSet<_>>().len() < values.len() {
        return Err(ConfigError::expected(key, format!("{values:?}"), "distinct values"));
    }
    Ok(())
}
