//! Metrics of classification, recommendation and retrieval, and tests of their differences.
//!
//! All functions take and return plain numbers: no tensors, no files, no configuration. A metric that is undefined for
//! a list (the AUC of an impression without a click) is `None`, never 0 and never NaN. Invalid input (a NaN among the
//! scores, lists of different lengths) is an [`Error`] that names the position.
//!
//! | question | answer |
//! | --- | --- |
//! | how many rows are right, which classes are confused | [`Confusion`], [`accuracy`], [`macro_f1`] |
//! | how good are sets of labels, and which thresholds suit them | [`MultiLabel`], [`average_precision`] |
//! | how good is one ranked list | [`RankedList`]: AUC, MRR, nDCG@k, recall@k |
//! | how good is a recommender | [`ranking`], and [`each_impression`] for the values behind its means |
//! | how good is a search, from the top of its rankings | [`query_metrics`], [`Retrieved`]: nDCG@k, MRR@k, recall@k |
//! | which rank did each candidate get | [`ranks`] |
//! | how sure is a mean | [`bootstrap_mean`] |
//! | is one model better than another on the same rows | [`paired_bootstrap`] |
//! | is it still better when several are tested | [`holm`] |
//! | how far apart are a few runs | [`spread`] |
//! | is a model right as often as it is confident | [`calibration`] |
//!
//! **Ties.** AUC counts a tie between a relevant and another candidate as one half. The other metrics of a [`RankedList`]
//! (MRR, nDCG, recall), and [`ranks`], keep equal scores in the order of the input. MIND's script is given ranks, which
//! never tie: its AUC equals this one for scores without ties, or for the ranks themselves. A [`Retrieved`] is already in
//! order; trec_eval orders by score, then by document id, descending.
//!
//! **Repeatability.** Threads share the work on many lists, but sums are taken in the order of the input: the same input
//! gives the same bits on any number of threads.

mod auc;
mod average_precision;
mod bootstrap;
mod calibration;
mod confusion;
mod error;
mod holm;
mod mrr;
mod multi_label;
mod ndcg;
mod paired;
mod ranked;
mod ranking;
mod recall;
mod resample;
mod retrieved;
mod spread;

pub use average_precision::average_precision;
pub use bootstrap::{Interval, bootstrap_mean};
pub use calibration::{Calibration, CalibrationBin, calibration};
pub use confusion::{ClassCounts, Confusion, ConfusionCell, accuracy, macro_f1};
pub use error::Error;
pub use holm::holm;
pub use multi_label::{Decided, MultiLabel};
pub use paired::{PairedTest, paired_bootstrap};
pub use ranked::{RankedList, ranks};
pub use ranking::{Impression, ImpressionMetrics, Ranking, each_impression, ranking};
pub use resample::Bootstrap;
pub use retrieved::{Gain, QueryMetrics, Retrieved, query_metrics};
pub use spread::{Spread, spread};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
