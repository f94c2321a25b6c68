//! `cargo xtask`: the project's own commands.
//!
//! [`cli`] defines the command line; each command is a file in [`commands`]. xtask installs libtorch, so it builds
//! without it, in seconds: [`libtorch`] finds it, [`install`] downloads it with pip, and commands that need it run the
//! binaries `nb` and `nb-bench` ([`program`]).

mod cli;
mod commands;
mod compiler;
mod features;
mod install;
mod interrupt;
mod libtorch;
mod peer;
mod program;
mod progress;
mod project;
mod scratch;
mod teacher;
#[cfg(test)]
mod tidy;
mod tool;

use std::process::ExitCode;

use clap::Parser;

use cli::{Cli, Command};

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Setup(args) => args.run(),
        Command::Doctor => commands::doctor::run(),
        Command::Train(args) => args.run("train"),
        Command::Eval(args) => args.run("eval"),
        Command::Predict(args) => args.run("predict"),
        Command::Embed(args) => args.run("embed"),
        Command::Rank(args) => args.run("rank"),
        Command::Search(args) => args.run("search"),
        Command::Export(args) => args.run("export"),
        Command::Compare(args) => args.run("compare"),
        Command::Plan(args) => args.run("plan"),
        Command::Schema(args) => args.run("schema"),
        Command::Completions(args) => args.run("completions"),
        Command::Data(args) => args.run(),
        Command::Bench(args) => args.run(),
        Command::Test(args) => args.run(),
        Command::Fuzz(args) => args.run(),
        Command::Ci(args) => args.run(),
    };
    match result {
        Ok(code) => code,
        Err(error) if interrupt::is(&error) => {
            eprintln!("interrupted");
            ExitCode::from(interrupt::EXIT_CODE)
        }
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
