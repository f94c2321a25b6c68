//! `cargo xtask bench`: measurements.

use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::commands::test::WITHOUT_TORCH;
use crate::{libtorch, project};

const KERNEL_EXAMPLES: &str = "\
Examples:
  cargo xtask bench kernels
  cargo xtask bench kernels softmax              those whose names hold \"softmax\"
  cargo xtask bench kernels --save-baseline old  other arguments are criterion's";

#[derive(Debug, clap::Args)]
#[command(after_help = KERNEL_EXAMPLES)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Softmax, the losses, the blend: each kernel by itself
    #[command(after_help = KERNEL_EXAMPLES)]
    Kernels {
        /// A filter and options of criterion
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
}

impl Args {
    pub(crate) fn run(self) -> Result<ExitCode> {
        let Command::Kernels { args } = self.command;
        libtorch::ensure(None)?;
        for (package, bench) in kernel_benches()? {
            let mut command = project::cargo();
            command.args(["bench", "--quiet", "--package", &package, "--bench", &bench, "--"]).args(&args);
            if !command.status().context("cannot start cargo")?.success() {
                return Ok(ExitCode::FAILURE);
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// The benches of the crates on libtorch, as (package, bench).
fn kernel_benches() -> Result<Vec<(String, String)>> {
    let output = project::cargo()
        .args(["metadata", "--no-deps", "--format-version", "1"])
        .output()
        .context("cannot start cargo")?;
    if !output.status.success() {
        bail!("cargo metadata failed: {}", String::from_utf8_lossy(&output.stderr).trim_end());
    }
    Ok(benches(&serde_json::from_slice(&output.stdout)?))
}

fn benches(metadata: &Value) -> Vec<(String, String)> {
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    list(&metadata["packages"])
        .iter()
        .filter(|package| !WITHOUT_TORCH.contains(&text(&package["name"]).as_str()))
        .flat_map(|package| {
            let name = text(&package["name"]);
            let benches = list(&package["targets"]).into_iter().filter(|target| target["kind"][0] == "bench");
            benches.map(move |target| (name.clone(), text(&target["name"]))).collect::<Vec<_>>()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn benches_are_found_in_the_crates_on_libtorch() {
        let metadata = serde_json::json!({"packages": [
            {"name": "nb-loss", "targets": [{"kind": ["lib"], "name": "nb_loss"}, {"kind": ["bench"], "name": "kernels"}]},
            {"name": "nb-data", "targets": [{"kind": ["bench"], "name": "throughput"}]},
        ]});
        assert_eq!(benches(&metadata), [("nb-loss".to_owned(), "kernels".to_owned())]);
    }
}
