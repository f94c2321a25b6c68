//! The embedding layer: LayerNorm(word + position + segment).

use nb_checkpoint::{
    BertConfig, EMBEDDING_NORM, FloatTensors, POSITION_EMBEDDINGS, SEGMENT_EMBEDDINGS, TensorTable, WORD_EMBEDDINGS,
};
use nb_data::Tokens;

use super::layer::Norm;
use crate::error::InferError;

#[derive(Debug)]
pub(super) struct Embeddings {
    hidden: usize,
    word: TensorTable,
    position: Vec<f32>,
    /// At least one row; a row of zeros if the model has no segments.
    segment: Vec<f32>,
    norm: Norm,
}

impl Embeddings {
    pub(super) fn new(config: &BertConfig, weights: &FloatTensors<'_>) -> Result<Self, InferError> {
        let hidden = config.hidden_size as usize;
        let table = |name, rows: i64| weights.get(name, &[rows as usize, hidden]);
        Ok(Self {
            hidden,
            word: weights.table(WORD_EMBEDDINGS, [config.vocab_size as usize, hidden])?,
            position: table(POSITION_EMBEDDINGS, config.max_position_embeddings)?,
            segment: match config.type_vocab_size {
                ..1 => vec![0.0; hidden],
                rows => table(SEGMENT_EMBEDDINGS, rows)?,
            },
            norm: Norm::new(weights, EMBEDDING_NORM, config)?,
        })
    }

    pub(super) fn positions(&self) -> usize {
        self.position.len() / self.hidden
    }

    /// Replaces `states` by the rows of all texts.
    pub(super) fn forward<'a>(&self, texts: impl Iterator<Item = &'a Tokens>, states: &mut Vec<f32>) {
        states.clear();
        let mut sums: Vec<f32> = Vec::new(); // of positions and segments, in the order of training
        let last_segment = self.segment.len() / self.hidden - 1;
        for text in texts {
            for (position, &id) in text.ids.iter().enumerate() {
                let segment = usize::from(position >= text.second_starts).min(last_segment);
                self.word.append_row(id as usize, states);
                let position = row(&self.position, self.hidden, position);
                sums.extend(position.iter().zip(row(&self.segment, self.hidden, segment)).map(|(p, s)| p + s));
            }
        }
        self.norm.add(states, &sums);
    }
}

fn row(table: &[f32], hidden: usize, index: usize) -> &[f32] {
    &table[index * hidden..][..hidden]
}
