//! Programs that a step of `cargo xtask ci` runs.

use std::ffi::OsStr;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::progress::say;

/// Runs `command` and checks that it succeeds.
///
/// # Errors
///
/// It cannot be started, or it fails; the message contains the command.
pub(super) fn succeed(command: &mut Command) -> Result<()> {
    let program = Path::new(command.get_program()).file_name().unwrap_or_default();
    let line: Vec<_> = [program].into_iter().chain(command.get_args()).map(OsStr::to_string_lossy).collect();
    let line = line.join(" ");
    say(format!("   {line}"));
    let status = command.status().with_context(|| format!("cannot start `{line}`"))?;
    ensure!(status.success(), "`{line}` failed: {status}");
    Ok(())
}
