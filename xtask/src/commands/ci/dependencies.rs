//! Checks that no dependency is unused, and that all follow the rules of `deny.toml`.

use std::process::{Command, Stdio};

use anyhow::{Context, Result};

use super::process::succeed;
use crate::progress::say;
use crate::project;
use crate::tool::{DENY, MACHETE};

pub(super) fn check() -> Result<()> {
    // The fuzz targets are a separate workspace in a folder of this one: both are checked.
    succeed(Command::new(MACHETE.ensure()?).arg("--skip-target-dir").current_dir(project::root()))?;
    succeed(deny()?.args(["check", "bans", "licenses", "sources"]))?;
    advisories()
}

fn deny() -> Result<Command> {
    let mut command = Command::new(DENY.ensure()?);
    command.current_dir(project::root()).args(["--locked", "--all-features"]);
    Ok(command)
}

/// Looks up the dependencies in the database of advisories. If the database cannot be fetched, it prints a
/// warning instead of failing, since the cause is the network.
fn advisories() -> Result<()> {
    let mut fetch = deny()?;
    // A proxy may make git ask for a password.
    let fetched = fetch.args(["fetch", "db"]).env("GIT_TERMINAL_PROMPT", "0").stdin(Stdio::null()).output();
    let fetched = fetched.context("cannot start cargo-deny")?;
    if !fetched.status.success() {
        let log = String::from_utf8_lossy(&fetched.stderr);
        say(format!("warning: advisories were NOT checked: cannot fetch their database ({})", reason(&log)));
        return Ok(());
    }
    succeed(deny()?.args(["--offline", "check", "advisories"]))
}

/// Returns the error in cargo-deny's log, whose lines begin with the time.
fn reason(log: &str) -> &str {
    const ERROR: &str = "[ERROR] ";
    let error = log.lines().find_map(|line| line.find(ERROR).map(|at| &line[at + ERROR.len()..]));
    error.or(log.lines().last()).unwrap_or("no output").trim()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_error_of_a_log_is_shown() {
        assert_eq!(reason("fetching\n2026-01-31 12:00:00 [ERROR] no route\nbacktrace\n"), "no route");
        assert_eq!(reason("no route\n"), "no route");
        assert_eq!(reason(""), "no output");
    }
}
