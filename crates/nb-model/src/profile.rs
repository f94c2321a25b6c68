//! Where the time of a step goes: named phases, timed only while somebody asks.
//!
//! [`scope`] costs one thread-local read when nobody does. On a device that works asynchronously the clock would measure
//! how long it takes to *ask*, so every scope first and last waits for the device there: a profiled step is slower than
//! one that is not, and its phases add up.

use std::cell::RefCell;
use std::time::{Duration, Instant};

use tch::Device;

/// What a part of a step works on. The phases of a step do not overlap: inside another scope a scope counts for itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Reading rows and sending them to the device.
    Data,
    /// Embedding tables with their LayerNorm.
    Embeddings,
    /// Attention between queries, keys and values.
    Attention,
    /// Linear layers of the encoder: products with weights, and the activations that some of these do along.
    Linear,
    /// LayerNorms, dropout and other activations of the encoder's layers.
    Elementwise,
    /// Pooling, heads and losses, with autograd's way back through them.
    Losses,
    /// The sum over processes, the blend of gradients, and their norm.
    Gradients,
    /// AdamW.
    Optimiser,
}

impl Phase {
    /// All phases, in the order in which a step goes through them.
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

    /// Its name in tables.
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
struct Watch {
    device: Device,
    times: [Duration; Phase::ALL.len()],
    /// The phases under way, the innermost last, and since when the innermost runs.
    under_way: Vec<Phase>,
    since: Instant,
}

thread_local! {
    static WATCH: RefCell<Option<Watch>> = const { RefCell::new(None) };
}

impl Watch {
    /// Books the time since the last change for the innermost phase.
    fn book(&mut self) {
        if let Device::Cuda(index) = self.device {
            tch::Cuda::synchronize(index as i64);
        }
        let now = Instant::now();
        if let Some(&phase) = self.under_way.last() {
            self.times[phase as usize] += now - self.since;
        }
        self.since = now;
    }
}

/// Begins to time the phases of what this thread does on `device`.
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
        Watch { device, times: [Duration::ZERO; Phase::ALL.len()], under_way: Vec::new(), since: Instant::now() };
    WATCH.set(Some(watch));
}

/// Ends what [`start`] began: the time in each phase since, empty if nothing was begun.
pub fn finish() -> Vec<(Phase, Duration)> {
    let watch = WATCH.take();
    watch.map(|watch| Phase::ALL.into_iter().zip(watch.times).collect()).unwrap_or_default()
}

/// The part of a step that lasts as long as this value is `phase`.
#[must_use = "a phase lasts as long as its scope"]
pub fn scope(phase: Phase) -> Scope {
    let timed = WATCH.with_borrow_mut(|watch| {
        if let Some(watch) = watch {
            watch.book();
            watch.under_way.push(phase);
        }
        watch.is_some()
    });
    Scope { timed }
}

/// See [`scope`].
#[derive(Debug)]
pub struct Scope {
    timed: bool,
}

impl Drop for Scope {
    fn drop(&mut self) {
        if self.timed {
            WATCH.with_borrow_mut(|watch| {
                if let Some(watch) = watch {
                    watch.book();
                    watch.under_way.pop();
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
        let _nobody_asks = scope(Phase::Data);
        assert!(finish().is_empty());
    }
}
