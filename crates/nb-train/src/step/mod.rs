//! One training step: from micro-batches to an update.
//!
//! The step interprets a [`Method`] and does not depend on its name. With one process, nothing in it waits for the device: its
//! outputs are tensors ([`StepOutput`]), which the caller reads when it needs them.

mod context;
mod micro_batch;
mod momentum;
mod schedule;
pub(crate) mod sync;
mod telemetry;
mod terms;

use std::rc::Rc;

use anyhow::Result;
use nb_dist::ProcessGroup;
use nb_model::Packed;
use nb_model::profile::{Phase, scope};
use nb_momentum::{Beta, blend_embeddings, blend_layers};
use tch::Tensor;

pub use self::context::{MicroBatch, MicroBatchOutput, StepContext, Telemetry};
pub use self::schedule::{Decay, DecayShape, Schedule, StepPosition};
pub use self::telemetry::{StepOutput, StepReport};
pub use self::terms::{Counts, ModelOutputs, TermInputs};
use crate::method::{Blend, Method};
use crate::model::Models;
use crate::optim::{AdamW, ParamGroup, clip_factor, gradient_norm};
use crate::step::momentum::LayerGrads;
use crate::step::sync::GradientSums;
use crate::step::telemetry::GradientStats;
use crate::task::{Objective, Task};

/// Runs the steps of a run.
#[derive(Debug)]
pub struct Stepper {
    /// The method.
    pub method: Method,
    /// The optimiser's constants.
    pub optimiser: AdamW,
    /// Largest norm of the gradient; 0 for no limit.
    pub clip: f64,
    /// The run's seed.
    pub seed: u64,
    /// The processes that share the micro-batches of an update.
    pub processes: Rc<ProcessGroup>,
}

/// The rows of one update, and its position in the run.
#[derive(Debug, Clone, Copy)]
pub struct Update<'a> {
    /// The epoch of the rows.
    pub epoch: u64,
    /// The rows of each micro-batch, over all processes.
    pub rows: &'a [Vec<u32>],
    /// The step's position in the run.
    pub position: StepPosition,
    /// The measurements to take besides the terms.
    pub telemetry: Telemetry,
}

impl Stepper {
    /// Reads this process's micro-batches of an update, then runs the step.
    ///
    /// # Errors
    /// If a process is lost.
    pub fn update<K: Task>(
        &self,
        task: &K,
        models: &mut Models<K::Head>,
        groups: &mut [ParamGroup],
        update: &Update<'_>,
    ) -> Result<StepOutput> {
        let batches: Vec<K::Batch> = {
            let _phase = scope(Phase::Data);
            let rows = update.rows.iter().skip(self.processes.rank()).step_by(self.processes.size());
            rows.map(|rows| task.batch(update.epoch, rows)).collect()
        };
        self.step(task, models, groups, &batches, update.position, update.telemetry)
    }

    /// Runs the step at `position` on `batches`, this process's share of the micro-batches. Process r of P has numbers
    /// r, r + P, r + 2P and so on.
    ///
    /// A step whose loss or gradient is not finite updates nothing. After a step, embedding rows may lack updates, which the next
    /// step that uses them applies. The training loop applies all of them (`optim::catch_up`) before anything other than a step
    /// reads the models' values.
    ///
    /// # Errors
    /// If a process is lost.
    pub fn step<K: Objective>(
        &self,
        task: &K,
        models: &mut Models<K::Head>,
        groups: &mut [ParamGroup],
        batches: &[K::Batch],
        position: StepPosition,
        telemetry: Telemetry,
    ) -> Result<StepOutput> {
        let processes = &*self.processes;
        let counts = batches.iter().map(|batch| task.counts(batch)).fold(Counts::default(), std::ops::Add::add);
        let counts = sync::sum_counts(processes, counts)?; // the divisors of all means
        let context = StepContext { position, counts, telemetry };
        let texts = pack(task, batches);
        let rows = catch_up_rows(groups, &texts); // embedding rows with deferred updates
        let rows = sync::touched_rows(processes, groups, rows)?;

        let mut sums = GradientSums::new(processes, models, self.method.teacher);
        let outputs = self.forward_backward_all(task, models, batches, &texts, &context, &mut sums);

        let gradients = scope(Phase::Gradients);
        sums.finish(groups, &rows)?; // all-reduce; the layers' sums began during the last backward pass
        let terms = self.method.stages[position.stage].terms.len();
        let reduced = sync::reduce_outputs(processes, &outputs, terms, groups[0].device())?;
        let stats = GradientStats::measure(&self.method, models, reduced.agreement, &context);
        self.blend(models, position);
        let norm = gradient_norm(groups); // of the blended gradient, which is clipped
        let is_finite = norm.isfinite().logical_and(&reduced.terms.isfinite().all());
        let clip = clip_factor(&norm, self.clip).where_scalarother(&is_finite, 0.0); // 0: no update
        drop(gradients);

        let _phase = scope(Phase::Optimiser);
        if position.step_in_stage == 0 {
            groups.iter_mut().for_each(ParamGroup::reset_state); // each stage starts with moments of zero
        }
        self.optimiser.step(groups, position.step_in_stage + 1, position.lr_factor, &clip);
        models.updated(self.method.teacher, groups);
        Ok(StepOutput::new(&self.method, &context, reduced.terms, norm, stats, is_finite.logical_not()))
    }

    /// Runs the forward and backward passes of this process's micro-batches. The last one starts the sum of each layer's gradients
    /// as soon as they are complete.
    fn forward_backward_all<K: Objective>(
        &self,
        task: &K,
        models: &Models<K::Head>,
        batches: &[K::Batch],
        texts: &[Packed],
        context: &StepContext,
        sums: &mut GradientSums<'_>,
    ) -> Vec<MicroBatchOutput> {
        let processes = &*self.processes;
        let mut outputs = Vec::with_capacity(batches.len());
        for (i, (batch, texts)) in batches.iter().zip(texts).enumerate() {
            let number = (processes.rank() + i * processes.size()) as u64;
            let is_last = i + 1 == batches.len();
            let mut layer_done = |grads: &Tensor| {
                if is_last {
                    sums.layer_done(grads);
                }
            };
            let micro_batch = MicroBatch { batch, texts, number };
            outputs.push(self.forward_backward_by_layer(task, models, &micro_batch, context, &mut layer_done));
            processes.heartbeat();
        }
        outputs
    }

    /// Blends the teacher's gradients into the student's (momentum distillation), after the backward pass and before clipping.
    /// Only layers that are trained have gradients: the gradient of a student layer is blended with the mean gradient of the
    /// trained layers among its teacher layers, and stays as it is if there are none.
    pub fn blend<T>(&self, models: &Models<T>, position: StepPosition) {
        if !self.method.blends() {
            return; // a layer map may exist without blending, for models of different widths
        }
        let (Some(teacher), Some(student), Some(map)) = (&models.teacher, &models.student, models.map) else {
            return;
        };
        let beta = Beta::new(self.method.beta.at(position.progress)).unwrap_or(Beta::OFF); // a ramp stays between 0 and 1
        for LayerGrads { teacher, mut student, .. } in momentum::layer_grads(teacher, student, map) {
            blend_layers(&teacher, &mut student, teacher.size()[0] as usize, beta);
        }
        if self.method.blend == Blend::LayersAndEmbeddings
            && let (Some(teacher), Some(mut student)) = (teacher.bert.embedding_grads(), student.bert.embedding_grads())
        {
            blend_embeddings(&teacher, &mut student, beta);
        }
    }
}

fn pack<K: Objective>(task: &K, batches: &[K::Batch]) -> Vec<Packed> {
    let _phase = scope(Phase::Data);
    batches.iter().map(|batch| task.packed(batch)).collect()
}

/// Applies deferred updates to the embedding rows that `texts` look up, and returns these rows. It returns none if no table
/// is updated lazily.
fn catch_up_rows(groups: &mut [ParamGroup], texts: &[Packed]) -> Vec<u32> {
    let _phase = scope(Phase::Optimiser);
    let mut ids: Vec<u32> = Vec::new();
    if groups.iter().any(ParamGroup::is_lazy) {
        ids.extend(texts.iter().flat_map(Packed::distinct_ids));
        ids.sort_unstable();
        ids.dedup();
        groups.iter_mut().for_each(|group| group.catch_up_rows(&ids));
    }
    ids
}
