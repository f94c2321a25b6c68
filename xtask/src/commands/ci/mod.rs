//! `cargo xtask ci`: all that must hold before a change goes in, cheapest first. The first failure ends it.

mod arrows;
mod cycles;
mod dependencies;
mod outside;
mod process;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::commands::{fuzz, test};
use crate::progress::{self, say};
use crate::scratch::Scratch;
use crate::{libtorch, project};
use process::succeed;

/// A step's name and what it does.
type Step = (&'static str, fn() -> Result<()>);

/// All steps that compile for libtorch do so optimised, in one target folder: its bindings alone take minutes.
const STEPS: [Step; 10] = [
    ("format", format),
    ("arrows between crates", arrows::check),
    ("import cycles", cycles::check),
    ("dependencies", dependencies::check),
    ("clippy", || cargo(["clippy", "--release", "--workspace", "--all-targets", "--", "--deny", "warnings"])),
    ("fuzz targets", fuzz_targets),
    ("docs", docs),
    ("tests", tests),
    ("crates from outside", outside::check),
    ("a short training run", training),
];

pub(crate) const EXAMPLES: &str = "\
Examples:
  cargo xtask ci
  cargo xtask ci docs     only the steps whose names hold \"docs\"";

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Run only the steps whose names hold this
    step: Option<String>,
}

impl Args {
    pub(crate) fn run(self) -> Result<ExitCode> {
        let wanted = self.step.unwrap_or_default();
        let steps: Vec<_> = STEPS.iter().filter(|(name, _)| name.contains(&wanted)).collect();
        let names = STEPS.map(|(name, _)| name).join(", ");
        ensure!(!steps.is_empty(), "no step's name holds {wanted:?}: there are {names}");
        libtorch::ensure(None)?;
        let mut took: Vec<(&str, Duration)> = Vec::new();
        for (index, (name, step)) in steps.iter().enumerate() {
            say(format!("\n== {} of {}: {name}", index + 1, steps.len()));
            let started = Instant::now();
            step().with_context(|| format!("step {name:?} failed"))?;
            took.push((name, started.elapsed()));
        }
        say("\nall steps pass");
        for (name, time) in took {
            say(format!("  {name:<24} {}", progress::duration(time)));
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn format() -> Result<()> {
    cargo(["fmt", "--all", "--check"])?;
    cargo(["fmt", "--manifest-path", fuzz::MANIFEST, "--check"])
}

/// Checks the fuzz targets without libFuzzer, so that the toolchain at hand is enough. All that they stand on has been
/// checked by clippy before.
fn fuzz_targets() -> Result<()> {
    let mut command = project::cargo();
    command
        .args(["clippy", "--locked", "--release", "--no-default-features", "--features", "torch", "--all-targets"])
        .args(["--manifest-path", fuzz::MANIFEST, "--", "--deny", "warnings"])
        .env("CARGO_TARGET_DIR", project::target());
    succeed(&mut command)
}

fn docs() -> Result<()> {
    let mut command = project::cargo();
    command.args(["doc", "--release", "--workspace", "--no-deps"]);
    // This takes the place of the flags in local.toml, of which nothing matters here: no documentation is linked.
    succeed(command.env("RUSTDOCFLAGS", "--deny warnings"))
}

fn tests() -> Result<()> {
    ensure!(test::Args::default().run()? == ExitCode::SUCCESS, "a test failed");
    Ok(())
}

/// Trains as a user does, on a config so small that it takes seconds, into a folder of its own.
fn training() -> Result<()> {
    let run = Scratch::new("ci-run");
    let output = format!("output={}", run.0.display());
    cargo(["xtask", "train", "--config", "configs/ci.yaml", "--set", &output])?;
    let summary = run.0.join("summary.json");
    ensure!(summary.is_file(), "the run left no {}", summary.display());
    Ok(())
}

fn cargo<const N: usize>(args: [&str; N]) -> Result<()> {
    succeed(project::cargo().args(args))
}
