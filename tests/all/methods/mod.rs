//! The methods other than NewsBERT. One step of each is compared with numbers from Python
//! (`tests/golden/method_*.safetensors`). A step must not depend on whether a frozen teacher's outputs are cached, nor on how
//! a batch with unlabelled rows is split.
//!
//! The files are read and compared as in the conformance tests, with the same tolerances.

mod bf16;
mod faults;
mod heads;
mod output_cache;
mod step;
mod tasks;
mod toy_task;
mod unlabelled;
mod windows;

use std::io::Write;

use nb_model::Precision;

use crate::conformance::golden::{Golden, mismatches};
use crate::conformance::{files, own_folder};

/// Number of golden files.
const FILES: usize = 37;

/// Calls `f` with each golden file that `which` selects. There must be `expected` of them.
#[track_caller]
fn each(expected: usize, which: impl Fn(&Golden) -> bool, f: impl FnMut(&Golden)) {
    let paths = files(&own_folder(), "method_", ".safetensors");
    assert_eq!(paths.len(), FILES, "{paths:?}");
    let selected: Vec<Golden> = paths.iter().map(|path| Golden::read(path)).filter(which).collect();
    assert_eq!(selected.len(), expected, "selected files");
    selected.iter().for_each(f);
}

#[test]
fn steps_of_all_methods_equal_their_golden_files() {
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
    writeln!(std::io::stderr(), "methods: {FILES} golden files checked").expect("standard error is writable");
}
