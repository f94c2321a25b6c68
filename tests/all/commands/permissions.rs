//! Files have mode 0666 minus the umask, and folders 0777 minus the umask.

#![cfg(unix)]

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::place::{Ended, FINETUNE, Place, STUDENT, train_arguments};

/// Runs `nb` with a umask, in octal. The umask of the test process does not change.
fn with_umask(place: &Place, umask: &str, arguments: &[String]) -> Ended {
    let mut command = Command::new("sh");
    place.configure(&mut command);
    let script = format!("umask {umask}; exec \"$0\" \"$@\"");
    command.args(["-c", &script, env!("CARGO_BIN_EXE_nb-under-test")]).args(arguments);
    command.output().unwrap().into()
}

/// Returns all paths in a folder, recursively.
fn list_all(folder: &Path) -> BTreeSet<PathBuf> {
    let mut found = BTreeSet::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(list_all(&path));
        }
        found.insert(path);
    }
    found
}

/// Fails unless all new paths, those not in `before`, have the mode of the umask. Returns their names.
#[track_caller]
fn assert_modes(place: &Place, before: &BTreeSet<PathBuf>, umask: &str) -> BTreeSet<String> {
    let mask = u32::from_str_radix(umask, 8).unwrap();
    let mut names = BTreeSet::new();
    for path in list_all(&place.path("")).difference(before) {
        let expected = if path.is_dir() { 0o777 } else { 0o666 } & !mask;
        let found = std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(found, expected, "{}: found {found:o}, expected {expected:o}, umask {umask}", path.display());
        names.insert(path.file_name().unwrap().to_str().unwrap().to_owned());
    }
    names
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|&word| word.to_owned()).collect()
}

#[test]
fn files_of_a_run_and_its_caches_have_the_mode_of_the_umask() {
    for umask in ["022", "027"] {
        let place = Place::new();
        place.write("titles.txt", "rain in the storm\nbig profit today\n");
        // This method also caches the outputs of a frozen teacher.
        let kd = ["method.name=kd", "train.epochs=2", "train.eval_every=3"];
        let embed = ["embed", "--model", STUDENT, "--input", "titles.txt", "--output", "vectors.safetensors"];
        let before = list_all(&place.path(""));
        with_umask(&place, umask, &train_arguments(&kd)).done();
        with_umask(&place, umask, &words(&embed)).done();
        let names = assert_modes(&place, &before, umask);
        for name in ["model.safetensors", "head.safetensors", "outcomes.safetensors", "vectors.safetensors", "tokens"] {
            assert!(names.contains(name), "{name} is not in {names:?}");
        }
        assert!(names.iter().any(|name| name.starts_with("pooled.")), "{names:?}");
    }
}

#[test]
fn files_of_a_stopped_run_have_the_mode_of_the_umask() {
    let place = Place::new();
    // A loss that is not finite stops the run, and its checkpoints remain.
    let sets =
        ["train.weight_decay=1e12", "train.warmup=1", "train.epochs=3", "train.eval_every=1", "checkpoints.every=1"];
    let before = list_all(&place.path(""));
    with_umask(&place, "027", &train_arguments(&sets)).failed(&["train.lr"]);
    let names = assert_modes(&place, &before, "027");
    assert!(names.contains("state.safetensors"), "{names:?}");
}

#[test]
fn vectors_of_a_corpus_have_the_mode_of_the_umask() {
    let place = Place::searches();
    let search = ["search", "--model", STUDENT, "--corpus", "beir", "--query", "storm"];
    let before = list_all(&place.path(""));
    with_umask(&place, "027", &train_arguments(&[FINETUNE])).done();
    with_umask(&place, "027", &words(&search)).done();
    let names = assert_modes(&place, &before, "027");
    assert!(names.iter().any(|name| name.ends_with(".vectors.safetensors")), "{names:?}");
}
