//! The commands of `nb`, one file or folder each, and what several of them share.

pub(crate) mod compare;
pub(crate) mod embed;
pub(crate) mod eval;
pub(crate) mod plan;
pub(crate) mod predict;
pub(crate) mod rank;
pub(crate) mod search;
pub(crate) mod train;

mod catalogue;
mod choices;
mod input;
mod launch;
