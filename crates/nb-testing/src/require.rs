//! Tests that need a feature of the machine.

use std::io::Write;
use std::thread;

/// The environment variable that names the features a test run must not skip, separated by commas.
///
/// `cargo xtask test` and `cargo xtask ci` set it to what the machine has, unless the user has set it.
pub const VARIABLE: &str = "NB_REQUIRE";

/// Returns `available`, the answer to whether this machine has `feature`. If not, prints `skipped: needs FEATURE` with the name
/// of the test.
///
/// A test returns early where this is false, so a test run shows every test that tested nothing. The line goes straight to
/// standard error, which the test harness does not capture.
///
/// `available` must ask the machine, not the code under test: if a fault in the code made it false, the test would be
/// skipped instead of failing. Features in use:
///
/// | feature | the machine has |
/// | --- | --- |
/// | `avx512f`, `avx512bf16` | a processor with these instructions, as `is_x86_feature_detected!` names them |
/// | `gloo` | Gloo's headers at build time, so that this build has process groups |
/// | `gpu` | a GPU and a libtorch with CUDA |
/// | `ampere` | a GPU with FlashAttention |
/// | `onednn` | a libtorch with oneDNN |
/// | `ptrace` | permission to trace other processes |
/// | `golden` | a folder of golden files in `NB_GOLDEN_DIR` |
///
/// ```
/// fn a_product_in_bf16_is_rounded_once() {
///     let available = cfg!(target_arch = "x86_64"); // for example is_x86_feature_detected!("avx512bf16")
///     if !nb_testing::require("avx512bf16", available) {
///         return;
///     }
///     // The test.
/// }
/// # a_product_in_bf16_is_rounded_once();
/// ```
///
/// # Panics
///
/// The feature is not available and [`VARIABLE`] names it.
#[track_caller]
pub fn require(feature: &str, available: bool) -> bool {
    let required = std::env::var(VARIABLE).unwrap_or_default();
    let thread = thread::current(); // the test harness gives it the test's name
    match outcome(feature, available, &required) {
        Outcome::Run => true,
        Outcome::Skip => {
            let test = thread.name().unwrap_or("a test");
            // Without standard error there is nobody to tell.
            let _ = writeln!(std::io::stderr(), "skipped: needs {feature} ({test})");
            false
        }
        Outcome::Fail => panic!("needs {feature}, which {VARIABLE}={required} requires: it is not available"),
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    Run,
    Skip,
    Fail,
}

fn outcome(feature: &str, available: bool, required: &str) -> Outcome {
    if available {
        Outcome::Run
    } else if required.split(',').any(|name| name.trim() == feature) {
        Outcome::Fail
    } else {
        Outcome::Skip
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_feature_fails_only_where_it_is_required() {
        assert_eq!(outcome("gloo", true, ""), Outcome::Run);
        assert_eq!(outcome("gloo", true, "gloo"), Outcome::Run);
        assert_eq!(outcome("gloo", false, ""), Outcome::Skip);
        assert_eq!(outcome("avx512f", false, "avx512bf16,gloo"), Outcome::Skip);
        assert_eq!(outcome("gloo", false, "avx512bf16, gloo"), Outcome::Fail);
    }

    #[test]
    fn a_feature_that_is_there_is_returned() {
        assert!(require("a feature of every machine", true));
    }
}
