//! `train`, `eval`, `predict`, `embed`, `rank`, `search`, `compare`, `plan`: builds the binary `nb` and hands the
//! command over to it.

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
  cargo xtask train                                              the quickstart: sample corpus, 2 layers of 6
  cargo xtask train --config configs/quickstart-recommend.yaml   the same for readers
  cargo xtask train --config configs/quickstart-retrieve.yaml    the same for queries
  cargo xtask train --config my.yaml --set train.epochs=3

All options are those of the binary nb: cargo xtask train --help, once set-up has run.";

pub(crate) const EVAL: &str = "\
Example:
  cargo xtask eval --model runs/quickstart/student --input data/sample/dev/news.tsv

All options are those of the binary nb: cargo xtask eval --help, once set-up has run.";

pub(crate) const PREDICT: &str = "\
Example:
  echo 'Stocks fall as rates rise' | cargo xtask predict --model runs/quickstart/student --input -

All options are those of the binary nb: cargo xtask predict --help, once set-up has run.";

pub(crate) const EMBED: &str = "\
Example:
  cargo xtask embed --model runs/quickstart/student --input titles.txt --output vectors.safetensors

All options are those of the binary nb: cargo xtask embed --help, once set-up has run.";

pub(crate) const RANK: &str = "\
Example:
  cargo xtask rank --model runs/quickstart-recommend/student --news data/sample/recommend/dev/news.tsv \\
      --behaviors data/sample/recommend/dev/behaviors.tsv --output prediction.txt

All options are those of the binary nb: cargo xtask rank --help, once set-up has run.";

pub(crate) const SEARCH: &str = "\
Example:
  cargo xtask search --model runs/quickstart-retrieve/student --corpus data/sample/beir --query 'storm at the coast'

All options are those of the binary nb: cargo xtask search --help, once set-up has run.";

pub(crate) const COMPARE: &str = "\
Example:
  cargo xtask compare --config configs/compare-quickstart.yaml

All options are those of the binary nb: cargo xtask compare --help, once set-up has run.";

pub(crate) const PLAN: &str = "\
Example:
  cargo xtask plan --config my.yaml

All options are those of the binary nb: cargo xtask plan --help, once set-up has run.";

/// The config that is taken where none is named.
const DEFAULT_CONFIG: &str = "configs/quickstart.yaml";

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// What the binary nb is given
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "OPTIONS")]
    args: Vec<OsString>,
}

impl Args {
    pub(crate) fn run(self, command: &str) -> Result<ExitCode> {
        // Whoever asks for help should not have to wait for a set-up first.
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

/// `args`, and the default config where `command` needs one and `args` name none.
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

/// Writes and fetches what the config at hand takes for granted: the sample corpus and the quickstart's teacher.
fn prepare(nb: &Path, args: &[OsString]) -> Result<()> {
    let Some(config) = config_argument(args) else {
        return Ok(());
    };
    // A config that cannot be read is nb's to report.
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

/// The value of `--config` in `args`.
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

/// Whether a `--set` in `args` names another teacher.
fn overrides_teacher(args: &[OsString]) -> bool {
    args.iter().filter_map(|arg| OsStr::to_str(arg)).any(|arg| {
        let setting = arg.strip_prefix("--set=").unwrap_or(arg);
        let setting = setting.strip_prefix("run.").unwrap_or(setting); // a comparison has a run's keys below `run`
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
        let given = with_config("plan", args("--set seed=1"));
        assert_eq!(given[..3], args("--set seed=1 --config"));
        assert!(Path::new(&given[3]).is_file(), "{given:?}");
    }

    #[test]
    fn another_teacher_is_noticed() {
        assert!(overrides_teacher(&args("--set teacher.checkpoint=models/bert")));
        assert!(overrides_teacher(&args("--set=teacher.checkpoint=models/bert")));
        assert!(overrides_teacher(&args("--set run.teacher.checkpoint=models/bert")));
        assert!(!overrides_teacher(&args("--set train.teacher_lr=1e-5")));
    }
}
