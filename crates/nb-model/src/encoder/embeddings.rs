//! The embedding layer: LayerNorm(word + position + token type), forward and backward.

use nb_checkpoint::{EMBEDDING_NORM, POSITION_EMBEDDINGS, SEGMENT_EMBEDDINGS, WORD_EMBEDDINGS};
use nb_kernels::dropout::{Dropout, site_key};
use tch::{Device, Kind, Tensor};

use crate::arena::{Arena, TouchedRows};
use crate::kernel::dropout;
use crate::kernel::layer_norm::{LayerNorm, NormTape};
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

/// The tape of the embedding layer.
#[derive(Debug)]
pub(crate) struct EmbeddingTape {
    norm: NormTape,
}

impl Embeddings {
    pub(crate) fn new(arena: &Arena, eps: f64, dropout: f64) -> Self {
        let token_type =
            arena.layout().slot(SEGMENT_EMBEDDINGS).is_some().then(|| Table::new(arena, SEGMENT_EMBEDDINGS));
        let norm = LayerNorm::in_arena(arena, EMBEDDING_NORM, eps);
        let (word, position) = (Table::new(arena, WORD_EMBEDDINGS), Table::new(arena, POSITION_EMBEDDINGS));
        Self { word, position, token_type, norm, dropout, touched: arena.touched().clone() }
    }

    /// Returns the states [n, H] after LayerNorm and dropout, and the tape of the backward pass.
    pub(crate) fn forward(&self, packed: &Packed, pass: Pass) -> (Tensor, EmbeddingTape) {
        let _scope = scope(Phase::Embeddings);
        let mut sum = self.position.forward(&packed.positions);
        if let Some(token_type) = &self.token_type {
            sum += token_type.forward(&self.token_types(packed));
        }
        let (state, norm) = self.norm.forward(self.word.forward(&packed.ids), None, &sum);
        let mut out = state.wide;
        if let Some(dropout) = self.dropout(pass) {
            dropout::apply(dropout, &mut out);
        }
        (out, EmbeddingTape { norm })
    }

    /// Adds the gradients of the tables and of the LayerNorm to the arena.
    pub(crate) fn backward(&self, packed: &Packed, pass: Pass, grad: &Tensor, tape: &EmbeddingTape) {
        let _scope = scope(Phase::Embeddings);
        let mut grad = grad.to_kind(Kind::Float).contiguous().copy();
        if let Some(dropout) = self.dropout(pass) {
            dropout::apply(dropout, &mut grad);
        }
        let (grad, _) = self.norm.backward(&grad, &tape.norm, None, Kind::Float);
        if packed.device() == Device::Cpu {
            self.touched.add(packed.distinct_ids());
        }
        self.word.backward(&packed.ids, &grad);
        self.position.backward(&packed.positions, &grad);
        if let Some(token_type) = &self.token_type {
            token_type.backward(&self.token_types(packed), &grad);
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
