//! One training step, and the metrics, compared with numbers from Python. The golden files are in `tests/golden/` and in the
//! folder that the variable `NB_GOLDEN_DIR` names; a relative path starts at the workspace's root.
//!
//! A comparison takes a file and the computed values, and returns a list of mismatches. Tests also pass it wrong values, and it
//! must find every error in them.

mod by_hand;
pub(crate) mod cases;
mod clicks;
pub(crate) mod golden;
mod judgements;
mod metrics;
pub(crate) mod step;

use std::io::Write;
use std::path::{Path, PathBuf};

use nb_share::Sharing;
use nb_train::method::{Ramp, Temperature, TermKind};

use by_hand::{Fault, by_hand};
use golden::{Golden, mismatches};

/// Returns the workspace's root.
fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("this package is in the workspace")
}

pub(crate) fn own_folder() -> PathBuf {
    root().join("tests/golden")
}

/// Returns the files of a folder whose names start with `begin` and end with `end`, sorted.
pub(crate) fn files(folder: &Path, begin: &str, end: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.starts_with(begin) && name.ends_with(end)
    });
    paths.sort();
    paths
}

/// Fails with all mismatches of all files, or prints the number of files, even if the test runner captures output.
fn check(folder: &Path, steps: &[PathBuf], metrics: &[PathBuf]) {
    let mut wrong = Vec::new();
    for path in steps {
        let golden = Golden::read(path);
        let found = mismatches(&golden, &step::run(&golden, step::method(&golden), Sharing::Shared));
        wrong.extend(found.into_iter().map(|line| format!("{}: {line}", path.display())));
    }
    for path in metrics {
        let found = metrics::mismatches(&metrics::read(path));
        wrong.extend(found.into_iter().map(|line| format!("{}: {line}", path.display())));
    }
    assert!(wrong.is_empty(), "{} mismatches\n{}", wrong.len(), wrong.join("\n"));
    let n = steps.len() + metrics.len();
    let line = format!("conformance: {n} golden files of {} checked", folder.display());
    writeln!(std::io::stderr(), "{line}").expect("standard error is writable");
}

#[test]
fn golden_files_of_the_project() {
    let folder = own_folder();
    let mut steps = files(&folder, "step_", ".safetensors");
    steps.extend(files(&folder, "partial_", ".safetensors"));
    let metrics = files(&folder, "metrics", ".json");
    assert!(!steps.is_empty() && !metrics.is_empty(), "{steps:?} and {metrics:?} in {}", folder.display());
    check(&folder, &steps, &metrics);
}

/// Layers that are not trained have no part in the mean gradient of a group, and no gradient of their own.
#[test]
fn a_blend_with_layers_that_are_not_trained_is_found() {
    for path in files(&own_folder(), "partial_", ".safetensors") {
        let mut golden = Golden::read(&path);
        golden.train_everything();
        let found = mismatches(&golden, &step::run(&golden, step::method(&golden), Sharing::Shared));
        assert_found(&golden, &found, "blended.student.encoder");
        assert_found(&golden, &found, "grads.teacher.encoder.layer.0");
    }
}

#[test]
fn golden_files_of_the_variable() {
    let folder = std::env::var_os("NB_GOLDEN_DIR").filter(|value| !value.is_empty());
    nb_testing::require("golden", folder.is_some());
    let Some(folder) = folder else { return };
    let folder = root().join(folder); // an absolute one replaces the root
    let (steps, metrics) = (files(&folder, "", ".safetensors"), files(&folder, "metrics", ".json"));
    assert!(!steps.is_empty() || !metrics.is_empty(), "no *.safetensors and no metrics*.json in {}", folder.display());
    check(&folder, &steps, &metrics);
}

/// Calls `f` with each step in the project's golden files.
fn each_step(f: impl Fn(&Golden)) {
    let paths = files(&own_folder(), "step_", ".safetensors");
    assert!(paths.len() >= 7, "{paths:?}");
    paths.iter().for_each(|path| f(&Golden::read(path)));
}

/// Fails unless a tensor whose name starts with `begin` has a mismatch.
#[track_caller]
pub(crate) fn assert_found(golden: &Golden, found: &[String], begin: &str) {
    let seen = found.iter().any(|line| line.starts_with(begin));
    assert!(seen, "{}: no mismatch in {begin}* among {found:#?}", golden.path.display());
}

#[test]
fn a_changed_beta_is_found() {
    each_step(|golden| {
        let mut method = step::method(golden);
        let beta = golden.number("beta");
        method.beta = Ramp::Constant(if beta < 0.5 { beta + 0.01 } else { beta - 0.01 });
        let found = mismatches(golden, &step::run(golden, method, Sharing::Shared));
        assert_found(golden, &found, "blended.student.encoder");
        let elsewhere = found.iter().find(|line| !line.starts_with("blended.student.encoder"));
        assert_eq!(elsewhere, None, "β affects only the blend of layers");
    });
}

#[test]
fn a_changed_temperature_is_found() {
    each_step(|golden| {
        let mut method = step::method(golden);
        method.temperature = Temperature::Ramp(Ramp::Constant(1.01 * golden.number("temperature")));
        let found = mismatches(golden, &step::run(golden, method, Sharing::Shared));
        assert_found(golden, &found, "loss.distill_ce");
        assert_found(golden, &found, "grads.student");
    });
}

#[test]
fn separate_top_layers_are_found() {
    each_step(|golden| {
        let found = mismatches(golden, &step::run(golden, step::method(golden), Sharing::Separate));
        for layer in ["pooling", "dense", "reader"] {
            let begin = format!("grads.head.{layer}");
            if !golden.under(&begin).is_empty() {
                assert_found(golden, &found, &begin);
            }
        }
    });
}

/// Without a fault, the step by hand has no mismatch, so the tests below detect only the injected faults.
#[test]
fn the_step_by_hand_without_a_fault_passes() {
    each_step(|golden| assert_eq!(mismatches(golden, &by_hand(golden, Fault::None)), [""; 0]));
}

#[test]
fn a_layer_map_shifted_by_one_is_found() {
    each_step(|golden| {
        let found = mismatches(golden, &by_hand(golden, Fault::ShiftedMap));
        assert_found(golden, &found, "loss.hidden_mse");
        assert_found(golden, &found, "grads.student");
    });
}

#[test]
fn a_blend_of_layers_shifted_by_one_is_found() {
    each_step(|golden| {
        let found = mismatches(golden, &by_hand(golden, Fault::ShiftedBlend));
        if golden.number("beta") > 0.0 {
            assert_found(golden, &found, "blended.student.encoder");
        }
        assert!(found.iter().all(|line| line.starts_with("blended.")), "{found:#?}");
    });
}

#[test]
fn a_teacher_that_is_not_detached_is_found() {
    each_step(|golden| {
        for kind in [TermKind::Embedding, TermKind::Hidden, TermKind::Pooled, TermKind::Soft] {
            let found = mismatches(golden, &by_hand(golden, Fault::Attached(kind)));
            assert_found(golden, &found, "grads.teacher");
            let losses = found.iter().find(|line| line.starts_with("loss."));
            assert_eq!(losses, None, "only gradients differ: {kind:?}");
            if matches!(kind, TermKind::Pooled | TermKind::Soft) {
                assert_found(golden, &found, "grads.head");
            }
        }
    });
}

#[test]
fn a_missing_or_extra_tensor_is_found() {
    each_step(|golden| {
        let mut computed = step::run(golden, step::method(golden), Sharing::Shared);
        let tensor = computed.remove("teacher.pooled").unwrap();
        computed.insert("teacher.hidden.99".into(), tensor);
        let found = mismatches(golden, &computed);
        assert_eq!(found, ["teacher.pooled: not computed", "teacher.hidden.99: computed, but not in the file"]);
    });
}
