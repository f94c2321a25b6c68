//! The Python environment of `bench --against`: a virtual environment in the user's cache, made once by pip.
//!
//! It is made in `<folder>.partial` under a lock, marked with the requirements that it was made from, and renamed; so it is
//! there complete or not at all, and other requirements make another one.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::install::{self, Python};
use crate::project;

/// Names an interpreter of the user's own that has what the requirements list.
const VARIABLE: &str = "NB_BENCH_PYTHON";

/// What the environment holds, below the project's root.
const REQUIREMENTS: &str = "crates/nb-bench/peer/requirements.txt";

/// The mark of a finished environment: its requirements.
const MARK: &str = "requirements.txt";

/// What the environment takes on Linux, where PyTorch's wheels bring CUDA along, and what pip needs beside it.
const BYTES: u64 = 9_000_000_000;

/// Gives an interpreter that has what the peers need; makes its environment where it is missing.
pub(crate) fn ensure() -> Result<PathBuf> {
    if let Some(own) = env::var_os(VARIABLE).filter(|path| !path.is_empty()).map(PathBuf::from) {
        let found = project::which(&own.to_string_lossy());
        return found.with_context(|| format!("{VARIABLE} is {}: there is no such program", own.display()));
    }
    let requirements = fs::read_to_string(project::root().join(REQUIREMENTS))
        .with_context(|| format!("cannot read {REQUIREMENTS}"))?;
    let folder = project::cache()?.join("bench-python");
    if !is_made(&folder, &requirements) {
        make(&folder, &requirements)?;
    }
    Ok(interpreter(&folder))
}

fn interpreter(folder: &Path) -> PathBuf {
    folder.join("bin").join("python")
}

/// Whether `folder` is a whole environment with just these requirements.
fn is_made(folder: &Path, requirements: &str) -> bool {
    let marked = fs::read_to_string(folder.join(MARK)).is_ok_and(|mark| mark == requirements);
    marked && interpreter(folder).is_file()
}

fn make(folder: &Path, requirements: &str) -> Result<()> {
    let title = "the Python environment of the bench";
    install::make(title, folder, BYTES, |folder| is_made(folder, requirements), |folder| fill(folder, requirements))
        .with_context(|| format!("{VARIABLE} may name an interpreter of yours that has what {REQUIREMENTS} lists"))
}

fn fill(folder: &Path, requirements: &str) -> Result<()> {
    let python = Python::find()?;
    install::run(Command::new(python.program).args(["-m", "venv"]).arg(folder))?;
    let list = folder.join("wanted.txt");
    fs::write(&list, requirements).with_context(|| format!("cannot write {}", list.display()))?;
    install::run(
        Command::new(interpreter(folder))
            .args(["-m", "pip", "install", "--disable-pip-version-check", "--no-input", "--progress-bar", "off"])
            .args(["--quiet", "--only-binary=:all:", "--requirement"])
            .arg(&list)
            // `python -m` would take a pip.py from the caller's folder.
            .current_dir(folder),
    )?;
    // The mark comes last: what is interrupted before has none.
    fs::rename(&list, folder.join(MARK)).context("cannot mark the environment")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_environment_counts_only_when_it_is_whole_and_of_these_requirements() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("bin")).unwrap();
        fs::write(interpreter(folder.path()), "").unwrap();
        assert!(!is_made(folder.path(), "torch==1\n"), "no mark");
        fs::write(folder.path().join(MARK), "torch==1\n").unwrap();
        assert!(is_made(folder.path(), "torch==1\n") && !is_made(folder.path(), "torch==2\n"));
        fs::remove_file(interpreter(folder.path())).unwrap();
        assert!(!is_made(folder.path(), "torch==1\n"), "no interpreter");
    }

    #[test]
    fn every_requirement_is_pinned_and_torch_is_libtorch_s_version() {
        let text = fs::read_to_string(project::root().join(REQUIREMENTS)).unwrap();
        let lines: Vec<_> = text.lines().filter(|line| !line.starts_with('#') && !line.is_empty()).collect();
        assert!(lines.iter().all(|line| line.contains("==")), "{text}");
        assert!(lines.contains(&format!("torch=={}", crate::libtorch::VERSION).as_str()), "{text}");
    }
}
