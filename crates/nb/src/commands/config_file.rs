//! Options of every command that reads a configuration.

use std::path::PathBuf;

use clap::Args;
use nb_train::config::Override;

/// A configuration with overrides.
#[derive(Debug, Args)]
pub(crate) struct ConfigFile {
    /// Path of the configuration
    #[arg(long = "config", value_name = "FILE")]
    pub(crate) path: PathBuf,
    /// Override of one key, e.g. train.lr=2e-4 (may be repeated; the last one wins). Relative paths are
    /// relative to the current folder
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub(crate) sets: Vec<Override>,
}
