//! Ctrl-C and SIGTERM: the first signal stops a run after its current step, the second one ends the process immediately.

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use anyhow::Result;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;

/// Flags that the signals set.
#[derive(Debug)]
pub(crate) struct Signals {
    stop: Arc<AtomicBool>,
    signal: Arc<AtomicUsize>,
}

/// A shell's exit code for a process ended by a signal is this plus the signal's number.
const BASE: i32 = 128;

impl Signals {
    /// Handles the signals from now on.
    ///
    /// # Errors
    /// If a handler cannot be installed.
    pub(crate) fn listen() -> Result<Self> {
        let (stop, last_signal) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        for signal in [SIGINT, SIGTERM] {
            // In this order: the conditional shutdown must check the flag before the first signal sets it.
            flag::register_conditional_shutdown(signal, BASE + signal, Arc::clone(&stop))?;
            flag::register_usize(signal, Arc::clone(&last_signal), signal as usize)?;
            flag::register(signal, Arc::clone(&stop))?;
        }
        Ok(Self { stop, signal: last_signal })
    }

    /// Returns whether a signal has been received.
    pub(crate) fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// Returns the flag that the first signal sets.
    pub(crate) fn stop(&self) -> &Arc<AtomicBool> {
        &self.stop
    }

    /// Returns the exit code of a run that a signal stopped: 130 or 143. A signal to another process of the run counts as
    /// SIGTERM here.
    pub(crate) fn exit_code(&self) -> ExitCode {
        let signal = match self.signal.load(Ordering::Relaxed) {
            0 => SIGTERM as usize,
            signal => signal,
        };
        ExitCode::from(BASE as u8 + signal as u8)
    }
}
