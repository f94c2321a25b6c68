//! One training step, and the metrics, against numbers from Python: `tests/golden/`, and the folder that the variable
//! `NB_GOLDEN_DIR` names (a relative one counts from the workspace's root).
//!
//! A comparison is a function from a file and what was computed to a list of mismatches. So it can be shown wrong
//! computations too, and must find every one of them.

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

/// The workspace's root.
fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("this package lies in the workspace")
}

pub(crate) fn own_folder() -> PathBuf {
    root().join("tests/golden")
}

/// The files of a folder whose names begin and end like this, sorted.
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

/// Fails with every mismatch of every file, and says how many files there were even where output is captured.
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
    writeln!(std::io::stderr(), "{line}").expect("standard error can be written to");
}

#[test]
fn own_golden_files() {
    let folder = own_folder();
    let (steps, metrics) = (files(&folder, "step_", ".safetensors"), files(&folder, "metrics", ".json"));
    assert!(!steps.is_empty() && !metrics.is_empty(), "{steps:?} and {metrics:?} in {}", folder.display());
    check(&folder, &steps, &metrics);
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

/// Calls `f` with each of the project's own steps.
fn each_step(f: impl Fn(&Golden)) {
    let paths = files(&own_folder(), "step_", ".safetensors");
    assert!(paths.len() >= 7, "{paths:?}");
    paths.iter().for_each(|path| f(&Golden::read(path)));
}

/// Fails unless there is a mismatch in a tensor whose name begins like this.
#[track_caller]
pub(crate) fn assert_found(golden: &Golden, found: &[String], begin: &str) {
    let seen = found.iter().any(|line| line.starts_with(begin));
    assert!(seen, "{}: nothing wrong with {begin}* among {found:#?}", golden.path.display());
}

#[test]
fn another_beta_is_found() {
    each_step(|golden| {
        let mut method = step::method(golden);
        let beta = golden.number("beta");
        method.beta = Ramp::Constant(if beta < 0.5 { beta + 0.01 } else { beta - 0.01 });
        let found = mismatches(golden, &step::run(golden, method, Sharing::Shared));
        assert_found(golden, &found, "blended.student.encoder");
        let elsewhere = found.iter().find(|line| !line.starts_with("blended.student.encoder"));
        assert_eq!(elsewhere, None, "β is for the blend of layers alone");
    });
}

#[test]
fn another_temperature_is_found() {
    each_step(|golden| {
        let mut method = step::method(golden);
        method.temperature = Temperature::Ramp(Ramp::Constant(1.01 * golden.number("temperature")));
        let found = mismatches(golden, &step::run(golden, method, Sharing::Shared));
        assert_found(golden, &found, "loss.distill_ce");
        assert_found(golden, &found, "grads.student");
    });
}

#[test]
fn a_top_that_is_not_shared_is_found() {
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

/// The steps that the tests below break pass when unbroken, so those tests detect the fault alone.
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
            assert_eq!(losses, None, "only gradients tell, {kind:?}");
            if matches!(kind, TermKind::Pooled | TermKind::Soft) {
                assert_found(golden, &found, "grads.head");
            }
        }
    });
}

#[test]
fn a_tensor_left_out_or_too_many_is_found() {
    each_step(|golden| {
        let mut computed = step::run(golden, step::method(golden), Sharing::Shared);
        let tensor = computed.remove("teacher.pooled").unwrap();
        computed.insert("teacher.hidden.99".into(), tensor);
        let found = mismatches(golden, &computed);
        assert_eq!(found, ["teacher.pooled: not computed", "teacher.hidden.99: computed, but not in the file"]);
    });
}
