//! Ctrl-C and SIGTERM: the first asks the run to stop after its step, the second ends the process at once.

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use anyhow::Result;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;

/// The signals' flags.
#[derive(Debug)]
pub(crate) struct Signals {
    stop: Arc<AtomicBool>,
    which: Arc<AtomicUsize>,
}

/// What a shell expects of a process that a signal ended.
const BASE: i32 = 128;

impl Signals {
    pub(crate) fn listen() -> Result<Self> {
        let (stop, which) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        for signal in [SIGINT, SIGTERM] {
            // In this order: the conditional end looks at the flag before the first signal sets it.
            flag::register_conditional_shutdown(signal, BASE + signal, Arc::clone(&stop))?;
            flag::register_usize(signal, Arc::clone(&which), signal as usize)?;
            flag::register(signal, Arc::clone(&stop))?;
        }
        Ok(Self { stop, which })
    }

    pub(crate) fn stop(&self) -> &Arc<AtomicBool> {
        &self.stop
    }

    /// The exit code of a run that a signal stopped: 130 or 143. Where it came to another process of the run, it counts as
    /// SIGTERM here.
    pub(crate) fn exit_code(&self) -> ExitCode {
        let signal = match self.which.load(Ordering::Relaxed) {
            0 => SIGTERM as usize,
            signal => signal,
        };
        ExitCode::from(BASE as u8 + signal as u8)
    }
}
