//! From the vectors of a model to rankings, files, and metrics. It knows nothing of models: callers pass vectors
//! from any source.
//!
//! * [`TopKSearch`]: the best documents of a corpus for each of many queries, exactly, in blocks; [`evaluate_hits`].
//! * [`score_clicks`]: scores of the articles that readers were shown; [`evaluate_clicks`].
//! * [`argmax`], [`evaluate_classes`], [`evaluate_label_sets`]: topics, one or any number per text.
//! * [`VectorWriter`], [`CorpusVectors`]: vectors in a file, read in blocks.
//! * [`Measurements`]: metrics with intervals, as a run's record contains them.

mod argmax;
mod classes;
mod clicks;
mod error;
mod label_sets;
mod measurements;
mod normalise;
mod search;
mod vector_file;

pub use argmax::argmax;
pub use classes::evaluate_classes;
pub use clicks::{ArticleVectors, CandidateScores, ReaderEncoder, ScoredImpressions, evaluate_clicks, score_clicks};
pub use error::RankError;
pub use label_sets::{LabelSets, evaluate_label_sets};
pub use measurements::{Count, Measurements, Metric, Part};
pub use normalise::normalise;
pub use search::{CorpusIndex, EVALUATION_DEPTH, Hit, JudgementScope, QueryVectors, TopKSearch, evaluate_hits};
pub use vector_file::{CorpusVectors, VectorFile, VectorWriter};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
