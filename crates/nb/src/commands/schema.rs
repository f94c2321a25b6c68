//! `nb schema`: the JSON schema of a configuration.

use std::process::ExitCode;

use anyhow::Result;
use clap::{Args, ValueEnum};
use nb_train::compare::CompareConfig;
use nb_train::config::RunConfig;
use nb_train::task::{AllTasks, TaskList};

#[derive(Debug, Args)]
#[command(after_help = "Example: nb schema > newsbert.schema.json\n\n\
    With this first line in a configuration, editors that support YAML schemas complete and check it:\n\
    # yaml-language-server: $schema=newsbert.schema.json")]
pub(crate) struct ShowSchema {
    /// Kind of configuration
    #[arg(value_enum, default_value = "run")]
    kind: ConfigKind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum ConfigKind {
    /// A run: nb train, nb plan
    Run,
    /// A comparison: nb compare
    Compare,
}

impl ShowSchema {
    pub(crate) fn run(&self) -> Result<ExitCode> {
        let schema = match self.kind {
            ConfigKind::Run => {
                let tasks: Vec<&str> = AllTasks::KINDS.iter().map(|kind| kind.name()).collect();
                RunConfig::schema(&tasks)
            }
            ConfigKind::Compare => CompareConfig::schema(),
        };
        say!("{schema:#}");
        Ok(ExitCode::SUCCESS)
    }
}
