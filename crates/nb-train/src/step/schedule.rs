//! The schedule of a run: the stage of each step, its progress through the stage, and the learning-rate factor.
//!
//! Each stage has its own learning-rate schedule: a linear warm-up, then a linear decay to zero.

/// The stages of a run over a known number of steps.
#[derive(Debug, Clone, PartialEq)]
pub struct Schedule {
    stages: Vec<StageSteps>,
    total: u64,
}

/// The steps of a stage.
#[derive(Debug, Clone, Copy, PartialEq)]
struct StageSteps {
    start: u64,
    steps: u64,
    warmup: u64,
}

/// A step's position in the run.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StepPosition {
    /// The step, from 0.
    pub step: u64,
    /// Its stage, from 0.
    pub stage: usize,
    /// The step within its stage, from 0.
    pub step_in_stage: u64,
    /// Progress through the stage: 0 at its first step, 1 at its last.
    pub progress: f64,
    /// Factor of the peak learning rates.
    pub lr_factor: f64,
}

impl Schedule {
    /// Divides `total` steps among stages by their `shares`, with at least one step each where there are enough. The share
    /// `warmup` of each stage's steps (rounded) is warm-up.
    ///
    /// # Panics
    /// If there is no stage.
    pub fn new(total: u64, warmup: f64, shares: &[f64]) -> Self {
        assert!(!shares.is_empty(), "a run needs at least one stage");
        let sum_of_shares: f64 = shares.iter().sum();
        let (mut stages, mut start, mut sum) = (Vec::new(), 0, 0.0);
        for (i, share) in shares.iter().enumerate() {
            sum += share;
            let after = (shares.len() - 1 - i) as u64; // one step is reserved for each later stage
            let end = if after == 0 { total } else { (total as f64 * sum / sum_of_shares).round() as u64 };
            let end = end.min(total.saturating_sub(after)).max((start + 1).min(total));
            let steps = end - start;
            stages.push(StageSteps { start, steps, warmup: (steps as f64 * warmup).round() as u64 });
            start = end;
        }
        Self { stages, total }
    }

    /// Steps of the whole run.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// Steps of each stage.
    pub fn steps(&self) -> impl Iterator<Item = u64> + '_ {
        self.stages.iter().map(|stage| stage.steps)
    }

    /// Returns the position of `step`, from 0. With s the step within its stage and n the stage's steps, the learning-rate
    /// factor is (s + 1)/warm-up during warm-up, which reaches 1, then (n − s)/(n − warm-up), which is still above 0 at the
    /// last step.
    pub fn at(&self, step: u64) -> StepPosition {
        let stage = self.stages.iter().rposition(|stage| stage.steps > 0 && step >= stage.start).unwrap_or(0);
        let StageSteps { start, steps, warmup } = self.stages[stage];
        let step_in_stage = step.saturating_sub(start);
        let lr_factor = if step_in_stage < warmup {
            (step_in_stage + 1) as f64 / warmup as f64
        } else {
            steps.saturating_sub(step_in_stage) as f64 / (steps - warmup).max(1) as f64
        };
        let progress = (step_in_stage as f64 / steps.saturating_sub(1).max(1) as f64).min(1.0);
        StepPosition { step, stage, step_in_stage, progress, lr_factor }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn factors(schedule: &Schedule) -> Vec<f64> {
        (0..schedule.total()).map(|step| schedule.at(step).lr_factor).collect()
    }

    #[test]
    fn the_rate_rises_to_one_and_falls_towards_zero() {
        let schedule = Schedule::new(10, 0.2, &[1.0]);
        assert_eq!(factors(&schedule), [0.5, 1.0, 1.0, 0.875, 0.75, 0.625, 0.5, 0.375, 0.25, 0.125]);
    }

    #[test]
    fn no_warm_up_starts_at_the_peak_and_warm_up_alone_does_not_divide_by_zero() {
        assert_eq!(Schedule::new(4, 0.0, &[1.0]).at(0).lr_factor, 1.0);
        assert_eq!(Schedule::new(4, 1.0, &[1.0]).at(3).lr_factor, 1.0);
        assert_eq!(Schedule::new(4, 1.0, &[1.0]).at(4).lr_factor, 0.0);
    }

    #[test]
    fn each_stage_has_its_own_schedule() {
        let schedule = Schedule::new(8, 0.25, &[1.0, 3.0]);
        assert_eq!(schedule.steps().collect::<Vec<_>>(), [2, 6]);
        let positions: Vec<(usize, f64)> = (0..8).map(|s| (schedule.at(s).stage, schedule.at(s).progress)).collect();
        assert_eq!(positions, [(0, 0.0), (0, 1.0), (1, 0.0), (1, 0.2), (1, 0.4), (1, 0.6), (1, 0.8), (1, 1.0)]);
        assert_eq!(factors(&schedule), [1.0, 1.0, 0.5, 1.0, 1.0, 0.75, 0.5, 0.25]);
    }

    #[test]
    fn a_stage_with_a_tiny_share_gets_a_step() {
        assert_eq!(Schedule::new(5, 0.1, &[1e-9, 1.0, 1e-9]).steps().collect::<Vec<_>>(), [1, 3, 1]);
        assert_eq!(Schedule::new(1, 0.1, &[1.0, 1.0]).steps().sum::<u64>(), 1);
    }
}
