//! The workspace's integration tests, in one binary.
//!
//! What one crate does alone is tested in that crate.

// `cfg(test)` holds for all of this; written out, it tells clippy so.

/// The step, its losses and its gradients, and the metrics, against numbers from Python.
#[cfg(test)]
mod conformance;

/// What must not change a result: padding, neighbours in the batch, their order, micro-batches, a second run.
#[cfg(test)]
mod equivalence;

/// One step of every method beside NewsBERT against numbers from Python, kept outputs and rows without labels.
#[cfg(test)]
mod methods;

/// Hugging Face folders in and out, sound ones and hostile ones.
#[cfg(test)]
mod checkpoint;

/// The binary `nb` from end to end, as a user starts it: what it writes, what it refuses and how it ends.
#[cfg(test)]
mod commands;

/// Models and sentences that several modules use.
#[cfg(test)]
mod support;
