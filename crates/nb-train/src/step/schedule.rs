//! The schedule of a run: the stage of each step, its progress through the stage, and the learning-rate factor.
//!
//! Each stage has its own learning-rate schedule: a linear warm-up, then a decay to zero, once or in several cycles.

/// The stages of a run over a known number of steps.
#[derive(Debug, Clone, PartialEq)]
pub struct Schedule {
    stages: Vec<StageSteps>,
    total: u64,
    decay: Decay,
}

/// The fall of the learning rate after the warm-up.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Decay {
    /// Its shape.
    pub shape: DecayShape,
    /// The number of times that the rate falls from its peak, each over the same number of steps (SGDR, Loshchilov and
    /// Hutter, ICLR 2017, without their growing periods). At least 1.
    pub cycles: u64,
}

/// The shape of a decay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DecayShape {
    /// 1 − x over the share x of a cycle's steps.
    Linear,
    /// (1 + cos πx)/2.
    Cosine,
    /// 1: the rate does not fall.
    Constant,
}

impl Decay {
    /// One linear decay.
    pub const LINEAR: Self = Self { shape: DecayShape::Linear, cycles: 1 };

    /// Returns the factor at the share `x` of the steps after the warm-up, from 0 to 1.
    fn factor(self, x: f64) -> f64 {
        let cycles = x * self.cycles as f64;
        // The end of the last cycle is its end, not the beginning of another.
        let x = if x < 1.0 { cycles.fract() } else { 1.0 };
        match self.shape {
            DecayShape::Linear => 1.0 - x,
            DecayShape::Cosine => (1.0 + (std::f64::consts::PI * x).cos()) / 2.0,
            DecayShape::Constant => 1.0,
        }
    }
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
        Self { stages, total, decay: Decay::LINEAR }
    }

    /// Returns the schedule with another decay in each stage.
    #[must_use]
    pub fn with_decay(self, decay: Decay) -> Self {
        Self { decay, ..self }
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
    /// factor is (s + 1)/warm-up during warm-up, which reaches 1, then that of the [`Decay`] at the share
    /// x = (s − warm-up)/(n − warm-up), which is below 1 at the last step; for one linear decay it is (n − s)/(n − warm-up).
    pub fn at(&self, step: u64) -> StepPosition {
        let stage = self.stages.iter().rposition(|stage| stage.steps > 0 && step >= stage.start).unwrap_or(0);
        let StageSteps { start, steps, warmup } = self.stages[stage];
        let step_in_stage = step.saturating_sub(start);
        let lr_factor = if step_in_stage < warmup {
            (step_in_stage + 1) as f64 / warmup as f64
        } else {
            let decayed = (steps - warmup) as f64;
            self.decay.factor(if decayed > 0.0 { ((step_in_stage - warmup) as f64 / decayed).min(1.0) } else { 1.0 })
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
    fn a_cosine_falls_slowly_at_first_and_cycles_start_at_the_peak() {
        let of = |shape, cycles| factors(&Schedule::new(5, 0.2, &[1.0]).with_decay(Decay { shape, cycles }));
        let close = |found: Vec<f64>, expected: [f64; 5]| {
            assert!(found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-12), "{found:?}, expected {expected:?}");
        };
        let quarter = 0.5_f64.sqrt() / 2.0; // cos(π/4)/2
        close(of(DecayShape::Cosine, 1), [1.0, 1.0, 0.5 + quarter, 0.5, 0.5 - quarter]);
        close(of(DecayShape::Linear, 2), [1.0, 1.0, 0.5, 1.0, 0.5]);
        close(of(DecayShape::Cosine, 2), [1.0, 1.0, 0.5, 1.0, 0.5]);
        close(of(DecayShape::Constant, 1), [1.0; 5]);
        assert_eq!(Decay { shape: DecayShape::Cosine, cycles: 3 }.factor(1.0), 0.0);
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
