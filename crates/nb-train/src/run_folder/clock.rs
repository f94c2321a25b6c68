//! The time spent in steps, and the throughput.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::step::Counts;

/// Number of initial steps that do not count towards the throughput: they touch memory for the first time and select kernels.
const WARM_UP_STEPS: u64 = 3;

/// The time spent in steps, and the throughput.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Clock {
    all: Throughput,
    warm: Throughput,
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
