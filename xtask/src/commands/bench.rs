//! `cargo xtask bench`: runs the benchmarks. Kernel benchmarks use criterion; all others are in `nb-bench`.

use std::ffi::OsString;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::CommandFactory;
use serde_json::Value;

use crate::cli::Cli;
use crate::commands::nb;
use crate::libtorch::{self, Found};
use crate::program::{self, BENCH};
use crate::{peer, project, teacher};

const EXAMPLES: &str = "\
Examples:
  cargo xtask bench kernels
  cargo xtask bench train --case ag-64 --precision bf16
  cargo xtask bench train --against torch --json train.json
  cargo xtask bench infer --against torch,onnx
  cargo xtask bench data --baseline before.json";

const KERNEL_EXAMPLES: &str = "\
Examples:
  cargo xtask bench kernels
  cargo xtask bench kernels softmax              those whose names contain \"softmax\"
  cargo xtask bench kernels --save-baseline old  pass an option to criterion";

const TRAIN_EXAMPLES: &str = "\
Examples:
  cargo xtask bench train --case ag-64 --precision bf16
  cargo xtask bench train --against torch --json train.json

The options are those of the binary nb-bench. After set-up, list them with: cargo xtask bench train --help";

const INFER_EXAMPLES: &str = "\
Examples:
  cargo xtask bench infer --case one-title
  cargo xtask bench infer --against torch,onnx,openvino
  cargo xtask bench infer --model runs/x/student --precision int8 --against onnx,openvino

The options are those of the binary nb-bench. After set-up, list them with: cargo xtask bench infer --help";

const DATA_EXAMPLES: &str = "\
Examples:
  cargo xtask bench data
  cargo xtask bench data --json now.json --baseline before.json

The options are those of the binary nb-bench. After set-up, list them with: cargo xtask bench data --help";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Measure losses, blend, encoder, optimiser, parsing, tokenising and metrics separately
    #[command(after_help = KERNEL_EXAMPLES)]
    Kernels {
        /// Filter and options for criterion
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },

    /// Measure training steps: sequences, tokens and operations per second, phases, memory
    #[command(disable_help_flag = true, after_help = TRAIN_EXAMPLES)]
    Train(ForwardedArgs),

    /// Measure inference of teacher and student: one title, and many texts
    #[command(disable_help_flag = true, after_help = INFER_EXAMPLES)]
    Infer(ForwardedArgs),

    /// Measure reading and tokenising
    #[command(disable_help_flag = true, after_help = DATA_EXAMPLES)]
    Data(ForwardedArgs),
}

#[derive(Debug, clap::Args)]
struct ForwardedArgs {
    /// Options of the binary nb-bench
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "OPTIONS")]
    args: Vec<OsString>,
}

impl Args {
    pub(crate) fn run(self) -> Result<ExitCode> {
        match self.command {
            Command::Kernels { args } => kernels(&args),
            Command::Train(args) => args.run("train"),
            Command::Infer(args) => args.run("infer"),
            Command::Data(args) => args.run("data"),
        }
    }
}

fn kernels(args: &[String]) -> Result<ExitCode> {
    libtorch::ensure(None)?;
    for KernelBench { package, bench } in kernel_benches()? {
        let mut command = project::cargo();
        command.args(["bench", "--quiet", "--package", &package, "--bench", &bench, "--"]).args(args);
        if !command.status().context("cannot start cargo")?.success() {
            return Ok(ExitCode::FAILURE);
        }
    }
    Ok(ExitCode::SUCCESS)
}

impl ForwardedArgs {
    /// Builds `nb-bench`, prepares what it requires, and runs it.
    fn run(self, bench: &str) -> Result<ExitCode> {
        let asks_for_help = nb::asks_for_help(&self.args);
        // Help must not require a set-up.
        if asks_for_help && matches!(libtorch::find(None)?, Found::Missing(_)) {
            print!("{}", Self::help(bench));
            return Ok(ExitCode::SUCCESS);
        }
        libtorch::ensure(None)?;
        let program = program::build(BENCH)?;
        let mut command = std::process::Command::new(&program);
        command.arg(bench).args(&self.args);
        if !asks_for_help {
            // A trained model needs no teacher.
            if !has(&self.args, "--teacher") && !has(&self.args, "--model") {
                teacher::ensure(&program)?;
            }
            if has(&self.args, "--against") && !has(&self.args, "--python") {
                command.arg("--python").arg(peer::ensure()?);
            }
        }
        program::hand_over(&mut command)
    }

    /// Returns the help that is shown without the binary.
    fn help(bench: &str) -> String {
        let mut cli = Cli::command();
        cli.build();
        let command = cli.find_subcommand_mut("bench").and_then(|command| command.find_subcommand_mut(bench));
        command.map(|command| command.render_help().to_string()).unwrap_or_default()
    }
}

/// Returns true if the option `name` is among `args`, in either spelling.
fn has(args: &[OsString], name: &str) -> bool {
    let is = |arg: &str| arg.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with('='));
    args.iter().filter_map(|arg| arg.to_str()).any(is)
}

/// A criterion benchmark of a crate.
#[derive(Debug, PartialEq, Eq)]
struct KernelBench {
    package: String,
    bench: String,
}

/// Finds the criterion benchmarks of the workspace.
fn kernel_benches() -> Result<Vec<KernelBench>> {
    let output = project::cargo()
        .args(["metadata", "--no-deps", "--format-version", "1"])
        .output()
        .context("cannot start cargo")?;
    if !output.status.success() {
        bail!("cargo metadata failed: {}", String::from_utf8_lossy(&output.stderr).trim_end());
    }
    Ok(benches(&serde_json::from_slice(&output.stdout)?))
}

fn benches(metadata: &Value) -> Vec<KernelBench> {
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let mut benches = Vec::new();
    for package in list(&metadata["packages"]) {
        for target in list(&package["targets"]).iter().filter(|target| target["kind"][0] == "bench") {
            benches.push(KernelBench { package: text(&package["name"]), bench: text(&target["name"]) });
        }
    }
    benches
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_found_in_either_spelling() {
        let args = |line: &str| -> Vec<OsString> { line.split(' ').map(OsString::from).collect() };
        assert!(has(&args("--against torch"), "--against") && has(&args("--case a --against=torch,onnx"), "--against"));
        assert!(!has(&args("--case against --teacher-of x"), "--against") && !has(&args("--teachers"), "--teacher"));
    }

    #[test]
    fn the_help_without_a_binary_has_examples() {
        for bench in ["train", "infer", "data"] {
            assert!(ForwardedArgs::help(bench).contains(&format!("cargo xtask bench {bench} ")), "{bench}");
        }
    }

    #[test]
    fn benches_are_found_in_every_crate() {
        let metadata = serde_json::json!({"packages": [
            {"name": "nb-loss", "targets": [{"kind": ["lib"], "name": "nb_loss"}, {"kind": ["bench"], "name": "kernels"}]},
            {"name": "nb-data", "targets": [{"kind": ["bench"], "name": "throughput"}]},
        ]});
        let found = [("nb-loss", "kernels"), ("nb-data", "throughput")];
        let bench = |(package, bench): (&str, &str)| KernelBench { package: package.into(), bench: bench.into() };
        assert_eq!(benches(&metadata), found.map(bench));
    }
}
