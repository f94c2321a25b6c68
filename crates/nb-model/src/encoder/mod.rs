//! The BERT encoder over packed tokens, with a hand-written backward pass.
//!
//! [`Bert::encode`] turns token ids into hidden states. With [`Pass::Training`] the states are autograd leaves: build any loss
//! on them, call `backward()` on it, and pass the [`Encoded`] to [`Bert::backward`]. It carries the states' gradients through
//! the layers and adds every parameter's gradient to the arena. No graph is recorded inside the encoder, the gradients are in
//! the buffer that blending, clipping and the optimiser read, and states without a gradient cost nothing.

mod embeddings;
mod layer;

use std::cell::OnceCell;

use nb_checkpoint::{BertConfig, layers_start, parameter_layout};
use tch::{Device, Kind, Tensor};

use crate::arena::Arena;
use crate::kernel::layer_norm::State;
use crate::packed::Packed;
use crate::pass::{ActivationCheckpoint, Capture, Pass, Precision};
use embeddings::{EmbeddingTape, Embeddings};
use layer::short::{Scratch, ShortLayer, to_vec};
use layer::{Layer, LayerParameters, LayerTape};

/// Maximum number of tokens of a text that runs without tensors; longer texts are as fast with tensors.
const SHORT_TOKENS: i64 = 32;
/// Maximum number of values in the layers of a model that stores a second copy of them for short texts: 200 MB.
const SHORT_VALUES: i64 = 50_000_000;

/// The hidden states of a batch, and the tape of the backward pass.
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
    layers: Vec<StoredLayer>,
}

/// The activations of a layer that are stored until its backward pass.
#[derive(Debug)]
enum StoredLayer {
    Tape(LayerTape),
    /// [n, H] f32.
    Input(Tensor),
}

impl Encoded {
    /// Returns E, H₁ … H_L, each [n, H] f32: the embedding output and the output of every layer. Only H_L with
    /// [`Capture::Last`].
    pub fn states(&self) -> &[Tensor] {
        &self.states
    }

    /// Returns the scaled products of queries and keys before the softmax, QKᵀ/√D, of all heads of each layer, with
    /// [`Capture::Scores`]. A layer's scores are one row of f32 that holds, for each group of sequences (see [`Packed`]), heads
    /// × width × width entries per sequence, 0 where a query or a key is padding. The order is the same in all models with the
    /// same number of heads.
    pub fn scores(&self) -> &[Tensor] {
        &self.scores
    }

    /// Returns H_L [n, H].
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
    checkpoint: ActivationCheckpoint,
    /// A packed copy of the layers' weights for one short text at a time; made for the first such text.
    short: OnceCell<Vec<ShortLayer>>,
}

impl Bert {
    /// Creates a model of zeros (LayerNorm's weights included), to be filled by loading or [`Bert::randomise`].
    ///
    /// # Errors
    ///
    /// If the configuration is not that of a BERT encoder ([`BertConfig::check`]).
    pub fn zeros(config: BertConfig, device: Device, precision: Precision) -> Result<Self, crate::ModelError> {
        config.check()?;
        let layers_start = layers_start(&config);
        let arena = Arena::zeros(parameter_layout(&config), device);
        let master = arena.values().narrow(0, layers_start, arena.layout().numel() - layers_start);
        let low = (precision == Precision::Bf16).then(|| master.to_kind(Kind::BFloat16));
        let values = low.as_ref().unwrap_or(&master);
        let parameters = LayerParameters { arena: &arena, values, start: layers_start };
        let layers = (0..config.num_hidden_layers as usize).map(|i| Layer::new(&config, &parameters, i)).collect();
        let embeddings = Embeddings::new(&arena, config.layer_norm_eps, config.hidden_dropout_prob);
        let checkpoint = ActivationCheckpoint::default();
        Ok(Self { config, arena, layers_start, low, embeddings, layers, checkpoint, short: OnceCell::new() })
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

    /// Refreshes the copies that products read. Call it after writing the arena's values, in every precision.
    pub fn parameters_changed(&mut self) {
        let master = self.arena.values().narrow(0, self.layers_start, self.arena.layout().numel() - self.layers_start);
        if let Some(low) = &mut self.low {
            low.copy_(&master);
        }
        self.short = OnceCell::new();
    }

    /// Sets the activations that training passes store from now on.
    pub fn set_activation_checkpoint(&mut self, checkpoint: ActivationCheckpoint) {
        self.checkpoint = checkpoint;
    }

    /// Turns dropout off in training passes, without changing the configuration that is saved with the model.
    pub fn turn_off_dropout(&mut self) {
        self.embeddings.turn_off_dropout();
        self.layers.iter_mut().for_each(Layer::turn_off_dropout);
    }

    /// Returns the model's shape.
    pub fn config(&self) -> &BertConfig {
        &self.config
    }

    /// Returns the model's parameters and gradients. Call [`Bert::parameters_changed`] after writing the values.
    pub fn arena(&self) -> &Arena {
        &self.arena
    }

    /// Returns the device of the parameters.
    pub fn device(&self) -> Device {
        self.arena.values().device()
    }

    /// Returns the number of encoder layers L.
    pub fn depth(&self) -> usize {
        self.layers.len()
    }

    /// Returns the values of all layers as one view [L, P]; P parameters per layer, in the same order in every layer.
    pub fn layer_values(&self) -> Tensor {
        self.layer_view(&self.arena.values())
    }

    /// Returns the gradients of all layers as one view [L, P].
    pub fn layer_grads(&self) -> Tensor {
        self.layer_view(&self.arena.grads())
    }

    /// Returns the values of the embedding layer (tables and LayerNorm) as one view.
    pub fn embedding_values(&self) -> Tensor {
        self.arena.values().narrow(0, 0, self.layers_start)
    }

    /// Returns the gradients of the embedding layer as one view.
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
    ///
    /// If a sequence is longer than `max_position_embeddings`, or if a token id is not in the vocabulary.
    pub fn encode(&self, packed: &Packed, pass: Pass, capture: Capture) -> Encoded {
        let longest = packed.lengths().iter().copied().max().unwrap_or(0);
        let most = self.config.max_position_embeddings;
        assert!(longest <= most, "a sequence has {longest} tokens, but the model has only {most} positions");
        tch::no_grad(|| self.run(packed, pass, capture))
    }

    fn run(&self, packed: &Packed, pass: Pass, capture: Capture) -> Encoded {
        if pass == Pass::Inference && capture == Capture::Last && self.is_short(packed) {
            return Encoded { states: vec![self.run_short(packed)], scores: Vec::new(), tape: None };
        }
        let trains = pass != Pass::Inference;
        // If a backward pass follows, the states that losses read are autograd leaves.
        let exposed = |state: &Tensor| if trains { leaf(state) } else { state.shallow_clone() };
        let (x, embeddings) = self.embeddings.forward(packed, pass);
        let mut x = State::new(x, self.products());
        let (mut states, mut scores, mut layers) = (Vec::new(), Vec::new(), Vec::new());
        if capture >= Capture::States {
            states.push(exposed(&x.wide));
        }
        for (i, layer) in self.layers.iter().enumerate() {
            let (out, tape) = layer.forward(&x, packed, pass, capture);
            let input = std::mem::replace(&mut x, out);
            if capture >= Capture::States || i + 1 == self.depth() {
                states.push(exposed(&x.wide));
            }
            scores.extend(tape.scores().map(&exposed));
            if trains {
                layers.push(match self.checkpoint {
                    ActivationCheckpoint::Off => StoredLayer::Tape(tape),
                    ActivationCheckpoint::LayerInputs => StoredLayer::Input(input.wide),
                });
            }
        }
        Encoded { states, scores, tape: trains.then_some(Tape { pass, capture, embeddings, layers }) }
    }

    /// Returns the precision of the products.
    fn products(&self) -> Kind {
        self.low.as_ref().map_or(Kind::Float, Tensor::kind)
    }

    /// Returns true if a batch is one text so short that tensors would slow it down.
    fn is_short(&self, packed: &Packed) -> bool {
        let values = self.arena.layout().numel() - self.layers_start;
        packed.device() == Device::Cpu
            && packed.sequences() == 1
            && packed.tokens() <= SHORT_TOKENS
            && values <= SHORT_VALUES
    }

    /// Returns the last state of one short text.
    fn run_short(&self, packed: &Packed) -> Tensor {
        let layers = self.short.get_or_init(|| self.layers.iter().map(ShortLayer::new).collect());
        let (state, _) = self.embeddings.forward(packed, Pass::Inference);
        let mut x = to_vec(&state);
        let mut scratch = Scratch::default();
        layers.iter().for_each(|layer| layer.forward(&mut x, &mut scratch));
        Tensor::from_slice(&x).view_as(&state)
    }

    /// Propagates the gradients that the losses left in the `.grad` of states and scores through the encoder, and adds every
    /// parameter's gradient to the arena. States and scores without a gradient are skipped.
    ///
    /// # Panics
    ///
    /// If `encoded` does not come from a [`Pass::Training`] of this model.
    pub fn backward(&self, packed: &Packed, encoded: Encoded) {
        self.backward_by_layers(packed, encoded, |_| ());
    }

    /// Does the same as [`Bert::backward`]. It calls `on_layer_done` with the index of each layer, from the last to the first,
    /// when that layer's part of the gradients ([`Bert::layer_grads`]) is complete.
    ///
    /// # Panics
    ///
    /// As [`Bert::backward`].
    pub fn backward_by_layers(&self, packed: &Packed, encoded: Encoded, on_layer_done: impl FnMut(usize)) {
        tch::no_grad(|| self.run_backward(packed, encoded, on_layer_done));
    }

    fn run_backward(&self, packed: &Packed, encoded: Encoded, mut on_layer_done: impl FnMut(usize)) {
        let Encoded { states, scores, tape } = encoded;
        let Tape { pass, capture, embeddings, layers } = tape.expect("backward follows a training pass");
        assert_eq!(layers.len(), self.depth(), "layers of the tape against layers of the model");
        // `states` always ends with H_L; the states before it are present if they were captured.
        let first = self.depth() + 1 - states.len();
        let state = |i: usize| i.checked_sub(first).map(|i| &states[i]);
        let mut from_above = None;
        for (i, stored) in layers.into_iter().enumerate().rev() {
            let layer = &self.layers[i];
            let scores_grad = scores.get(i).map(Tensor::grad).filter(Tensor::defined);
            let mut grad = merge(from_above, state(i + 1));
            if scores_grad.is_some() {
                grad = grad.or_else(|| Some(states[states.len() - 1].zeros_like()));
            }
            from_above = grad.map(|grad| {
                let tape = self.layer_tape(layer, stored, packed, pass, capture);
                layer.backward(&grad, scores_grad.as_ref(), packed, pass, tape)
            });
            on_layer_done(i);
        }
        if let Some(grad) = merge(from_above, state(0)) {
            self.embeddings.backward(packed, pass, &grad, &embeddings);
        }
    }

    /// Returns the tape of a layer, from another forward pass if only its input was stored.
    fn layer_tape(
        &self,
        layer: &Layer,
        stored: StoredLayer,
        packed: &Packed,
        pass: Pass,
        capture: Capture,
    ) -> LayerTape {
        match stored {
            StoredLayer::Tape(tape) => tape,
            StoredLayer::Input(input) => layer.forward(&State::new(input, self.products()), packed, pass, capture).1,
        }
    }
}

/// Returns an autograd leaf with the values of `state`.
fn leaf(state: &Tensor) -> Tensor {
    state.detach().set_requires_grad(true)
}

/// Adds the gradient from the layers above to the one that the losses left at this state.
fn merge(from_above: Option<Tensor>, state: Option<&Tensor>) -> Option<Tensor> {
    match (from_above, state.map(Tensor::grad).filter(Tensor::defined)) {
        (Some(from_above), Some(from_losses)) => Some(from_above + from_losses),
        (from_above, from_losses) => from_above.or(from_losses),
    }
}
