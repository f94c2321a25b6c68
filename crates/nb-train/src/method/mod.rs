//! Methods as data: the role of the teacher, what is shared and blended, and the weighted terms of each stage.
//!
//! The step interprets a [`Method`] and does not depend on its name. A new method is one entry in [`presets`]; a new kind of
//! term is one variant of [`TermKind`], one arm in `step/terms.rs` and one function in `nb-loss`.

mod check;
mod config;
mod definition;
mod parts;
mod presets;
mod ramp;
mod temperature;

pub use self::definition::{Method, Stage, Term};
pub use self::parts::{Blend, Ensemble, PkdLayers, Share, TeacherRole};
pub use self::presets::presets;
pub use self::ramp::Ramp;
pub use self::temperature::Temperature;
pub use crate::config::TermKind;
