//! Finds a Python with pip.

use std::process::{Command, Stdio};

use anyhow::{Result, bail};

/// The oldest supported Python.
const OLDEST: (u32, u32) = (3, 9);

/// The oldest supported pip: earlier ones read 3.11 as 3.1.1 when they choose a wheel.
const OLDEST_PIP: (u32, u32, u32) = (20, 3, 4);

/// Names to look for in `PATH`, best first.
const NAMES: [&str; 8] =
    ["python3", "python", "python3.14", "python3.13", "python3.12", "python3.11", "python3.10", "python3.9"];

/// A Python of version 3.9 or later with pip.
#[derive(Debug)]
pub(crate) struct Python {
    /// The program that starts it.
    pub(crate) program: &'static str,
    /// The version.
    pub(crate) version: (u32, u32),
}

impl Python {
    /// Finds one in `PATH`.
    ///
    /// # Errors
    ///
    /// There is none; the message names what was found and the packages to install.
    pub(crate) fn find() -> Result<Self> {
        let found: Vec<Self> =
            NAMES.into_iter().filter_map(|program| Some(Self { program, version: version(program)? })).collect();
        let recent = found.iter().filter(|python| python.version >= OLDEST);
        let mut pips = Vec::new();
        for python in recent {
            let pip = pip_version(python.program);
            if pip.is_some_and(|pip| pip >= OLDEST_PIP) {
                return Ok(Self { ..*python });
            }
            pips.push((python, pip));
        }
        let (major, minor) = OLDEST;
        let otherwise = "or set LIBTORCH to a folder that contains libtorch";
        if let Some((python, Some((major, minor, patch)))) = pips.iter().find(|(_, pip)| pip.is_some()) {
            bail!(
                "pip {major}.{minor}.{patch} of {python} is too old, expected {}.{}.{} or later: upgrade it \
                 (`{} -m pip install --user --upgrade pip`), {otherwise}",
                OLDEST_PIP.0,
                OLDEST_PIP.1,
                OLDEST_PIP.2,
                python.program
            );
        }
        if let Some((python, _)) = pips.first() {
            bail!(
                "{python} has no pip: install it (Debian and Ubuntu: `apt install python3-pip`; \
                 Fedora: `dnf install python3-pip`; elsewhere: `{} -m ensurepip --user`), {otherwise}",
                python.program
            );
        }
        let found = match found.first() {
            Some(python) => format!("found only {python}"),
            None => "found none".to_owned(),
        };
        bail!(
            "set-up needs Python {major}.{minor} or later with pip, but {found}: install one \
             (Debian and Ubuntu: `apt install python3 python3-pip`; Fedora: `dnf install python3-pip`), {otherwise}"
        )
    }
}

impl std::fmt::Display for Python {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Python {}.{} ({})", self.version.0, self.version.1, self.program)
    }
}

fn version(program: &str) -> Option<(u32, u32)> {
    parse_version(&output(program, &["-c", "import sys; print('%d.%d' % sys.version_info[:2])"])?)
}

fn parse_version(text: &str) -> Option<(u32, u32)> {
    let (major, minor) = text.trim().split_once('.')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

fn pip_version(program: &str) -> Option<(u32, u32, u32)> {
    parse_pip_version(&output(program, &["-m", "pip", "--version"])?)
}

/// Parses "pip 23.2.1 from …" or "pip 24.1b1 from …"; a missing third number is 0.
fn parse_pip_version(text: &str) -> Option<(u32, u32, u32)> {
    let mut numbers = text.strip_prefix("pip ")?.split_whitespace().next()?.split('.');
    let mut number = || {
        let text = numbers.next().unwrap_or("0");
        let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        text[..end].parse().ok()
    };
    Some((number()?, number()?, number().unwrap_or(0)))
}

/// Returns the output of `program`; `None` if it cannot be started or fails.
fn output(program: &str, args: &[&str]) -> Option<String> {
    let output = Command::new(program).args(args).stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_compare_as_numbers() {
        assert!(parse_version("3.10\n").unwrap() >= OLDEST);
        assert!(parse_version("3.8\n").unwrap() < OLDEST);
        assert_eq!(parse_version("Python"), None);
    }

    #[test]
    fn pip_s_version_is_in_its_first_words() {
        assert_eq!(parse_pip_version("pip 23.2.1 from /x (python 3.11)"), Some((23, 2, 1)));
        assert_eq!(parse_pip_version("pip 26.3 from /x (python 3.11)"), Some((26, 3, 0)));
        assert_eq!(parse_pip_version("pip 24.1b1 from /x (python 3.11)"), Some((24, 1, 0)));
        assert!(parse_pip_version("pip 20.3 from /x").unwrap() < OLDEST_PIP);
    }
}
