//! The embedding layer: LayerNorm(word + position + segment), forward and backward.

use nb_checkpoint::{EMBEDDING_NORM, POSITION_EMBEDDINGS, SEGMENT_EMBEDDINGS, WORD_EMBEDDINGS};
use tch::{Device, Kind, Tensor};

use super::Pass;
use crate::arena::{Arena, TouchedRows};
use crate::kernel::dropout::{Dropout, site_key};
use crate::kernel::norm::{LayerNorm, NormTape};
use crate::packed::Packed;
use crate::profile::{Phase, scope};

/// The site of the embedding's dropout; the layers' sites count from layer 1.
const EMBEDDING_LAYER: usize = 0;

#[derive(Debug)]
pub(crate) struct Embeddings {
    word: Table,
    position: Table,
    segment: Option<Table>,
    norm: LayerNorm,
    dropout: f64,
    /// Where the words are noted that get a gradient.
    touched: TouchedRows,
}

/// One lookup table [rows, H] and its gradient.
#[derive(Debug)]
struct Table {
    value: Tensor,
    grad: Tensor,
}

impl Table {
    fn new(arena: &Arena, name: &str) -> Self {
        Self { value: arena.value(name), grad: arena.grad(name) }
    }

    fn forward(&self, index: &Tensor) -> Tensor {
        self.value.index_select(0, index)
    }

    /// Adds each row of `grad` to the row that `index` names; only the rows of the batch are touched. Both operations add
    /// in a fixed order on their device, so the sums repeat: `index_add_` goes through the rows one by one on the CPU but
    /// in any order on CUDA, where an accumulating `index_put_` sorts first.
    fn backward(&self, index: &Tensor, grad: &Tensor) {
        let mut own = self.grad.shallow_clone();
        let _ = match own.device() {
            Device::Cpu => own.index_add_(0, index, grad),
            _ => own.index_put_(&[Some(index)], grad, true),
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
        let has_segments = arena.layout().slot(SEGMENT_EMBEDDINGS).is_some();
        let segment = has_segments.then(|| Table::new(arena, SEGMENT_EMBEDDINGS));
        let norm = super::layer_norm(arena, EMBEDDING_NORM, eps);
        let (word, position) = (Table::new(arena, WORD_EMBEDDINGS), Table::new(arena, POSITION_EMBEDDINGS));
        Self { word, position, segment, norm, dropout, touched: arena.touched().clone() }
    }

    /// → [n, H], after LayerNorm and dropout, and the state before dropout's tape.
    pub(crate) fn forward(&self, packed: &Packed, pass: Pass) -> (Tensor, EmbeddingTape) {
        let _scope = scope(Phase::Embeddings);
        let mut sum = self.position.forward(&packed.positions);
        if let Some(segment) = &self.segment {
            sum += segment.forward(&self.segments(packed));
        }
        let (state, norm) = self.norm.forward(self.word.forward(&packed.ids), None, &sum);
        let mut out = state.wide;
        if let Some(dropout) = self.dropout(pass) {
            dropout.apply(&mut out);
        }
        (out, EmbeddingTape { norm })
    }

    /// Adds the gradients of the tables and of the LayerNorm to the arena.
    pub(crate) fn backward(&self, packed: &Packed, pass: Pass, grad: &Tensor, tape: &EmbeddingTape) {
        let _scope = scope(Phase::Embeddings);
        let mut grad = grad.to_kind(Kind::Float).contiguous().copy();
        if let Some(dropout) = self.dropout(pass) {
            dropout.apply(&mut grad);
        }
        let (grad, _) = self.norm.backward(&grad, &tape.norm, None, Kind::Float);
        if packed.device() == Device::Cpu {
            self.touched.add(packed.distinct_ids());
        }
        self.word.backward(&packed.ids, &grad);
        self.position.backward(&packed.positions, &grad);
        if let Some(segment) = &self.segment {
            segment.backward(&self.segments(packed), &grad);
        }
    }

    /// Segment ids that exist: a checkpoint with one segment type knows no second text.
    fn segments(&self, packed: &Packed) -> Tensor {
        let rows = self.segment.as_ref().map_or(1, |table| table.value.size()[0]);
        packed.segments.clamp_max(rows - 1)
    }

    fn dropout(&self, pass: Pass) -> Option<Dropout> {
        Dropout::new(self.dropout, pass.dropout_key().map(|key| site_key(key, EMBEDDING_LAYER, 0)))
    }
}
