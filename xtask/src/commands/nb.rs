//! The commands that the binary `nb` carries out, such as `train` and `predict`: builds `nb` and runs it.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::Result;
use clap::CommandFactory;

use crate::cli::Cli;
use crate::commands::data;
use crate::libtorch::{self, Found};
use crate::program::{self, NB};
use crate::{project, teacher};

pub(crate) const TRAIN: &str = "\
Examples:
  cargo xtask train                                              topics: the sample corpus, 2 of 6 layers
  cargo xtask train --config configs/quickstart-recommend.yaml   recommendation
  cargo xtask train --config configs/quickstart-retrieve.yaml    retrieval
  cargo xtask train --config my.yaml --set train.epochs=3

The options are those of the binary nb. After set-up, list them with: cargo xtask train --help";

pub(crate) const EVAL: &str = "\
Example:
  cargo xtask eval --model runs/quickstart/student --input data/sample/dev/news.tsv

The options are those of the binary nb. After set-up, list them with: cargo xtask eval --help";

pub(crate) const PREDICT: &str = "\
Example:
  echo 'Stocks fall as rates rise' | cargo xtask predict --model runs/quickstart/student --input -

The options are those of the binary nb. After set-up, list them with: cargo xtask predict --help";

pub(crate) const EMBED: &str = "\
Example:
  cargo xtask embed --model runs/quickstart/student --input titles.txt --output vectors.safetensors

The options are those of the binary nb. After set-up, list them with: cargo xtask embed --help";

pub(crate) const RANK: &str = "\
Example:
  cargo xtask rank --model runs/quickstart-recommend/student --news data/sample/recommend/dev/news.tsv \\
      --behaviors data/sample/recommend/dev/behaviors.tsv --output prediction.txt

The options are those of the binary nb. After set-up, list them with: cargo xtask rank --help";

pub(crate) const SEARCH: &str = "\
Example:
  cargo xtask search --model runs/quickstart-retrieve/student --corpus data/sample/beir --query 'storm at the coast'

The options are those of the binary nb. After set-up, list them with: cargo xtask search --help";

pub(crate) const EXPORT: &str = "\
Example:
  cargo xtask export --model runs/quickstart/student --to onnx --output student.onnx

The options are those of the binary nb. After set-up, list them with: cargo xtask export --help";

pub(crate) const COMPARE: &str = "\
Example:
  cargo xtask compare --config configs/compare-quickstart.yaml

The options are those of the binary nb. After set-up, list them with: cargo xtask compare --help";

pub(crate) const PLAN: &str = "\
Example:
  cargo xtask plan --config my.yaml

The options are those of the binary nb. After set-up, list them with: cargo xtask plan --help";

pub(crate) const SCHEMA: &str = "\
Example:
  cargo xtask schema > newsbert.schema.json

The options are those of the binary nb. After set-up, list them with: cargo xtask schema --help";

pub(crate) const COMPLETIONS: &str = "\
Example:
  cargo xtask completions bash > ~/.local/share/bash-completion/completions/nb

The options are those of the binary nb. After set-up, list them with: cargo xtask completions --help";

/// The default configuration.
const DEFAULT_CONFIG: &str = "configs/quickstart.yaml";

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Options of the binary nb
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "OPTIONS")]
    args: Vec<OsString>,
}

impl Args {
    pub(crate) fn run(self, command: &str) -> Result<ExitCode> {
        // Help must not require a set-up.
        if asks_for_help(&self.args) && matches!(libtorch::find(None)?, Found::Missing(_)) {
            let mut cli = Cli::command();
            cli.build();
            if let Some(subcommand) = cli.find_subcommand_mut(command) {
                subcommand.print_help()?;
            }
            return Ok(ExitCode::SUCCESS);
        }
        libtorch::ensure(None)?;
        let nb = program::build(NB)?;
        let args = with_config(command, self.args);
        prepare(&nb, &args)?;
        program::hand_over(Command::new(&nb).arg(command).args(args))
    }
}

/// Adds the default configuration if `command` needs one and `args` name none.
fn with_config(command: &str, mut args: Vec<OsString>) -> Vec<OsString> {
    let takes_config = matches!(command, "train" | "plan");
    if takes_config && config_argument(&args).is_none() && !asks_for_help(&args) {
        args.push("--config".into());
        args.push(project::root().join(DEFAULT_CONFIG).into());
    }
    args
}

pub(crate) fn asks_for_help(args: &[OsString]) -> bool {
    args.iter().any(|arg| arg == "--help" || arg == "-h")
}

/// Prepares what the configuration requires: the sample corpus and the quickstarts' teacher.
fn prepare(nb: &Path, args: &[OsString]) -> Result<()> {
    let Some(config) = config_argument(args) else {
        return Ok(());
    };
    // nb reports a configuration that cannot be read.
    let Ok(text) = fs::read_to_string(config) else {
        return Ok(());
    };
    if text.contains(data::SAMPLE) {
        data::ensure_sample()?;
    }
    if text.contains(teacher::NAME) && !overrides_teacher(args) {
        teacher::ensure(nb)?;
    }
    Ok(())
}

/// Returns the value of `--config` in `args`.
fn config_argument(args: &[OsString]) -> Option<PathBuf> {
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        if arg == "--config" {
            return args.next().map(PathBuf::from);
        }
        if let Some(path) = arg.to_str().and_then(|arg| arg.strip_prefix("--config=")) {
            return Some(PathBuf::from(path));
        }
    }
    None
}

/// Returns true if a `--set` in `args` names another teacher.
fn overrides_teacher(args: &[OsString]) -> bool {
    args.iter().filter_map(|arg| OsStr::to_str(arg)).any(|arg| {
        let setting = arg.strip_prefix("--set=").unwrap_or(arg);
        let setting = setting.strip_prefix("run.").unwrap_or(setting); // a comparison has the keys of a run in `run`
        setting.starts_with("teacher=") || setting.starts_with("teacher.checkpoint=")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(line: &str) -> Vec<OsString> {
        line.split_whitespace().map(OsString::from).collect()
    }

    #[test]
    fn the_config_is_found_in_either_spelling() {
        assert_eq!(config_argument(&args("--resume --config a.yaml")), Some("a.yaml".into()));
        assert_eq!(config_argument(&args("--config=b.yaml --resume")), Some("b.yaml".into()));
        assert_eq!(config_argument(&args("--set train.epochs=3")), None);
    }

    #[test]
    fn only_commands_that_need_a_config_get_the_default() {
        assert_eq!(with_config("train", args("--config=b.yaml")), args("--config=b.yaml"));
        assert_eq!(with_config("train", args("--help")), args("--help"));
        assert_eq!(with_config("predict", args("--model m")), args("--model m"));
        let arguments = with_config("plan", args("--set seed=1"));
        assert_eq!(arguments[..3], args("--set seed=1 --config"));
        assert!(Path::new(&arguments[3]).is_file(), "{arguments:?}");
    }

    #[test]
    fn a_setting_of_another_teacher_is_detected() {
        assert!(overrides_teacher(&args("--set teacher.checkpoint=models/bert")));
        assert!(overrides_teacher(&args("--set=teacher.checkpoint=models/bert")));
        assert!(overrides_teacher(&args("--set run.teacher.checkpoint=models/bert")));
        assert!(!overrides_teacher(&args("--set train.teacher_lr=1e-5")));
    }
}
