//! Features of this machine that tests need. Test runs name them in `NB_REQUIRE`; a test that needs a named feature must run,
//! and fails instead of being skipped.

use std::path::Path;

use nb_cpu::{has_avx2, has_avx512bf16, has_avx512vnni};

use crate::commands::setup;
use crate::libtorch::{self, Libtorch};

/// The variable that names the features a test run must not skip; crates/nb-testing reads it.
pub(crate) const VARIABLE: &str = "NB_REQUIRE";

/// The value of [`VARIABLE`] for this machine: its features, separated by commas.
pub(crate) fn of_machine(libtorch: &Libtorch) -> String {
    let gloo = libtorch::gloo::found(setup::gloo_headers()).is_some();
    let gpu = Path::new("/dev/nvidia0").exists() && libtorch::has_cuda(&libtorch.root);
    let features = [
        ("avx2", has_avx2()),
        ("avx512bf16", has_avx512bf16()),
        ("avx512vnni", has_avx512vnni()),
        ("gloo", gloo),
        ("gpu", gpu),
    ];
    let present: Vec<_> = features.into_iter().filter_map(|(name, present)| present.then_some(name)).collect();
    present.join(",")
}
