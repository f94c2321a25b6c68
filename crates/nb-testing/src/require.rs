//! Tests that need a feature of the machine.

use std::io::Write;
use std::thread;

/// The environment variable that lists the features whose tests must not be skipped, separated by commas.
///
/// `cargo xtask test` and `cargo xtask ci` set it to the features of the machine, unless the user has set it.
pub const VARIABLE: &str = "NB_REQUIRE";

/// Returns `available`, which is true if this machine has `feature`. If it is false, prints `skipped: needs FEATURE`
/// with the name of the test.
///
/// A test returns early if the result is false, so the output of a test run lists every test that tested nothing. The
/// line goes directly to standard error, which the test harness does not capture.
///
/// `available` must depend on the machine, not on the code under test: if a fault in the code made it false, the test
/// would be skipped instead of failing. Features in use:
///
/// | feature | the machine has |
/// | --- | --- |
/// | `avx2`, `avx512bf16`, `avx512vnni` | a processor with these instructions, as `is_x86_feature_detected!` names them |
/// | `gloo` | Gloo's headers at build time, so that this build has process groups |
/// | `gpu` | a GPU and a libtorch with CUDA |
/// | `ampere` | a GPU with FlashAttention |
/// | `onednn` | a libtorch with oneDNN |
/// | `ptrace` | permission to trace other processes |
/// | `golden` | a folder of golden files in `NB_GOLDEN_DIR` |
///
/// ```
/// fn a_product_in_bf16_is_rounded_once() {
///     if !nb_testing::require("avx512bf16", nb_testing::has_avx512bf16()) {
///         return;
///     }
///     // The test.
/// }
/// # a_product_in_bf16_is_rounded_once();
/// ```
///
/// # Panics
///
/// If the feature is not available and [`VARIABLE`] lists it.
#[track_caller]
pub fn require(feature: &str, available: bool) -> bool {
    let required = std::env::var(VARIABLE).unwrap_or_default();
    let thread = thread::current(); // the test harness gives it the test's name
    match outcome(feature, available, &required) {
        Outcome::Run => true,
        Outcome::Skip => {
            let test = thread.name().unwrap_or("a test");
            // Without standard error, the line cannot be shown.
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
        assert_eq!(outcome("avx2", false, "avx512bf16,gloo"), Outcome::Skip);
        assert_eq!(outcome("gloo", false, "avx512bf16, gloo"), Outcome::Fail);
    }

    #[test]
    fn an_available_feature_returns_true() {
        assert!(require("a feature of every machine", true));
    }
}
