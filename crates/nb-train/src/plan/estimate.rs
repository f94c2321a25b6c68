//! How much memory a run takes at its peak, from the shapes of its models and its largest micro-batch.
//!
//! With P parameters of a model, n real tokens and p pairs of them (Σ length²) of a batch, H hidden and F feed-forward
//! units, A heads and b bytes of a number in a product (4 in f32, 2 in bf16):
//!
//! | part | bytes |
//! | --- | --- |
//! | weights, gradients | 4·P each, of every encoder and top layer ([`nb_model::Arena`]); a frozen one has room for gradients too |
//! | moments | 8·P of what is trained ([`crate::optim::ParamGroup`]) |
//! | bf16 copies | 2·P of the encoder layers |
//! | a layer's tape | b·n·(5H + 2F) + 8·n·H + b·A·p: queries, keys, values, the heads' outputs and the state between the halves; after the activation, and before it or its slope; both normalised sums; the attention weights. The layer's output is 4·n·H more, in bf16 only where states are shown, and there the copy of its input 2·n·H |
//! | with `train.recompute` | 4·n·H a layer and the tape of one |
//! | embeddings | 8·n·H |
//! | attention scores, where they are captured | 4·A·p a layer, in the student twice: their gradient |
//! | gradients of states | 4·n·H for each that a loss looks at |
//! | working memory | n·(2·b·F + 16·H): the backward pass of a layer |
//!
//! A frozen teacher keeps no tape: one layer at a time and what it shows. Of a teacher whose outputs are kept those of the
//! micro-batch are there in its place.
//!
//! An evaluation encodes a fixed number of tokens at a time, one layer at a time, in what an update has left free. A model is
//! saved as it lies. What comes on top, on the CPU, is the model that is loaded for the test rows (12·P). While models are loaded, none has moments yet, and what was read (4·P) is there beside the model that it fills, or,
//! later, what a frozen teacher's outputs are computed with.
//!
//! Left out are the readers' and the losses' own tensors, the vectors of development news, and what the allocator keeps for the
//! next step (up to a fiftieth). Against the peak of the process, once each (AG, MiniLM of 6 layers, one thread, f32, 20 steps, 400
//! development texts; nothing is fitted to them):
//!
//! | method, student layers, batch | estimated | measured | deviation |
//! | --- | --- | --- | --- |
//! | newsbert, 1, 32 | 1.12 GB | 1.17 GB | −4 % |
//! | newsbert, 1, 128 | 2.29 GB | 2.27 GB | +1 % |
//! | newsbert, 3, 64 | 1.77 GB | 1.78 GB | −1 % |
//! | newsbert, 1, 1 (one step) | 0.90 GB | 0.94 GB | −4 % |
//! | newsbert, 1, 32, bf16 (6 steps) | 0.99 GB | 1.04 GB | −5 % |
//! | newsbert, 1, 32, recompute | 0.90 GB | 0.97 GB | −7 % |
//! | newsbert, 1, 128, recompute | 1.46 GB | 1.39 GB | +5 % |
//! | finetune, 1, 32 | 0.53 GB | 0.54 GB | −2 % |
//! | finetune, 2, 64 | 0.64 GB | 0.76 GB | −16 % |
//! | finetune, 6, 256 | 2.94 GB | 3.10 GB | −5 % |
//! | kd, 1, 32, outputs computed (6 steps) | 0.72 GB | 0.76 GB | −5 % |
//!
//! On CUDA nothing was measured.

use nb_checkpoint::{BertConfig, parameter_layout};
use nb_model::{ActivationCheckpoint, Capture, Precision};
use tch::Device;

use super::Plan;
use crate::method::TeacherRole;
use crate::task::encode::BATCH_TOKENS;

/// What the program and libtorch take on the CPU before there is any model: 80 MB of files and 45 MB of their own.
const PROGRAM: u64 = 125_000_000;

/// A batch, as far as memory goes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Load {
    /// Real tokens n.
    pub tokens: u64,
    /// Pairs p of tokens that see each other: Σ length².
    pub pairs: u64,
}

/// What the models' shapes do not tell.
#[derive(Debug, Clone, Copy)]
pub struct Rest {
    /// Parameters of top layers and projection, each once.
    pub head: u64,
    /// The largest micro-batch.
    pub largest: Load,
    /// States that are kept of a frozen teacher; none if it computes them.
    pub kept: Option<u64>,
    /// Whether there are test rows, which the saved models are loaded for in the end.
    pub has_test: bool,
}

/// The peak by what takes it: name and bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Estimate {
    /// The parts at the peak; none is 0.
    pub parts: Vec<(&'static str, u64)>,
}

impl Estimate {
    /// The estimate for a plan.
    pub fn new(plan: &Plan, rest: &Rest) -> Self {
        let models = models(plan);
        let host = plan.device == Device::Cpu;
        let of = |share: &dyn Fn(&Model<'_>) -> u64| models.iter().map(share).sum::<u64>();
        let program = ("program and libtorch", if host { PROGRAM } else { 0 });
        let weights = 4 * (of(&|m| m.parameters) + rest.head);
        let copies = ("bf16 copies", of(&|m| m.copies(plan.precision)));
        let update = of(&|m| m.update(rest));
        let evaluation = models.iter().map(|m| m.evaluation(plan.data.max_tokens)).max().unwrap_or(0);
        let tested = models.iter().filter(|m| m.trained && rest.has_test).map(|m| 12 * m.parameters).max().unwrap_or(0);
        let mut parts = vec![
            program,
            ("weights", weights),
            ("gradients", weights),
            ("AdamW's moments", 8 * (of(&|m| if m.trained { m.parameters } else { 0 }) + rest.head)),
            copies,
        ];
        parts.push(("activations of the largest micro-batch", update.max(evaluation)));
        if host {
            parts.push(("a model loaded for the test rows", tested));
        }
        let beside = match rest.kept {
            None => ("what is read of a checkpoint", models.iter().map(|m| 4 * m.parameters).max().unwrap_or(0)),
            Some(_) => ("a teacher's outputs while they are computed", evaluation),
        };
        let loads = vec![program, ("models while they are loaded", loading(plan, &models)), copies, beside];
        let total = |parts: &[(&str, u64)]| parts.iter().map(|(_, bytes)| bytes).sum::<u64>();
        let mut parts = if total(&loads) > total(&parts) { loads } else { parts };
        parts.retain(|(_, bytes)| *bytes > 0);
        Self { parts }
    }

    /// All of it.
    pub fn total(&self) -> u64 {
        self.parts.iter().map(|(_, bytes)| bytes).sum()
    }
}

/// Weights and gradients of all models that are loaded for the run; the one that a frozen method's student takes its first
/// weights from is dropped before the training.
fn loading(plan: &Plan, models: &[Model<'_>]) -> u64 {
    let joint = plan.method.teacher == TeacherRole::Joint;
    let source = if joint { 0 } else { parameters(&plan.source_config).0 };
    8 * (source + models.iter().map(|m| m.parameters).sum::<u64>())
}

/// An encoder that is there during the training.
struct Model<'a> {
    config: &'a BertConfig,
    trained: bool,
    student: bool,
    capture: Capture,
    keep: ActivationCheckpoint,
    /// Bytes of a number in a product.
    bytes: u64,
    parameters: u64,
}

fn models(plan: &Plan) -> Vec<Model<'_>> {
    let method = &plan.method;
    let capture = method.stages.iter().map(|stage| stage.capture()).max().unwrap_or_default();
    let bytes = if plan.precision == Precision::F32 { 4 } else { 2 };
    let keep = plan.train.keep;
    let model = |config, trained, student| {
        let parameters = parameters(config).0;
        Model { config, trained, student, capture, keep, bytes, parameters }
    };
    let teachers = match method.teacher {
        TeacherRole::Absent => 0,
        TeacherRole::Joint => 1,
        TeacherRole::Frozen => plan.trained.len().max(1), // further ones are taken to be as large as the first
    };
    let joint = method.teacher == TeacherRole::Joint;
    let mut models: Vec<Model<'_>> = (0..teachers).map(|_| model(&plan.teacher_config, joint, false)).collect();
    models.extend(method.has_student().then(|| model(&plan.student_config, true, true)));
    models
}

/// Parameters in all, and those of the encoder layers.
fn parameters(config: &BertConfig) -> (u64, u64) {
    let layout = parameter_layout(config);
    let layers = layout.slots().iter().filter(|slot| slot.name.starts_with("encoder."));
    (layout.numel() as u64, layers.map(|slot| slot.numel() as u64).sum())
}

impl Model<'_> {
    fn copies(&self, precision: Precision) -> u64 {
        if precision == Precision::Bf16 { 2 * parameters(self.config).1 } else { 0 }
    }

    fn sizes(&self) -> [u64; 4] {
        let c = self.config;
        [c.hidden_size, c.intermediate_size, c.num_attention_heads, c.num_hidden_layers].map(|n| n as u64)
    }

    /// What one layer leaves for its backward pass.
    fn tape(&self, capture: Capture, load: Load) -> u64 {
        let ([h, f, a, _], b, n) = (self.sizes(), self.bytes, load.tokens);
        let input = if b == 4 { 0 } else { b * n * h };
        let output = if b == 4 || capture >= Capture::States { 4 * n * h } else { 0 };
        b * n * (5 * h + 2 * f) + 8 * n * h + b * a * load.pairs + input + output
    }

    fn working(&self, load: Load) -> u64 {
        let [h, f, ..] = self.sizes();
        load.tokens * (2 * self.bytes * f + 16 * h)
    }

    /// Forward and backward of the largest micro-batch.
    fn update(&self, rest: &Rest) -> u64 {
        let ([h, _, a, l], load) = (self.sizes(), rest.largest);
        let state = 4 * load.tokens * h;
        let states = if self.capture >= Capture::States { l + 1 } else { 1 };
        let scores = if self.capture == Capture::Scores { 4 * a * load.pairs * l } else { 0 };
        match (self.trained, rest.kept) {
            (false, Some(kept)) => kept * state,
            (false, None) => self.tape(Capture::Last, load) + self.working(load) + states * state + scores,
            (true, _) => {
                let (gradients, scores) = if self.student { (states, 2 * scores) } else { (1, scores) };
                let tapes = match self.keep {
                    ActivationCheckpoint::Off => l * self.tape(self.capture, load),
                    ActivationCheckpoint::LayerInputs => l * state + self.tape(self.capture, load), // one layer's at a time
                };
                tapes + (2 + gradients) * state + scores + self.working(load)
            }
        }
    }

    /// A batch where nothing is trained, with texts as long as they may be.
    fn evaluation(&self, max_tokens: usize) -> u64 {
        let load = Load { tokens: BATCH_TOKENS as u64, pairs: (BATCH_TOKENS * max_tokens) as u64 };
        self.tape(Capture::Last, load) + self.working(load)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOAD: Load = Load { tokens: 10, pairs: 20 };

    fn model(config: &BertConfig, bytes: u64, capture: Capture) -> Model<'_> {
        let parameters = parameters(config).0;
        Model { config, trained: true, student: true, capture, keep: ActivationCheckpoint::Off, bytes, parameters }
    }

    /// H = 8, F = 32, A = 2, n = 10, p = 20.
    #[test]
    fn a_tape_by_hand() {
        let config = BertConfig::new(100, 8, 3, 2);
        let tape = |bytes, capture| model(&config, bytes, capture).tape(capture, LOAD);
        // 4·10·(40 + 64) + 8·80 + 4·2·20, and the output 4·80.
        assert_eq!(tape(4, Capture::Last), 4160 + 640 + 160 + 320);
        assert_eq!(tape(4, Capture::States), tape(4, Capture::Last));
        // Half of the products' numbers, and the copy of the input 2·80; the output where it is shown.
        assert_eq!(tape(2, Capture::Last), 2080 + 640 + 80 + 160);
        assert_eq!(tape(2, Capture::States), tape(2, Capture::Last) + 320);
    }

    /// Three layers' inputs, 320 each, and the tape of one layer, in place of three tapes.
    #[test]
    fn inputs_alone_are_less_than_tapes() {
        let config = BertConfig::new(100, 8, 3, 2);
        let rest = Rest { head: 0, largest: LOAD, kept: None, has_test: false };
        let everything = model(&config, 4, Capture::States);
        let tape = everything.tape(Capture::States, LOAD);
        let inputs = Model { keep: ActivationCheckpoint::LayerInputs, ..model(&config, 4, Capture::States) };
        assert_eq!(everything.update(&rest) - inputs.update(&rest), 2 * tape - 3 * 320);
    }

    #[test]
    fn what_is_kept_of_a_frozen_teacher_is_less_than_computing_it() {
        let config = BertConfig::new(100, 8, 3, 2);
        let rest = |kept| Rest { head: 0, largest: LOAD, kept, has_test: false };
        let student = model(&config, 4, Capture::States);
        let frozen = Model { trained: false, student: false, ..model(&config, 4, Capture::States) };
        assert!(student.update(&rest(None)) > frozen.update(&rest(None)));
        assert!(frozen.update(&rest(None)) > frozen.update(&rest(Some(2))));
        assert_eq!(frozen.update(&rest(Some(2))), 2 * 320);
        // Scores and, in a student, their gradients.
        let scores = model(&config, 4, Capture::Scores);
        assert_eq!(scores.update(&rest(None)) - student.update(&rest(None)), 2 * 4 * 2 * 20 * 3);
    }

    #[test]
    fn the_layers_are_what_products_read() {
        let config = BertConfig::new(100, 8, 3, 2);
        let (all, layers) = parameters(&config);
        assert_eq!(all - layers, (100 + 512 + 2 + 2) * 8);
        assert_eq!(model(&config, 2, Capture::Last).copies(Precision::Bf16), 2 * layers);
        assert_eq!(model(&config, 4, Capture::Last).copies(Precision::F32), 0);
    }
}
