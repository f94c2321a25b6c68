//! Outputs that do not change during a run, computed once and cached: those of frozen teachers, and the states of the fixed layers
//! of a model that learns, which are those below its lowest trained part.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::Result;
use nb_model::{Bert, BertConfig, Capture, Packed, TrainedParts};
use nb_torch::cpu_slices::with_bytes;
use tch::{Device, Kind, Tensor};

use crate::method::{Method, TeacherRole, TermKind};
use crate::model::output_cache::{CachedEncoder, EncoderOutput, OutputCache, cache_size, format_bytes};
use crate::model::saved_folder::weights_digest;
use crate::model::{Model, Models, Role};
use crate::plan::{CachePolicy, Plan};
use crate::task::{Task, TaskHead};

/// Most micro-batches that are read to find out how often a run encodes a text.
const COUNTED_BATCHES: usize = 64;

/// The outputs of an encoder that a run can cache.
#[derive(Debug, Clone, PartialEq)]
pub struct CachePlan {
    /// The outputs.
    pub outputs: Vec<EncoderOutput>,
    /// The kind of the cached states; `None` if the outputs are not cached.
    pub kind: Option<Kind>,
    /// The number of hidden units.
    hidden: i64,
    /// The number of times that the run encodes a text, on average; 0 if the policy does not depend on it.
    pub uses: f64,
}

impl CachePlan {
    /// Returns the outputs of a frozen teacher that the terms read. `None` if there is no frozen teacher, or if they cannot be
    /// cached.
    pub fn of_frozen_teacher<K: Task>(plan: &Plan, task: &K) -> Option<Self> {
        if plan.method.teacher != TeacherRole::Frozen {
            return None;
        }
        let outputs = cacheable_outputs(&plan.method, &plan.teacher_config, plan.student_layers)?;
        let (hidden, uses) = (plan.teacher_config.hidden_size, uses(plan, task));
        let kind = plan.cache_policy.kind(uses, |kind| cache_size(&outputs, &task.stores(), hidden, kind));
        Some(Self { outputs, kind, hidden, uses })
    }

    /// Returns the states of a model that learns up to the output of its fixed layers ([`Bert::fixed_layers`]), as far as the
    /// terms read them. `None` if it has no fixed layers, or if the states cannot be cached.
    pub fn of_fixed_layers<K: Task>(plan: &Plan, task: &K, role: Role) -> Option<Self> {
        let (config, parts) = learner(plan, role)?;
        let fixed = parts.fixed_layers(config.num_hidden_layers as usize);
        let capture = plan.method.stages.iter().map(|stage| stage.capture()).max().unwrap_or_default();
        if fixed == 0 || capture == Capture::Scores {
            return None; // scores are not cached, and need all layers
        }
        let mut outputs = match role {
            Role::Teacher => cacheable_outputs(&plan.method, config, plan.student_layers)?,
            Role::Student => states_of_student(&plan.method, plan.student_layers),
        };
        outputs.retain(|output| match output {
            EncoderOutput::State(i) | EncoderOutput::First(i) => *i < fixed,
            EncoderOutput::Pooled => false,
        });
        outputs.push(EncoderOutput::State(fixed));
        let (hidden, uses) = (config.hidden_size, uses(plan, task));
        let kind = plan.cache_policy.for_inputs(uses, |kind| cache_size(&outputs, &task.stores(), hidden, kind));
        Some(Self { outputs, kind, hidden, uses })
    }

    /// Returns the kind of the cached states after a message that names the outputs, their size and their folder.
    fn announced<K: Task>(&self, what: &str, plan: &Plan, task: &K) -> Option<Kind> {
        let kind = self.kind?;
        tracing::info!("caching {what} ({}) in {}", format_bytes(self.bytes(task, kind)), folder_of(plan).display());
        Some(kind)
    }

    /// Returns the size of the outputs in bytes with states of kind `kind`.
    pub fn bytes<K: Task>(&self, task: &K, kind: Kind) -> u64 {
        cache_size(&self.outputs, &task.stores(), self.hidden, kind)
    }
}

/// Returns the shape and the trained parts of a model that learns; `None` if the method has no such model.
fn learner(plan: &Plan, role: Role) -> Option<(&BertConfig, TrainedParts)> {
    match role {
        Role::Teacher => {
            (plan.method.teacher == TeacherRole::Joint).then_some((&plan.teacher_config, plan.parts.teacher))
        }
        Role::Student => plan.method.has_student().then_some((&plan.student_config, plan.parts.student)),
    }
}

/// Returns how often the run encodes a text of its stores, on average. Where articles are ranked, a batch encodes the candidates
/// of several readers, and an epoch encodes an article many times. 0 if nothing depends on it.
fn uses<K: Task>(plan: &Plan, task: &K) -> f64 {
    if plan.cache_policy != CachePolicy::Auto {
        return 0.0;
    }
    let epoch = task.epoch(0);
    let step = epoch.len().div_ceil(COUNTED_BATCHES).max(1);
    let counted: Vec<i64> = epoch.iter().step_by(step).map(|rows| task.packed(&task.batch(0, rows)).tokens()).collect();
    let per_batch = counted.iter().sum::<i64>() as f64 / counted.len().max(1) as f64;
    let stored: u64 = task.stores().iter().map(|store| store.token_count()).sum();
    let most = plan.train.max_steps.map_or(u64::MAX, |steps| steps.saturating_mul(plan.train.accumulate as u64));
    let batches = plan.train.epochs.saturating_mul(epoch.len() as u64).min(most);
    batches as f64 * per_batch / stored.max(1) as f64
}

/// Returns the outputs of frozen teachers that a method's terms compare, if all of them can be cached. Attention scores
/// cannot: their number grows with the square of a text's length.
pub fn cacheable_outputs(method: &Method, teacher: &BertConfig, student_layers: usize) -> Option<Vec<EncoderOutput>> {
    if method.any(|kind| kind == TermKind::Attention) {
        return None;
    }
    let layers = teacher.num_hidden_layers as usize;
    let mut outputs: Vec<EncoderOutput> =
        method.teacher_states(layers, student_layers).into_iter().map(EncoderOutput::State).collect();
    if method.any(|kind| kind == TermKind::Patience) {
        let firsts = (1..student_layers).map(|j| method.pkd_layers.teacher_state(j, layers, student_layers));
        outputs.extend(firsts.map(EncoderOutput::First));
    }
    if method.any(TermKind::needs_outputs) {
        outputs.push(EncoderOutput::Pooled);
    }
    outputs.sort();
    outputs.dedup();
    Some(outputs)
}

/// Returns the states of the student that a method's terms compare.
fn states_of_student(method: &Method, layers: usize) -> Vec<EncoderOutput> {
    let mut states = Vec::new();
    for term in method.terms() {
        match term.kind {
            TermKind::Embedding => states.push(EncoderOutput::State(0)),
            TermKind::Hidden => states.extend((1..=layers).map(EncoderOutput::State)),
            TermKind::Patience => states.extend((1..layers).map(EncoderOutput::First)),
            TermKind::Cosine => states.push(EncoderOutput::State(layers)),
            _ => {}
        }
    }
    states.sort();
    states.dedup();
    states
}

/// Opens the caches of the frozen teachers' outputs, if the plan asks for them. If that fails, the teachers compute their
/// outputs in every step.
pub(super) fn of_teachers<K: Task>(plan: &Plan, task: &K, teachers: &[Model<K::Head>]) -> Vec<OutputCache> {
    let Some(cache_plan) = CachePlan::of_frozen_teacher(plan, task) else { return Vec::new() };
    let Some(state_kind) = cache_plan.announced("the teacher's outputs", plan, task) else { return Vec::new() };
    let mut caches = Vec::with_capacity(teachers.len());
    for (i, (folder, model)) in plan.trained.iter().zip(teachers).enumerate() {
        // Terms compare the states of the first teacher only; extra teachers add their logits.
        let outputs = if i == 0 { &cache_plan.outputs[..] } else { &[EncoderOutput::Pooled] };
        match of_teacher(plan, task, model, folder, outputs, state_kind) {
            Ok(cache) => caches.push(cache),
            Err(e) => {
                tracing::warn!("the teacher's outputs cannot be cached and are computed in every step: {e:#}");
                return Vec::new();
            }
        }
    }
    caches
}

fn of_teacher<K: Task>(
    plan: &Plan,
    task: &K,
    model: &Model<K::Head>,
    folder: &Path,
    outputs: &[EncoderOutput],
    state_kind: Kind,
) -> Result<OutputCache> {
    let pooling = model.head.pooling().kind(); // a folder without a head does not say it
    let key = format!("{} {pooling:?} {}", weights_digest(folder)?, arithmetic(plan));
    let encoder = CachedEncoder { bert: &model.bert, key: &key, cache: &folder_of(plan), state_kind };
    OutputCache::open(&encoder, outputs, &task.stores(), |states, packed| task.pooled(&model.head, states, packed))
}

/// Opens the caches of the states of fixed layers, if the plan asks for them. A model without a cache computes them in every step.
pub(super) fn of_fixed_layers<K: Task>(plan: &Plan, task: &K, models: &Models<K::Head>) -> BTreeMap<Role, OutputCache> {
    let mut caches = BTreeMap::new();
    for (role, model) in models.trained(plan.method.teacher) {
        let Some(cache_plan) = CachePlan::of_fixed_layers(plan, task, role) else { continue };
        let what = format!("the states of the {}'s fixed layers", role.name());
        let Some(state_kind) = cache_plan.announced(&what, plan, task) else { continue };
        let bert = &model.bert;
        let key = format!("fixed {} {}", fixed_digest(bert), arithmetic(plan));
        let encoder = CachedEncoder { bert, key: &key, cache: &folder_of(plan), state_kind };
        let no_pooling = |states: &Tensor, _: &Packed| states.shallow_clone(); // pooled vectors change
        match OutputCache::open(&encoder, &cache_plan.outputs, &task.stores(), no_pooling) {
            Ok(cache) => drop(caches.insert(role, cache)),
            Err(e) => tracing::warn!("{what} cannot be cached and are computed in every step: {e:#}"),
        }
    }
    caches
}

/// Returns a hash of the values of the embeddings and the fixed layers, and of the model's shape.
fn fixed_digest(bert: &Bert) -> String {
    let layers = bert.layer_values().narrow(0, 0, bert.fixed_layers() as i64);
    let values = [bert.embedding_values(), layers].map(|values| values.to_device(Device::Cpu).contiguous());
    let mut hasher = blake3::Hasher::new();
    with_bytes(&values, |bytes| bytes.into_iter().for_each(|bytes| _ = hasher.update(bytes)));
    hasher.update(format!("{:?}", bert.config()).as_bytes());
    hasher.finalize().to_hex()[..32].to_owned()
}

/// Names the precision and the kind of device, on which the last bits of an output depend. All GPUs of a machine share a cache.
fn arithmetic(plan: &Plan) -> String {
    let device = match plan.device {
        Device::Cuda(_) => "cuda".to_owned(),
        other => format!("{other:?}").to_lowercase(),
    };
    format!("{:?} {device}", plan.precision)
}

fn folder_of(plan: &Plan) -> PathBuf {
    plan.data.cache.join("outputs")
}
