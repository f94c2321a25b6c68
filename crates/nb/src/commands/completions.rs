//! `nb completions`: completion scripts for shells.

use std::io::Write;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Args, Command};
use clap_complete::{Shell, generate};

#[derive(Debug, Args)]
#[command(after_help = "Example: nb completions bash > ~/.local/share/bash-completion/completions/nb\n         \
    nb completions zsh > \"${fpath[1]}/_nb\"\n         \
    nb completions fish > ~/.config/fish/completions/nb.fish")]
pub(crate) struct Completions {
    /// Shell to write the script for
    #[arg(value_enum)]
    shell: Shell,
}

impl Completions {
    /// Writes the script that completes `command`.
    pub(crate) fn run(&self, mut command: Command) -> Result<ExitCode> {
        // Written to memory first, since `generate` would panic on a closed pipe.
        let mut script = Vec::new();
        let name = command.get_name().to_owned();
        generate(self.shell, &mut command, name, &mut script);
        std::io::stdout().lock().write_all(&script)?;
        Ok(ExitCode::SUCCESS)
    }
}
