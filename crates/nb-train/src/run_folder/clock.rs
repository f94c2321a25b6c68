//! The time spent in steps, and the throughput.

use std::time::{Duration, Instant};

use nb_report::record::Cost;
use serde::{Deserialize, Serialize};

use crate::step::Counts;

/// Number of initial steps that do not count towards the throughput: they touch memory for the first time and select kernels.
const WARM_UP_STEPS: u64 = 3;

/// The time spent in steps, and the throughput.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Clock {
    all: Throughput,
    warm: Throughput,
    /// Elapsed time of everything that training needed: building the models with the outputs of frozen teachers, and steps.
    #[serde(default)]
    elapsed: Duration,
    /// Processor time of the same.
    #[serde(default)]
    processor: Duration,
}

/// A measurement of elapsed and processor time.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stopwatch {
    begin: Instant,
    processor: Duration,
}

impl Stopwatch {
    pub(crate) fn start() -> Self {
        Self { begin: Instant::now(), processor: processor_time() }
    }
}

/// Returns the processor time of all threads of this process.
fn processor_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec.unsigned_abs() as u32)
}

#[derive(Debug, Default, Clone, Copy, Serialize, Deserialize)]
struct Throughput {
    time: Duration,
    samples: i64,
    sequences: i64,
    tokens: i64,
}

impl Throughput {
    fn add(&mut self, elapsed: Duration, counts: Counts) {
        self.time += elapsed;
        self.samples += counts.rows;
        self.sequences += counts.pooled;
        self.tokens += counts.tokens;
    }

    fn per_second(self, count: i64) -> f64 {
        count as f64 / self.time.as_secs_f64().max(1e-9)
    }
}

impl Clock {
    pub(crate) fn add(&mut self, step: u64, elapsed: Duration, counts: Counts) {
        self.all.add(elapsed, counts);
        if step >= WARM_UP_STEPS {
            self.warm.add(elapsed, counts);
        }
    }

    /// Adds the time since `watch` started to the cost.
    pub(crate) fn add_cost(&mut self, watch: Stopwatch) {
        self.elapsed += watch.begin.elapsed();
        self.processor += processor_time().saturating_sub(watch.processor);
    }

    /// Returns the cost so far.
    pub(crate) fn cost(&self) -> Cost {
        Cost { seconds: Some(self.elapsed.as_secs_f64()), processor_seconds: Some(self.processor.as_secs_f64()) }
    }

    pub(crate) fn seconds(&self) -> f64 {
        self.all.time.as_secs_f64()
    }

    /// Returns the rows of logits, counted in every epoch.
    pub(crate) fn samples(&self) -> i64 {
        self.all.samples
    }

    /// Returns the throughput without the warm-up steps, or of all steps if there are no others.
    fn warmed_up(&self) -> Throughput {
        if self.warm.sequences > 0 { self.warm } else { self.all }
    }

    pub(crate) fn samples_per_second(&self) -> f64 {
        self.warmed_up().per_second(self.warmed_up().samples)
    }

    pub(crate) fn sequences_per_second(&self) -> f64 {
        self.warmed_up().per_second(self.warmed_up().sequences)
    }

    pub(crate) fn tokens_per_second(&self) -> f64 {
        self.warmed_up().per_second(self.warmed_up().tokens)
    }
}
