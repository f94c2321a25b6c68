//! `nb export`: a trained model in the form of another program.

use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::Args;

#[derive(Debug, Args)]
pub(crate) struct Export {}

impl Export {
    pub(crate) fn run(&self) -> Result<ExitCode> {
        bail!("not there yet")
    }
}
