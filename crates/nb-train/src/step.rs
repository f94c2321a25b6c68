//! One training step: micro-batches in, an update out. Every line is a value becoming the next.
//!
//! The step interprets a [`Method`] and never asks for its name. On one process nothing in it waits for the device: what a step says of
//! itself are tensors ([`Stepped`]), which whoever wants to know reads.

use std::rc::Rc;

use anyhow::Result;
use nb_data::random::mix;
use nb_dist::ProcessGroup;
use nb_model::profile::{Phase, scope};
use nb_model::{Encoded, Packed, Pass};
use nb_momentum::{Beta, blend_embeddings, blend_layers};
use tch::{Kind, Tensor};

use crate::adamw::{AdamW, Group, clip_factor, gradient_norm};
use crate::method::{Blend, Ensemble, Method, Stage, TeacherRole, TermKind};
use crate::models::{Model, Models, Role};
use crate::schedule::Moment;
use crate::task::{Objective, Outputs, Task};
use crate::terms::{Compared, Counts, Shown};
use crate::together::{self, Sums};
use crate::watch::{Stepped, Watch, Watched};

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
    /// Those who share the micro-batches of an update.
    pub processes: Rc<ProcessGroup>,
}

/// What all micro-batches of a step have in common.
#[derive(Debug, Clone, Copy)]
pub struct Context {
    /// Where the step stands.
    pub moment: Moment,
    /// Units in all micro-batches.
    pub counts: Counts,
    /// What is looked at beside the terms.
    pub watch: Watch,
}

/// What a micro-batch came to.
#[derive(Debug)]
pub struct Micro {
    /// The stage's terms, unweighted, in f64: \[terms\].
    pub terms: Tensor,
    /// Share of equal predictions and KL divergence of teacher and student, summed over rows, if that is watched: \[2\].
    pub agreement: Option<Tensor>,
}

impl Stepper {
    /// The update from the rows of its micro-batches, which are `epoch`'s: reads those of this process, then makes the step.
    ///
    /// # Errors
    /// If a process is lost.
    pub fn update<K: Task>(
        &self,
        (task, models): (&K, &mut Models<K::Top>),
        groups: &mut [Group],
        (epoch, rows): (u64, &[Vec<u32>]),
        at: (Moment, Watch),
    ) -> Result<Stepped> {
        let batches: Vec<K::Batch> = {
            let _phase = scope(Phase::Data);
            let own = rows.iter().skip(self.processes.rank()).step_by(self.processes.size());
            own.map(|rows| task.batch(epoch, rows)).collect()
        };
        self.step((task, models), groups, &batches, at)
    }

    /// The update at `moment` from `batches`, this process's share of its micro-batches: every so many-th, from its own number
    /// on. An update that is not finite is not made. Before anything else reads the models' values they are to be brought up
    /// to date ([`crate::adamw::settle`]).
    ///
    /// # Errors
    /// If a process is lost.
    pub fn step<K: Objective>(
        &self,
        (task, models): (&K, &mut Models<K::Top>),
        groups: &mut [Group],
        batches: &[K::Batch],
        (moment, watch): (Moment, Watch),
    ) -> Result<Stepped> {
        let processes = &*self.processes;
        let counts = batches.iter().map(|b| task.counts(b)).fold(Counts::default(), std::ops::Add::add);
        let context = Context { moment, counts: together::counts(processes, counts)?, watch };
        let texts: Vec<Packed> = {
            let _phase = scope(Phase::Data);
            batches.iter().map(|batch| task.packed(batch)).collect()
        };
        let looked_up = settle_rows(groups, &texts);
        let looked_up = together::looked_up(processes, groups, looked_up)?;
        let mut sums = Sums::new(processes, models, self.method.teacher);
        let mut micros = Vec::with_capacity(batches.len());
        for (i, batch) in batches.iter().zip(&texts).enumerate() {
            let number = (processes.rank() + i * processes.size()) as u64;
            let is_last = i + 1 == batches.len();
            let mut is_done = |layer: &Tensor| {
                if is_last {
                    sums.complete(layer)
                }
            };
            micros.push(self.micro_batch_by_layers(task, models, batch, (&context, number), &mut is_done));
            processes.achieve();
        }
        let gradients = scope(Phase::Gradients);
        sums.finish(groups, &looked_up)?;
        let terms = self.method.stages[moment.stage].terms.len();
        let (values, agreement) = together::micros(processes, &micros, (terms, groups[0].device()))?;
        let watched = Watched::look(&self.method, models, agreement, &context);
        self.blend(models, moment);
        let norm = gradient_norm(groups);
        let finite = norm.isfinite().logical_and(&values.isfinite().all());
        let clip = clip_factor(&norm, self.clip).where_scalarother(&finite, 0.0);
        drop(gradients);
        let _optimiser = scope(Phase::Optimiser);
        if moment.own == 0 {
            groups.iter_mut().for_each(Group::forget); // a stage is a training of its own
        }
        self.optimiser.step(groups, moment.own + 1, moment.rate, &clip);
        models.parameters_changed(self.method.teacher);
        Ok(Stepped::new(&self.method, context, (values, norm), (watched, finite.logical_not())))
    }

    /// Forward and backward of micro-batch number `micro`, with its texts: gradients accumulate in the arenas.
    pub fn micro_batch<K: Objective>(
        &self,
        task: &K,
        models: &Models<K::Top>,
        batch: (&K::Batch, &Packed),
        (context, micro): (&Context, u64),
    ) -> Micro {
        self.micro_batch_by_layers(task, models, batch, (context, micro), &mut |_| ())
    }

    /// The same; `is_done` is given each layer's gradients as soon as this micro-batch adds nothing more to them.
    fn micro_batch_by_layers<K: Objective>(
        &self,
        task: &K,
        models: &Models<K::Top>,
        (batch, packed): (&K::Batch, &Packed),
        (context, micro): (&Context, u64),
        is_done: &mut dyn FnMut(&Tensor),
    ) -> Micro {
        let stage = &self.method.stages[context.moment.stage];
        let input = Input { task, batch, packed, labels: &task.labels(batch), stage };
        let key = mix(&[self.seed, context.moment.step, micro]);
        let teacher = models.teacher.as_ref().map(|model| match self.method.teacher {
            TeacherRole::Frozen => Side { shown: self.frozen(&input, models), encoded: None },
            _ => input.forward(model, mix(&[key, Role::Teacher as u64])),
        });
        let student = models.student.as_ref().map(|model| input.forward(model, mix(&[key, Role::Student as u64])));
        let losses = scope(Phase::Losses);
        let compared = Compared {
            teacher: teacher.as_ref().map(|side| &side.shown),
            student: student.as_ref().map(|side| &side.shown),
            packed: input.packed,
            labels: input.labels,
            depths: models.depths(),
            heads: models.student.as_ref().map_or(1, |m| m.bert.config().num_attention_heads),
            projection: models.projection.as_ref(),
            counts: context.counts,
        };
        let progress = context.moment.progress;
        let temperature = self.method.temperature.at(progress);
        let terms: Vec<Tensor> = stage.terms.iter().map(|t| compared.term(t.kind, &self.method, temperature)).collect();
        let total: Tensor = stage.terms.iter().zip(&terms).map(|(term, value)| value * term.weight.at(progress)).sum();
        total.backward();
        let agreement = context.watch.agreement(compared.teacher, compared.student);
        drop(losses); // the way back through the encoders has phases of its own
        for (model, side) in [(&models.teacher, teacher), (&models.student, student)] {
            if let (Some(model), Some(Side { encoded: Some(encoded), .. })) = (model, side) {
                let grads = model.bert.layer_grads();
                model.bert.backward_by_layers(input.packed, encoded, |layer| is_done(&grads.get(layer as i64)));
            }
        }
        Micro { terms: Tensor::stack(&terms, 0).to_kind(Kind::Double).detach(), agreement }
    }

    /// What the frozen teachers say; from what is kept of them where it is.
    fn frozen<K: Objective>(&self, input: &Input<'_, K>, models: &Models<K::Top>) -> Shown {
        let teachers: Vec<&Model<K::Top>> = models.teacher.iter().chain(&models.others).collect();
        let mut shown: Vec<Shown> = tch::no_grad(|| {
            let one = |(i, model): (usize, &&Model<K::Top>)| {
                let kept =
                    models.kept.get(i).map(|kept| kept.show(&input.task.texts(input.batch), model.bert.device()));
                match kept {
                    Some(Ok((mut shown, pooled))) => {
                        shown.outputs = pooled.map(|pooled| input.above(model, pooled));
                        return shown;
                    }
                    Some(Err(e)) => tracing::warn!("{e:#}; the teacher computes it"),
                    None => {}
                }
                input.shown(model, &model.bert.encode(input.packed, Pass::Inference, input.stage.capture()))
            };
            teachers.iter().enumerate().map(one).collect()
        });
        let logits = |shown: &Shown| shown.outputs.as_ref().map(|outputs| outputs.logits.shallow_clone());
        let all: Vec<Tensor> = shown.iter().filter_map(logits).collect();
        let mut first = shown.swap_remove(0);
        if let (Some(outputs), true) = (&mut first.outputs, all.len() > 1) {
            outputs.logits = match self.method.ensemble {
                Ensemble::Mean => nb_loss::mean_logits(&all),
                Ensemble::Loss => nb_loss::logits_weighted_by_loss(&all, input.labels),
            };
        }
        first
    }

    /// Momentum distillation: after backward, before clipping.
    pub fn blend<T>(&self, models: &Models<T>, moment: Moment) {
        if !self.method.blends() {
            return; // there may be a layer map all the same, with models of other widths
        }
        let (Some(teacher), Some(student), Some(map)) = (&models.teacher, &models.student, models.map) else {
            return;
        };
        let beta = Beta::new(self.method.beta.at(moment.progress)).unwrap_or(Beta::OFF); // its course stays within 0 and 1
        let (teacher, student) = (&teacher.bert, &student.bert);
        blend_layers(&teacher.layer_grads(), &mut student.layer_grads(), map.group_size(), beta);
        if self.method.blend == Blend::LayersAndEmbeddings {
            blend_embeddings(&teacher.embedding_grads(), &mut student.embedding_grads(), beta);
        }
    }
}

/// Brings the rows of the embedding tables up to date that `texts` look up; returns them, where there are such tables.
fn settle_rows(groups: &mut [Group], texts: &[Packed]) -> Vec<u32> {
    let _phase = scope(Phase::Optimiser);
    let mut ids: Vec<u32> = Vec::new();
    if groups.iter().any(Group::is_lazy) {
        ids.extend(texts.iter().flat_map(Packed::distinct_ids));
        ids.sort_unstable();
        ids.dedup();
        groups.iter_mut().for_each(|group| group.settle_rows(&ids));
    }
    ids
}

/// A micro-batch on the device, and the stage it is for.
struct Input<'a, K: Objective> {
    task: &'a K,
    batch: &'a K::Batch,
    packed: &'a Packed,
    labels: &'a Tensor,
    stage: &'a Stage,
}

/// What a model shows, and its way back where it is trained.
struct Side {
    shown: Shown,
    encoded: Option<Encoded>,
}

impl<K: Objective> Input<'_, K> {
    fn forward(&self, model: &Model<K::Top>, key: u64) -> Side {
        let encoded = model.encode(self.packed, self.stage.capture(), key);
        Side { shown: self.shown(model, &encoded), encoded: Some(encoded) }
    }

    /// What the stage's terms look at.
    fn shown(&self, model: &Model<K::Top>, encoded: &Encoded) -> Shown {
        let _phase = scope(Phase::Losses);
        let outputs = self
            .stage
            .any(TermKind::needs_outputs)
            .then(|| self.above(model, self.task.pooled(&model.top, encoded.last(), self.packed)));
        Shown::of(encoded, model.bert.depth(), outputs)
    }

    fn above(&self, model: &Model<K::Top>, pooled: Tensor) -> Outputs {
        Outputs { logits: self.task.logits(&model.top, &pooled, self.batch), pooled }
    }
}
