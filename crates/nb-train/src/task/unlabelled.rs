//! Texts without labels in the micro-batches of ranking tasks.

use std::rc::Rc;

use anyhow::Result;
use nb_data::batch::order;
use nb_data::random::mix;
use nb_data::read::Source;
use nb_data::{TokenBatch, TokenStore, Tokenizer};

use super::texts::open_store;
use crate::config::ArticlesChoice;
use crate::plan::Plan;

/// Texts without labels that join the micro-batches of a ranking task. They take part in terms that compare states, and
/// have no row of logits.
#[derive(Debug)]
pub(super) struct Unlabelled {
    store: Rc<TokenStore>,
    /// Rows of `store`.
    texts: Vec<u32>,
    /// Number of `store` among the stores of the task.
    number: usize,
    /// Number of the task's labelled rows. Unlabelled rows are numbered after them.
    labelled: u32,
    seed: u64,
}

/// The labelled rows of a ranking task, beside which there are texts without labels.
pub(super) struct Labelled<'a> {
    /// The store of the articles, the first store of the task.
    pub(super) articles: &'a Rc<TokenStore>,
    /// By row of the articles: true if a training row uses the article, or if another row replaces it.
    pub(super) used: Vec<bool>,
    /// Number of rows.
    pub(super) rows: u32,
    /// Number of the task's own stores.
    pub(super) stores: usize,
}

/// Number of the store of articles among the stores of a ranking task.
pub(super) const ARTICLE_STORE: usize = 0;

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
    /// Opens a task's texts without labels: `file`, or the articles that no training row uses.
    ///
    /// # Errors
    /// If the file cannot be used.
    pub(super) fn open(
        plan: &Plan,
        file: Option<&Source>,
        choice: ArticlesChoice,
        labelled: Labelled<'_>,
        tokenizer: &Tokenizer,
    ) -> Result<Option<Self>> {
        let rest = || (0..).zip(&labelled.used).filter(|(_, used)| !**used).map(|(row, _)| row).collect();
        let (store, texts, number): (_, Vec<u32>, _) = match (file, choice) {
            (Some(file), _) => {
                let store = open_store(plan, file, tokenizer)?;
                let all = (0..store.len() as u32).collect();
                (Rc::new(store), all, labelled.stores)
            }
            (None, ArticlesChoice::All) => (Rc::clone(labelled.articles), rest(), ARTICLE_STORE),
            (None, ArticlesChoice::Used) => return Ok(None),
        };
        Ok(Some(Self { store, texts, number, labelled: labelled.rows, seed: plan.seed }))
    }

    /// Returns the number of the texts' store among the stores of the task.
    pub(super) fn number(&self) -> usize {
        self.number
    }

    /// Returns the number of texts.
    pub(super) fn len(&self) -> usize {
        self.texts.len()
    }

    /// Returns the texts' store unless it is the store of the articles.
    pub(super) fn own_store(&self) -> Option<&TokenStore> {
        (self.number != ARTICLE_STORE).then_some(&*self.store)
    }

    /// Appends an epoch's texts to its micro-batches. Each micro-batch gets as many texts as it has labelled rows,
    /// or fewer if that is enough to use every text. The order differs between epochs.
    pub(super) fn append_to(&self, batches: &mut [Vec<u32>], epoch: u64) {
        let n = self.texts.len();
        let most = n.div_ceil(batches.len().max(1));
        let mut order = order(n, mix(&[self.seed, UNLABELLED_SEED]), epoch).into_iter().cycle();
        for batch in batches {
            let count = batch.len().min(most);
            batch.extend(order.by_ref().take(count).map(|i| self.labelled + i));
        }
    }

    /// Splits the rows of a micro-batch.
    pub(super) fn split<'a>(&self, rows: &'a [u32]) -> SplitRows<'a> {
        let end = rows.iter().take_while(|&&row| row < self.labelled).count();
        let mut unlabelled: Vec<u32> =
            rows[end..].iter().map(|row| self.texts[(row - self.labelled) as usize]).collect();
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
