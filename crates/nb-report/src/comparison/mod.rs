//! From the runs of several methods, depths and seeds to one table: [`compare`] makes a
//! [`Comparison`](crate::Comparison), which is what `compare.json` holds; `render` puts it on paper.
//!
//! Nothing here starts a run or chooses settings; the sweeps that chose them are passed through.

mod compare;
mod measured;
mod notes;
mod render;
mod words;

pub use compare::{Entry, Header, compare};
