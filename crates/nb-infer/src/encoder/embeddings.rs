//! The embedding layer: LayerNorm(word + position + segment), projected to the hidden size if it has another width.

use nb_checkpoint::{
    BertConfig, EMBEDDING_NORM, EMBEDDING_PROJECTION, FloatTensors, POSITION_EMBEDDINGS, SEGMENT_EMBEDDINGS,
    TensorTable, WORD_EMBEDDINGS,
};
use nb_data::Window;

use super::layer::{Norm, NormShape};
use crate::dense::{Dense, DenseScratch};
use crate::error::InferError;

#[derive(Debug)]
pub(super) struct Embeddings {
    /// The width of the tables' rows.
    width: usize,
    word: TensorTable,
    /// The positions that sequences have.
    position: Vec<f32>,
    /// At least one row; a row of zeros if the model has no segments.
    segment: Vec<f32>,
    norm: Norm,
    /// The layer from `width` to the hidden size, in f32; `None` if they are equal.
    projection: Option<Dense>,
}

impl Embeddings {
    pub(super) fn new(config: &BertConfig, weights: &FloatTensors<'_>) -> Result<Self, InferError> {
        let width = config.embedding_width() as usize;
        let table = |name, rows: i64| weights.get(name, &[rows as usize, width]);
        let unused = config.first_position() as usize * width;
        let project = || Dense::read(weights, EMBEDDING_PROJECTION, [config.hidden_size as usize, width]);
        Ok(Self {
            width,
            word: weights.table(WORD_EMBEDDINGS, [config.vocab_size as usize, width])?,
            position: table(POSITION_EMBEDDINGS, config.max_position_embeddings)?.split_off(unused),
            segment: match config.type_vocab_size {
                ..1 => vec![0.0; width],
                rows => table(SEGMENT_EMBEDDINGS, rows)?,
            },
            norm: Norm::new(weights, EMBEDDING_NORM, NormShape { width, eps: config.layer_norm_eps })?,
            projection: config.projects_embeddings().then(project).transpose()?,
        })
    }

    pub(super) fn positions(&self) -> usize {
        self.position.len() / self.width
    }

    /// Replaces `states` by the rows of all texts.
    pub(super) fn forward<'a>(
        &self,
        texts: impl Iterator<Item = Window<'a>>,
        scratch: &mut DenseScratch,
        states: &mut Vec<f32>,
    ) {
        let Some(projection) = &self.projection else { return self.embed(texts, states) };
        let mut rows = Vec::new();
        self.embed(texts, &mut rows);
        projection.forward(&rows, scratch, states);
    }

    /// Replaces `rows` by the normalised sums of all texts.
    fn embed<'a>(&self, texts: impl Iterator<Item = Window<'a>>, rows: &mut Vec<f32>) {
        rows.clear();
        let mut sums: Vec<f32> = Vec::new(); // of positions and segments, in the order of training
        let last_segment = self.segment.len() / self.width - 1;
        for text in texts {
            for (position, &id) in text.ids.iter().enumerate() {
                let segment = usize::from(position >= text.second_starts).min(last_segment);
                self.word.append_row(id as usize, rows);
                let position = row(&self.position, self.width, position);
                sums.extend(position.iter().zip(row(&self.segment, self.width, segment)).map(|(p, s)| p + s));
            }
        }
        self.norm.add(rows, &sums);
    }
}

fn row(table: &[f32], width: usize, index: usize) -> &[f32] {
    &table[index * width..][..width]
}
