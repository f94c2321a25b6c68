//! Texts without labels in the micro-batches of ranking tasks.

use nb_data::batch::order;
use nb_data::random::mix;
use nb_data::{TokenBatch, TokenStore};

/// Texts without labels that join the micro-batches of a ranking task. They take part in terms that compare states, and
/// have no row of logits.
#[derive(Debug)]
pub(super) struct Unlabelled {
    /// The texts.
    pub(super) store: TokenStore,
    /// Number of the task's labelled rows. Unlabelled rows are numbered after them.
    pub(super) labelled: u32,
    pub(super) seed: u64,
}

/// Salt that separates the order of unlabelled texts from other uses of the same seed.
const UNLABELLED_SEED: u64 = 0x75_6E_6C_61_62; // "unlab"

/// The labelled and the unlabelled rows of a micro-batch.
pub(super) struct SplitRows<'a> {
    /// Rows of the task itself.
    pub(super) labelled: &'a [u32],
    /// The unlabelled texts, longest first.
    pub(super) unlabelled: TokenBatch,
}

impl Unlabelled {
    /// Appends an epoch's texts to its micro-batches. Each micro-batch gets as many texts as it has labelled rows,
    /// or fewer if that is enough to use every text. The order differs between epochs.
    pub(super) fn append_to(&self, batches: &mut [Vec<u32>], epoch: u64) {
        let n = self.store.len();
        let most = n.div_ceil(batches.len().max(1));
        let mut order = order(n, mix(&[self.seed, UNLABELLED_SEED]), epoch).into_iter().cycle();
        for batch in batches {
            let count = batch.len().min(most);
            batch.extend(order.by_ref().take(count).map(|row| self.labelled + row));
        }
    }

    /// Splits the rows of a micro-batch.
    pub(super) fn split<'a>(&self, rows: &'a [u32]) -> SplitRows<'a> {
        let end = rows.iter().take_while(|&&row| row < self.labelled).count();
        let mut unlabelled: Vec<u32> = rows[end..].iter().map(|row| row - self.labelled).collect();
        unlabelled.sort_by_key(|&row| std::cmp::Reverse(self.store.length(row as usize)));
        SplitRows { labelled: &rows[..end], unlabelled: self.store.batch(&unlabelled) }
    }
}

/// Splits the rows of a micro-batch of a task that may have unlabelled texts.
pub(super) fn split_rows<'a>(unlabelled: Option<&Unlabelled>, rows: &'a [u32]) -> SplitRows<'a> {
    match unlabelled {
        Some(unlabelled) => unlabelled.split(rows),
        None => SplitRows { labelled: rows, unlabelled: TokenBatch::default() },
    }
}
