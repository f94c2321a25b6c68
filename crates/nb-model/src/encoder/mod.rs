//! The BERT encoder over packed tokens, with a hand-written backward pass.
//!
//! [`Bert::encode`] turns token ids into hidden states. With [`Pass::Training`] the states are autograd leaves: build any loss
//! on them, call `backward()` on it, and pass the [`Encoded`] to [`Bert::backward`]. It carries the states' gradients through
//! the layers and adds the gradient of every trained parameter to the arena. No graph is recorded inside the encoder, the
//! gradients are in the buffer that blending, clipping and the optimiser read, and states without a gradient cost nothing.

mod embeddings;
mod layer;
mod passes;
mod trained;

use std::cell::OnceCell;
use std::ops::Range;

use nb_checkpoint::{BertConfig, layers_start, parameter_layout};
use tch::{Device, Kind, Tensor};

use crate::arena::Arena;
use crate::packed::Packed;
use crate::pass::{ActivationCheckpoint, Capture, Pass, Precision};
use embeddings::{EmbeddingTape, Embeddings};
use layer::short::{Scratch, ShortLayer, to_vec};
use layer::{Layer, LayerParameters, LayerTape};

pub use trained::TrainedParts;

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
    /// `None` if the pass started above the embeddings.
    embeddings: Option<EmbeddingTape>,
    /// The layers whose outputs change.
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
    /// [`Capture::Last`], and those from the given one on with [`Bert::encode_from_fixed`].
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

/// Copies in bf16 of a range of an arena's values.
#[derive(Debug)]
pub struct Copies {
    /// The entries of the arena.
    pub entries: Range<i64>,
    /// Their copies; the tensor shares memory with the model.
    pub values: Tensor,
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
    trained: TrainedParts,
    /// False if dropout is turned off in training passes.
    drops_out: bool,
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
        let layers = layers(&config, &parameters);
        let embeddings = Embeddings::new(&arena, &config);
        Ok(Self {
            config,
            arena,
            layers_start,
            low,
            embeddings,
            layers,
            trained: TrainedParts::ALL,
            drops_out: true,
            checkpoint: ActivationCheckpoint::default(),
            short: OnceCell::new(),
        })
    }

    /// Selects the parts that training changes from now on; all parts until then. Frees the gradients of the other parts, and sets
    /// those of the selected parts to zero.
    pub fn train_only(&mut self, parts: TrainedParts) {
        self.trained = parts;
        let layers = parts.layers(self.depth());
        let start = |layer: usize| self.layers_start + layer as i64 * self.layer_numel();
        let embeddings = 0..if parts.embeddings { self.layers_start } else { 0 };
        let layers = start(layers.start)..start(layers.end);
        if embeddings.end == layers.start {
            self.arena.train_only(std::iter::once(embeddings.start..layers.end)); // one range: one pass over all parameters
        } else {
            self.arena.train_only([embeddings, layers]);
        }
        self.renew_views();
    }

    /// Makes the views of the arena's values and gradients again.
    fn renew_views(&mut self) {
        let master = self.layer_buffer();
        let values = self.low.as_ref().unwrap_or(&master);
        let parameters = LayerParameters { arena: &self.arena, values, start: self.layers_start };
        self.layers = layers(&self.config, &parameters);
        self.embeddings = Embeddings::new(&self.arena, &self.config);
        if !self.drops_out {
            self.turn_off_dropout();
        }
    }

    /// Returns the parts that training changes.
    pub fn trained(&self) -> TrainedParts {
        self.trained
    }

    /// Returns the number of layers, from the bottom, whose outputs training never changes.
    pub fn fixed_layers(&self) -> usize {
        self.trained.fixed_layers(self.depth())
    }

    /// Draws matrices from N(0, `initializer_range`²), sets LayerNorm's weights to 1 and vectors to 0, from `seed`.
    pub fn randomise(&mut self, seed: u64) {
        tch::manual_seed(seed as i64);
        for slot in self.arena.layout().slots() {
            let mut value = self.arena.value(&slot.name);
            match (slot.decays(), slot.name.ends_with("LayerNorm.weight")) {
                (true, _) => {
                    // On the CPU: the generators of devices draw different numbers.
                    let mut drawn = Tensor::empty(value.size(), (Kind::Float, Device::Cpu));
                    value.copy_(&drawn.normal_(0.0, self.config.initializer_range));
                }
                (false, true) => _ = value.fill_(1.0),
                (false, false) => _ = value.zero_(),
            }
        }
        self.parameters_changed();
    }

    /// Refreshes the copies that products read. Call it after writing the arena's values, in every precision.
    pub fn parameters_changed(&mut self) {
        self.refresh_copies(0);
    }

    /// Does the same as [`Bert::parameters_changed`] where only values of trained parts were written.
    pub fn trained_parameters_changed(&mut self) {
        self.refresh_copies(self.trained.layers(self.depth()).start);
    }

    /// Notes that the values of trained parts were written together with their copies ([`Bert::copies`]).
    pub fn trained_parameters_and_copies_changed(&mut self) {
        self.short = OnceCell::new();
    }

    /// Returns the copies of the layers' values that products read; `None` in f32, whose products read the values themselves.
    pub fn copies(&self) -> Option<Copies> {
        let entries = self.layers_start..self.arena.layout().numel();
        self.low.as_ref().map(|low| Copies { entries, values: low.shallow_clone() })
    }

    /// Refreshes the copies of the layers from number `first` on.
    fn refresh_copies(&mut self, first: usize) {
        let master = self.layer_buffer();
        let start = first as i64 * self.layer_numel();
        if let Some(low) = &self.low {
            let part = |buffer: &Tensor| buffer.narrow(0, start, buffer.size()[0] - start);
            part(low).copy_(&part(&master));
        }
        self.short = OnceCell::new();
    }

    /// Sets the activations that training passes store from now on.
    pub fn set_activation_checkpoint(&mut self, checkpoint: ActivationCheckpoint) {
        self.checkpoint = checkpoint;
    }

    /// Turns dropout off in training passes, without changing the configuration that is saved with the model.
    pub fn turn_off_dropout(&mut self) {
        self.drops_out = false;
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
        self.layer_buffer().view([self.depth() as i64, -1])
    }

    /// Returns the gradients of some adjacent layers, counted from 0, as one view [layers, P]; `None` if there are none, or if
    /// any of them is not trained.
    pub fn layer_grads(&self, layers: Range<usize>) -> Option<Tensor> {
        let start = |layer: usize| self.layers_start + layer as i64 * self.layer_numel();
        let grads = self.arena.grads_of(start(layers.start)..start(layers.end))?;
        Some(grads.view([layers.len() as i64, self.layer_numel()]))
    }

    /// Returns the values of the embedding layer (tables and LayerNorm) as one view.
    pub fn embedding_values(&self) -> Tensor {
        self.arena.values().narrow(0, 0, self.layers_start)
    }

    /// Returns the gradients of the embedding layer as one view; `None` if it is not trained.
    pub fn embedding_grads(&self) -> Option<Tensor> {
        self.arena.grads_of(0..self.layers_start)
    }

    /// Returns the values of all layers.
    fn layer_buffer(&self) -> Tensor {
        self.arena.values().narrow(0, self.layers_start, self.arena.layout().numel() - self.layers_start)
    }

    /// Returns P, the number of parameters of a layer.
    fn layer_numel(&self) -> i64 {
        (self.arena.layout().numel() - self.layers_start) / (self.depth().max(1) as i64)
    }

    /// Encodes a batch.
    ///
    /// # Panics
    ///
    /// If a sequence is longer than [`BertConfig::max_tokens`], or if a token id is not in the vocabulary.
    pub fn encode(&self, packed: &Packed, pass: Pass, capture: Capture) -> Encoded {
        self.check_lengths(packed);
        tch::no_grad(|| self.run(packed, pass, capture))
    }

    /// Does the same as [`Bert::encode`] in a training pass, starting from `fixed`: the output [n, H] of the layers that never
    /// change ([`Bert::fixed_layers`]), which [`Bert::states_up_to`] computes. The states begin with `fixed`.
    ///
    /// # Panics
    ///
    /// If the embeddings are trained, if `fixed` has another number of rows than `packed`, or if the attention scores are captured,
    /// which the layers below do not compute.
    pub fn encode_from_fixed(&self, fixed: &Tensor, packed: &Packed, pass: Pass, capture: Capture) -> Encoded {
        assert!(!self.trained.embeddings, "the states of all layers change with the embeddings");
        assert_eq!(fixed.size()[0], packed.tokens(), "rows of the fixed states against tokens");
        assert!(capture < Capture::Scores, "the scores of all layers need all layers");
        tch::no_grad(|| self.run_from_fixed(fixed, packed, pass, capture))
    }

    /// Returns E, H₁ … H_n, the states of an inference pass through the first `layers` layers, n = `layers`.
    ///
    /// # Panics
    ///
    /// As [`Bert::encode`], or if the model has fewer layers.
    pub fn states_up_to(&self, layers: usize, packed: &Packed) -> Vec<Tensor> {
        self.check_lengths(packed);
        tch::no_grad(|| self.run_up_to(layers, packed))
    }

    fn check_lengths(&self, packed: &Packed) {
        let longest = packed.lengths().iter().copied().max().unwrap_or(0);
        let most = self.config.max_tokens();
        assert!(longest <= most, "a sequence has {longest} tokens, but the model has only {most} positions");
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
}

/// Makes the layers over their parameters.
fn layers(config: &BertConfig, parameters: &LayerParameters<'_>) -> Vec<Layer> {
    (0..config.num_hidden_layers as usize).map(|i| Layer::new(config, parameters, i)).collect()
}
