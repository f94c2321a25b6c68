//! The time of a training step by named phase, measured only between [`start`] and [`finish`].
//!
//! Outside them, [`scope`] costs one thread-local read. A device that works asynchronously returns before it has finished, so a
//! scope waits for the device when it begins and ends: a profiled step is slower than an unprofiled one, but its phases add up.

use std::cell::RefCell;
use std::time::{Duration, Instant};

use tch::Device;

/// A phase of a step. Phases do not overlap: the time of an inner scope does not count towards the outer one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Reading rows and sending them to the device.
    Data,
    /// Embedding tables with their LayerNorm.
    Embeddings,
    /// Attention between queries, keys and values.
    Attention,
    /// Linear layers of the encoder: products with weights, including activations that run in the same kernel.
    Linear,
    /// LayerNorms, dropout and other activations of the encoder's layers.
    Elementwise,
    /// Pooling, heads and losses, with their backward pass by autograd.
    Losses,
    /// The sum over processes, the blend of gradients, and their norm.
    Gradients,
    /// AdamW.
    Optimiser,
}

impl Phase {
    /// All phases, in the order of a step.
    pub const ALL: [Self; 8] = [
        Self::Data,
        Self::Embeddings,
        Self::Attention,
        Self::Linear,
        Self::Elementwise,
        Self::Losses,
        Self::Gradients,
        Self::Optimiser,
    ];

    /// Returns the name of the phase in tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::Data => "data",
            Self::Embeddings => "embeddings",
            Self::Attention => "attention",
            Self::Linear => "linear layers",
            Self::Elementwise => "activations and norms",
            Self::Losses => "losses",
            Self::Gradients => "blend and norm",
            Self::Optimiser => "optimiser",
        }
    }
}

/// Time by phase on this thread.
#[derive(Debug)]
struct Stopwatch {
    device: Device,
    times: [Duration; Phase::ALL.len()],
    /// The open phases, the innermost last.
    open: Vec<Phase>,
    /// The start of the innermost phase, or the end of the one before it.
    since: Instant,
}

thread_local! {
    static WATCH: RefCell<Option<Stopwatch>> = const { RefCell::new(None) };
}

impl Stopwatch {
    /// Adds the time since the last change to the innermost phase.
    fn record(&mut self) {
        if let Device::Cuda(index) = self.device {
            tch::Cuda::synchronize(index as i64);
        }
        let now = Instant::now();
        if let Some(&phase) = self.open.last() {
            self.times[phase as usize] += now - self.since;
        }
        self.since = now;
    }
}

/// Starts to measure the phases of this thread's work on `device`.
///
/// ```
/// use nb_model::profile::{Phase, finish, scope, start};
/// start(tch::Device::Cpu);
/// {
///     let _scope = scope(Phase::Losses);
///     std::thread::sleep(std::time::Duration::from_millis(2));
/// }
/// let times = finish();
/// assert!(times.iter().any(|(phase, time)| *phase == Phase::Losses && time.as_millis() >= 2));
/// ```
pub fn start(device: Device) {
    let watch =
        Stopwatch { device, times: [Duration::ZERO; Phase::ALL.len()], open: Vec::new(), since: Instant::now() };
    WATCH.set(Some(watch));
}

/// Ends the measurement, and returns the time in each phase since [`start`]; empty without a start.
pub fn finish() -> Vec<(Phase, Duration)> {
    let watch = WATCH.take();
    watch.map(|watch| Phase::ALL.into_iter().zip(watch.times).collect()).unwrap_or_default()
}

/// Opens `phase`, which lasts as long as the returned value.
#[must_use = "a phase lasts as long as its scope"]
pub fn scope(phase: Phase) -> Scope {
    let timed = WATCH.with_borrow_mut(|watch| {
        if let Some(watch) = watch {
            watch.record();
            watch.open.push(phase);
        }
        watch.is_some()
    });
    Scope { timed }
}

/// An open phase; see [`scope`].
#[derive(Debug)]
pub struct Scope {
    timed: bool,
}

impl Drop for Scope {
    fn drop(&mut self) {
        if self.timed {
            WATCH.with_borrow_mut(|watch| {
                if let Some(watch) = watch {
                    watch.record();
                    watch.open.pop();
                }
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nap() {
        std::thread::sleep(Duration::from_millis(5));
    }

    #[test]
    fn an_inner_phase_is_not_counted_twice() {
        assert!(finish().is_empty());
        start(Device::Cpu);
        let begin = Instant::now();
        {
            let _outer = scope(Phase::Linear);
            nap();
            {
                let _inner = scope(Phase::Attention);
                nap();
            }
            nap();
        }
        nap(); // belongs to no phase
        let (took, times) = (begin.elapsed(), finish());
        let of = |phase: Phase| times[phase as usize].1;
        assert!(of(Phase::Linear) >= Duration::from_millis(10) && of(Phase::Attention) >= Duration::from_millis(5));
        assert!(of(Phase::Linear) + of(Phase::Attention) <= took - Duration::from_millis(5));
        assert_eq!(of(Phase::Optimiser), Duration::ZERO);
        let _not_measured = scope(Phase::Data);
        assert!(finish().is_empty());
    }
}
