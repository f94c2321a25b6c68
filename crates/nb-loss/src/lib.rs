//! The losses of distillation on libtorch tensors: tensors in, scalar out.
//!
//! No parameters, no configuration, no knowledge of models: a loss here sees logits `[rows, C]`, labels `[rows]`,
//! hidden states `[rows, H]` or attention scores `[scores]`, and returns a differentiable scalar. A few more functions
//! make what goes into a loss, all of them constants: temperatures for each row ([`flsw_temperatures`],
//! [`cwsm_temperatures`]), one teacher of several ([`mean_logits`], [`logits_weighted_by_loss`]); and [`agreement`] is
//! for the log.
//!
//! # What a mean divides by
//!
//! Every loss is a *sum* over the rows it is given, divided by a `count` the caller states: the number of such rows
//! (sequences, impressions, real tokens, pairs of them) in the whole global batch, over all micro-batches and
//! processes. The terms of the micro-batches then sum to the mean over the global batch, and so do their gradients,
//! however the batch is cut:
//!
//! ```
//! use nb_loss::{hard_cross_entropy, IGNORE};
//! use tch::Tensor;
//!
//! let logits = Tensor::from_slice2(&[[2.0, 0.0], [0.0, 1.0], [0.5, 0.5]]);
//! let labels = Tensor::from_slice(&[0i64, 1, IGNORE]); // the last row has no label
//! let count = 2;
//!
//! let whole = hard_cross_entropy(&logits, &labels, count).double_value(&[]);
//! let parts: f64 = (0..3)
//!     .map(|row| hard_cross_entropy(&logits.narrow(0, row, 1), &labels.narrow(0, row, 1), count).double_value(&[]))
//!     .sum();
//! assert!((whole - parts).abs() < 1e-12);
//! ```
//!
//! A count of 0 says that the batch holds no such unit: the term is then exactly 0, and so is its gradient.
//!
//! # Precision
//!
//! Inputs of 16 bits (`bf16`, `f16`) are computed in `f32`; `f32` and `f64` stay what they are. Softmaxes are taken by
//! way of log-softmax, so that logits of any finite size give finite losses. Logits must be finite: an entry of −∞,
//! as some mask with, would meet a probability of 0 as 0·∞.
//!
//! # Panics
//!
//! Wrong shapes, kinds, temperatures and counts are the caller's bug: every function asserts them at entry, on the
//! host and without waiting for a device, with what it found and what it expected. Values on the device (a label
//! outside `0..C`) are libtorch's to refuse.

mod agreement;
mod assert;
mod cosine;
mod hard;
mod normalised;
mod reduce;
mod score;
mod soft;
mod soft_cross_entropy;
mod soft_kl_divergence;
mod softmax;
mod state;
mod teachers;
mod temperature;
mod total;
mod unit;

#[cfg(test)]
mod numeric;

pub use agreement::agreement;
pub use cosine::cosine_distance;
pub use hard::{IGNORE, hard_cross_entropy};
pub use normalised::normalised_state_mse;
pub use score::score_mse;
pub use soft::{Soft, SoftLoss, SoftScaling, Temperature, soft_loss};
pub use soft_cross_entropy::soft_cross_entropy;
pub use soft_kl_divergence::soft_kl_divergence;
pub use softmax::{log_softmax_with_temperature, softmax_with_temperature};
pub use state::state_mse;
pub use teachers::{logits_weighted_by_loss, mean_logits};
pub use temperature::{LEAST_TEMPERATURE, cwsm_temperatures, flsw_temperatures};
pub use total::{Distillation, distillation_loss};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
