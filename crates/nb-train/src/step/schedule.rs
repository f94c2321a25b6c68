//! Where a step stands in the run: its stage, how far through it, and the learning rate's course.
//!
//! Each stage has a course of its own: a linear rise over its first steps, then a linear fall to zero.

/// The stages of a run over a known number of steps.
#[derive(Debug, Clone, PartialEq)]
pub struct Schedule {
    stages: Vec<Span>,
    total: u64,
}

/// One stage.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Span {
    start: u64,
    steps: u64,
    warmup: u64,
}

/// Where a step stands.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StepPosition {
    /// The step, from 0.
    pub step: u64,
    /// Its stage, from 0.
    pub stage: usize,
    /// The step within its stage, from 0.
    pub own: u64,
    /// From 0 at the stage's first step to 1 at its last.
    pub progress: f64,
    /// The factor of the peak learning rates.
    pub rate: f64,
}

impl Schedule {
    /// Divides `total` steps among stages by their `shares`, at least one step each where there are enough; the rate rises
    /// over the share `warmup` of each stage (rounded).
    ///
    /// # Panics
    /// If there is no stage.
    pub fn new(total: u64, warmup: f64, shares: &[f64]) -> Self {
        assert!(!shares.is_empty(), "a run without a stage");
        let whole: f64 = shares.iter().sum();
        let (mut stages, mut start, mut sum) = (Vec::new(), 0, 0.0);
        for (i, share) in shares.iter().enumerate() {
            sum += share;
            let after = (shares.len() - 1 - i) as u64; // every later stage keeps a step
            let end = if after == 0 { total } else { (total as f64 * sum / whole).round() as u64 };
            let end = end.min(total.saturating_sub(after)).max((start + 1).min(total));
            let steps = end - start;
            stages.push(Span { start, steps, warmup: (steps as f64 * warmup).round() as u64 });
            start = end;
        }
        Self { stages, total }
    }

    /// All steps.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// Steps of each stage.
    pub fn steps(&self) -> impl Iterator<Item = u64> + '_ {
        self.stages.iter().map(|stage| stage.steps)
    }

    /// Where `step` (from 0) stands. The rate's factor, with s the step and n the steps of the stage, is (s + 1)/warm-up
    /// while rising, reaching 1, then (n − s)/(n − warm-up), which the last step still has above 0.
    pub fn at(&self, step: u64) -> StepPosition {
        let stage = self.stages.iter().rposition(|stage| stage.steps > 0 && step >= stage.start).unwrap_or(0);
        let Span { start, steps, warmup } = self.stages[stage];
        let own = step.saturating_sub(start);
        let rate = if own < warmup {
            (own + 1) as f64 / warmup as f64
        } else {
            steps.saturating_sub(own) as f64 / (steps - warmup).max(1) as f64
        };
        let progress = (own as f64 / steps.saturating_sub(1).max(1) as f64).min(1.0);
        StepPosition { step, stage, own, progress, rate }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rates(timeline: &Schedule) -> Vec<f64> {
        (0..timeline.total()).map(|step| timeline.at(step).rate).collect()
    }

    #[test]
    fn the_rate_rises_to_one_and_falls_towards_zero() {
        let timeline = Schedule::new(10, 0.2, &[1.0]);
        assert_eq!(rates(&timeline), [0.5, 1.0, 1.0, 0.875, 0.75, 0.625, 0.5, 0.375, 0.25, 0.125]);
    }

    #[test]
    fn without_warm_up_it_starts_at_the_peak_and_with_nothing_else_it_never_divides_by_zero() {
        assert_eq!(Schedule::new(4, 0.0, &[1.0]).at(0).rate, 1.0);
        assert_eq!(Schedule::new(4, 1.0, &[1.0]).at(3).rate, 1.0);
        assert_eq!(Schedule::new(4, 1.0, &[1.0]).at(4).rate, 0.0);
    }

    #[test]
    fn each_stage_has_its_own_course() {
        let timeline = Schedule::new(8, 0.25, &[1.0, 3.0]);
        assert_eq!(timeline.steps().collect::<Vec<_>>(), [2, 6]);
        let moments: Vec<(usize, f64)> = (0..8).map(|s| (timeline.at(s).stage, timeline.at(s).progress)).collect();
        assert_eq!(moments, [(0, 0.0), (0, 1.0), (1, 0.0), (1, 0.2), (1, 0.4), (1, 0.6), (1, 0.8), (1, 1.0)]);
        assert_eq!(rates(&timeline), [1.0, 1.0, 0.5, 1.0, 1.0, 0.75, 0.5, 0.25]);
    }

    #[test]
    fn a_stage_of_a_tiny_share_keeps_a_step() {
        assert_eq!(Schedule::new(5, 0.1, &[1e-9, 1.0, 1e-9]).steps().collect::<Vec<_>>(), [1, 3, 1]);
        assert_eq!(Schedule::new(1, 0.1, &[1.0, 1.0]).steps().sum::<u64>(), 1);
    }
}
