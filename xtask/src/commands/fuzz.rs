//! `cargo xtask fuzz`: runs the fuzz targets in `fuzz/`, one after the other.

use std::fmt;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::commands::setup;
use crate::progress::{self, say};
use crate::scratch::Scratch;
use crate::{interrupt, libtorch, project, tool};

pub(crate) const EXAMPLES: &str = "\
Examples:
  cargo xtask fuzz                          run every target for a minute
  cargo xtask fuzz csv --seconds 600        run one target for longer
  cargo xtask fuzz csv --input crash-1a2b   run a failing input again

New inputs stay in fuzz/target/corpus for the next call, failing inputs in fuzz/artifacts. Requires rustup and Rust's
nightly toolchain.";

/// The manifest of the targets' workspace.
pub(crate) const MANIFEST: &str = "fuzz/Cargo.toml";

/// libFuzzer's limits for an input: seconds, megabytes in total, and megabytes in one allocation.
const LIMITS: [&str; 3] = ["-timeout=10", "-rss_limit_mb=2048", "-malloc_limit_mb=1024"];

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Target to run [default: all targets]
    target: Option<String>,

    /// Seconds for each target
    #[arg(long, value_name = "N", default_value = "60", value_parser = clap::value_parser!(u32).range(1..))]
    seconds: u32,

    /// Run only this input
    #[arg(long, value_name = "FILE", requires = "target")]
    input: Option<PathBuf>,
}

impl Args {
    pub(crate) fn run(self) -> Result<ExitCode> {
        let manifest = project::root().join(MANIFEST);
        let manifest = fs::read_to_string(&manifest).with_context(|| format!("cannot read {}", manifest.display()))?;
        let all = targets(&manifest);
        let is_wanted = |target: &&Target| self.target.as_deref().is_none_or(|name| name == target.name);
        let wanted: Vec<&Target> = all.iter().filter(is_wanted).collect();
        let names = all.iter().map(|target| target.name).collect::<Vec<_>>().join(", ");
        ensure!(!wanted.is_empty(), "no target {:?} found, expected one of {names}", self.target.unwrap_or_default());
        check_nightly()?;
        interrupt::catch(); // so that the folder in memory is removed before exiting
        let memory = Scratch::in_memory("fuzz");
        fs::create_dir_all(&memory.0).with_context(|| format!("cannot create {}", memory.0.display()))?;

        let mut outcomes = Vec::new();
        for target in wanted {
            say(format!("\n== {}", target.name));
            let mut command = target.command(&memory.0)?;
            match &self.input {
                Some(input) => command.arg(std::path::absolute(input)?).arg("--"),
                None => {
                    let found = project::root().join("fuzz/target/corpus").join(target.name);
                    fs::create_dir_all(&found).with_context(|| format!("cannot create {}", found.display()))?;
                    // Found inputs go to the first folder; the second is part of the project.
                    command.arg(found).arg(project::root().join("fuzz/corpus").join(target.name)).arg("--");
                    command.args([format!("-max_total_time={}", self.seconds).as_str(), "-print_final_stats=1"])
                }
            };
            outcomes.push((target.name, run_fuzzer(command.args(LIMITS))?));
            interrupt::check()?;
        }
        say("");
        outcomes.iter().for_each(|(name, outcome)| say(format!("{name:<16} {outcome}")));
        let passes = outcomes.iter().all(|(_, outcome)| outcome.passes);
        Ok(if passes { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

/// A fuzz target.
#[derive(Debug, PartialEq, Eq)]
struct Target<'a> {
    name: &'a str,
    /// It needs libtorch.
    torch: bool,
}

/// Returns the targets of a manifest.
fn targets(manifest: &str) -> Vec<Target<'_>> {
    let programs = manifest.split("[[bin]]").skip(1);
    let named = programs.filter_map(|program| Some((program, program.split_once("name = \"")?.1.split_once('"')?.0)));
    named.map(|(program, name)| Target { name, torch: program.contains("required-features = [\"torch\"]") }).collect()
}

impl Target<'_> {
    /// Returns the command that runs the fuzzer, without inputs; targets write their files to `memory`.
    fn command(&self, memory: &Path) -> Result<Command> {
        let mut command = Command::new(tool::FUZZ.ensure()?);
        command
            .current_dir(project::root())
            .arg("run")
            // Overrides the toolchain that runs xtask. Without CARGO, cargo-fuzz looks up cargo in `PATH`.
            .env("RUSTUP_TOOLCHAIN", NIGHTLY)
            .env_remove("CARGO")
            .env("TMPDIR", memory)
            // Inputs are small: more threads would only wait for each other.
            .envs(["RAYON_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"].map(|name| (name, "1")))
            // libtorch never frees some of its memory.
            .env("ASAN_OPTIONS", "detect_leaks=0");
        if self.torch {
            let libtorch = libtorch::ensure(None)?;
            let environment = setup::environment(&libtorch, setup::gloo_headers().as_deref())?;
            command.envs(environment).args(["--features", "torch"]);
        }
        command.arg(self.name);
        Ok(command)
    }
}

const NIGHTLY: &str = "nightly";

/// Checks for the nightly toolchain, the only one with sanitizers.
fn check_nightly() -> Result<()> {
    let version = Command::new("rustup").args(["run", NIGHTLY, "rustc", "--version"]).output();
    let version = version.context("fuzzing needs rustup to run Rust's nightly toolchain")?;
    ensure!(
        version.status.success(),
        "fuzzing needs Rust's nightly toolchain: run `rustup toolchain install {NIGHTLY}` ({})",
        String::from_utf8_lossy(&version.stderr).lines().next().unwrap_or_default()
    );
    Ok(())
}

/// The result of a target.
#[derive(Debug, Default, PartialEq, Eq)]
struct Outcome {
    passes: bool,
    executions: u64,
    time: Duration,
}

/// Runs the fuzzer and shows its output.
fn run_fuzzer(command: &mut Command) -> Result<Outcome> {
    let mut child = command.stderr(Stdio::piped()).spawn().context("cannot start cargo-fuzz")?;
    let mut outcome = Outcome::default();
    let mut began = Instant::now();
    for line in child.stderr.take().map(BufReader::new).into_iter().flat_map(|lines| lines.split(b'\n')) {
        let line = line?;
        let line = String::from_utf8_lossy(&line);
        if line.starts_with("INFO: Seed:") {
            began = Instant::now(); // building does not count
        }
        if let Some(executions) = executions(&line) {
            outcome.executions = executions;
        }
        say(&line);
    }
    outcome.time = began.elapsed();
    outcome.passes = child.wait()?.success();
    Ok(outcome)
}

/// Returns the number of inputs, which libFuzzer prints occasionally ("#4096 pulse cov: …") and at the end.
fn executions(line: &str) -> Option<u64> {
    let last = line.strip_prefix("stat::number_of_executed_units:");
    last.or_else(|| line.strip_prefix('#')?.split_whitespace().next())?.trim().parse().ok()
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = if self.passes { "passes" } else { "FAILS: see the input in fuzz/artifacts" };
        let per_second = self.executions as f64 / self.time.as_secs_f64().max(1e-3);
        let time = progress::duration(self.time);
        write!(f, "{:>12} inputs in {time}, {per_second:.0} per second: {verdict}", self.executions)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_target_has_a_file_and_seeds() {
        let root = project::root().join("fuzz");
        let manifest = fs::read_to_string(root.join("Cargo.toml")).unwrap();
        let mut listed: Vec<_> = targets(&manifest).iter().map(|target| format!("{}.rs", target.name)).collect();
        listed.sort();
        let files = fs::read_dir(root.join("fuzz_targets")).unwrap();
        let mut files: Vec<_> = files.map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
        files.sort();
        assert_eq!(listed, files);
        for target in targets(&manifest) {
            let seeds = fs::read_dir(root.join("corpus").join(target.name)).map_or(0, Iterator::count);
            assert!(seeds > 0, "{} has no seed", target.name);
        }
    }

    /// Fuzzing uses the versions of the workspace, which CI has already built.
    #[test]
    fn the_targets_lock_file_has_the_workspace_s_versions() {
        const FUZZ_ONLY: [&str; 3] = ["arbitrary", "libfuzzer-sys", "nb-fuzz"];
        let root = project::root();
        let packages = |file: &str| {
            let text = fs::read_to_string(root.join(file)).unwrap();
            let lines: Vec<String> = text.lines().map(str::to_owned).collect();
            lines
                .windows(2)
                .filter(|pair| pair[0].starts_with("name = "))
                .map(|pair| pair.join(" "))
                .collect::<Vec<_>>()
        };
        let ours = packages("Cargo.lock");
        let is_fuzz_only = |line: &String| FUZZ_ONLY.iter().any(|name| line.starts_with(&format!("name = {name:?}")));
        let others: Vec<_> =
            packages("fuzz/Cargo.lock").into_iter().filter(|it| !ours.contains(it) && !is_fuzz_only(it)).collect();
        assert!(
            ours.len() > 100 && others.is_empty(),
            "expected the workspace's versions; copy Cargo.lock to fuzz/ and run cargo there: {others:?}"
        );
    }

    #[test]
    fn targets_that_need_libtorch_are_recognised() {
        let manifest =
            "[package]\nname = \"x\"\n[[bin]]\nname = \"a\"\n[[bin]]\nname = \"b\"\nrequired-features = [\"torch\"]\n";
        assert_eq!(targets(manifest), [Target { name: "a", torch: false }, Target { name: "b", torch: true }]);
    }

    #[test]
    fn the_last_count_is_the_number_of_inputs() {
        assert_eq!(executions("#4096\tpulse  cov: 88 ft: 120 corp: 9/82b"), Some(4096));
        assert_eq!(executions("stat::number_of_executed_units: 5120"), Some(5120));
        assert_eq!(executions("INFO: Seed: 1"), None);
        let outcome = Outcome { passes: true, executions: 600, time: Duration::from_secs(60) };
        assert_eq!(outcome.to_string(), "         600 inputs in 1 min 00 s, 10 per second: passes");
    }
}
