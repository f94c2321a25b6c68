//! The losses of distillation on libtorch tensors: tensors in, scalar out.
//!
//! The crate has no parameters and no configuration, and is independent of models. A loss takes logits `[rows, C]`,
//! labels `[rows]`, hidden states or other vectors `[rows, H]`, or attention scores `[scores]`, and returns a differentiable
//! scalar. A few more functions compute inputs of a loss, all of them constants: temperatures for each row
//! ([`flsw_temperatures`], [`cwsm_temperatures`]) and one teacher out of several ([`mean_logits`],
//! [`logits_weighted_by_loss`]). [`agreement`] is for the log.
//!
//! Most functions are for rows with one label of C, whose probabilities are a softmax. For rows with any number of labels, each
//! label has a sigmoid of its own: [`binary_cross_entropy`], [`binary_soft_loss`], [`logits_weighted_by_binary_loss`],
//! [`binary_agreement`].
//!
//! [`soft_loss`] covers every form of the soft loss. [`soft_cross_entropy`], [`soft_kl_divergence`] and
//! [`distillation_loss`] are its usual forms for users of this crate; the trainer of this workspace needs only the
//! general one.
//!
//! # The divisor of a mean
//!
//! Every loss is a *sum* over the rows it is given, divided by a `count` that the caller passes: the number of such
//! rows (sequences, impressions, real tokens, pairs of them) in the whole global batch, over all micro-batches and
//! processes. The terms of the micro-batches then sum to the mean over the global batch, and so do their gradients,
//! however the batch is split:
//!
//! ```
//! use nb_loss::{hard_cross_entropy, IGNORE};
//! use tch::Tensor;
//!
//! let logits = Tensor::from_slice2(&[[2.0, 0.0], [0.0, 1.0], [0.5, 0.5]]);
//! let labels = Tensor::from_slice(&[0i64, 1, IGNORE]); // the last row has no label
//! let count = 2;
//!
//! let batch = hard_cross_entropy(&logits, &labels, count).double_value(&[]);
//! let parts: f64 = (0..3)
//!     .map(|row| hard_cross_entropy(&logits.narrow(0, row, 1), &labels.narrow(0, row, 1), count).double_value(&[]))
//!     .sum();
//! assert!((batch - parts).abs() < 1e-12);
//! ```
//!
//! [`similarity_mse`] and [`similarity_kl`] are the exception: they compare rows with each other, but only those of one
//! call. Their terms sum to a mean too, but how the batch is split decides which rows are compared.
//!
//! A count of 0 means that the batch holds no such row: the term is then exactly 0, and so is its gradient.
//!
//! **Why these divisors.** The mean over the given rows, the default of PyTorch's losses, has two faults. Micro-batches
//! and processes rarely hold equally many labels or tokens; the mean of their means then weights a row by the size of
//! its micro-batch, so the result depends on how the batch was split. And a mean over a padded matrix shrinks as
//! padding grows. An explicit count has neither fault: the same rows give the same loss on one process or on eight,
//! with or without accumulation. The mean squared errors of states divide by the hidden size H too, so that a weight
//! means the same for models of every width. [`squared_distance`] does not: it is meant for vectors of length 1, whose
//! distance does not grow with H.
//!
//! **The price.** The caller must know the count before the backward pass, which takes an exchange between processes in
//! each step. A wrong count cannot be detected here: it acts as a wrong weight of the term. The value for one
//! micro-batch is part of a mean, not a mean: only the sum over micro-batches is meaningful in a log.
//!
//! # The teacher
//!
//! The teacher's side of every loss is a constant, and so are temperatures: no gradient reaches them, and no caller has to
//! detach them. A loss in which both models learn from each other therefore cannot be written with this crate.
//!
//! # Precision
//!
//! Inputs of 16 bits (`bf16`, `f16`) are computed in `f32`; `f32` and `f64` inputs keep their kind. Softmaxes are
//! computed through log-softmax, so logits of any finite size give finite losses. Logits must be finite: an entry of
//! −∞, which some models use as a mask, would give 0·∞ where its probability is 0.
//!
//! # Panics
//!
//! Wrong shapes, kinds, temperatures and counts are bugs of the caller. Every function checks them at entry, on the
//! host and without waiting for a device, and the panic message names what was found and what was expected. Values on
//! the device (a label outside `0..C`) are checked by libtorch.

mod agreement;
mod assert;
mod binary;
mod cosine;
mod distance;
mod hard;
mod normalised;
mod reduce;
mod score;
mod similarity;
mod similarity_kl;
mod similarity_mse;
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
mod laws;
#[cfg(test)]
mod testing;

pub use agreement::agreement;
pub use binary::{binary_agreement, binary_cross_entropy, binary_soft_loss};
pub use cosine::cosine_distance;
pub use distance::squared_distance;
pub use hard::{IGNORE, hard_cross_entropy, weighted_cross_entropy};
pub use normalised::normalised_state_mse;
pub use score::score_mse;
pub use similarity_kl::similarity_kl;
pub use similarity_mse::similarity_mse;
pub use soft::{Soft, SoftLoss, SoftScaling, Temperature, soft_loss};
pub use soft_cross_entropy::soft_cross_entropy;
pub use soft_kl_divergence::soft_kl_divergence;
pub use softmax::{log_softmax_with_temperature, softmax_with_temperature};
pub use state::state_mse;
pub use teachers::{logits_weighted_by_binary_loss, logits_weighted_by_loss, mean_logits};
pub use temperature::{LEAST_TEMPERATURE, cwsm_temperatures, flsw_temperatures};
pub use total::{Distillation, distillation_loss};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
