//! Dependencies: none that no code names, and all of them by the rules of `deny.toml`.

use std::process::{Command, Stdio};

use anyhow::{Context, Result};

use super::process::succeed;
use crate::progress::say;
use crate::project;
use crate::tool::{DENY, MACHETE};

pub(super) fn check() -> Result<()> {
    // The fuzz targets are a workspace of their own in a folder of this one: both are looked through.
    succeed(Command::new(MACHETE.ensure()?).arg("--skip-target-dir").current_dir(project::root()))?;
    succeed(deny()?.args(["check", "bans", "licenses", "sources"]))?;
    advisories()
}

fn deny() -> Result<Command> {
    let mut command = Command::new(DENY.ensure()?);
    command.current_dir(project::root()).args(["--locked", "--all-features"]);
    Ok(command)
}

/// Looks the dependencies up in the database of advisories. Where that cannot be fetched nothing can be looked up: this
/// is said, and no failure, since it lies with the network.
fn advisories() -> Result<()> {
    let mut fetch = deny()?;
    // git may be asked for a password where a proxy stands in the way.
    let fetched = fetch.args(["fetch", "db"]).env("GIT_TERMINAL_PROMPT", "0").stdin(Stdio::null()).output();
    let fetched = fetched.context("cannot start cargo-deny")?;
    if !fetched.status.success() {
        let said = String::from_utf8_lossy(&fetched.stderr);
        say(format!("warning: advisories were NOT checked: their database cannot be fetched ({})", reason(&said)));
        return Ok(());
    }
    succeed(deny()?.args(["--offline", "check", "advisories"]))
}

/// The error among the lines of cargo-deny's log, which have the time in front.
fn reason(said: &str) -> &str {
    const ERROR: &str = "[ERROR] ";
    let error = said.lines().find_map(|line| line.find(ERROR).map(|at| &line[at + ERROR.len()..]));
    error.or(said.lines().last()).unwrap_or("it said nothing").trim()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_many_lines_the_error_is_shown() {
        assert_eq!(reason("fetching\n2026-01-31 12:00:00 [ERROR] no route\nbacktrace\n"), "no route");
        assert_eq!(reason("no route\n"), "no route");
        assert_eq!(reason(""), "it said nothing");
    }
}
