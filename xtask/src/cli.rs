//! What can be typed after `cargo xtask`: one variant per command, with its help and an example.
//!
//! A command's own arguments stand in its file under [`crate::commands`].

use clap::{Parser, Subcommand};

use crate::commands::{bench, ci, data, fuzz, nb, setup, test};

/// Set up, train, test and measure NewsBERT. Every command sets up what it needs first
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
    /// Find libtorch or install it, and tell cargo where it lies
    #[command(after_help = setup::EXAMPLES)]
    Setup(setup::Args),

    /// Show what this machine has and what is missing; changes nothing
    #[command(after_help = "Example:\n  cargo xtask doctor")]
    Doctor,

    /// Train a model; without --config: configs/quickstart.yaml
    #[command(disable_help_flag = true, after_help = nb::TRAIN)]
    Train(nb::Args),

    /// Measure a trained model on labelled data, impressions or queries
    #[command(disable_help_flag = true, after_help = nb::EVAL)]
    Eval(nb::Args),

    /// Classify new text with a trained model
    #[command(disable_help_flag = true, after_help = nb::PREDICT)]
    Predict(nb::Args),

    /// Turn text into vectors with a trained model
    #[command(disable_help_flag = true, after_help = nb::EMBED)]
    Embed(nb::Args),

    /// Rank the news of impressions for their readers with a trained model
    #[command(disable_help_flag = true, after_help = nb::RANK)]
    Rank(nb::Args),

    /// Find the best news of a corpus for a query with a trained model
    #[command(disable_help_flag = true, after_help = nb::SEARCH)]
    Search(nb::Args),

    /// Compare methods, student depths and seeds on one data set, with a table and paired tests
    #[command(disable_help_flag = true, after_help = nb::COMPARE)]
    Compare(nb::Args),

    /// Check a config and show what it would do, without training
    #[command(disable_help_flag = true, after_help = nb::PLAN)]
    Plan(nb::Args),

    /// Print the JSON schema of a configuration, by which editors complete and check it
    #[command(disable_help_flag = true, after_help = nb::SCHEMA)]
    Schema(nb::Args),

    /// Print the script by which a shell completes the binary nb
    #[command(disable_help_flag = true, after_help = nb::COMPLETIONS)]
    Completions(nb::Args),

    /// Write the sample corpus, or make a retrieval set of news
    Data(data::Args),

    /// Measure
    Bench(bench::Args),

    /// Run all tests, or those whose names hold FILTER
    #[command(after_help = test::EXAMPLES)]
    Test(test::Args),

    /// Run the fuzz targets: random input for every reader of what comes from outside
    #[command(after_help = fuzz::EXAMPLES)]
    Fuzz(fuzz::Args),

    /// Run everything that continuous integration runs, cheapest first
    #[command(after_help = ci::EXAMPLES)]
    Ci(ci::Args),
}
