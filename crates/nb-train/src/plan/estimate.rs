//! An estimate of a run's peak memory, from the shapes of its models and its largest micro-batch.
//!
//! A model has P parameters, H hidden units, F feed-forward units and A heads; a batch has n real tokens and p pairs of
//! tokens (Σ length²); a number in a matrix product takes b bytes (4 in f32, 2 in bf16):
//!
//! | part | bytes |
//! | --- | --- |
//! | weights | 4·P of every encoder and head ([`nb_model::Arena`]) |
//! | gradients, moments | 4·P and 8·P of the parameters that are trained ([`crate::optim::ParamGroup`]); of the word embeddings, on the CPU, only the pages with words of the first epoch |
//! | bf16 copies | 2·P of the encoder layers |
//! | a layer's tape | b·n·(5H + 2F) + 8·n·H + b·A·p: queries, keys, values, the heads' outputs and the state between the halves; the feed-forward units after the activation, and either the units before it or its slope; both normalised sums; the attention weights. The layer's output adds 4·n·H, in bf16 only where states are recorded; in bf16 the copy of the input adds 2·n·H |
//! | with `train.recompute` | 4·n·H a layer, and the tape of one layer |
//! | embeddings | 8·n·H |
//! | attention scores, if captured | 4·A·p a layer, twice in the student for their gradient |
//! | gradients of states | 4·n·H for each state that a loss uses |
//! | working memory | n·(2·b·F + 16·H): the backward pass of a layer |
//!
//! Layers whose outputs never change ([`nb_model::Bert::fixed_layers`]) store no tape. A frozen teacher stores none at all: it
//! takes the memory of one layer at a time, and of the states that it records. If its outputs are cached, the cached outputs
//! of the micro-batch take their place.
//!
//! An evaluation encodes a fixed number of tokens at a time, one layer at a time, in the memory that an update has freed. A
//! model is saved from the arena without a copy. On the CPU, the model that is loaded for the test rows adds 8·P. While
//! models are loaded, none has moments yet. The bytes read from disk (4·P) are in memory beside the model that they fill;
//! later, the working memory for computing a frozen teacher's cached outputs takes their place.
//!
//! The estimate omits the tensors of user models and losses, the vectors of development articles, and the memory that the
//! allocator holds for the next step (up to a fiftieth). The table compares it with the peak of the process, measured once
//! each (AG, MiniLM of 6 layers, one thread, f32, 20 steps, 400 development texts; no constant is fitted to the
//! measurements):
//!
//! | method, student layers, batch | estimated | measured | deviation |
//! | --- | --- | --- | --- |
//! | newsbert, 1, 32 | 0.96 GB | 0.94 GB | +2 % |
//! | newsbert, 1, 128 | 2.20 GB | 2.05 GB | +7 % |
//! | newsbert, 3, 64 | 1.64 GB | 1.56 GB | +5 % |
//! | newsbert, 1, 1 (one step) | 0.62 GB | 0.62 GB | −1 % |
//! | newsbert, 1, 32, bf16 (6 steps) | 0.78 GB | 0.79 GB | −2 % |
//! | newsbert, 1, 32, recompute | 0.74 GB | 0.74 GB | 0 % |
//! | newsbert, 1, 128, recompute | 1.37 GB | 1.18 GB | +16 % |
//! | finetune, 1, 32 | 0.45 GB | 0.43 GB | +6 % |
//! | finetune, 2, 64 | 0.57 GB | 0.62 GB | −7 % |
//! | finetune, 6, 256 | 2.91 GB | 2.93 GB | −1 % |
//! | kd, 1, 32, outputs computed (6 steps) | 0.71 GB | 0.71 GB | 0 % |
//!
//! Nothing was measured on CUDA.

use nb_checkpoint::{BertConfig, parameter_layout};
use nb_model::{ActivationCheckpoint, Capture, Precision, TrainedParts};
use tch::Device;

use super::Plan;
use crate::method::TeacherRole;

/// Tokens per batch outside training.
pub(crate) const BATCH_TOKENS: usize = 4096;

/// Memory of the program and libtorch on the CPU before any model is loaded: 80 MB of mapped files and 45 MB of heap.
const PROGRAM: u64 = 125_000_000;

/// The sizes of a batch that determine its memory.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct BatchLoad {
    /// Real tokens n.
    pub tokens: u64,
    /// Pairs p of tokens that attend to each other: Σ length².
    pub pairs: u64,
}

/// The facts, besides the plan, that determine a run's memory.
#[derive(Debug, Clone, Copy)]
pub struct Workload<'a> {
    /// Parameters of heads and projection, each counted once.
    pub head: u64,
    /// The largest micro-batch.
    pub largest: BatchLoad,
    /// The distinct tokens of the first epoch, in ascending order.
    pub words: &'a [u32],
    /// Number of cached hidden states of a frozen teacher; `None` if they are computed.
    pub cached_states: Option<u64>,
    /// True if there are test rows, for which the saved models are loaded at the end.
    pub has_test: bool,
}

/// A part of the memory at the peak.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemoryPart {
    /// Its name.
    pub name: &'static str,
    /// Its size in bytes.
    pub bytes: u64,
}

/// The peak memory of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Estimate {
    /// The parts at the peak, each above 0 bytes.
    pub parts: Vec<MemoryPart>,
}

impl Estimate {
    /// Estimates the memory of a plan.
    pub fn new(plan: &Plan, work: &Workload<'_>) -> Self {
        let models = models(plan);
        let (training, loading) = (training(plan, work, &models), loading(plan, work, &models));
        let mut parts = if total(&loading) > total(&training) { loading } else { training };
        parts.retain(|part| part.bytes > 0);
        Self { parts }
    }

    /// Returns the sum of the parts.
    pub fn total(&self) -> u64 {
        total(&self.parts)
    }
}

fn total(parts: &[MemoryPart]) -> u64 {
    parts.iter().map(|part| part.bytes).sum()
}

/// The parts during an update or an evaluation.
fn training(plan: &Plan, work: &Workload<'_>, models: &[Model<'_>]) -> Vec<MemoryPart> {
    let sum = |bytes: &dyn Fn(&Model<'_>) -> u64| models.iter().map(bytes).sum::<u64>();
    let weights = 4 * (sum(&|model| model.parameters) + work.head);
    let gradients = sum(&|model| model.gradients(plan.device, work.words)) + 4 * work.head;
    let update = sum(&|model| model.update(work));
    let tested = models.iter().filter(|model| model.is_trained() && work.has_test && plan.device == Device::Cpu);
    vec![
        program(plan),
        MemoryPart { name: "weights", bytes: weights },
        MemoryPart { name: "gradients", bytes: gradients },
        MemoryPart { name: "AdamW's moments", bytes: 2 * gradients },
        copies(plan, models),
        MemoryPart { name: "activations of the largest micro-batch", bytes: update.max(evaluation(plan, models)) },
        MemoryPart {
            name: "a model loaded for the test rows",
            bytes: tested.map(|model| 8 * model.parameters).max().unwrap_or(0),
        },
    ]
}

/// The parts while models are loaded: weights of all models and, on other devices than the CPU, their gradients. Without a joint
/// teacher, the model that supplies the student's initial weights is dropped before training.
fn loading(plan: &Plan, work: &Workload<'_>, models: &[Model<'_>]) -> Vec<MemoryPart> {
    let is_joint = plan.method.teacher == TeacherRole::Joint;
    let source = if is_joint { 0 } else { parameters(&plan.source_config) };
    let bytes = if plan.device == Device::Cpu { 4 } else { 8 };
    let loaded = bytes * (source + models.iter().map(|model| model.parameters).sum::<u64>());
    let read = models.iter().map(|model| 4 * model.parameters).max().unwrap_or(0);
    vec![
        program(plan),
        MemoryPart { name: "models during loading", bytes: loaded },
        copies(plan, models),
        match work.cached_states {
            None => MemoryPart { name: "bytes read from a checkpoint", bytes: read },
            Some(_) => MemoryPart { name: "computation of the teacher's outputs", bytes: evaluation(plan, models) },
        },
    ]
}

fn program(plan: &Plan) -> MemoryPart {
    MemoryPart { name: "program and libtorch", bytes: if plan.device == Device::Cpu { PROGRAM } else { 0 } }
}

fn copies(plan: &Plan, models: &[Model<'_>]) -> MemoryPart {
    MemoryPart { name: "bf16 copies", bytes: models.iter().map(|model| model.copies(plan.precision)).sum() }
}

/// Bytes for the largest batch of an evaluation.
fn evaluation(plan: &Plan, models: &[Model<'_>]) -> u64 {
    models.iter().map(|model| model.evaluation(plan.data.longest_sequence())).max().unwrap_or(0)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ModelKind {
    Student,
    JointTeacher,
    FrozenTeacher,
}

/// An encoder that is in memory during training.
struct Model<'a> {
    config: &'a BertConfig,
    kind: ModelKind,
    parts: TrainedParts,
    capture: Capture,
    keep: ActivationCheckpoint,
    /// Bytes of a number in a matrix product.
    bytes: u64,
    parameters: u64,
}

fn models(plan: &Plan) -> Vec<Model<'_>> {
    let method = &plan.method;
    let capture = method.stages.iter().map(|stage| stage.capture()).max().unwrap_or_default();
    let bytes = if plan.precision == Precision::F32 { 4 } else { 2 };
    let keep = plan.train.keep;
    let model = |config, kind| {
        let parts = match kind {
            ModelKind::Student => plan.parts.student,
            ModelKind::JointTeacher => plan.parts.teacher,
            ModelKind::FrozenTeacher => TrainedParts::NONE,
        };
        Model { config, kind, parts, capture, keep, bytes, parameters: parameters(config) }
    };
    let teacher = |kind| model(&plan.teacher_config, kind);
    let mut models = match method.teacher {
        TeacherRole::Absent => Vec::new(),
        TeacherRole::Joint => vec![teacher(ModelKind::JointTeacher)],
        // Further teachers are assumed to be as large as the first.
        TeacherRole::Frozen => {
            let count = plan.trained.len().max(1);
            std::iter::repeat_with(|| teacher(ModelKind::FrozenTeacher)).take(count).collect()
        }
    };
    models.extend(method.has_student().then(|| model(&plan.student_config, ModelKind::Student)));
    models
}

/// The total number of parameters.
fn parameters(config: &BertConfig) -> u64 {
    parameter_layout(config).numel() as u64
}

/// The number of parameters in the encoder layers.
fn layer_parameters(config: &BertConfig) -> u64 {
    let layout = parameter_layout(config);
    let layers = layout.slots().iter().filter(|slot| slot.name.starts_with("encoder."));
    layers.map(|slot| slot.numel() as u64).sum()
}

/// Bytes of the pages that hold the rows `words`, in ascending order, of a table of `rows` of `row` bytes. Pages are provided as
/// a whole ([`nb_torch::zeros_on_demand`]).
fn written(rows: u64, row: u64, words: &[u32]) -> u64 {
    const PAGE: u64 = 4096;
    let (mut pages, mut next) = (0, 0); // pages before `next` are counted
    for word in words.iter().map(|&word| u64::from(word)).filter(|&word| word < rows) {
        let (first, end) = (next.max(word * row / PAGE), ((word + 1) * row).div_ceil(PAGE));
        pages += end.saturating_sub(first);
        next = next.max(end);
    }
    (pages * PAGE).min(rows * row)
}

impl Model<'_> {
    fn is_trained(&self) -> bool {
        self.kind != ModelKind::FrozenTeacher
    }

    /// The number of parameters that are trained.
    fn trained_parameters(&self) -> u64 {
        let (layers, depth) = (layer_parameters(self.config), self.config.num_hidden_layers as u64);
        let trained = self.parts.layers(depth as usize).len() as u64;
        let embeddings = if self.parts.embeddings { self.parameters - layers } else { 0 };
        embeddings + layers / depth.max(1) * trained
    }

    /// Bytes of the gradients in memory, if the training texts consist of `words`.
    fn gradients(&self, device: Device, words: &[u32]) -> u64 {
        let all = 4 * self.trained_parameters();
        if device != Device::Cpu || !self.parts.embeddings {
            return all;
        }
        let (rows, row) = (self.config.vocab_size as u64, 4 * self.config.embedding_width() as u64);
        all - rows * row + written(rows, row, words)
    }

    /// Bytes of the bf16 copies of the encoder layers.
    fn copies(&self, precision: Precision) -> u64 {
        if precision == Precision::Bf16 { 2 * layer_parameters(self.config) } else { 0 }
    }

    /// H, F, A and the number of layers.
    fn sizes(&self) -> [u64; 4] {
        let c = self.config;
        [c.hidden_size, c.intermediate_size, c.num_attention_heads, c.num_hidden_layers].map(|n| n as u64)
    }

    /// Bytes of the activations that one layer stores for its backward pass.
    fn tape(&self, capture: Capture, load: BatchLoad) -> u64 {
        let ([h, f, a, _], b, n) = (self.sizes(), self.bytes, load.tokens);
        let input = if b == 4 { 0 } else { b * n * h };
        let output = if b == 4 || capture >= Capture::States { 4 * n * h } else { 0 };
        b * n * (5 * h + 2 * f) + 8 * n * h + b * a * load.pairs + input + output
    }

    /// Bytes of working memory for one layer's backward pass.
    fn working(&self, load: BatchLoad) -> u64 {
        let [h, f, ..] = self.sizes();
        load.tokens * (2 * self.bytes * f + 16 * h)
    }

    /// Bytes for the forward and backward passes of the largest micro-batch.
    fn update(&self, work: &Workload<'_>) -> u64 {
        let ([h, _, a, l], load) = (self.sizes(), work.largest);
        let state = 4 * load.tokens * h;
        let states = if self.capture >= Capture::States { l + 1 } else { 1 };
        let scores = if self.capture == Capture::Scores { 4 * a * load.pairs * l } else { 0 };
        let (gradients, scores) = match (self.kind, work.cached_states) {
            (ModelKind::FrozenTeacher, Some(cached)) => return cached * state,
            (ModelKind::FrozenTeacher, None) => {
                return self.tape(Capture::Last, load) + self.working(load) + states * state + scores;
            }
            (ModelKind::JointTeacher, _) => (1, scores),
            (ModelKind::Student, _) => (states, 2 * scores),
        };
        let taped = l - self.parts.fixed_layers(l as usize) as u64;
        let tapes = match self.keep {
            ActivationCheckpoint::Off => taped * self.tape(self.capture, load),
            ActivationCheckpoint::LayerInputs => taped * state + self.tape(self.capture, load), // one tape at a time
        };
        tapes + (2 + gradients) * state + scores + self.working(load)
    }

    /// Bytes for a batch of texts of the largest length, without training.
    fn evaluation(&self, max_tokens: usize) -> u64 {
        let load = BatchLoad { tokens: BATCH_TOKENS as u64, pairs: (BATCH_TOKENS * max_tokens) as u64 };
        self.tape(Capture::Last, load) + self.working(load)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOAD: BatchLoad = BatchLoad { tokens: 10, pairs: 20 };

    fn model(config: &BertConfig, bytes: u64, capture: Capture) -> Model<'_> {
        let (kind, parts) = (ModelKind::Student, TrainedParts::ALL);
        Model { config, kind, parts, capture, keep: ActivationCheckpoint::Off, bytes, parameters: parameters(config) }
    }

    fn work(cached_states: Option<u64>) -> Workload<'static> {
        Workload { head: 0, largest: LOAD, words: &[], cached_states, has_test: false }
    }

    /// H = 8, F = 32, A = 2, n = 10, p = 20.
    #[test]
    fn a_tape_matches_a_calculation_by_hand() {
        let config = BertConfig::new(100, 8, 3, 2);
        let tape = |bytes, capture| model(&config, bytes, capture).tape(capture, LOAD);
        // 4·10·(40 + 64) + 8·80 + 4·2·20, plus the output, 4·80.
        assert_eq!(tape(4, Capture::Last), 4160 + 640 + 160 + 320);
        assert_eq!(tape(4, Capture::States), tape(4, Capture::Last));
        // Half the bytes for the numbers in products, plus the copy of the input, 2·80; plus the output if it is recorded.
        assert_eq!(tape(2, Capture::Last), 2080 + 640 + 80 + 160);
        assert_eq!(tape(2, Capture::States), tape(2, Capture::Last) + 320);
    }

    /// The word embeddings of ELECTRA are narrower than its states.
    #[test]
    fn projected_embeddings_have_their_own_width() {
        let mut config = BertConfig::new(1000, 64, 1, 2);
        config.embedding_size = Some(8);
        let model = model(&config, 4, Capture::Last);
        let all = 4 * model.trained_parameters();
        assert_eq!(model.gradients(Device::Cpu, &[]), all - 4 * 1000 * 8);
        assert_eq!(model.gradients(Device::Cpu, &[0]), all - 4 * 1000 * 8 + 4096);
    }

    /// Three layers' inputs, 320 each, and the tape of one layer, in place of three tapes.
    #[test]
    fn layer_inputs_take_less_memory_than_tapes() {
        let config = BertConfig::new(100, 8, 3, 2);
        let everything = model(&config, 4, Capture::States);
        let tape = everything.tape(Capture::States, LOAD);
        let inputs = Model { keep: ActivationCheckpoint::LayerInputs, ..model(&config, 4, Capture::States) };
        assert_eq!(everything.update(&work(None)) - inputs.update(&work(None)), 2 * tape - 3 * 320);
    }

    /// Two of three layers: their gradients, moments and tapes.
    #[test]
    fn parts_that_are_not_trained_have_neither_gradients_nor_tapes() {
        let config = BertConfig::new(100, 8, 3, 2);
        let (whole, layers) = (model(&config, 4, Capture::Last), layer_parameters(&config));
        let parts = TrainedParts { embeddings: false, top_layers: 2 };
        let top = Model { parts, ..model(&config, 4, Capture::Last) };
        assert_eq!((whole.trained_parameters(), top.trained_parameters()), (parameters(&config), layers / 3 * 2));
        assert_eq!(whole.update(&work(None)) - top.update(&work(None)), whole.tape(Capture::Last, LOAD));
        let with_embeddings = Model { parts: TrainedParts { embeddings: true, ..parts }, ..top };
        assert_eq!(with_embeddings.trained_parameters(), parameters(&config) - layers / 3);
        assert_eq!(with_embeddings.update(&work(None)), whole.update(&work(None)));
    }

    #[test]
    fn words_that_no_text_has_need_no_gradients_on_the_cpu() {
        let config = BertConfig::new(30_522, 384, 6, 12);
        let (model, table) = (model(&config, 4, Capture::Last), 4 * 30_522 * 384);
        let gradients = |words: &[u32]| model.gradients(Device::Cpu, words);
        let all: Vec<u32> = (0..30_522).collect();
        assert_eq!(gradients(&all), 4 * parameters(&config));
        assert_eq!(model.gradients(Device::Cuda(0), &[]), gradients(&all));
        assert_eq!(gradients(&all) - gradients(&[]), table);
        // A row has 1,536 bytes: word 0 is in page 0, 2 in 0 and 1, 3 in 1, 30,521 in the last one.
        assert_eq!(gradients(&[0, 2, 3, 30_521, 99_999]) - gradients(&[]), 3 * 4096);
    }

    #[test]
    fn a_frozen_teachers_cached_states_take_less_memory_than_computing_them() {
        let config = BertConfig::new(100, 8, 3, 2);
        let student = model(&config, 4, Capture::States);
        let frozen = Model { kind: ModelKind::FrozenTeacher, ..model(&config, 4, Capture::States) };
        assert!(student.update(&work(None)) > frozen.update(&work(None)));
        assert!(frozen.update(&work(None)) > frozen.update(&work(Some(2))));
        assert_eq!(frozen.update(&work(Some(2))), 2 * 320);
        // The scores and, in a student, their gradients.
        let scores = model(&config, 4, Capture::Scores);
        assert_eq!(scores.update(&work(None)) - student.update(&work(None)), 2 * 4 * 2 * 20 * 3);
    }

    #[test]
    fn only_the_encoder_layers_have_bf16_copies() {
        let config = BertConfig::new(100, 8, 3, 2);
        let (all, layers) = (parameters(&config), layer_parameters(&config));
        assert_eq!(all - layers, (100 + 512 + 2 + 2) * 8);
        assert_eq!(model(&config, 2, Capture::Last).copies(Precision::Bf16), 2 * layers);
        assert_eq!(model(&config, 4, Capture::Last).copies(Precision::F32), 0);
    }
}
