//! Nowhere to write but where the user said: the corpus and the cache are read-only, as in many containers.

#![cfg(target_os = "linux")]

use std::fs::File;

use super::place::{Ended, Place, tensors, train_arguments};

/// A folder in which nobody can make anything, the superuser included.
const NOWHERE: &str = "/sys/newsbert-test";
const STUDENT: &str = "runs/tiny/student";

#[test]
fn training_goes_on_without_a_place_for_tokens() {
    let place = Place::new();
    place.train(&[]).done();
    let expected = tensors(&place.path(&format!("{STUDENT}/model.safetensors")));
    // As the default, without a home; and as a key.
    for (variable, sets) in [(NOWHERE, vec!["output=a"]), ("cache", vec!["output=b", "data.cache=/sys/newsbert-test"])]
    {
        let mut command = place.command();
        command.args(train_arguments(&sets)).env("XDG_CACHE_HOME", variable);
        let ended = Ended::from(command.output().unwrap()).done();
        assert_eq!(ended.err.matches("tokens are not cached").count(), 1, "{}", ended.err);
        for part in [NOWHERE, "data.cache", "XDG_CACHE_HOME"] {
            assert!(ended.err.contains(part), "`{part}` is not in: {}", ended.err);
        }
        let found = tensors(&place.path(&format!("{}/student/model.safetensors", &sets[0]["output=".len()..])));
        assert!(expected.iter().zip(&found).all(|(a, b)| a.0 == b.0 && a.1.equal(&b.1)), "the run is the same");
    }
}

#[test]
fn a_search_goes_on_without_a_place_for_vectors() {
    let place = Place::searches();
    place.train(&["method.name=finetune"]).done();
    let search = |corpus: &str, cache: &str| -> Ended {
        let mut command = place.command();
        command.args(["search", "--model", STUDENT, "--query", "storm", "--output-format", "json", "--corpus", corpus]);
        command.stdin(File::open(place.path("beir/corpus.jsonl")).unwrap()).env("XDG_CACHE_HOME", cache);
        Ended::from(command.output().unwrap()).done()
    };
    let expected = search("beir", "cache");
    // No file can be made beside this one.
    let beside = "/proc/self/fd/0";
    let cached = search(beside, place.path("cache").to_str().unwrap());
    assert!(cached.err.contains("vectors go to"), "{}", cached.err);
    let ended = search(beside, NOWHERE);
    assert_eq!(ended.err.matches("WARN").count(), 1, "{}", ended.err);
    for part in ["vectors are not cached", beside, NOWHERE, "XDG_CACHE_HOME"] {
        assert!(ended.err.contains(part), "`{part}` is not in: {}", ended.err);
    }
    assert_eq!((ended.out, cached.out), (expected.out.clone(), expected.out));
}
