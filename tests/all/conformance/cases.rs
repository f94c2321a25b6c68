//! The tasks as golden files hold them: batch and top layers from tensors, everything else as in a run.

use nb_data::TokenBatch;
use nb_data::behaviors::ReaderBatch;
use nb_data::beir::QueryBatch;
use nb_model::{AttentivePooling, Dense, Packed, Reader};
use nb_share::{Shared, Sharing};
use nb_train::task::{
    Objective, Outputs, RankBatch, RecommendTop, RetrieveBatch, RetrieveTop, TopicTop, Tops, clicked_first,
};
use nb_train::terms::Counts;
use tch::{Device, Tensor};

use super::golden::Golden;
use super::step::fill_head;

/// A task whose batch and top layers come from a file.
pub(super) trait Case: Objective {
    /// The task itself, which holds nothing.
    const CASE: Self;

    /// The file's batch.
    fn batch(golden: &Golden) -> Self::Batch;

    /// The file's top layers.
    fn tops(golden: &Golden, sharing: Sharing) -> Tops<Self::Top>;
}

fn packed(tokens: &TokenBatch) -> Packed {
    Packed::new(&tokens.ids, &tokens.segments, &tokens.lengths, Device::Cpu)
}

fn tokens(golden: &Golden) -> TokenBatch {
    let (ids, lengths) = (golden.texts.ids.clone(), golden.texts.lengths.clone());
    TokenBatch { rows: (0..lengths.len() as u32).collect(), segments: vec![0; ids.len()], ids, lengths }
}

fn pooling(golden: &Golden, sharing: Sharing) -> Shared<AttentivePooling> {
    Shared::new(sharing, || {
        let query = golden.tensor("weights.head.pooling.proj.bias").size()[0];
        let pooling = AttentivePooling::zeros(golden.config.hidden_size, query, Device::Cpu);
        fill_head(golden, pooling.arena());
        pooling
    })
}

/// Topic classification.
pub(super) struct Labelled;

impl Objective for Labelled {
    type Top = TopicTop;
    type Batch = (TokenBatch, Vec<i64>);

    fn counts(&self, (tokens, labels): &Self::Batch) -> Counts {
        let texts = labels.len() as i64;
        Counts { tokens: tokens.ids.len() as i64, pooled: texts, rows: texts, labelled: texts }
    }

    fn packed(&self, (tokens, _): &Self::Batch) -> Packed {
        packed(tokens)
    }

    fn labels(&self, (_, labels): &Self::Batch) -> Tensor {
        Tensor::from_slice(labels)
    }

    fn outputs(&self, top: &TopicTop, states: &Tensor, packed: &Packed, _: &Self::Batch) -> Outputs {
        top.forward(states, packed)
    }
}

impl Case for Labelled {
    const CASE: Self = Self;

    fn batch(golden: &Golden) -> Self::Batch {
        (tokens(golden), golden.whole("labels"))
    }

    fn tops(golden: &Golden, sharing: Sharing) -> Tops<TopicTop> {
        let pooling = pooling(golden, sharing);
        let dense = Shared::new(sharing, || {
            let classes = golden.tensor("weights.head.dense.bias").size()[0];
            let dense = Dense::zeros(golden.config.hidden_size, classes, Device::Cpu);
            fill_head(golden, dense.arena());
            dense
        });
        Tops {
            teacher: TopicTop { pooling: pooling.teacher, dense: dense.teacher },
            student: TopicTop { pooling: pooling.student, dense: dense.student },
        }
    }
}

/// Recommendation.
pub(crate) struct Readers;

impl Objective for Readers {
    type Top = RecommendTop;
    type Batch = RankBatch;

    fn counts(&self, batch: &RankBatch) -> Counts {
        batch.counts()
    }

    fn packed(&self, batch: &RankBatch) -> Packed {
        packed(&batch.tokens)
    }

    fn labels(&self, batch: &RankBatch) -> Tensor {
        clicked_first(&batch.readers, Device::Cpu)
    }

    fn outputs(&self, top: &RecommendTop, states: &Tensor, packed: &Packed, batch: &RankBatch) -> Outputs {
        top.forward(states, packed, &batch.readers)
    }
}

impl Case for Readers {
    const CASE: Self = Self;

    fn batch(golden: &Golden) -> RankBatch {
        let width = golden.tensor("history").size()[1] as usize;
        let (mut history, mut history_lengths) = (Vec::new(), Vec::new());
        for row in golden.whole("history").chunks(width) {
            let clicked = row.iter().take_while(|&&news| news >= 0);
            history.extend(clicked.clone());
            history_lengths.push(clicked.count() as i64);
        }
        let tokens = tokens(golden);
        let readers = ReaderBatch {
            news: tokens.rows.clone(),
            history,
            history_lengths,
            candidates: golden.whole("candidates"),
            negatives: golden.tensor("candidates").size()[1] as usize - 1,
        };
        RankBatch { tokens, readers }
    }

    fn tops(golden: &Golden, sharing: Sharing) -> Tops<RecommendTop> {
        let heads = golden.says("reader_heads").map(|heads| heads.parse().expect("a number of heads"));
        let pooling = pooling(golden, sharing);
        let reader = Shared::new(sharing, || {
            let query = golden.tensor("weights.head.reader.proj.bias").size()[0];
            let reader = Reader::with_query(golden.config.hidden_size, query, heads, Device::Cpu);
            reader.arenas().iter().for_each(|arena| fill_head(golden, arena));
            reader
        });
        Tops {
            teacher: RecommendTop { pooling: pooling.teacher, reader: reader.teacher },
            student: RecommendTop { pooling: pooling.student, reader: reader.student },
        }
    }
}

/// Retrieval.
pub(crate) struct Searches;

impl Objective for Searches {
    type Top = RetrieveTop;
    type Batch = RetrieveBatch;

    fn counts(&self, batch: &RetrieveBatch) -> Counts {
        batch.counts()
    }

    fn packed(&self, batch: &RetrieveBatch) -> Packed {
        packed(&batch.tokens)
    }

    fn labels(&self, batch: &RetrieveBatch) -> Tensor {
        Tensor::from_slice(&batch.queries.targets)
    }

    fn outputs(&self, top: &RetrieveTop, states: &Tensor, packed: &Packed, batch: &RetrieveBatch) -> Outputs {
        top.forward(states, packed, &batch.queries)
    }
}

impl Case for Searches {
    const CASE: Self = Self;

    fn batch(golden: &Golden) -> RetrieveBatch {
        let rows = |name| golden.whole(name).into_iter().map(|row| row as u32).collect::<Vec<u32>>();
        let queries = QueryBatch {
            queries: rows("queries"),
            documents: rows("documents"),
            targets: golden.whole("labels"),
            masked: golden.whole("masked").into_iter().map(|masked| masked == 1).collect(),
        };
        let texts = golden.texts.lengths.len() as u32;
        assert!(queries.documents.iter().chain(&queries.queries).copied().eq(0..texts), "documents, then queries");
        RetrieveBatch { tokens: tokens(golden), queries }
    }

    fn tops(golden: &Golden, sharing: Sharing) -> Tops<RetrieveTop> {
        let pooling = pooling(golden, sharing);
        Tops { teacher: RetrieveTop { pooling: pooling.teacher }, student: RetrieveTop { pooling: pooling.student } }
    }
}
