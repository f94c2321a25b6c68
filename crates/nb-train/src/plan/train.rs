//! The checked form of the configuration's `train`.

use nb_data::BatchSize;
use nb_model::ActivationCheckpoint;

use crate::config::{ConfigError, EvalEvery, NotFiniteChoice, ScheduleChoice, TeacherTrainConfig, TrainConfig};
use crate::step::{Decay, DecayShape};

/// The settings of the optimisation, checked.
#[derive(Debug, Clone)]
pub struct TrainPlan {
    /// Passes over the training texts.
    pub epochs: u64,
    /// Largest number of updates.
    pub max_steps: Option<u64>,
    /// Size of a micro-batch.
    pub batch: BatchSize,
    /// Micro-batches per update.
    pub accumulate: usize,
    /// Peak learning rate of the student's encoder.
    pub lr: f64,
    /// Peak learning rate of the top layers.
    pub head_lr: f64,
    /// Peak learning rate of the teacher's encoder.
    pub teacher_lr: f64,
    /// Share of the steps during which the learning rate rises.
    pub warmup: f64,
    /// Fall of the learning rate after the warm-up.
    pub decay: Decay,
    /// Weight decay λ of AdamW.
    pub weight_decay: f64,
    /// Largest norm of the gradient; 0 for no limit.
    pub clip: f64,
    /// Interval between evaluations.
    pub eval_every: EvalEvery,
    /// Number of evaluations without a better metric before early stopping.
    pub patience: Option<u64>,
    /// Steps between log lines.
    pub log_every: u64,
    /// Treatment of a loss or a gradient that is not finite.
    pub not_finite: NotFiniteChoice,
    /// Activations that each layer stores for the backward pass.
    pub keep: ActivationCheckpoint,
}

impl TrainPlan {
    pub(super) fn new(config: &TrainConfig) -> Result<Self, ConfigError> {
        let c = config;
        let plan = Self {
            epochs: c.epochs,
            max_steps: c.max_steps,
            batch: c.tokens.map_or(BatchSize::Sequences(c.batch), BatchSize::Tokens),
            accumulate: c.accumulate,
            lr: c.lr,
            head_lr: c.head_lr.unwrap_or(c.lr),
            teacher_lr: c.teacher_lr.unwrap_or(c.lr),
            warmup: c.warmup,
            decay: Decay {
                cycles: c.cycles,
                shape: match c.schedule {
                    ScheduleChoice::Linear => DecayShape::Linear,
                    ScheduleChoice::Cosine => DecayShape::Cosine,
                    ScheduleChoice::Constant => DecayShape::Constant,
                },
            },
            weight_decay: c.weight_decay,
            clip: c.clip,
            eval_every: c.eval_every,
            patience: c.patience,
            log_every: c.log_every,
            not_finite: c.not_finite,
            keep: if c.recompute { ActivationCheckpoint::LayerInputs } else { ActivationCheckpoint::Off },
        };
        check_counts(&[
            ("train.epochs", c.epochs),
            ("train.batch", c.batch as u64),
            ("train.accumulate", c.accumulate as u64),
            ("train.log_every", c.log_every),
            ("train.cycles", c.cycles),
            ("train.max_steps", c.max_steps.unwrap_or(1)),
            ("train.patience", c.patience.unwrap_or(1)),
            ("train.tokens", c.tokens.unwrap_or(1) as u64),
        ])?;
        plan.check_numbers_and_shares()?;
        Ok(plan)
    }

    /// Returns the configuration with every default filled in.
    pub(super) fn to_config(&self, given: &TrainConfig) -> TrainConfig {
        TrainConfig { head_lr: Some(self.head_lr), teacher_lr: Some(self.teacher_lr), ..given.clone() }
    }

    fn check_numbers_and_shares(&self) -> Result<(), ConfigError> {
        check_numbers(&[
            ("train.lr", self.lr),
            ("train.head_lr", self.head_lr),
            ("train.teacher_lr", self.teacher_lr),
            ("train.weight_decay", self.weight_decay),
            ("train.clip", self.clip),
        ])?;
        if !(0.0..=1.0).contains(&self.warmup) {
            return Err(ConfigError::expected("train.warmup", self.warmup, "a share of the steps from 0 to 1"));
        }
        Ok(())
    }
}

/// Checks the settings by which the training of a frozen teacher differs.
pub(super) fn check_teacher(config: &TeacherTrainConfig) -> Result<(), ConfigError> {
    check_counts(&[
        ("teacher.train.patience", config.patience.unwrap_or(1)),
        ("teacher.train.batch", config.batch.unwrap_or(1) as u64),
    ])?;
    check_numbers(&[
        ("teacher.train.lr", config.lr.unwrap_or(0.0)),
        ("teacher.train.head_lr", config.head_lr.unwrap_or(0.0)),
    ])
}

fn check_counts(counts: &[(&str, u64)]) -> Result<(), ConfigError> {
    match counts.iter().find(|(_, count)| *count == 0) {
        Some((key, _)) => Err(ConfigError::expected(*key, 0, "at least 1")),
        None => Ok(()),
    }
}

fn check_numbers(numbers: &[(&str, f64)]) -> Result<(), ConfigError> {
    match numbers.iter().find(|(_, number)| !(*number >= 0.0 && number.is_finite())) {
        Some((key, number)) => Err(ConfigError::expected(*key, number, "a number of at least 0")),
        None => Ok(()),
    }
}
