//! All runs of a comparison, checked before the first one begins.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use anyhow::{Context, Result, bail};
use nb_dist::ProcessGroup;
use serde_yaml::Value;

use super::config::{CompareConfig, Settings};
use crate::config::{Override, Tree, point_within};
use crate::method::TeacherRole;
use crate::plan::Plan;
use crate::run::teacher::{finished, train_teacher};
use crate::run::{Outcome, run};
use crate::run_folder::Unfinished;

/// A comparison with all its runs.
#[derive(Debug, Clone)]
pub struct Comparing {
    /// Its name.
    pub name: String,
    /// Its folder, in which each run has one.
    pub output: PathBuf,
    /// CPU threads of every run.
    pub threads: usize,
    /// The comparison's seeds.
    pub seeds: Vec<u64>,
    /// Label of the entries that the others are tested against.
    pub baseline: String,
    /// The teacher that frozen methods share.
    pub teacher: Line,
    /// What is compared, one line of the table each.
    pub lines: Vec<Line>,
    /// Whether there are rows that nothing is chosen by.
    pub has_test: bool,
    tree: Tree,
    folder: PathBuf,
}

/// A method at a depth.
#[derive(Debug, Clone)]
pub struct Line {
    /// What it is called.
    pub label: String,
    /// A preset.
    pub method: String,
    /// Student layers.
    pub depth: usize,
    /// One run for each.
    pub seeds: Vec<u64>,
    /// Settings beside the common ones.
    pub settings: Settings,
    /// Settings of which the best are taken.
    pub tries: Vec<Settings>,
    /// The key of the file that it comes from: `teacher`, or `methods[1]`.
    pub key: String,
}

/// One run.
#[derive(Debug, Clone)]
pub struct Spec {
    label: String,
    method: String,
    depth: usize,
    seed: u64,
    /// Settings beside the common ones.
    pub settings: Settings,
    /// Its number among the tries, if it is one.
    attempt: Option<usize>,
    trained: Option<PathBuf>,
}

/// The label of the shared teacher's runs.
const TEACHER: &str = "teacher";

impl Comparing {
    /// Reads a comparison's file and checks every run of it.
    ///
    /// # Errors
    /// If the file or the configuration of a run is not right; nothing has been run then.
    pub fn new(path: &Path, overrides: &[Override]) -> Result<Self> {
        let (config, mut tree) = CompareConfig::read(path, overrides)?;
        let at = || path.display().to_string();
        check(&config, &mut tree).with_context(at)?;
        let name = config.name.clone().unwrap_or_else(|| "compare".to_owned());
        let output = config.output.clone().unwrap_or_else(|| Path::new("runs").join(&name));
        let teacher = Line {
            label: TEACHER.to_owned(),
            method: TEACHER.to_owned(),
            depth: config.depths[0],
            seeds: config.seeds[..1].to_vec(),
            settings: config.teacher.set.clone(),
            tries: config.teacher.tries.clone(),
            key: TEACHER.to_owned(),
        };
        let mut comparing = Self {
            output: std::path::absolute(&output).with_context(at)?,
            threads: 0,
            seeds: config.seeds.clone(),
            baseline: config.baseline.clone().unwrap_or_else(|| "finetune".to_owned()),
            lines: lines(&config),
            folder: CompareConfig::folder(path)?,
            has_test: tree.has("data.test"),
            name,
            teacher,
            tree,
        };
        comparing.threads = comparing.check_plans(path, overrides)?;
        Ok(comparing)
    }

    /// How many runs there are.
    pub fn count(&self) -> usize {
        let of = |line: &Line| line.tries.len() + line.seeds.len();
        of(&self.teacher) + self.lines.iter().map(of).sum::<usize>()
    }

    /// Every run with what is known of it: `done`, `to run`, or `after tries` where its settings are not chosen yet.
    ///
    /// # Errors
    /// If a plan cannot be made of one.
    pub fn specs(&self) -> Result<Vec<(String, &'static str)>> {
        let is_done = |spec: &Spec| self.plan(spec).and_then(|plan| finished(&plan)).with_context(|| spec.name());
        let teacher = match self.teacher.tries.is_empty() {
            true => is_done(&self.teacher.spec(self.seeds[0], None))?.map(|folder| folder.join(TEACHER)),
            false => None,
        };
        let mut all = Vec::new();
        for line in std::iter::once(&self.teacher).chain(&self.lines) {
            let runs = line.seeds.iter().map(|&seed| line.spec(seed, teacher.as_deref()));
            for spec in line.tried(teacher.as_deref()).into_iter().chain(runs.collect::<Vec<_>>()) {
                let state = match (spec.attempt.is_none() && !line.tries.is_empty(), is_done(&spec)?) {
                    (true, _) => "after tries",
                    (false, Some(_)) => "done",
                    (false, None) => "to run",
                };
                all.push((spec.name(), state));
            }
        }
        Ok(all)
    }

    /// Checks the plan of every run; returns the threads of all. A problem points at its line in the file.
    fn check_plans(&self, path: &Path, overrides: &[Override]) -> Result<usize> {
        let mut threads = BTreeSet::new();
        for line in std::iter::once(&self.teacher).chain(&self.lines) {
            let finals = line.seeds.iter().take(1).map(|&seed| line.spec(seed, None));
            for spec in line.tried(None).into_iter().chain(finals.collect::<Vec<_>>()) {
                let own = [spec.attempt.map(|i| format!("{}.tries[{i}]", line.key)), Some(format!("{}.set", line.key))];
                let within: Vec<&str> = own.iter().flatten().map(String::as_str).chain(["run", &line.key]).collect();
                let plan = self.plan(&spec).with_context(|| spec.name());
                threads.insert(plan.map_err(|e| point_within(e, path, overrides, &within))?.threads);
            }
        }
        match threads.first() {
            Some(&one) if threads.len() == 1 => Ok(one),
            _ => bail!("{}: the runs have different `threads`, expected the same for all", path.display()),
        }
    }

    fn plan(&self, spec: &Spec) -> Result<Plan> {
        let mut tree = self.tree.clone();
        let mut set = |key: &str, value: Value| tree.set(key, value, &self.folder);
        set("method.name", spec.method.as_str().into())?;
        set("student.layers", spec.depth.into())?;
        set("seed", spec.seed.into())?;
        set("name", spec.name().into())?;
        set("output", self.output.join(spec.name()).to_string_lossy().as_ref().into())?;
        for (key, value) in &spec.settings {
            set(key, value.clone())?;
        }
        if spec.attempt.is_some() {
            set("data.test", Value::Null)?; // settings are chosen without it
        }
        let mut config = tree.config()?;
        if spec.label == TEACHER {
            train_teacher(&mut config);
        }
        let plan = Plan::new(config)?;
        match &spec.trained {
            // Teachers that the file itself names stay.
            Some(folder) if plan.method.teacher == TeacherRole::Frozen && plan.trained.is_empty() => {
                let folder = folder.to_string_lossy().into_owned();
                tree.set("teacher.trained", vec![Value::from(folder)].into(), &self.folder)?;
                Plan::new(tree.config()?)
            }
            _ => Ok(plan),
        }
    }

    /// Runs a run unless it is done. Returns its folder; none if a signal came.
    ///
    /// # Errors
    /// What the run returns.
    pub fn run(&self, spec: &Spec, stop: &Arc<AtomicBool>) -> Result<Option<PathBuf>> {
        let plan = self.plan(spec).with_context(|| spec.name())?;
        if let Some(folder) = finished(&plan)? {
            tracing::info!("done before: {}", folder.display());
            return Ok(Some(folder));
        }
        let alone = Rc::new(ProcessGroup::alone());
        match run(&plan, &Unfinished::ResumeSame, stop, &alone).with_context(|| spec.name())? {
            Outcome::Finished(summary) => Ok(Some(summary.folder)),
            Outcome::FinishedBefore(folder) | Outcome::FinishedByFirst(folder) => Ok(Some(folder)),
            Outcome::Interrupted => Ok(None),
        }
    }
}

impl Line {
    /// The run of a seed; a frozen teacher is the one in `trained`.
    pub fn spec(&self, seed: u64, trained: Option<&Path>) -> Spec {
        Spec {
            label: self.label.clone(),
            method: self.method.clone(),
            depth: self.depth,
            seed,
            settings: self.settings.clone(),
            attempt: None,
            trained: trained.map(Path::to_owned),
        }
    }

    /// The runs of its tries, with the first seed.
    pub fn tried(&self, trained: Option<&Path>) -> Vec<Spec> {
        let with = |(i, own): (usize, &Settings)| {
            let mut spec = self.spec(self.seeds[0], trained);
            spec.attempt = Some(i);
            spec.settings.extend(own.clone());
            spec
        };
        self.tries.iter().enumerate().map(with).collect()
    }
}

impl Spec {
    /// Its name, which is its folder's: letters, digits, `-` and `.` of the label, the depth, and the try or the seed.
    pub fn name(&self) -> String {
        let plain = |c: char| if c.is_alphanumeric() || c == '.' { c } else { '-' };
        let label: String = self.label.chars().map(plain).collect();
        let depth = if self.label == TEACHER { String::new() } else { format!("-{}l", self.depth) };
        match self.attempt {
            Some(i) => format!("{label}{depth}-try{}", i + 1),
            None => format!("{label}{depth}-s{}", self.seed),
        }
    }
}

fn lines(config: &CompareConfig) -> Vec<Line> {
    let mut lines = Vec::new();
    for (i, entry) in config.methods.iter().enumerate() {
        for &depth in entry.depths.as_ref().unwrap_or(&config.depths) {
            lines.push(Line {
                label: entry.label.clone().unwrap_or_else(|| entry.method.clone()),
                method: entry.method.clone(),
                depth,
                seeds: entry.seeds.clone().unwrap_or_else(|| config.seeds.clone()),
                settings: entry.set.clone(),
                tries: entry.tries.clone(),
                key: format!("methods[{i}]"),
            });
        }
    }
    lines
}

fn check(config: &CompareConfig, tree: &mut Tree) -> Result<()> {
    for key in ["method", "name", "output", "seed", "student.layers"] {
        if tree.has(key) {
            bail!("run.{key} is given, but it is what the runs differ in; expected it under methods, depths or seeds");
        }
    }
    let entries = config.methods.iter().flat_map(|entry| entry.tries.iter().chain([&entry.set]));
    for key in entries.chain(config.teacher.tries.iter()).chain([&config.teacher.set]).flat_map(|set| set.keys()) {
        if ["method.name", "method", "name", "output", "seed", "student.layers", "threads"].contains(&key.as_str()) {
            bail!(
                "{key} is set for a single method, but it is what all runs agree or differ in; expected it under run, \
                   methods, depths or seeds"
            );
        }
    }
    if let Some(baseline) = &config.baseline
        && !lines(config).iter().any(|line| line.label == *baseline)
    {
        bail!("baseline is `{baseline}`, but no entry of methods is called so");
    }
    let empty = [
        ("depths", config.depths.is_empty()),
        ("seeds", config.seeds.is_empty()),
        ("methods", config.methods.is_empty()),
    ];
    if let Some((key, _)) = empty.iter().find(|(_, is)| *is) {
        bail!("{key} is empty, expected at least one");
    }
    let mut names = BTreeSet::new();
    for line in lines(config) {
        if line.seeds.is_empty() {
            bail!("methods: {} has no seed, expected at least one", line.label);
        }
        if line.seeds.iter().collect::<BTreeSet<_>>().len() < line.seeds.len() {
            bail!("methods: {} has a seed twice in {:?}, expected each once", line.label, line.seeds);
        }
        if line.label == TEACHER {
            bail!("methods: an entry is called `teacher`, which is the shared teacher's name; expected another label");
        }
        if !names.insert(line.spec(0, None).name()) {
            bail!("methods: two entries are called {} at depth {}, expected different labels", line.label, line.depth);
        }
    }
    Ok(())
}
