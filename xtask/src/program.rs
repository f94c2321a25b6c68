//! Builds a binary of the workspace, and replaces this process with it.

use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};
use std::thread;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::progress::{self, say};
use crate::project;

/// A binary of the workspace.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Program {
    package: &'static str,
    name: &'static str,
}

/// The binary that trains models and uses them.
pub(crate) const NB: Program = Program { package: "nb", name: "nb" };

/// The binary of the benchmarks.
pub(crate) const BENCH: Program = Program { package: "nb-bench", name: "nb-bench" };

/// Builds `program` and returns its path. Prints nothing if there is nothing to build.
pub(crate) fn build(program: Program) -> Result<PathBuf> {
    let Program { package, name } = program;
    let started = Instant::now();
    let mut child = project::cargo()
        .args(["build", "--release", "--package", package, "--bin", name])
        .args(["--message-format=json-render-diagnostics", "--color=never"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context("cannot start cargo")?;
    let (messages, errors) = (child.stdout.take(), child.stderr.take());
    let watcher = thread::spawn(move || errors.map(|errors| watch_build(name, errors)).unwrap_or_default());
    let executable = messages.and_then(|messages| {
        let lines = BufReader::new(messages).lines().map_while(Result::ok);
        lines.filter_map(|line| executable(name, &line)).last()
    });
    let status = child.wait()?;
    let log = watcher.join().unwrap_or_default();
    if !status.success() {
        eprint!("{}", log.text);
        bail!("cannot build {name}: run `cargo xtask doctor` to see what is missing");
    }
    if log.compiled {
        say(format!("built {name} in {}", progress::duration(started.elapsed())));
    }
    executable.with_context(|| format!("cargo did not report the path of {name}"))
}

/// The output of cargo on standard error.
#[derive(Default)]
struct BuildLog {
    text: String,
    compiled: bool,
}

/// Shows the crate being compiled until cargo is done.
fn watch_build(program: &str, errors: impl std::io::Read) -> BuildLog {
    let mut log = BuildLog::default();
    let mut spinner = None;
    let mut n_compiled = 0;
    for line in BufReader::new(errors).lines().map_while(Result::ok) {
        if let Some(name) = line.trim_start().strip_prefix("Compiling ") {
            let spinner = spinner.get_or_insert_with(|| {
                say(format!("building {program} (this takes some minutes the first time)"));
                progress::spinner(String::new())
            });
            n_compiled += 1;
            let name = name.split_whitespace().next().unwrap_or(name);
            spinner.set_message(format!("compiling {name}, crate {n_compiled}"));
            log.compiled = true;
        }
        log.text.push_str(&line);
        log.text.push('\n');
    }
    if let Some(spinner) = spinner {
        spinner.finish_and_clear();
    }
    log
}

/// Returns the path of the binary `name` if `message` is cargo's message about it.
fn executable(name: &str, message: &str) -> Option<PathBuf> {
    let message: Value = serde_json::from_str(message).ok()?;
    if message["target"]["name"] != name {
        return None;
    }
    message["executable"].as_str().map(PathBuf::from)
}

/// Replaces this process with `command`, in the caller's folder, so that signals reach it and its exit code is returned.
///
/// # Errors
///
/// It cannot be started.
pub(crate) fn hand_over(command: &mut Command) -> Result<ExitCode> {
    let error = command.exec();
    Err(error).with_context(|| format!("cannot start {}", command.get_program().display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_binary_s_path_is_in_cargo_s_message_about_it() {
        let message = r#"{"reason":"compiler-artifact","target":{"name":"nb","kind":["bin"]},"executable":"/t/nb"}"#;
        assert_eq!(executable("nb", message), Some("/t/nb".into()));
        assert_eq!(executable("nb-bench", message), None);
        let library = r#"{"reason":"compiler-artifact","target":{"name":"nb_loss"},"executable":null}"#;
        assert_eq!(executable("nb", library), None);
    }
}
