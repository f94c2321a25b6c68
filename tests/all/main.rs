//! The workspace's integration tests, in one binary.
//!
//! Tests of a single crate are in that crate.

// `cfg(test)` always holds here; it tells clippy that this is test code.

/// The step with its losses and gradients, and the metrics, compared with numbers from Python.
#[cfg(test)]
mod conformance;

/// Differences that must not change a result: other texts in the batch, their order, micro-batches, a second run.
#[cfg(test)]
mod equivalence;

/// The methods other than NewsBERT: one step compared with numbers from Python, cached outputs, unlabelled rows.
#[cfg(test)]
mod methods;

/// Loading and saving Hugging Face folders, valid and hostile ones.
#[cfg(test)]
mod checkpoint;

/// BERT's families: states and gradients compared with transformers, folders under the family's names.
#[cfg(test)]
mod families;

/// The binary `nb` from end to end, as a user starts it: its files, its errors and its exit codes.
#[cfg(test)]
mod commands;

/// Set-up and comparisons that several modules use.
#[cfg(test)]
mod support;
