//! One training step: micro-batches in, an update out. Every line is a value becoming the next.
//!
//! The step interprets a [`Method`] and never asks for its name.

use nb_data::random::mix;
use nb_model::Encoded;
use nb_momentum::{blend_embeddings, blend_layers};
use tch::{Device, Kind, Tensor};

use crate::adamw::{AdamW, Group, clip_factor, gradient_norm};
use crate::method::{Blend, Method, TermKind};
use crate::models::{Model, Models, Role};
use crate::task::{Objective, Outputs};
use crate::terms::{Compared, Counts, Side};

/// What every step of a run has in common.
#[derive(Debug)]
pub struct Stepper {
    /// The method.
    pub method: Method,
    /// The optimiser's numbers.
    pub optimiser: AdamW,
    /// Largest norm of the gradient; 0 for none.
    pub clip: f64,
    /// The run's seed.
    pub seed: u64,
}

/// What a step did.
#[derive(Debug, Clone, PartialEq)]
pub struct StepReport {
    /// Each term, unweighted, in the method's order.
    pub terms: Vec<(TermKind, f64)>,
    /// The weighted sum of the terms.
    pub total: f64,
    /// Norm of the whole gradient after blending, before clipping.
    pub gradient_norm: f64,
    /// What the batch held.
    pub counts: Counts,
}

impl StepReport {
    /// The first number of the report that is not finite.
    pub fn not_finite(&self) -> Option<String> {
        let term = self.terms.iter().find(|(_, value)| !value.is_finite());
        let term = term.map(|(kind, value)| format!("the term `{}` is {value}", kind.name()));
        term.or_else(|| {
            (!self.gradient_norm.is_finite()).then(|| format!("the gradient's norm is {}", self.gradient_norm))
        })
    }
}

impl Stepper {
    /// Update number `step` (from 0) from `batches`, its micro-batches, at `schedule` times the peak learning rates. An
    /// update that is not finite is reported and not made.
    pub fn step<K: Objective>(
        &self,
        (task, models): (&K, &mut Models<K::Top>),
        groups: &mut [Group],
        batches: &[K::Batch],
        (step, schedule): (u64, f64),
    ) -> StepReport {
        let counts = batches.iter().map(|b| task.counts(b)).fold(Counts::default(), std::ops::Add::add);
        let mut terms: Vec<(TermKind, f64)> = self.method.terms.iter().map(|t| (t.kind, 0.0)).collect();
        for (micro, batch) in batches.iter().enumerate() {
            let values = self.micro_batch(task, models, batch, counts, mix(&[self.seed, step, micro as u64]));
            terms.iter_mut().zip(values).for_each(|((_, sum), value)| *sum += value);
        }
        self.blend(models);
        let total = self.method.terms.iter().zip(&terms).map(|(term, (_, value))| term.weight * value).sum();
        let report = StepReport { terms, total, gradient_norm: gradient_norm(groups), counts };
        if report.not_finite().is_none() {
            self.optimiser.step(groups, step + 1, schedule, clip_factor(report.gradient_norm, self.clip));
            models.teacher.iter_mut().chain(&mut models.student).for_each(|m| m.bert.parameters_changed());
        }
        report
    }

    /// Forward and backward of one micro-batch: gradients accumulate in the arenas. Returns the terms' values.
    pub fn micro_batch<K: Objective>(
        &self,
        task: &K,
        models: &Models<K::Top>,
        batch: &K::Batch,
        counts: Counts,
        key: u64,
    ) -> Vec<f64> {
        let packed = task.packed(batch);
        let forward = |model: &Model<K::Top>, role: Role| {
            let encoded = model.encode(&packed, mix(&[key, role as u64]));
            let outputs = task.outputs(&model.top, encoded.last(), &packed, batch);
            (encoded, outputs)
        };
        let teacher = models.teacher.as_ref().map(|m| forward(m, Role::Teacher));
        let student = models.student.as_ref().map(|m| forward(m, Role::Student));
        let labels = task.labels(batch);
        let compared = Compared { teacher: side(&teacher), student: side(&student), labels: &labels, map: models.map };

        let terms: Vec<Tensor> =
            self.method.terms.iter().map(|t| compared.term(t.kind, &self.method, counts)).collect();
        let total: Tensor = self.method.terms.iter().zip(&terms).map(|(term, value)| value * term.weight).sum();
        total.backward();
        for (model, outcome) in [(&models.teacher, teacher), (&models.student, student)] {
            if let (Some(model), Some((encoded, _))) = (model, outcome) {
                model.bert.backward(&packed, encoded);
            }
        }
        // One copy to the host for all terms; on a GPU it waits for the device.
        let values = Tensor::stack(&terms, 0).to_kind(Kind::Double).to_device(Device::Cpu);
        (0..terms.len() as i64).map(|i| values.double_value(&[i])).collect()
    }

    /// Momentum distillation: after backward, before clipping.
    pub fn blend<T>(&self, models: &Models<T>) {
        let (Some(teacher), Some(student), Some(map)) = (&models.teacher, &models.student, models.map) else {
            return;
        };
        let (teacher, student) = (&teacher.bert, &student.bert);
        blend_layers(&teacher.layer_grads(), &mut student.layer_grads(), map, self.method.beta);
        if self.method.blend == Blend::LayersAndEmbeddings {
            blend_embeddings(&teacher.embedding_grads(), &mut student.embedding_grads(), self.method.beta);
        }
    }
}

fn side(outcome: &Option<(Encoded, Outputs)>) -> Option<Side<'_>> {
    outcome.as_ref().map(|(encoded, outputs)| Side { states: encoded.states(), outputs })
}
