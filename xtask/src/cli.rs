//! The command line of `cargo xtask`: one variant for each command, with its help and an example.
//!
//! The arguments of a command are in its file in [`crate::commands`].

use clap::{Parser, Subcommand};

use crate::commands::{bench, ci, data, fuzz, nb, setup, test};

/// Set up, train, test and benchmark NewsBERT. Every command installs what it needs first
#[derive(Debug, Parser)]
#[command(
    name = "cargo xtask",
    bin_name = "cargo xtask",
    after_help = "Example:\n  cargo xtask train     set everything up and train a small model on the sample corpus"
)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Find or install libtorch and configure cargo for it
    #[command(after_help = setup::EXAMPLES)]
    Setup(setup::Args),

    /// Show what this machine has and what is missing, without changing anything
    #[command(after_help = "Example:\n  cargo xtask doctor")]
    Doctor,

    /// Train a model; by default with configs/quickstart.yaml
    #[command(disable_help_flag = true, after_help = nb::TRAIN)]
    Train(nb::Args),

    /// Evaluate a trained model on labelled data, impressions or queries
    #[command(disable_help_flag = true, after_help = nb::EVAL)]
    Eval(nb::Args),

    /// Classify text with a trained model
    #[command(disable_help_flag = true, after_help = nb::PREDICT)]
    Predict(nb::Args),

    /// Compute the vectors of texts with a trained model
    #[command(disable_help_flag = true, after_help = nb::EMBED)]
    Embed(nb::Args),

    /// Rank the articles of impressions for their readers with a trained model
    #[command(disable_help_flag = true, after_help = nb::RANK)]
    Rank(nb::Args),

    /// Search a corpus for the articles that match a query best, with a trained model
    #[command(disable_help_flag = true, after_help = nb::SEARCH)]
    Search(nb::Args),

    /// Write a trained model as ONNX, for sentence-transformers or transformers, or in int8
    #[command(disable_help_flag = true, after_help = nb::EXPORT)]
    Export(nb::Args),

    /// Compare methods, student depths and seeds on a data set, with a table and paired tests
    #[command(disable_help_flag = true, after_help = nb::COMPARE)]
    Compare(nb::Args),

    /// Check a configuration and show what it would do, without training
    #[command(disable_help_flag = true, after_help = nb::PLAN)]
    Plan(nb::Args),

    /// Print the JSON schema of the configuration, for completion and checks in editors
    #[command(disable_help_flag = true, after_help = nb::SCHEMA)]
    Schema(nb::Args),

    /// Print a completion script for a shell
    #[command(disable_help_flag = true, after_help = nb::COMPLETIONS)]
    Completions(nb::Args),

    /// Write the sample corpus, or convert articles to a retrieval data set
    Data(data::Args),

    /// Run the benchmarks
    Bench(bench::Args),

    /// Run all tests, or those whose names contain FILTER
    #[command(after_help = test::EXAMPLES)]
    Test(test::Args),

    /// Run the fuzz targets: random input for every reader of external data
    #[command(after_help = fuzz::EXAMPLES)]
    Fuzz(fuzz::Args),

    /// Run the checks of continuous integration, cheapest first
    #[command(after_help = ci::EXAMPLES)]
    Ci(ci::Args),
}
