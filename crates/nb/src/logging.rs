//! What is logged, how much, and as what.

use anyhow::{Result, anyhow};
use clap::{Args, ValueEnum};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::ParseError;

/// The log filter for a level or a filter's text: limits the HTTP client to warnings, since at `trace` it shows
/// requests byte by byte, the hub's token among them.
///
/// # Errors
/// If `level` is neither a level nor a filter.
pub(crate) fn log_filter(level: &str) -> Result<EnvFilter, ParseError> {
    let filter = EnvFilter::try_new(level)?;
    ["ureq=warn", "ureq_proto=warn", "ureq_proto::util=warn"]
        .iter()
        .try_fold(filter, |filter, directive| Ok(filter.add_directive(directive.parse()?)))
}

/// Logging goes to standard error.
#[derive(Debug, Args)]
pub(crate) struct Logging {
    /// error, warn, info, debug or trace, or a filter such as nb_train=debug
    /// [default: info; error in all processes of a run but the first]
    #[arg(long, global = true, env = "NB_LOG", value_name = "LEVEL")]
    log: Option<String>,
    /// Lines for people or JSON for machines
    #[arg(long, global = true, default_value = "text")]
    log_format: LogFormat,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum LogFormat {
    Text,
    Json,
}

impl Logging {
    /// Begins to log, as process `rank` of a run.
    pub(crate) fn start(&self, rank: usize) -> Result<()> {
        let level = self.log.as_deref().unwrap_or(if rank == 0 { "info" } else { "error" });
        let filter = log_filter(level).map_err(|e| anyhow!("--log {level}: {e}"))?;
        let builder = tracing_subscriber::fmt()
            .with_env_filter(filter)
            .with_writer(std::io::stderr)
            .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()));
        match self.log_format {
            LogFormat::Json => builder.json().init(),
            LogFormat::Text => builder.without_time().with_target(false).compact().init(),
        }
        Ok(())
    }
}
