//! Downloads wheels with pip, which knows the user's index, proxy and certificates, and checks their hashes.
//!
//! One call for each wheel, with the platform tag of the file, so that neither the version of Python nor the tags known
//! to pip matter.

use std::fs::{self, File};
use std::io::{self, PipeWriter, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use indicatif::ProgressBar;
use sha2::{Digest, Sha256};

use super::disk::remove;
use super::package::Wheel;
use super::python::Python;
use super::staging::Staging;
use crate::{interrupt, progress};

const POLL: Duration = Duration::from_millis(100);

/// The part of pip's output that an error shows.
const SHOWN_LINES: usize = 12;
const SHOWN_COLUMNS: usize = 160;

/// Returns the wheels that are not complete in `folder`. Incomplete files are removed.
pub(super) fn missing(wheels: &'static [Wheel], folder: &Path) -> Result<Vec<&'static Wheel>> {
    let mut missing = Vec::new();
    for wheel in wheels {
        let path = wheel.path(folder);
        if !path.exists() {
            missing.push(wheel);
        } else if sha256(&path)? != wheel.sha256 {
            remove(&path)?;
            missing.push(wheel);
        }
    }
    Ok(missing)
}

/// Downloads `wheels` into `folder`.
pub(super) fn download(python: &Python, wheels: &[&Wheel], folder: &Path, staging: &Staging) -> Result<()> {
    let bar = progress::bytes("downloading".to_owned(), wheels.iter().map(|wheel| wheel.bytes).sum());
    let scratch = staging.scratch()?;
    for wheel in wheels {
        bar.set_message(format!("downloading {}", wheel.name));
        let call = PipCall { python, wheel, scratch: scratch.clone() };
        let file = call.run(&bar)?;
        let path = wheel.path(folder);
        // Not an atomic write: pip has written the file, and its hash is checked before it is used after an interrupt.
        fs::rename(&file, &path).with_context(|| format!("cannot create {}", path.display()))?;
    }
    bar.finish_and_clear();
    Ok(())
}

/// Returns the SHA-256 of a file, in hexadecimal.
pub(crate) fn sha256(path: &Path) -> Result<String> {
    let mut hasher = Sha256::new();
    let mut file = File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
    let mut buffer = vec![0; 1 << 20];
    loop {
        interrupt::check()?;
        match file.read(&mut buffer).with_context(|| format!("cannot read {}", path.display()))? {
            0 => {
                return Ok(hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect());
            }
            n => hasher.update(&buffer[..n]),
        }
    }
}

struct PipCall<'a> {
    python: &'a Python,
    wheel: &'a Wheel,
    scratch: PathBuf,
}

impl PipCall<'_> {
    /// Runs pip, advances `bar` as its file grows, and returns the path of the file.
    fn run(&self, bar: &ProgressBar) -> Result<PathBuf> {
        let Wheel { name, version, .. } = self.wheel;
        let before = bar.position();
        // In memory: a log file could not report a full disk.
        let (mut output, log) = io::pipe().context("cannot create a pipe")?;
        let mut child = Reaped(self.spawn(log).with_context(|| format!("cannot start {}", self.python))?);
        let output = thread::spawn(move || {
            let mut text = Vec::new();
            // The output before an error is still worth showing.
            _ = output.read_to_end(&mut text);
            String::from_utf8_lossy(&text).into_owned()
        });
        let status = loop {
            if let Some(status) = child.0.try_wait()? {
                break status;
            }
            interrupt::check()?;
            bar.set_position(before + bytes_below(&self.scratch.join(name)).min(self.wheel.bytes));
            thread::sleep(POLL);
        };
        interrupt::check()?;
        if !status.success() {
            bar.abandon();
            let output = output.join().unwrap_or_default();
            let shown: Vec<_> = output.lines().rev().take(SHOWN_LINES).collect();
            let shown: String = shown.iter().rev().map(|line| format!("\n  | {line:.SHOWN_COLUMNS$}")).collect();
            bail!("pip could not download {name} {version}: {}{shown}", reason(&output));
        }
        bar.set_position(before + self.wheel.bytes);
        let files = fs::read_dir(self.scratch.join(name).join("out"))
            .with_context(|| format!("pip downloaded no file of {name}"))?;
        let mut wheels = files.filter_map(|entry| Some(entry.ok()?.path()));
        wheels.next().with_context(|| format!("pip downloaded no file of {name}"))
    }

    fn spawn(&self, log: PipeWriter) -> Result<Child> {
        let Wheel { name, version, platform, sha256, .. } = self.wheel;
        let folder = self.scratch.join(name);
        let temporary = folder.join("tmp");
        fs::create_dir_all(&temporary)?;
        let requirements = folder.join("requirements.txt");
        fs::write(&requirements, format!("{name}=={version} --hash=sha256:{sha256}\n"))?;
        let child = Command::new(self.python.program)
            // The wheels of `torch` differ only in their Python modules, which are not used.
            .args(["-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--python-version", "3.11"])
            .args(["--implementation", "cp", "--abi", "cp311", "--platform", platform])
            .args(["--no-cache-dir", "--progress-bar", "off", "--disable-pip-version-check", "--no-input"])
            .args(["--require-hashes", "--requirement"])
            .arg(&requirements)
            .arg("--dest")
            .arg(folder.join("out"))
            // Nothing is installed, so the rule to install only in virtual environments does not apply.
            .env("PIP_REQUIRE_VIRTUALENV", "0")
            .env("TMPDIR", &temporary)
            // `python -m` would import a pip.py in the caller's folder.
            .current_dir(&folder)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()?;
        Ok(child)
    }
}

/// A process that is killed when dropped.
struct Reaped(Child);

impl Drop for Reaped {
    fn drop(&mut self) {
        // Both fail only if the process has already ended.
        _ = self.0.kill();
        _ = self.0.wait();
    }
}

/// Returns the total size of the files in `folder`. Files that vanish meanwhile do not count.
fn bytes_below(folder: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(folder) else {
        return 0;
    };
    entries
        .flatten()
        .map(|entry| match entry.file_type() {
            Ok(kind) if kind.is_dir() => bytes_below(&entry.path()),
            Ok(_) => entry.metadata().map_or(0, |metadata| metadata.len()),
            Err(_) => 0,
        })
        .sum()
}

/// Returns advice for a failure of pip with this output.
fn reason(output: &str) -> &'static str {
    const REASONS: [(&[&str], &str); 5] = [
        (
            &["No space left on device", "Disk quota exceeded"],
            "the disk is full: free some space and run the command again, or set XDG_CACHE_HOME to a folder on a larger disk",
        ),
        (
            &["CERTIFICATE_VERIFY_FAILED", "SSLError", "SSL module is not available"],
            "cannot verify the index: if a proxy has its own certificate, set PIP_CERT to its file",
        ),
        (
            &["DO NOT MATCH THE HASHES", "do not match the hashes"],
            "the index returned a file other than the pinned one: try again, or set PIP_INDEX_URL to another index",
        ),
        (
            &["NewConnectionError", "ConnectTimeoutError", "ReadTimeoutError", "ProxyError", "Connection aborted"],
            "cannot reach the package index: check the network, set HTTPS_PROXY or PIP_INDEX_URL if you have a proxy or \
             your own index, and run the command again",
        ),
        (
            &["No matching distribution found"],
            "the index does not contain it: check PIP_INDEX_URL and pip's configuration",
        ),
    ];
    let matching = REASONS.iter().find(|(signs, _)| signs.iter().any(|sign| output.contains(sign)));
    matching.map_or("its output was:", |(_, reason)| reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_known_failure_of_pip_gets_its_advice() {
        let unreachable = "WARNING: Retrying (Retry(total=0)) after connection broken by 'NewConnectionError(...)'\n\
                           ERROR: No matching distribution found for torch==2.11.0";
        assert!(reason(unreachable).starts_with("cannot reach the package index"));
        assert!(reason("ERROR: No matching distribution found for torch==2.11.0").starts_with("the index does not"));
        assert!(reason("OSError: [Errno 28] No space left on device").starts_with("the disk is full"));
        assert!(reason("ERROR: THESE PACKAGES DO NOT MATCH THE HASHES").starts_with("the index returned a file"));
        assert_eq!(reason("Traceback"), "its output was:");
    }

    #[test]
    fn an_incomplete_wheel_is_downloaded_again() {
        const WHEELS: &[Wheel] = &[Wheel {
            name: "thing",
            version: "1",
            platform: "any",
            bytes: 3,
            sha256: "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
        }];
        let folder = tempfile::tempdir().unwrap();
        let path = WHEELS[0].path(folder.path());
        assert_eq!(missing(WHEELS, folder.path()).unwrap().len(), 1);
        fs::write(&path, "ab").unwrap();
        assert_eq!(missing(WHEELS, folder.path()).unwrap().len(), 1);
        assert!(!path.exists());
        fs::write(&path, "abc").unwrap();
        assert_eq!(missing(WHEELS, folder.path()).unwrap(), Vec::<&Wheel>::new());
    }
}
