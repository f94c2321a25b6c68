//! From the runs of several methods, depths and seeds to one table: [`compare`] makes a
//! [`Comparison`](crate::Comparison), which is what `compare.json` holds; `render` puts it on paper.
//!
//! No run is started here and no setting is chosen: the sweeps that chose settings are passed through.

mod compare;
mod measured;
mod notes;
mod render;
mod words;

pub use compare::{Entry, Header, compare};
