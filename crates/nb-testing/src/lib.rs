//! Code shared by the tests of this workspace: test data, and a way to skip tests that need a feature that the machine
//! lacks.
//!
//! Crates depend on this one only as a dev-dependency. The workspace declares it without a version, so `cargo package`
//! removes it from the manifests of published crates.
//!
//! | need | function |
//! | --- | --- |
//! | skip a test with a visible line, or fail if the machine must run it | [`require`] |
//! | the processor features that such tests need | [`has_avx2`], [`has_avx512bf16`], [`has_avx512vnni`] |
//! | numbers that no other test's random generator disturbs | [`wave`], and `tensor_wave` with the feature `tch` |
//! | a folder that is removed when the test ends | [`folder`], [`folder_with`] |

mod files;
mod require;
mod wave;

pub use files::{folder, folder_with};
pub use nb_cpu::{has_avx2, has_avx512bf16, has_avx512vnni};
pub use require::{VARIABLE, require};
pub use wave::wave;

#[cfg(feature = "tch")]
pub use wave::tensor_wave;
