//! Logging to standard error: level, format and filter.

use anyhow::{Result, anyhow};
use clap::{Args, ValueEnum};
use nb_checkpoint::QUIET_CLIENT;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::ParseError;

/// Returns the log filter for a level or the text of a filter.
///
/// # Errors
/// If `level` is neither a level nor a filter.
pub(crate) fn log_filter(level: &str) -> Result<EnvFilter, ParseError> {
    let filter = EnvFilter::try_new(level)?;
    QUIET_CLIENT.iter().try_fold(filter, |filter, directive| Ok(filter.add_directive(directive.parse()?)))
}

/// Options of the log, which goes to standard error.
#[derive(Debug, Args)]
pub(crate) struct Logging {
    /// Log level: error, warn, info, debug or trace, or a filter such as nb_train=debug
    /// [default: info; error in all processes of a run but the main one]
    #[arg(long, global = true, env = "NB_LOG", value_name = "LEVEL")]
    log: Option<String>,
    /// Log as text or as JSON lines
    #[arg(long, global = true, default_value = "text")]
    log_format: LogFormat,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum LogFormat {
    Text,
    Json,
}

impl Logging {
    /// Starts the log of process `rank` of a run.
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
