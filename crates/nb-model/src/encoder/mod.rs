//! The BERT encoder over packed tokens, with a backward pass of its own.
//!
//! [`Bert::encode`] turns token ids into hidden states. With [`Pass::Training`] the states are leaves of autograd: build
//! any loss on them, call `backward()` on it, and hand the [`Encoded`] to [`Bert::backward`], which carries the states'
//! gradients through the layers and adds every parameter's gradient to the arena. No graph is recorded inside the
//! encoder, gradients land where blending, clipping and the optimiser work on them, and states without a gradient cost
//! nothing.

mod embeddings;
mod layer;

use std::cell::OnceCell;

use nb_checkpoint::{layers_start, parameter_layout};
use tch::{Device, Kind, Tensor};

use crate::arena::Arena;
use crate::config::BertConfig;
use crate::kernel::norm::{LayerNorm, State};
use crate::kernel::panels::numbers;
use crate::packed::Packed;
use embeddings::{EmbeddingTape, Embeddings};
use layer::short::{Room, ShortLayer};
use layer::{Layer, LayerTape};

/// Up to how many tokens a text alone is a short one; more are as fast by way of tensors.
const SHORT_TOKENS: i64 = 32;
/// Up to how many values of its layers a model keeps them twice for that: 200 MB.
const SHORT_VALUES: i64 = 50_000_000;

/// The number format of the matrix products. Parameters, gradients, LayerNorm and hidden states are f32 either way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Precision {
    /// 32-bit floats.
    #[default]
    F32,
    /// bfloat16 products with f32 master weights. (A short text alone, on the CPU and for its last state, goes through these
    /// weights in f32.)
    Bf16,
}

/// What one pass through the encoder is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pass {
    /// No dropout, no backward.
    Inference,
    /// Everything that [`Bert::backward`] needs is kept.
    Training(DropoutKey),
}

/// What a pass shows of the way through the encoder; each one shows what those before it show.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Capture {
    /// The last hidden state alone.
    #[default]
    Last,
    /// The embedding output and the output of every layer.
    States,
    /// The attention scores of every layer too.
    Scores,
}

/// Where a training pass gets its dropout masks from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DropoutKey {
    /// No dropout.
    Off,
    /// Masks are a pure function of this key, the layer and the place: the same key gives the same masks.
    Key(u64),
}

/// What a training pass keeps of each layer until its backward pass. The gradients are the same to the bit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Keep {
    /// Everything that the backward pass reads: by far the most of a training's memory.
    #[default]
    Everything,
    /// The layer's input alone. The backward pass runs the layer forward once more, which adds a third to what a model
    /// computes in a training step (Chen et al. 2016, gradient checkpointing).
    Inputs,
}

impl Pass {
    fn dropout_key(self) -> Option<u64> {
        match self {
            Self::Training(DropoutKey::Key(key)) => Some(key),
            _ => None,
        }
    }
}

/// The hidden states of a batch, and what the backward pass needs.
#[derive(Debug)]
pub struct Encoded {
    states: Vec<Tensor>,
    scores: Vec<Tensor>,
    tape: Option<Tape>,
}

#[derive(Debug)]
struct Tape {
    pass: Pass,
    capture: Capture,
    embeddings: EmbeddingTape,
    layers: Vec<Kept>,
}

/// What there is of a layer when its backward pass comes.
#[derive(Debug)]
enum Kept {
    Everything(LayerTape),
    /// [n, H] f32.
    Input(Tensor),
}

impl Encoded {
    /// E, H₁ … H_L, each [n, H] f32: the embedding output and the output of every layer. Only H_L with
    /// [`Capture::Last`].
    pub fn states(&self) -> &[Tensor] {
        &self.states
    }

    /// With [`Capture::Scores`], of each layer the scaled products of queries and keys before the softmax, QKᵀ/√D, of all
    /// heads: one row of f32 that holds, for each group of sequences (see [`Packed`]), heads × width × width entries a
    /// sequence. Where a query or a key is padding stands 0. Two models with as many heads have them in the same order.
    pub fn scores(&self) -> &[Tensor] {
        &self.scores
    }

    /// H_L [n, H].
    pub fn last(&self) -> &Tensor {
        &self.states[self.states.len() - 1]
    }
}

/// A BERT encoder (without the pooler that `BertModel` may add).
#[derive(Debug)]
pub struct Bert {
    config: BertConfig,
    arena: Arena,
    layers_start: i64,
    /// The layers' values in bf16, refreshed by [`Bert::parameters_changed`]; `None` in f32.
    low: Option<Tensor>,
    embeddings: Embeddings,
    layers: Vec<Layer>,
    keep: Keep,
    /// The layers' weights once more, for one short text at a time; made when the first one comes.
    short: OnceCell<Vec<ShortLayer>>,
}

impl Bert {
    /// A model of zeros (LayerNorm's weights too), to be filled by loading or [`Bert::randomise`].
    ///
    /// # Errors
    /// If the configuration is not one of a BERT encoder ([`BertConfig::check`]).
    pub fn zeros(config: BertConfig, device: Device, precision: Precision) -> Result<Self, crate::ModelError> {
        config.check()?;
        let layers_start = layers_start(&config);
        let arena = Arena::zeros(parameter_layout(&config), device);
        let master = arena.values().narrow(0, layers_start, arena.layout().numel() - layers_start);
        let low = (precision == Precision::Bf16).then(|| master.to_kind(Kind::BFloat16));
        let compute = low.as_ref().unwrap_or(&master);
        let layers = (0..config.num_hidden_layers as usize)
            .map(|i| Layer::new(&config, &arena, i, compute, layers_start))
            .collect();
        let embeddings = Embeddings::new(&arena, config.layer_norm_eps, config.hidden_dropout_prob);
        Ok(Self { config, arena, layers_start, low, embeddings, layers, keep: Keep::default(), short: OnceCell::new() })
    }

    /// Draws matrices from N(0, `initializer_range`²), sets LayerNorm's weights to 1 and vectors to 0, from `seed`.
    pub fn randomise(&mut self, seed: u64) {
        tch::manual_seed(seed as i64);
        for slot in self.arena.layout().slots() {
            let mut value = self.arena.value(&slot.name);
            let _ = match (slot.decays(), slot.name.ends_with("LayerNorm.weight")) {
                (true, _) => value.normal_(0.0, self.config.initializer_range),
                (false, true) => value.fill_(1.0),
                (false, false) => value.zero_(),
            };
        }
        self.parameters_changed();
    }

    /// To be called after the arena's values were written, in every precision: refreshes the copies that products read.
    pub fn parameters_changed(&mut self) {
        let master = self.arena.values().narrow(0, self.layers_start, self.arena.layout().numel() - self.layers_start);
        if let Some(low) = &mut self.low {
            low.copy_(&master);
        }
        self.short = OnceCell::new();
    }

    /// Sets what training passes keep from now on.
    pub fn set_keep(&mut self, keep: Keep) {
        self.keep = keep;
    }

    /// The model's shape.
    pub fn config(&self) -> &BertConfig {
        &self.config
    }

    /// The model's parameters and gradients. Whoever writes the values calls [`Bert::parameters_changed`].
    pub fn arena(&self) -> &Arena {
        &self.arena
    }

    /// The device of the parameters.
    pub fn device(&self) -> Device {
        self.arena.values().device()
    }

    /// Number of encoder layers L.
    pub fn depth(&self) -> usize {
        self.layers.len()
    }

    /// The values of all layers as one view [L, P]; P parameters per layer, in the same order in every layer.
    pub fn layer_values(&self) -> Tensor {
        self.layer_view(&self.arena.values())
    }

    /// The gradients of all layers as one view [L, P].
    pub fn layer_grads(&self) -> Tensor {
        self.layer_view(&self.arena.grads())
    }

    /// The values of the embedding layer (tables and LayerNorm) as one view.
    pub fn embedding_values(&self) -> Tensor {
        self.arena.values().narrow(0, 0, self.layers_start)
    }

    /// The gradients of the embedding layer as one view.
    pub fn embedding_grads(&self) -> Tensor {
        self.arena.grads().narrow(0, 0, self.layers_start)
    }

    fn layer_view(&self, buffer: &Tensor) -> Tensor {
        buffer
            .narrow(0, self.layers_start, self.arena.layout().numel() - self.layers_start)
            .view([self.depth() as i64, -1])
    }

    /// Encodes a batch.
    ///
    /// # Panics
    /// If a sequence is longer than `max_position_embeddings`, or if a token id is not in the vocabulary.
    pub fn encode(&self, packed: &Packed, pass: Pass, capture: Capture) -> Encoded {
        let longest = packed.lengths().iter().copied().max().unwrap_or(0);
        let most = self.config.max_position_embeddings;
        assert!(longest <= most, "a sequence of {longest} tokens in a model of {most} positions");
        tch::no_grad(|| self.run(packed, pass, capture))
    }

    fn run(&self, packed: &Packed, pass: Pass, capture: Capture) -> Encoded {
        if pass == Pass::Inference && capture == Capture::Last && self.is_short(packed) {
            return Encoded { states: vec![self.run_short(packed)], scores: Vec::new(), tape: None };
        }
        let trains = pass != Pass::Inference;
        // What is shown to losses is a leaf of autograd where there will be a backward pass.
        let shown = |state: &Tensor| if trains { leaf(state) } else { state.shallow_clone() };
        let (x, embeddings) = self.embeddings.forward(packed, pass);
        let mut x = State::new(x, self.products());
        let (mut states, mut scores, mut layers) = (Vec::new(), Vec::new(), Vec::new());
        if capture >= Capture::States {
            states.push(shown(&x.wide));
        }
        for (i, layer) in self.layers.iter().enumerate() {
            let (out, tape) = layer.forward(&x, packed, pass, capture);
            let input = std::mem::replace(&mut x, out);
            if capture >= Capture::States || i + 1 == self.depth() {
                states.push(shown(&x.wide));
            }
            scores.extend(tape.scores().map(&shown));
            if trains {
                layers.push(match self.keep {
                    Keep::Everything => Kept::Everything(tape),
                    Keep::Inputs => Kept::Input(input.wide),
                });
            }
        }
        Encoded { states, scores, tape: trains.then_some(Tape { pass, capture, embeddings, layers }) }
    }

    /// The precision of the products.
    fn products(&self) -> Kind {
        self.low.as_ref().map_or(Kind::Float, Tensor::kind)
    }

    /// Whether a batch is one text that is not worth tensors.
    fn is_short(&self, packed: &Packed) -> bool {
        let values = self.arena.layout().numel() - self.layers_start;
        packed.device() == Device::Cpu
            && packed.sequences() == 1
            && packed.tokens() <= SHORT_TOKENS
            && values <= SHORT_VALUES
    }

    /// The last state of one short text.
    fn run_short(&self, packed: &Packed) -> Tensor {
        let layers = self.short.get_or_init(|| self.layers.iter().map(ShortLayer::new).collect());
        let (state, _) = self.embeddings.forward(packed, Pass::Inference);
        let mut x = numbers(&state);
        let mut room = Room::default();
        layers.iter().for_each(|layer| layer.forward(&mut x, &mut room));
        Tensor::from_slice(&x).view_as(&state)
    }

    /// Carries the gradients that the losses left in the `.grad` of states and scores through the encoder, adding every
    /// parameter's gradient to the arena. States and scores that no loss touched take no part.
    ///
    /// # Panics
    /// If `encoded` does not come from a [`Pass::Training`] of this model.
    pub fn backward(&self, packed: &Packed, encoded: Encoded) {
        self.backward_by_layers(packed, encoded, |_| ());
    }

    /// As [`Bert::backward`]. Of each layer, from the last to the first, `is_done` hears that its part of the gradients
    /// ([`Bert::layer_grads`]) is complete, while those before it are still to come.
    ///
    /// # Panics
    /// As [`Bert::backward`].
    pub fn backward_by_layers(&self, packed: &Packed, encoded: Encoded, mut is_done: impl FnMut(usize)) {
        let Encoded { states, scores, tape } = encoded;
        let Tape { pass, capture, embeddings, layers } = tape.expect("backward follows a training pass");
        assert_eq!(layers.len(), self.depth(), "layers of the tape against layers of the model");
        // H_L always, the states before it where they were captured.
        let first = self.depth() + 1 - states.len();
        let state = |i: usize| i.checked_sub(first).map(|i| &states[i]);
        tch::no_grad(|| {
            let mut flowing = None;
            for (i, (layer, kept)) in self.layers.iter().zip(layers).enumerate().rev() {
                let scores_grad = scores.get(i).map(Tensor::grad).filter(Tensor::defined);
                let mut grad = merge(flowing, state(i + 1));
                if scores_grad.is_some() {
                    grad = grad.or_else(|| Some(states[states.len() - 1].zeros_like()));
                }
                flowing = grad.map(|grad| {
                    let tape = match kept {
                        Kept::Everything(tape) => tape,
                        Kept::Input(input) => {
                            layer.forward(&State::new(input, self.products()), packed, pass, capture).1
                        }
                    };
                    layer.backward(&grad, scores_grad.as_ref(), packed, pass, tape)
                });
                is_done(i);
            }
            if let Some(grad) = merge(flowing, state(0)) {
                self.embeddings.backward(packed, pass, &grad, &embeddings);
            }
        });
    }
}

/// A leaf of autograd with the values of `state`.
fn leaf(state: &Tensor) -> Tensor {
    state.detach().set_requires_grad(true)
}

/// The gradient from the layers above plus the one that losses left at this state.
fn merge(flowing: Option<Tensor>, state: Option<&Tensor>) -> Option<Tensor> {
    match (flowing, state.map(Tensor::grad).filter(Tensor::defined)) {
        (Some(flowing), Some(own)) => Some(flowing + own),
        (flowing, own) => flowing.or(own),
    }
}

/// The LayerNorm whose parameters are called `{name}.weight` and `{name}.bias`.
fn layer_norm(arena: &Arena, name: &str, eps: f64) -> LayerNorm {
    let (weight, bias) = (format!("{name}.weight"), format!("{name}.bias"));
    LayerNorm {
        weight: arena.value(&weight),
        bias: arena.value(&bias),
        weight_grad: arena.grad(&weight),
        bias_grad: arena.grad(&bias),
        eps,
    }
}
