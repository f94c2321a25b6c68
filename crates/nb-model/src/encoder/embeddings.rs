//! The embedding layer, forward and backward: LayerNorm(word + position + token type), then, in models whose embeddings are
//! narrower than their states, a dense layer.

use nb_checkpoint::{
    BertConfig, EMBEDDING_NORM, EMBEDDING_PROJECTION, POSITION_EMBEDDINGS, SEGMENT_EMBEDDINGS, WORD_EMBEDDINGS,
};
use nb_kernels::dropout::{Dropout, site_key};
use tch::{Device, Kind, Tensor};

use crate::arena::{Arena, TouchedRows};
use crate::kernel::dropout;
use crate::kernel::layer_norm::{LayerNorm, NormTape};
use crate::kernel::linear::{Grads, Linear};
use crate::packed::Packed;
use crate::pass::Pass;
use crate::profile::{Phase, scope};

/// The layer number of the embedding's dropout site; the encoder layers count from 1.
const EMBEDDING_LAYER: usize = 0;

#[derive(Debug)]
pub(crate) struct Embeddings {
    word: Table,
    position: Table,
    token_type: Option<Table>,
    norm: LayerNorm,
    /// `None` if the embeddings have the width of the states.
    projection: Option<Linear>,
    /// The row of the position table for the first token of a sequence.
    first_position: i64,
    dropout: f64,
    /// Records the words that receive a gradient.
    touched: TouchedRows,
}

/// One lookup table [rows, H] and, if it is trained, its gradient.
#[derive(Debug)]
struct Table {
    value: Tensor,
    grad: Option<Tensor>,
}

impl Table {
    fn new(arena: &Arena, name: &str) -> Self {
        Self { value: arena.value(name), grad: arena.trained_grad(name) }
    }

    fn forward(&self, index: &Tensor) -> Tensor {
        self.value.index_select(0, index)
    }

    /// Adds each row of `grad` to the row given by `index`; only the rows of the batch are touched. Each device uses an
    /// operation with a fixed order, so the sums are reproducible: on the CPU `index_add_` takes one row after the other; on
    /// CUDA its order varies, whereas an accumulating `index_put_` sorts first.
    fn backward(&self, index: &Tensor, grad: &Tensor) {
        let Some(mut sum) = self.grad.as_ref().map(Tensor::shallow_clone) else { return };
        let _ = match sum.device() {
            Device::Cpu => sum.index_add_(0, index, grad),
            _ => sum.index_put_(&[Some(index)], grad, true),
        };
    }
}

/// Returns the dense layer from embeddings of width E to states of width H, in f32.
fn projection(arena: &Arena) -> Linear {
    let [weight, bias] = ["weight", "bias"].map(|part| format!("{EMBEDDING_PROJECTION}.{part}"));
    let grads = Grads::in_arena(arena, &weight, &bias);
    Linear { weight: arena.value(&weight), bias: arena.value(&bias), grads }
}

/// The tape of the embedding layer.
#[derive(Debug)]
pub(crate) struct EmbeddingTape {
    norm: NormTape,
    /// The input of the projection, if there is one.
    embedded: Option<Tensor>,
}

impl Embeddings {
    pub(crate) fn new(arena: &Arena, config: &BertConfig) -> Self {
        let token_type =
            arena.layout().slot(SEGMENT_EMBEDDINGS).is_some().then(|| Table::new(arena, SEGMENT_EMBEDDINGS));
        Self {
            word: Table::new(arena, WORD_EMBEDDINGS),
            position: Table::new(arena, POSITION_EMBEDDINGS),
            token_type,
            norm: LayerNorm::in_arena(arena, EMBEDDING_NORM, config.layer_norm_eps),
            projection: config.projects_embeddings().then(|| projection(arena)),
            first_position: config.first_position(),
            dropout: config.hidden_dropout_prob,
            touched: arena.touched().clone(),
        }
    }

    /// Returns the states [n, H] after LayerNorm, dropout and projection, and the tape of the backward pass.
    pub(crate) fn forward(&self, packed: &Packed, pass: Pass) -> (Tensor, EmbeddingTape) {
        let _scope = scope(Phase::Embeddings);
        let mut sum = self.position.forward(&self.positions(packed));
        if let Some(token_type) = &self.token_type {
            sum += token_type.forward(&self.token_types(packed));
        }
        let (state, norm) = self.norm.forward(self.word.forward(&packed.ids), None, &sum);
        let mut out = state.wide;
        if let Some(dropout) = self.dropout(pass) {
            dropout::apply(dropout, &mut out);
        }
        match &self.projection {
            None => (out, EmbeddingTape { norm, embedded: None }),
            Some(projection) => (projection.forward(&out), EmbeddingTape { norm, embedded: Some(out) }),
        }
    }

    /// Adds the gradients of the tables, of the LayerNorm and of the projection to the arena.
    pub(crate) fn backward(&self, packed: &Packed, pass: Pass, grad: &Tensor, tape: &EmbeddingTape) {
        let _scope = scope(Phase::Embeddings);
        let grad = grad.to_kind(Kind::Float).contiguous();
        let mut grad = match (&self.projection, &tape.embedded) {
            (Some(projection), Some(embedded)) => projection.backward(&grad, embedded),
            _ => grad.copy(),
        };
        if let Some(dropout) = self.dropout(pass) {
            dropout::apply(dropout, &mut grad);
        }
        let (grad, _) = self.norm.backward(&grad, &tape.norm, None, Kind::Float);
        if packed.device() == Device::Cpu {
            self.touched.add(packed.distinct_ids());
        }
        self.word.backward(&packed.ids, &grad);
        self.position.backward(&self.positions(packed), &grad);
        if let Some(token_type) = &self.token_type {
            token_type.backward(&self.token_types(packed), &grad);
        }
    }

    /// Returns the rows of the position table.
    fn positions(&self, packed: &Packed) -> Tensor {
        if self.first_position == 0 {
            packed.positions.shallow_clone()
        } else {
            &packed.positions + self.first_position
        }
    }

    /// Returns the token types, clamped to the rows of the table: a checkpoint with one type does not distinguish a second
    /// text.
    fn token_types(&self, packed: &Packed) -> Tensor {
        let rows = self.token_type.as_ref().map_or(1, |table| table.value.size()[0]);
        packed.token_types.clamp_max(rows - 1)
    }

    /// Turns dropout off in training passes.
    pub(crate) fn turn_off_dropout(&mut self) {
        self.dropout = 0.0;
    }

    fn dropout(&self, pass: Pass) -> Option<Dropout> {
        Dropout::new(self.dropout, pass.dropout_key().map(|key| site_key(key, EMBEDDING_LAYER, 0)))
    }
}
