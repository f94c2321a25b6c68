//! The learning rate's course: a linear rise over the first steps, then a linear fall to zero.

/// A schedule over a known number of steps.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Schedule {
    warmup: u64,
    total: u64,
}

impl Schedule {
    /// A rise over `share` of `total` steps (rounded), then a fall.
    pub fn new(total: u64, share: f64) -> Self {
        Self { warmup: (total as f64 * share).round() as u64, total }
    }

    /// The factor of the peak rate at `step` (from 0): (step + 1)/warm-up while rising, reaching 1, then
    /// (total − step)/(total − warm-up), which the last step still has above 0.
    pub fn factor(&self, step: u64) -> f64 {
        if step < self.warmup {
            (step + 1) as f64 / self.warmup as f64
        } else {
            self.total.saturating_sub(step) as f64 / (self.total - self.warmup).max(1) as f64
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_rises_to_one_and_falls_towards_zero() {
        let schedule = Schedule::new(10, 0.2);
        let factors: Vec<f64> = (0..10).map(|s| schedule.factor(s)).collect();
        assert_eq!(factors, [0.5, 1.0, 1.0, 0.875, 0.75, 0.625, 0.5, 0.375, 0.25, 0.125]);
    }

    #[test]
    fn without_warm_up_it_starts_at_the_peak_and_with_nothing_else_it_never_divides_by_zero() {
        assert_eq!(Schedule::new(4, 0.0).factor(0), 1.0);
        assert_eq!(Schedule::new(4, 1.0).factor(3), 1.0);
        assert_eq!(Schedule::new(4, 1.0).factor(4), 0.0);
    }
}
