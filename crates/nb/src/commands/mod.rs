//! The commands of `nb`, one file or folder each, and the parts that several of them share.

#[cfg(feature = "train")]
pub(crate) mod compare;
pub(crate) mod completions;
pub(crate) mod embed;
pub(crate) mod eval;
pub(crate) mod export;
pub(crate) mod fetch;
#[cfg(feature = "train")]
pub(crate) mod plan;
pub(crate) mod predict;
pub(crate) mod rank;
#[cfg(feature = "train")]
pub(crate) mod schema;
pub(crate) mod search;
#[cfg(feature = "train")]
pub(crate) mod train;

mod catalogue;
mod choices;
mod compute;
#[cfg(feature = "train")]
mod config_file;
mod corpus_model;
mod input;
#[cfg(feature = "train")]
mod workers;
