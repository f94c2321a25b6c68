//! `cargo xtask ci`: the checks that every change must pass, cheapest first. It stops at the first failure.

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

/// A step: its name and its check.
type Step = (&'static str, fn() -> Result<()>);

/// The steps. Those that need libtorch compile with optimisation into one target folder, since its bindings alone take
/// minutes.
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
  cargo xtask ci docs     only the steps whose names contain \"docs\"";

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Run only the steps whose names contain this text
    step: Option<String>,
}

impl Args {
    pub(crate) fn run(self) -> Result<ExitCode> {
        let wanted = self.step.unwrap_or_default();
        let steps: Vec<_> = STEPS.iter().filter(|(name, _)| name.contains(&wanted)).collect();
        let names = STEPS.map(|(name, _)| name).join(", ");
        ensure!(!steps.is_empty(), "no step's name contains {wanted:?}, expected part of one of {names}");
        libtorch::ensure(None)?;
        let mut times: Vec<(&str, Duration)> = Vec::new();
        for (index, (name, step)) in steps.iter().enumerate() {
            say(format!("\n== {} of {}: {name}", index + 1, steps.len()));
            let started = Instant::now();
            step().with_context(|| format!("step {name:?} failed"))?;
            times.push((name, started.elapsed()));
        }
        say("\nall steps pass");
        for (name, time) in times {
            say(format!("  {name:<24} {}", progress::duration(time)));
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn format() -> Result<()> {
    cargo(["fmt", "--all", "--check"])?;
    cargo(["fmt", "--manifest-path", fuzz::MANIFEST, "--check"])
}

/// Checks the fuzz targets without libFuzzer, so that the stable toolchain is enough. The step "clippy" has already
/// checked their dependencies.
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
    // Replaces the flags in local.toml, which are for linking and do not matter here.
    succeed(command.env("RUSTDOCFLAGS", "--deny warnings"))
}

fn tests() -> Result<()> {
    ensure!(test::Args::default().run()? == ExitCode::SUCCESS, "a test failed");
    Ok(())
}

/// Trains as a user does, for a few seconds, into a temporary folder.
fn training() -> Result<()> {
    let run = Scratch::new("ci-run");
    let output = format!("output={}", run.0.display());
    cargo(["xtask", "train", "--config", "configs/ci.yaml", "--set", &output])?;
    let summary = run.0.join("summary.json");
    ensure!(summary.is_file(), "the run wrote no {}", summary.display());
    Ok(())
}

fn cargo<const N: usize>(args: [&str; N]) -> Result<()> {
    succeed(project::cargo().args(args))
}
