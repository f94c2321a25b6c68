//! The tasks of golden files. Batch and top layers come from tensors; everything else is as in a run.

use std::rc::Rc;

use nb_data::TokenBatch;
use nb_data::behaviors::ReaderBatch;
use nb_data::beir::QueryBatch;
use nb_model::{AttentivePooling, Dense, Packed, Reader};
use nb_share::Sharing;
use nb_train::step::terms::Counts;
use nb_train::task::{
    HeadPair, Objective, RankBatch, RecommendHead, RetrieveBatch, RetrieveHead, TopicHead, clicked_first,
};
use tch::Tensor;

use super::golden::{Golden, device};
use super::step::fill_head;

/// A task whose batch and top layers come from a file.
pub(crate) trait Case: Objective {
    /// The task, which has no state.
    const CASE: Self;

    /// Returns the batch of the file.
    fn batch(golden: &Golden) -> Self::Batch;

    /// Returns the top layers whose weights have the prefix `weights` in the file.
    fn head(golden: &Golden, weights: &str) -> Self::Head;

    /// Returns top layers that share the parameters of `head`.
    fn share(head: &Self::Head) -> Self::Head;

    /// Returns the top layers of the file for both models.
    fn heads(golden: &Golden, sharing: Sharing) -> HeadPair<Self::Head> {
        let teacher = Self::head(golden, HEAD);
        let student = match sharing {
            Sharing::Shared => Self::share(&teacher),
            Sharing::Separate => Self::head(golden, HEAD),
        };
        HeadPair { teacher, student }
    }
}

fn packed(tokens: &TokenBatch) -> Packed {
    Packed::new(&tokens.ids, &tokens.segments, &tokens.lengths, device())
}

/// Returns the texts as rows of a single store.
fn texts(tokens: &TokenBatch) -> Vec<(usize, u32)> {
    tokens.rows.iter().map(|&row| (0, row)).collect()
}

fn tokens(golden: &Golden) -> TokenBatch {
    let (ids, lengths) = (golden.texts.ids.clone(), golden.texts.lengths.clone());
    TokenBatch { rows: (0..lengths.len() as u32).collect(), segments: vec![0; ids.len()], ids, lengths }
}

/// Prefix of the weights of the student's top layers, or of those that both models share.
pub(crate) const HEAD: &str = "weights.head.";

fn pooling(golden: &Golden, weights: &str) -> Rc<AttentivePooling> {
    let [query, hidden] = golden.shape(&format!("{weights}pooling.proj.weight"));
    let pooling = AttentivePooling::zeros(hidden, query, device());
    fill_head(golden, weights, pooling.arena());
    Rc::new(pooling)
}

/// Texts with labels.
pub(crate) struct LabelledBatch {
    tokens: TokenBatch,
    labels: Vec<i64>,
}

/// Topic classification.
pub(crate) struct Labelled;

impl Objective for Labelled {
    type Head = TopicHead;
    type Batch = LabelledBatch;

    fn counts(&self, LabelledBatch { tokens, labels }: &LabelledBatch) -> Counts {
        let labelled = labels.iter().filter(|&&label| label != nb_loss::IGNORE).count();
        Counts::of_texts(&tokens.lengths, labelled as i64)
    }

    fn texts(&self, batch: &LabelledBatch) -> Vec<(usize, u32)> {
        texts(&batch.tokens)
    }

    fn packed(&self, batch: &LabelledBatch) -> Packed {
        packed(&batch.tokens)
    }

    fn labels(&self, batch: &LabelledBatch) -> Tensor {
        Tensor::from_slice(&batch.labels).to_device(device())
    }

    fn pooled(&self, head: &TopicHead, states: &Tensor, packed: &Packed) -> Tensor {
        head.pooling.forward(states, packed.segments())
    }

    fn logits(&self, head: &TopicHead, pooled: &Tensor, _: &LabelledBatch) -> Tensor {
        head.dense.forward(pooled)
    }
}

impl Case for Labelled {
    const CASE: Self = Self;

    fn batch(golden: &Golden) -> LabelledBatch {
        LabelledBatch { tokens: tokens(golden), labels: golden.integers("labels") }
    }

    fn head(golden: &Golden, weights: &str) -> TopicHead {
        let [classes, hidden] = golden.shape(&format!("{weights}dense.weight"));
        let dense = Dense::zeros(hidden, classes, device());
        fill_head(golden, weights, dense.arena());
        TopicHead { pooling: pooling(golden, weights), dense: Rc::new(dense) }
    }

    fn share(TopicHead { pooling, dense }: &TopicHead) -> TopicHead {
        TopicHead { pooling: Rc::clone(pooling), dense: Rc::clone(dense) }
    }
}

/// Recommendation.
pub(crate) struct Readers;

impl Objective for Readers {
    type Head = RecommendHead;
    type Batch = RankBatch;

    fn counts(&self, batch: &RankBatch) -> Counts {
        batch.counts()
    }

    fn texts(&self, batch: &RankBatch) -> Vec<(usize, u32)> {
        texts(&batch.tokens)
    }

    fn packed(&self, batch: &RankBatch) -> Packed {
        packed(&batch.tokens)
    }

    fn labels(&self, batch: &RankBatch) -> Tensor {
        clicked_first(&batch.readers, device())
    }

    fn pooled(&self, head: &RecommendHead, states: &Tensor, packed: &Packed) -> Tensor {
        head.pooling.forward(states, packed.segments())
    }

    fn logits(&self, head: &RecommendHead, pooled: &Tensor, batch: &RankBatch) -> Tensor {
        head.scores(pooled, &batch.readers)
    }
}

impl Case for Readers {
    const CASE: Self = Self;

    fn batch(golden: &Golden) -> RankBatch {
        let width = golden.tensor("history").size()[1] as usize;
        let (mut history, mut history_lengths) = (Vec::new(), Vec::new());
        for row in golden.integers("history").chunks(width) {
            let clicked = row.iter().take_while(|&&article| article >= 0);
            history.extend(clicked.clone());
            history_lengths.push(clicked.count() as i64);
        }
        let tokens = tokens(golden);
        let readers = ReaderBatch {
            news: tokens.rows.clone(),
            history,
            history_lengths,
            candidates: golden.integers("candidates"),
            negatives: golden.tensor("candidates").size()[1] as usize - 1,
        };
        RankBatch { tokens, readers }
    }

    fn head(golden: &Golden, weights: &str) -> RecommendHead {
        let heads = golden.says("reader_heads").map(|heads| heads.parse().expect("a number of heads"));
        let [query, hidden] = golden.shape(&format!("{weights}reader.proj.weight"));
        let reader = Reader::with_query(hidden, query, heads, device());
        reader.arenas().iter().for_each(|arena| fill_head(golden, weights, arena));
        RecommendHead { pooling: pooling(golden, weights), reader: Rc::new(reader) }
    }

    fn share(RecommendHead { pooling, reader }: &RecommendHead) -> RecommendHead {
        RecommendHead { pooling: Rc::clone(pooling), reader: Rc::clone(reader) }
    }
}

/// Retrieval.
pub(crate) struct Searches;

impl Objective for Searches {
    type Head = RetrieveHead;
    type Batch = RetrieveBatch;

    fn counts(&self, batch: &RetrieveBatch) -> Counts {
        batch.counts()
    }

    fn texts(&self, batch: &RetrieveBatch) -> Vec<(usize, u32)> {
        texts(&batch.tokens)
    }

    fn packed(&self, batch: &RetrieveBatch) -> Packed {
        packed(&batch.tokens)
    }

    fn labels(&self, batch: &RetrieveBatch) -> Tensor {
        Tensor::from_slice(&batch.queries.targets).to_device(device())
    }

    fn pooled(&self, head: &RetrieveHead, states: &Tensor, packed: &Packed) -> Tensor {
        head.pooling.forward(states, packed.segments())
    }

    fn logits(&self, head: &RetrieveHead, pooled: &Tensor, batch: &RetrieveBatch) -> Tensor {
        head.scores(pooled, &batch.queries)
    }
}

impl Case for Searches {
    const CASE: Self = Self;

    fn batch(golden: &Golden) -> RetrieveBatch {
        let rows = |name| golden.integers(name).into_iter().map(|row| row as u32).collect::<Vec<u32>>();
        let queries = QueryBatch {
            queries: rows("queries"),
            documents: rows("documents"),
            targets: golden.integers("labels"),
            masked: golden.integers("masked").into_iter().map(|masked| masked == 1).collect(),
        };
        let texts = golden.texts.lengths.len() as u32;
        assert!(queries.documents.iter().chain(&queries.queries).copied().eq(0..texts), "documents, then queries");
        RetrieveBatch { tokens: tokens(golden), queries }
    }

    fn head(golden: &Golden, weights: &str) -> RetrieveHead {
        RetrieveHead { pooling: pooling(golden, weights) }
    }

    fn share(RetrieveHead { pooling }: &RetrieveHead) -> RetrieveHead {
        RetrieveHead { pooling: Rc::clone(pooling) }
    }
}
