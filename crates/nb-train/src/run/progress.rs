//! The progress of a run: a bar on a terminal, log lines elsewhere.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use crate::step::StepReport;

/// A bar with the loss, its terms and the throughput; without a terminal, a log line at intervals.
#[derive(Debug)]
pub(crate) struct Progress {
    bar: Option<ProgressBar>,
    total: u64,
    last_line: Instant,
}

/// Time between two log lines without a terminal.
const LINE_EVERY: Duration = Duration::from_secs(10);

impl Progress {
    /// Progress for a process that shows none.
    pub(crate) fn of_another(total: u64) -> Self {
        Self { bar: None, total, last_line: Instant::now() }
    }

    /// Progress over `total` steps.
    pub(crate) fn new(total: u64) -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::new(total);
            let style = "{bar:24} {pos}/{len} steps · {elapsed} elapsed, {eta} left · {msg}";
            // The template is a constant; if it were invalid, the default style would do.
            bar.set_style(ProgressStyle::with_template(style).unwrap_or_else(|_| ProgressStyle::default_bar()));
            bar.enable_steady_tick(Duration::from_millis(500));
            bar
        });
        Self { bar, total, last_line: Instant::now() }
    }

    /// Shows a finished step, numbered from 1, and the throughput so far.
    pub(crate) fn step(&mut self, step: u64, report: &StepReport, tokens_per_second: f64) {
        if let Some(bar) = &self.bar {
            bar.set_position(step);
            bar.set_message(format!("{} · {tokens_per_second:.0} tokens/s", parts(report)));
        } else if self.last_line.elapsed() >= LINE_EVERY || step == self.total {
            self.last_line = Instant::now();
            tracing::info!("step {step}/{}: {} · {tokens_per_second:.0} tokens/s", self.total, parts(report));
        }
    }

    /// Hides the bar while `f` runs, since `f` may print.
    pub(crate) fn aside<R>(&self, f: impl FnOnce() -> R) -> R {
        match &self.bar {
            Some(bar) => bar.suspend(f),
            None => f(),
        }
    }

    /// Removes the bar.
    pub(crate) fn finish(self) {
        if let Some(bar) = self.bar {
            bar.finish_and_clear();
        }
    }
}

fn parts(report: &StepReport) -> String {
    let terms: Vec<String> = report.terms.iter().map(|(kind, value)| format!("{} {value:.3}", kind.name())).collect();
    format!("loss {:.3} ({})", report.total, terms.join(", "))
}
