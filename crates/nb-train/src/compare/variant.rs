//! The variants of a comparison, and their runs.

use std::path::{Path, PathBuf};

use super::config::{CompareConfig, Settings};

/// Label and key of the shared teacher.
pub(super) const TEACHER: &str = "teacher";

/// A method at a student depth.
#[derive(Debug, Clone)]
pub(crate) struct Variant {
    /// Label in the table.
    pub label: String,
    /// Preset.
    pub method: String,
    /// Number of student layers.
    pub depth: usize,
    /// Seeds, one run for each.
    pub seeds: Vec<u64>,
    /// Settings in addition to the common ones.
    pub settings: Settings,
    /// Candidate settings, the best of which are used.
    pub tries: Vec<Settings>,
    /// Key of the entry in the file: `teacher`, or `methods[1]`.
    pub key: String,
}

/// One run of a comparison.
#[derive(Debug, Clone)]
pub(crate) struct RunSpec {
    pub(super) label: String,
    pub(super) method: String,
    pub(super) depth: usize,
    pub(super) seed: u64,
    /// Settings in addition to the common ones.
    pub settings: Settings,
    /// Index of the trial, from 0, if the run is a trial.
    pub(super) trial: Option<usize>,
    /// Folder of the shared teacher, once it is trained.
    pub(super) teacher: Option<PathBuf>,
}

impl Variant {
    /// Returns the run with a seed; `teacher` is the folder of the trained teacher, for methods with a frozen teacher.
    pub(crate) fn run(&self, seed: u64, teacher: Option<&Path>) -> RunSpec {
        RunSpec {
            label: self.label.clone(),
            method: self.method.clone(),
            depth: self.depth,
            seed,
            settings: self.settings.clone(),
            trial: None,
            teacher: teacher.map(Path::to_owned),
        }
    }

    /// Returns the runs that try the candidate settings, each with the first seed.
    pub(crate) fn trials(&self, teacher: Option<&Path>) -> Vec<RunSpec> {
        let trial = |(i, settings): (usize, &Settings)| {
            let mut run = RunSpec { trial: Some(i), ..self.run(self.seeds[0], teacher) };
            run.settings.extend(settings.clone());
            run
        };
        self.tries.iter().enumerate().map(trial).collect()
    }
}

impl RunSpec {
    /// Returns the name of the run and of its folder: the label, in which `-` replaces all but letters, digits and `.`; the
    /// depth; and the trial or the seed.
    pub(crate) fn name(&self) -> String {
        let plain = |c: char| if c.is_alphanumeric() || c == '.' { c } else { '-' };
        let label: String = self.label.chars().map(plain).collect();
        let depth = if self.label == TEACHER { String::new() } else { format!("-{}l", self.depth) };
        match self.trial {
            Some(i) => format!("{label}{depth}-try{}", i + 1),
            None => format!("{label}{depth}-s{}", self.seed),
        }
    }
}

/// The variant that trains the shared teacher.
pub(super) fn shared_teacher(config: &CompareConfig) -> Variant {
    Variant {
        label: TEACHER.to_owned(),
        method: TEACHER.to_owned(),
        depth: config.depths[0],
        seeds: config.seeds[..1].to_vec(),
        settings: config.teacher.set.clone(),
        tries: config.teacher.tries.clone(),
        key: TEACHER.to_owned(),
    }
}

/// The variants of a file: every entry of `methods` at each of its depths.
pub(super) fn variants(config: &CompareConfig) -> Vec<Variant> {
    let mut variants = Vec::new();
    for (i, entry) in config.methods.iter().enumerate() {
        for &depth in entry.depths.as_ref().unwrap_or(&config.depths) {
            variants.push(Variant {
                label: entry.label.clone().unwrap_or_else(|| entry.method.clone()),
                method: entry.method.clone(),
                depth,
                seeds: entry.seeds.clone().unwrap_or_else(|| config.seeds.clone()),
                settings: entry.set.clone(),
                tries: entry.tries.clone(),
                key: method_key(i),
            });
        }
    }
    variants
}

/// The key of an entry of `methods`.
pub(super) fn method_key(i: usize) -> String {
    format!("methods[{i}]")
}
