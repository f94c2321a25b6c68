//! Progress bars on a terminal, plain lines elsewhere, all on standard error.

use std::io::IsTerminal;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

const TICK: Duration = Duration::from_millis(120);

/// Prints a line.
pub(crate) fn say(line: impl AsRef<str>) {
    eprintln!("{}", line.as_ref());
}

/// Returns a progress bar over `bytes` bytes. Prints one line instead if standard error is not a terminal.
pub(crate) fn bytes(title: String, bytes: u64) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        say(format!("{title} ({})", size(bytes)));
    }
    let style = ProgressStyle::with_template("{msg} [{bar:24}] {bytes} of {total_bytes}, {bytes_per_sec}, {eta} left");
    // indicatif draws nothing if standard error is not a terminal.
    let bar = ProgressBar::new(bytes).with_message(title);
    match style {
        Ok(style) => bar.with_style(style.progress_chars("=> ")),
        Err(_) => bar,
    }
}

/// Returns a spinner with the elapsed time. Draws nothing if standard error is not a terminal.
pub(crate) fn spinner(title: String) -> ProgressBar {
    let bar = ProgressBar::new_spinner().with_message(title);
    let bar = match ProgressStyle::with_template("{spinner} {msg} ({elapsed})") {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    };
    bar.enable_steady_tick(TICK);
    bar
}

/// Formats a number of bytes: "512 MB".
pub(crate) fn size(bytes: u64) -> String {
    match bytes {
        0..1_000_000 => format!("{} kB", bytes.div_ceil(1000)),
        1_000_000..10_000_000_000 => format!("{} MB", bytes / 1_000_000),
        _ => format!("{:.1} GB", bytes as f64 / 1e9),
    }
}

/// Formats a duration: "45 s", "3 min 07 s".
pub(crate) fn duration(time: Duration) -> String {
    match time.as_secs() {
        seconds @ 0..10 => format!("{seconds}.{} s", time.subsec_millis() / 100),
        seconds @ 10..60 => format!("{seconds} s"),
        seconds => format!("{} min {:02} s", seconds / 60, seconds % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_durations_read_well() {
        assert_eq!(size(999), "1 kB");
        assert_eq!(size(530_604_548), "530 MB");
        assert_eq!(size(12_300_000_000), "12.3 GB");
        assert_eq!(duration(Duration::from_millis(2_450)), "2.4 s");
        assert_eq!(duration(Duration::from_secs(59)), "59 s");
        assert_eq!(duration(Duration::from_secs(187)), "3 min 07 s");
    }
}
