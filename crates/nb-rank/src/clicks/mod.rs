//! Impressions: the articles that a reader was shown, and which of them were clicked.

mod evaluate;
mod score;

pub use evaluate::{ScoredImpressions, evaluate_clicks};
pub use score::{ArticleVectors, CandidateScores, ReaderEncoder, score_clicks};
