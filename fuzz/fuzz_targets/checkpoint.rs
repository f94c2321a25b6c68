//! A checkpoint of a run: `manifest.json`, `state.json` and `state.safetensors`, in this order. An empty first
//! part is replaced by a manifest that matches the other files; otherwise they would not be read.
#![no_main]

use std::fs;
use std::path::Path;
use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use nb_fuzz::{parts, write};
use nb_train::fuzzing;
use tempfile::TempDir;

const STATE: &str = "state.json";
const TENSORS: &str = "state.safetensors";

static RUN: LazyLock<TempDir> = LazyLock::new(|| {
    let run = nb_fuzz::folder(&[]);
    let checkpoint = fuzzing::write_checkpoint(run.path()).expect("a checkpoint");
    let read = |name: &str| fs::read(checkpoint.join(name)).expect("a file just written");
    let (state, tensors) = (read(STATE), read(TENSORS));
    write(&checkpoint, "manifest.json", manifest(&state, &tensors).as_bytes());
    fuzzing::read_checkpoint(run.path()).expect("the manifest made here is valid");
    run
});

fuzz_target!(|data: &[u8]| {
    let [given, state, tensors] = parts(data);
    let matching = manifest(state, tensors);
    let folder = fuzzing::checkpoint_folder(RUN.path());
    write_all(&folder, if given.is_empty() { matching.as_bytes() } else { given }, state, tensors);
    let _ = fuzzing::read_checkpoint(RUN.path());
});

fn write_all(folder: &Path, manifest: &[u8], state: &[u8], tensors: &[u8]) {
    for (name, bytes) in [("manifest.json", manifest), (STATE, state), (TENSORS, tensors)] {
        write(folder, name, bytes);
    }
}

fn manifest(state: &[u8], tensors: &[u8]) -> String {
    let mark = |bytes: &[u8]| format!(r#"{{"bytes": {}, "blake3": "{}"}}"#, bytes.len(), blake3::hash(bytes).to_hex());
    format!(r#"{{"version": 1, "files": {{"{STATE}": {}, "{TENSORS}": {}}}}}"#, mark(state), mark(tensors))
}
