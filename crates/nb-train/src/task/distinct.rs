//! Texts with the same tokens, which are encoded once.

use std::collections::HashMap;

use nb_data::{TokenBatch, TokenStore};

/// Rows of a store, grouped by their tokens.
#[derive(Debug)]
pub(super) struct DistinctTexts<'a> {
    rows: &'a [u32],
    /// By index into `rows`: the number of its text, counted by first appearance.
    texts: Vec<usize>,
    /// By text: the index of its first row.
    first: Vec<u32>,
}

impl<'a> DistinctTexts<'a> {
    pub(super) fn new(store: &TokenStore, rows: &'a [u32]) -> Self {
        let (mut known, mut texts, mut first) = (HashMap::new(), Vec::with_capacity(rows.len()), Vec::new());
        for (i, &row) in (0..).zip(rows) {
            let text = *known.entry(text_hash(&store.batch(&[row]))).or_insert(first.len());
            if text == first.len() {
                first.push(i);
            }
            texts.push(text);
        }
        Self { rows, texts, first }
    }

    /// Returns the index of each text's first row, by text.
    pub(super) fn first(&self) -> &[u32] {
        &self.first
    }

    /// Returns the index of the first row with the same tokens, for each row in turn.
    pub(super) fn representatives(&self) -> impl Iterator<Item = usize> + '_ {
        self.texts.iter().map(|&text| self.first[text] as usize)
    }

    /// Returns all rows in blocks of about `size`. Rows with the same tokens are in the same block.
    pub(super) fn blocks(&self, size: usize) -> Vec<Vec<u32>> {
        let mut order: Vec<usize> = (0..self.rows.len()).collect();
        order.sort_by_key(|&i| self.texts[i]);
        let mut blocks: Vec<Vec<u32>> = Vec::new();
        for text in order.chunk_by(|&a, &b| self.texts[a] == self.texts[b]) {
            let rows = text.iter().map(|&i| self.rows[i]);
            match blocks.last_mut().filter(|block| block.len() < size) {
                Some(block) => block.extend(rows),
                None => blocks.push(rows.collect()),
            }
        }
        blocks
    }
}

/// Hashes the token ids and segments of a text, which are all that a model sees of it.
pub(crate) fn text_hash(text: &TokenBatch) -> blake3::Hash {
    let mut hasher = blake3::Hasher::new();
    for number in text.ids.iter().chain(&text.segments) {
        hasher.update(&number.to_le_bytes());
    }
    hasher.finalize()
}
