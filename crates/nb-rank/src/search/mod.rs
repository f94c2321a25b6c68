//! Queries and the articles of a corpus that match them.

mod corpus_index;
mod evaluate;
mod top_k;

pub use corpus_index::CorpusIndex;
pub use evaluate::{EVALUATION_DEPTH, JudgementScope, evaluate_hits};
pub use top_k::{Hit, QueryVectors, TopKSearch};
