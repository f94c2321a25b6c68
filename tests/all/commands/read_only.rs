//! Read-only corpora and caches, as in many containers: only the output folder is writable.

#![cfg(target_os = "linux")]

use std::fs::File;

use super::place::{Ended, FINETUNE, Place, STUDENT, tensors, train_arguments};

/// A folder in which not even root can create files.
const READ_ONLY: &str = "/sys/newsbert-test";

#[test]
fn training_works_without_a_writable_token_cache() {
    let place = Place::new();
    place.train(&[]).done();
    let expected = tensors(&place.path(&format!("{STUDENT}/model.safetensors")));
    // As the default cache, and as `data.cache`.
    for (variable, sets) in
        [(READ_ONLY, vec!["output=a"]), ("cache", vec!["output=b", "data.cache=/sys/newsbert-test"])]
    {
        let mut command = place.command();
        command.args(train_arguments(&sets)).env("XDG_CACHE_HOME", variable);
        let ended = Ended::from(command.output().unwrap()).done();
        assert_eq!(ended.err.matches("tokens are not cached").count(), 1, "{}", ended.err);
        for part in [READ_ONLY, "data.cache", "XDG_CACHE_HOME"] {
            assert!(ended.err.contains(part), "`{part}` is not in: {}", ended.err);
        }
        let found = tensors(&place.path(&format!("{}/student/model.safetensors", &sets[0]["output=".len()..])));
        assert!(expected.iter().zip(&found).all(|(a, b)| a.0 == b.0 && a.1.equal(&b.1)), "the run is the same");
    }
}

#[test]
fn search_works_without_a_writable_vector_cache() {
    let place = Place::searches();
    place.train(&[FINETUNE]).done();
    let search = |corpus: &str, cache: &str| -> Ended {
        let mut command = place.command();
        command.args(["search", "--model", STUDENT, "--query", "storm", "--output-format", "json", "--corpus", corpus]);
        command.stdin(File::open(place.path("beir/corpus.jsonl")).unwrap()).env("XDG_CACHE_HOME", cache);
        Ended::from(command.output().unwrap()).done()
    };
    let expected = search("beir", "cache");
    // No file can be created in the folder of this corpus.
    let corpus = "/proc/self/fd/0";
    let cached = search(corpus, place.path("cache").to_str().unwrap());
    assert!(cached.err.contains("caching the vectors in"), "{}", cached.err);
    let ended = search(corpus, READ_ONLY);
    assert_eq!(ended.err.matches("WARN").count(), 1, "{}", ended.err);
    for part in ["vectors are not cached", corpus, READ_ONLY, "XDG_CACHE_HOME"] {
        assert!(ended.err.contains(part), "`{part}` is not in: {}", ended.err);
    }
    assert_eq!((ended.out, cached.out), (expected.out.clone(), expected.out));
}
