//! The methods beside NewsBERT: one step of each against numbers from Python (`tests/golden/method_*.safetensors`), and
//! what such a step must not depend on: whether a frozen teacher's outputs are kept, how a batch with unlabelled rows is
//! cut.
//!
//! The files are read and compared as those of the conformance test are, with the same tolerances.

mod faults;
mod kept;
mod low;
mod step;
mod tasks;
mod unlabelled;

use std::io::Write;

use nb_model::Precision;

use crate::conformance::golden::{Golden, mismatches};
use crate::conformance::{files, own_folder};

/// The files that are there.
const FILES: usize = 22;

/// Calls `f` with each file of a method that `which` is true of; there must be `expected` of them.
#[track_caller]
fn each(expected: usize, which: impl Fn(&Golden) -> bool, f: impl FnMut(&Golden)) {
    let paths = files(&own_folder(), "method_", ".safetensors");
    assert_eq!(paths.len(), FILES, "{paths:?}");
    let chosen: Vec<Golden> = paths.iter().map(|path| Golden::read(path)).filter(which).collect();
    assert_eq!(chosen.len(), expected, "files that this is about");
    chosen.iter().for_each(f);
}

#[test]
fn golden_files_of_methods() {
    let mut wrong = Vec::new();
    each(
        FILES,
        |_| true,
        |golden| {
            let found = mismatches(golden, &step::run(golden, step::method(golden), Precision::F32));
            wrong.extend(found.into_iter().map(|line| format!("{}: {line}", golden.path.display())));
        },
    );
    assert!(wrong.is_empty(), "{} mismatches\n{}", wrong.len(), wrong.join("\n"));
    writeln!(std::io::stderr(), "methods: {FILES} golden files checked").expect("standard error can be written to");
}
