//! Ctrl-C during set-up: remembered, asked for between steps, so that half-written folders are removed on the way out.

use std::fmt;
use std::sync::Once;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Result;

/// What a shell reports for a program that SIGINT ended: 128 + 2.
pub(crate) const EXIT_CODE: u8 = 130;

static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// From now on an interrupt, a termination or a closed terminal no longer ends the process by itself: [`check`] does.
pub(crate) fn catch() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        if let Err(error) = ctrlc::set_handler(|| INTERRUPTED.store(true, Ordering::Relaxed)) {
            eprintln!("warning: cannot catch interrupts ({error}); the next run cleans up after one");
        }
    });
}

/// Passes on that the user has interrupted.
///
/// # Errors
///
/// The user has interrupted; [`is`] recognises this error.
pub(crate) fn check() -> Result<()> {
    if INTERRUPTED.load(Ordering::Relaxed) { Err(Interrupted.into()) } else { Ok(()) }
}

/// Whether `error` comes from [`check`].
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
