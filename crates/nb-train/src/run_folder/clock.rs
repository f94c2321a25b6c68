//! The time spent in steps, and the throughput.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::step::terms::Counts;

/// Steps that do not count towards the throughput: they touch memory for the first time and choose kernels.
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
    fn add(&mut self, took: Duration, counts: Counts) {
        self.time += took;
        self.samples += counts.rows;
        self.sequences += counts.pooled;
        self.tokens += counts.tokens;
    }

    fn per_second(self, count: i64) -> f64 {
        count as f64 / self.time.as_secs_f64().max(1e-9)
    }
}

impl Clock {
    pub(crate) fn add(&mut self, step: u64, took: Duration, counts: Counts) {
        self.all.add(took, counts);
        if step >= WARM_UP_STEPS {
            self.warm.add(took, counts);
        }
    }

    pub(crate) fn seconds(&self) -> f64 {
        self.all.time.as_secs_f64()
    }

    /// Rows of logits, counted in every epoch.
    pub(crate) fn samples(&self) -> i64 {
        self.all.samples
    }

    /// The throughput without the first steps, unless there are no others.
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
