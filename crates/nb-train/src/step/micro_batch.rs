//! The forward and backward passes of one micro-batch.

use nb_checkpoint::LabelKind;
use nb_data::random::mix;
use nb_model::profile::{Phase, scope};
use nb_model::{DropoutKey, Encoded, Pass};
use tch::{Kind, Tensor};

use super::Stepper;
use super::context::{MicroBatch, MicroBatchOutput, StepContext};
use super::terms::{ModelOutputs, TermInputs};
use crate::method::{Ensemble, Stage, TeacherRole, TermKind};
use crate::model::output_cache::{LoadedOutputs, OutputCache};
use crate::model::{HeadOutputs, Model, Models, Role};
use crate::task::{Objective, TaskHead};

impl Stepper {
    /// Runs the forward and backward passes of a micro-batch. Gradients accumulate in the arenas.
    pub fn forward_backward<K: Objective>(
        &self,
        task: &K,
        models: &Models<K::Head>,
        micro_batch: &MicroBatch<'_, K::Batch>,
        context: &StepContext,
    ) -> MicroBatchOutput {
        self.forward_backward_by_layer(task, models, micro_batch, context, &mut |_| ())
    }

    /// Does the same as [`Stepper::forward_backward`], and calls `layer_done` with each layer's gradients once this
    /// micro-batch adds nothing more to them.
    pub(super) fn forward_backward_by_layer<K: Objective>(
        &self,
        task: &K,
        models: &Models<K::Head>,
        micro_batch: &MicroBatch<'_, K::Batch>,
        context: &StepContext,
        layer_done: &mut dyn FnMut(&Tensor),
    ) -> MicroBatchOutput {
        let stage = &self.method.stages[context.position.stage];
        let labels = task.labels(micro_batch.batch);
        let input = Input { task, micro_batch, labels: &labels, stage };
        let key = mix(&[self.seed, context.position.step, micro_batch.number]);
        let teacher = models.teacher.as_ref().map(|model| match self.method.teacher {
            TeacherRole::Frozen => Forward { outputs: self.frozen_outputs(&input, models), encoded: None },
            _ => input.forward(models, Role::Teacher, model, key),
        });
        let student = models.student.as_ref().map(|model| input.forward(models, Role::Student, model, key));

        let losses = scope(Phase::Losses);
        let inputs = TermInputs {
            teacher: teacher.as_ref().map(|forward| &forward.outputs),
            student: student.as_ref().map(|forward| &forward.outputs),
            packed: micro_batch.texts,
            label_kind: task.label_kind(),
            labels: &labels,
            class_weights: task.class_weights(),
            teacher_layers: depth(models.teacher.as_ref()),
            student_layers: depth(models.student.as_ref()),
            heads: models.student.as_ref().map_or(1, |m| m.bert.config().num_attention_heads),
            projection: models.projection.as_ref(),
            counts: context.counts,
        };
        let progress = context.position.progress;
        let temperature = self.method.temperature.at(progress);
        let terms: Vec<Tensor> = stage.terms.iter().map(|t| inputs.term(t.kind, &self.method, temperature)).collect();
        let total: Tensor = stage.terms.iter().zip(&terms).map(|(term, value)| value * term.weight.at(progress)).sum();
        if total.requires_grad() {
            total.backward(); // else the stage trains nothing: the parts that its terms read are not trained
        }
        let agreement = context.telemetry.agreement(&inputs);
        drop(losses); // the backward pass through the encoders has phases of its own

        for (model, forward) in [(&models.teacher, teacher), (&models.student, student)] {
            if let (Some(model), Some(Forward { encoded: Some(encoded), .. })) = (model, forward) {
                let done = |layer| model.bert.layer_grads(layer..layer + 1).iter().for_each(&mut *layer_done);
                model.bert.backward_by_layers(micro_batch.texts, encoded, done);
            }
        }
        MicroBatchOutput { terms: Tensor::stack(&terms, 0).to_kind(Kind::Double).detach(), agreement }
    }

    /// Returns the outputs of the first frozen teacher, with the combined logits of all frozen teachers. They come from the
    /// cache if there is one.
    fn frozen_outputs<K: Objective>(&self, input: &Input<'_, K>, models: &Models<K::Head>) -> ModelOutputs {
        let teachers = models.teacher.iter().chain(&models.extra_teachers);
        let mut outputs: Vec<ModelOutputs> =
            tch::no_grad(|| teachers.enumerate().map(|(i, model)| input.frozen(model, models, i)).collect());
        let logits = |teacher: &ModelOutputs| teacher.outputs.as_ref().map(|outputs| outputs.logits.shallow_clone());
        let all: Vec<Tensor> = outputs.iter().filter_map(logits).collect();
        let mut first = outputs.swap_remove(0);
        if all.len() > 1
            && let Some(outputs) = &mut first.outputs
        {
            outputs.logits = match self.method.ensemble {
                Ensemble::Mean => nb_loss::mean_logits(&all),
                Ensemble::Loss => match input.task.label_kind() {
                    LabelKind::Single => nb_loss::logits_weighted_by_loss(&all, input.labels),
                    LabelKind::Multi => nb_loss::logits_weighted_by_binary_loss(&all, input.labels),
                },
            };
        }
        first
    }
}

fn depth<T>(model: Option<&Model<T>>) -> usize {
    model.map_or(0, |model| model.bert.depth())
}

/// A micro-batch with its labels, and the stage whose terms use it.
struct Input<'a, K: Objective> {
    task: &'a K,
    micro_batch: &'a MicroBatch<'a, K::Batch>,
    labels: &'a Tensor,
    stage: &'a Stage,
}

/// A model's forward pass: its outputs and, if the model is trained, the encoder's record for the backward pass.
struct Forward {
    outputs: ModelOutputs,
    encoded: Option<Encoded>,
}

impl<K: Objective> Input<'_, K> {
    /// Runs a training pass of the model with this role. `key` is the micro-batch's.
    fn forward(&self, models: &Models<K::Head>, role: Role, model: &Model<K::Head>, key: u64) -> Forward {
        let key = mix(&[key, role as u64]);
        let (texts, capture) = (self.micro_batch.texts, self.stage.capture());
        let fixed = models.fixed_states.get(&role).and_then(|cache| self.load(cache, model));
        let Some(LoadedOutputs { states: fixed, .. }) = fixed else {
            let encoded = model.encode(texts, capture, key);
            return Forward { outputs: self.outputs(model, &encoded), encoded: Some(encoded) };
        };
        let pass = Pass::Training(DropoutKey::Key(key));
        let encoded = model.bert.encode_from_fixed(fixed.state(model.bert.fixed_layers()), texts, pass, capture);
        let mut outputs = self.outputs(model, &encoded);
        outputs.firsts = fixed.firsts;
        for (i, state) in fixed.states {
            outputs.states.entry(i).or_insert(state);
        }
        Forward { outputs, encoded: Some(encoded) }
    }

    /// Returns the outputs of frozen teacher `i`, from its cache if it has one.
    fn frozen(&self, model: &Model<K::Head>, models: &Models<K::Head>, i: usize) -> ModelOutputs {
        let cached = models.teacher_caches.get(i).and_then(|cache| self.load(cache, model));
        let Some(LoadedOutputs { states: mut outputs, pooled }) = cached else {
            let texts = self.micro_batch.texts;
            return self.outputs(model, &model.bert.encode(texts, Pass::Inference, self.stage.capture()));
        };
        outputs.outputs = pooled.map(|pooled| self.head_outputs(model, pooled));
        outputs
    }

    /// Loads the cached outputs of a model for the texts; `None` if they can no longer be read.
    fn load(&self, cache: &OutputCache, model: &Model<K::Head>) -> Option<LoadedOutputs> {
        let loaded = cache.load(&self.task.texts(self.micro_batch.batch), model.bert.device());
        loaded.inspect_err(|e| tracing::warn!("{e:#}; computing the outputs instead")).ok()
    }

    /// Returns the outputs that the stage's terms use.
    fn outputs(&self, model: &Model<K::Head>, encoded: &Encoded) -> ModelOutputs {
        let _phase = scope(Phase::Losses);
        let outputs = self.stage.any(TermKind::needs_outputs).then(|| {
            let pooled = self.task.pooled(&model.head, encoded.last(), self.micro_batch.texts);
            self.head_outputs(model, pooled)
        });
        ModelOutputs::of(encoded, model.bert.depth(), outputs)
    }

    fn head_outputs(&self, model: &Model<K::Head>, pooled: Tensor) -> HeadOutputs {
        let vectors = model.head.vectors(&pooled);
        HeadOutputs { logits: self.task.logits(&model.head, &vectors, self.micro_batch.batch), pooled, vectors }
    }
}
