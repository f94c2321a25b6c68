//! Ctrl-C during set-up: an interrupt is recorded and checked between steps, so incomplete folders are removed before
//! exiting.

use std::fmt;
use std::sync::Once;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Result;

/// The exit code that shells report for a program ended by SIGINT: 128 + 2.
pub(crate) const EXIT_CODE: u8 = 130;

static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// Catches interrupts, terminations and closed terminals from now on: they no longer end the process, and [`check`]
/// reports them.
pub(crate) fn catch() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        if let Err(error) = ctrlc::set_handler(|| INTERRUPTED.store(true, Ordering::Relaxed)) {
            eprintln!("warning: cannot catch interrupts ({error}); if this run is interrupted, the next one cleans up");
        }
    });
}

/// Checks for an interrupt.
///
/// # Errors
///
/// The user has interrupted; [`is`] recognises this error.
pub(crate) fn check() -> Result<()> {
    if INTERRUPTED.load(Ordering::Relaxed) { Err(Interrupted.into()) } else { Ok(()) }
}

/// Returns true if `error` comes from [`check`].
pub(crate) fn is(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| cause.is::<Interrupted>())
}

#[derive(Debug)]
struct Interrupted;

impl fmt::Display for Interrupted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("interrupted")
    }
}

impl std::error::Error for Interrupted {}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::Context;

    #[test]
    fn an_interrupt_is_recognised_under_context() {
        let error = Err::<(), _>(Interrupted).context("while unpacking").unwrap_err();
        assert!(is(&error));
        assert!(!is(&anyhow::anyhow!("interrupted")));
    }
}
