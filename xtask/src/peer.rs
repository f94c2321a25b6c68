//! The Python environment of `bench --against`: a virtual environment in the user's cache, created once with pip.
//!
//! [`install::make`] creates it, so it is never incomplete. It contains its requirements as a mark: changed requirements
//! replace it.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::install::{self, Python};
use crate::project;

/// The variable that names an interpreter of the user with the required packages.
const VARIABLE: &str = "NB_BENCH_PYTHON";

/// The requirements of the environment, relative to the project.
const REQUIREMENTS: &str = "crates/nb-bench/peer/requirements.txt";

/// The mark of an environment: its requirements.
const MARK: &str = "requirements.txt";

/// Disk space of the environment on Linux, where PyTorch's wheels include CUDA, and of pip's temporary files.
const BYTES: u64 = 9_000_000_000;

/// Returns an interpreter with the packages of the peers; creates its environment if it is missing.
pub(crate) fn ensure() -> Result<PathBuf> {
    if let Some(named) = env::var_os(VARIABLE).filter(|path| !path.is_empty()).map(PathBuf::from) {
        let found = project::which(&named.to_string_lossy());
        return found.with_context(|| format!("{VARIABLE} is {}, but no such program exists", named.display()));
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

/// Returns true if `folder` is a complete environment with exactly these requirements.
fn is_made(folder: &Path, requirements: &str) -> bool {
    let marked = fs::read_to_string(folder.join(MARK)).is_ok_and(|mark| mark == requirements);
    marked && interpreter(folder).is_file()
}

fn make(folder: &Path, requirements: &str) -> Result<()> {
    let title = "the Python environment of the bench";
    install::make(title, folder, BYTES, |folder| is_made(folder, requirements), |folder| fill(folder, requirements))
        .with_context(|| {
            format!("set {VARIABLE} to an interpreter with the packages of {REQUIREMENTS} to use it instead")
        })
}

fn fill(folder: &Path, requirements: &str) -> Result<()> {
    let python = Python::find()?;
    install::run(Command::new(python.program).args(["-m", "venv"]).arg(folder))?;
    let mark = folder.join(MARK);
    fs::write(&mark, requirements).with_context(|| format!("cannot write {}", mark.display()))?;
    install::run(
        Command::new(interpreter(folder))
            .args(["-m", "pip", "install", "--disable-pip-version-check", "--no-input", "--progress-bar", "off"])
            .args(["--quiet", "--only-binary=:all:", "--requirement"])
            .arg(&mark)
            // `python -m` would take a pip.py from the caller's folder.
            .current_dir(folder),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_environment_is_used_only_if_complete_and_with_these_requirements() {
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
