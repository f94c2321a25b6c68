//! `cargo xtask test`: runs all tests of the workspace, or those whose names contain a filter.
//!
//! The crates that need no libtorch come first, in xtask's profile, with arithmetic checks. The others follow, with
//! optimisation: they share libtorch's bindings and all dependencies with `nb`, and run real models.
//!
//! A test that needs a feature such as AVX-512 is skipped on a machine without it. On a machine with it, `NB_REQUIRE`
//! names the feature and the test must run.

use std::io::{BufRead, BufReader, Write};
use std::process::{ExitCode, Stdio};
use std::time::Instant;

use anyhow::{Context, Result};

use crate::progress::{self, say};
use crate::{features, libtorch, project};

pub(crate) const EXAMPLES: &str = "\
Examples:
  cargo xtask test                         all tests
  cargo xtask test conformance             those whose names contain \"conformance\"
  cargo xtask test csv -- --nocapture      arguments after -- go to the test programs";

/// The crates that need no libtorch.
pub(crate) const WITHOUT_TORCH: [&str; 9] =
    ["nb-checkpoint", "nb-cpu", "nb-data", "nb-eval", "nb-export", "nb-files", "nb-report", "nb-testing", "xtask"];

#[derive(Debug, Default, clap::Args)]
pub(crate) struct Args {
    /// Run only tests whose names contain this text
    filter: Option<String>,

    /// Arguments for the test programs
    #[arg(last = true)]
    args: Vec<String>,
}

impl Args {
    pub(crate) fn run(&self) -> Result<ExitCode> {
        let libtorch = libtorch::ensure(None)?;
        let required = std::env::var(features::VARIABLE).unwrap_or_else(|_| features::of_machine(&libtorch));
        if !required.is_empty() {
            say(format!("tests that need {required} must run and are not skipped ({})", features::VARIABLE));
        }
        let started = Instant::now();
        let light = WITHOUT_TORCH.iter().flat_map(|name| ["--package", name]);
        let mut tally = self.cargo_test(&required, ["--profile", "light"].into_iter().chain(light))?;
        let rest = WITHOUT_TORCH.iter().flat_map(|name| ["--exclude", name]);
        tally += self.cargo_test(&required, ["--release", "--workspace"].into_iter().chain(rest))?;

        if let (Some(filter), 0, true) = (&self.filter, tally.found(), tally.ok) {
            say(format!("error: no test's name contains {filter:?}"));
            return Ok(ExitCode::FAILURE);
        }
        say(format!("{tally} in {}", progress::duration(started.elapsed())));
        Ok(if tally.ok { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }

    /// Runs `cargo test` with `selection` and the features `required`, shows its output and counts the results.
    fn cargo_test<'a>(&'a self, required: &str, selection: impl IntoIterator<Item = &'a str>) -> Result<Tally> {
        let mut command = project::cargo();
        command.args(["test", "--no-fail-fast"]).args(selection).args(&self.filter);
        // Many tests run at once: waiting threads must yield the cores to working ones, or the tests take minutes on
        // a machine with few free cores.
        command.env("OMP_WAIT_POLICY", "passive").env(features::VARIABLE, required);
        if !self.args.is_empty() {
            command.arg("--").args(&self.args);
        }
        let mut child = command.stdout(Stdio::piped()).spawn().context("cannot start cargo")?;
        let mut tally = Tally::default();
        let mut screen = std::io::stdout().lock();
        for line in child.stdout.take().map(BufReader::new).into_iter().flat_map(|lines| lines.split(b'\n')) {
            let line = line?;
            screen.write_all(&line)?;
            screen.write_all(b"\n")?;
            tally.count(&String::from_utf8_lossy(&line));
        }
        tally.ok = child.wait()?.success();
        Ok(tally)
    }
}

/// The numbers of tests by result.
#[derive(Debug, Default, PartialEq, Eq)]
struct Tally {
    passed: u64,
    failed: u64,
    ignored: u64,
    /// True if cargo reports success: a crash or a compiler error leaves no line to count.
    ok: bool,
}

impl Tally {
    /// Adds the counts of a test program's last line: "test result: ok. 3 passed; 0 failed; 1 ignored; …".
    fn count(&mut self, line: &str) {
        let Some((_, counts)) = line.strip_prefix("test result: ").and_then(|rest| rest.split_once(". ")) else {
            return;
        };
        for (number, kind) in counts.split("; ").filter_map(|part| part.split_once(' ')) {
            let Ok(number) = number.parse::<u64>() else {
                continue;
            };
            match kind {
                "passed" => self.passed += number,
                "failed" => self.failed += number,
                "ignored" => self.ignored += number,
                _ => {}
            }
        }
    }

    fn found(&self) -> u64 {
        self.passed + self.failed + self.ignored
    }
}

impl std::ops::AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.ignored += other.ignored;
        self.ok &= other.ok;
    }
}

impl std::fmt::Display for Tally {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { passed, failed, ignored, ok } = self;
        let verdict = if *ok { "all tests pass" } else { "tests fail" };
        write!(f, "{verdict}: {passed} passed, {failed} failed, {ignored} ignored")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_of_several_programs_add_up() {
        let mut tally = Tally { ok: true, ..Tally::default() };
        tally.count("running 4 tests");
        tally.count("test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 12 filtered out; finished in 0.00s");
        tally.count(
            "test result: FAILED. 10 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out; finished in 1.20s",
        );
        assert_eq!(tally, Tally { passed: 13, failed: 2, ignored: 1, ok: true });
        tally += Tally { passed: 1, failed: 0, ignored: 0, ok: false };
        assert_eq!(tally.to_string(), "tests fail: 14 passed, 2 failed, 1 ignored");
    }

    #[test]
    fn tests_that_were_filtered_out_are_not_found() {
        let mut tally = Tally::default();
        tally.count("test result: ok. 0 passed; 0 failed; 0 ignored; 0 measured; 12 filtered out; finished in 0.00s");
        assert_eq!(tally.found(), 0);
    }
}
