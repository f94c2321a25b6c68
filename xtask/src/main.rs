//! `cargo xtask`: the project's own commands.
//!
//! [`cli`] holds what can be typed; each command lives in a file of its own under [`commands`]. Everything here
//! builds without libtorch, in seconds, since this is what installs libtorch: [`libtorch`] finds it, [`install`]
//! gets it through pip, and what needs it is handed to the
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
        Command::Compare(args) => args.run("compare"),
        Command::Plan(args) => args.run("plan"),
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
