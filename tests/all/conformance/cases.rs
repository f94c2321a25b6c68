//! The objectives of the shipped tasks on golden files, whose tensors give the batch and the head.

use std::rc::Rc;

use nb_checkpoint::LabelKind;
use nb_data::TokenBatch;
use nb_data::behaviors::ReaderBatch;
use nb_data::beir::QueryBatch;
use nb_model::{AttentivePooling, Dense, Pooling, PoolingKind, Reader, Score};
use nb_share::Sharing;
use nb_train::task::{
    EmbedBatch, EmbedObjective, HeadPair, Objective, RecommendBatch, RecommendHead, RecommendObjective, RetrieveBatch,
    RetrieveHead, RetrieveObjective, TaskHead, TextRef, TopicBatch, TopicHead, TopicObjective, VectorHead,
};

use super::golden::{Golden, device};
use super::step::fill_head;

/// An objective whose batch and head come from a file.
pub(crate) trait Case: Objective {
    /// Returns the objective of the file on the device of the tests.
    fn objective(golden: &Golden) -> Self;

    /// Returns the batch of the file.
    fn batch(golden: &Golden) -> Self::Batch;

    /// Returns the head whose weights have the prefix `weights` in the file.
    fn head(golden: &Golden, weights: &str) -> Self::Head;

    /// Returns a head that shares the parameters of `head`.
    fn share(head: &Self::Head) -> Self::Head;

    /// Returns the heads of the file for both models.
    fn heads(golden: &Golden, sharing: Sharing) -> HeadPair<Self::Head> {
        let teacher = Self::head(golden, HEAD);
        let student = match sharing {
            Sharing::Shared => Self::share(&teacher),
            Sharing::Separate => Self::head(golden, HEAD),
        };
        HeadPair { teacher, student }
    }
}

fn tokens(golden: &Golden) -> TokenBatch {
    let (ids, lengths) = (golden.texts.ids.clone(), golden.texts.lengths.clone());
    TokenBatch {
        rows: (0..lengths.len() as u32).collect(),
        segments: vec![0; ids.len()],
        ids,
        lengths,
        windows: Vec::new(),
    }
}

fn text_refs(tokens: &TokenBatch) -> Vec<TextRef> {
    tokens.rows.iter().map(|&row| TextRef { store: 0, row }).collect()
}

/// Prefix of the weights of the student's head, or of the head that both models share.
pub(crate) const HEAD: &str = "weights.head.";

fn pooling(golden: &Golden, weights: &str) -> Rc<Pooling> {
    Rc::new(match golden.head().pooling {
        PoolingKind::Attentive => {
            let [query, hidden] = golden.shape(&format!("{weights}pooling.proj.weight"));
            let pooling = AttentivePooling::zeros(hidden, query, device());
            fill_head(golden, weights, pooling.arena());
            pooling.into()
        }
        PoolingKind::Mean => Pooling::Mean,
        PoolingKind::Cls => Pooling::Cls,
    })
}

/// Returns a head whose projection exists if the file contains it.
fn vector_head(golden: &Golden, weights: &str) -> VectorHead {
    let description = golden.head();
    let projection = (!golden.under(&format!("{weights}vector.")).is_empty()).then(|| {
        let [width, hidden] = golden.shape(&format!("{weights}vector.weight"));
        Dense::named("vector", hidden, width, device())
    });
    let score = Rc::new(Score::new(description.score, description.scale, device()));
    let head = VectorHead { pooling: pooling(golden, weights), projection, score };
    head.arenas().iter().for_each(|arena| fill_head(golden, weights, arena));
    head
}

/// Returns a head that shares pooling and score.
fn share_vector_head(VectorHead { pooling, projection, score }: &VectorHead) -> VectorHead {
    assert!(projection.is_none(), "a projection is not shared");
    VectorHead { pooling: Rc::clone(pooling), projection: None, score: Rc::clone(score) }
}

fn reader(golden: &Golden, weights: &str) -> Rc<Reader> {
    let heads = golden.says("reader_heads").map(|heads| heads.parse().expect("a number of heads"));
    let [width] = golden.shape(&format!("{weights}reader.cold"));
    let reader = match golden.head().reader {
        PoolingKind::Attentive => {
            let [query, _] = golden.shape(&format!("{weights}reader.proj.weight"));
            Reader::with_query(width, query, heads, device())
        }
        kind => Reader::of_kind(kind, width, heads, device()),
    };
    reader.arenas().iter().for_each(|arena| fill_head(golden, weights, arena));
    Rc::new(reader)
}

impl Case for TopicObjective {
    fn objective(golden: &Golden) -> Self {
        let label_kind = match golden.says("label_kind") {
            Some("multi") => LabelKind::Multi,
            _ => LabelKind::Single,
        };
        Self { label_kind, ..Self::new(device()) }
    }

    fn batch(golden: &Golden) -> TopicBatch {
        let tokens = tokens(golden);
        TopicBatch { texts: text_refs(&tokens), tokens, labels: golden.integers("labels") }
    }

    fn head(golden: &Golden, weights: &str) -> TopicHead {
        let [classes, hidden] = golden.shape(&format!("{weights}dense.weight"));
        let dense = Dense::zeros(hidden, classes, device());
        fill_head(golden, weights, dense.arena());
        TopicHead { pooling: pooling(golden, weights), transform: None, dense: Rc::new(dense) }
    }

    fn share(TopicHead { pooling, dense, .. }: &TopicHead) -> TopicHead {
        TopicHead { pooling: Rc::clone(pooling), transform: None, dense: Rc::clone(dense) }
    }
}

impl Case for RecommendObjective {
    fn objective(_: &Golden) -> Self {
        Self { device: device(), unlabelled_store: 0 }
    }

    fn batch(golden: &Golden) -> RecommendBatch {
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
        RecommendBatch { tokens, readers }
    }

    fn head(golden: &Golden, weights: &str) -> RecommendHead {
        RecommendHead { vector: vector_head(golden, weights), reader: reader(golden, weights) }
    }

    fn share(RecommendHead { vector, reader }: &RecommendHead) -> RecommendHead {
        RecommendHead { vector: share_vector_head(vector), reader: Rc::clone(reader) }
    }
}

impl Case for RetrieveObjective {
    fn objective(_: &Golden) -> Self {
        Self { device: device(), unlabelled_store: 0 }
    }

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
        RetrieveHead { vector: vector_head(golden, weights) }
    }

    fn share(RetrieveHead { vector }: &RetrieveHead) -> RetrieveHead {
        RetrieveHead { vector: share_vector_head(vector) }
    }
}

impl Case for EmbedObjective {
    fn objective(_: &Golden) -> Self {
        Self { device: device() }
    }

    fn batch(golden: &Golden) -> EmbedBatch {
        let tokens = tokens(golden);
        EmbedBatch { texts: text_refs(&tokens), tokens }
    }

    fn head(golden: &Golden, weights: &str) -> VectorHead {
        vector_head(golden, weights)
    }

    fn share(head: &VectorHead) -> VectorHead {
        share_vector_head(head)
    }
}
