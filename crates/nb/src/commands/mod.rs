//! The commands of `nb`, one file or folder each, and the parts that several of them share.

pub(crate) mod compare;
pub(crate) mod completions;
pub(crate) mod embed;
pub(crate) mod eval;
pub(crate) mod fetch;
pub(crate) mod plan;
pub(crate) mod predict;
pub(crate) mod rank;
pub(crate) mod schema;
pub(crate) mod search;
pub(crate) mod train;

mod catalogue;
mod choices;
mod compute;
mod config_file;
mod corpus_model;
mod input;
mod workers;
