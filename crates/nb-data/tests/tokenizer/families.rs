//! Compares tokenizers of every family with `transformers` (`data/make_families.py`): RoBERTa's, XLM-R's, CamemBERT's,
//! DistilBERT's, ELECTRA's and Japanese ones, and texts that were split into words before.

use std::collections::BTreeMap;

use nb_data::tokenizer::Words;
use nb_data::{TokenBatch, Tokenizer};
use serde::Deserialize;
use tempfile::TempDir;

use crate::common::{file, folder};

#[derive(Deserialize)]
struct Golden {
    texts: Vec<(String, Option<String>)>,
    contents: Vec<String>,
    folders: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    name: String,
    words: String,
    /// Positions in the list of contents, by the file's name.
    files: BTreeMap<String, usize>,
    /// The token ids of each text, and the place of the first segment 1.
    sequences: Vec<(Vec<u32>, usize)>,
}

impl Case {
    fn folder(&self, contents: &[String]) -> TempDir {
        let folder = folder();
        for (name, content) in &self.files {
            file(&folder, name, &contents[*content]);
        }
        folder
    }

    fn words(&self) -> Words {
        match self.words.as_str() {
            "class" => Words::AsClass,
            "pretokenized" => Words::Pretokenized,
            other => panic!("words: {other}"),
        }
    }
}

/// Longer than any sequence of the files.
const MAX_TOKENS: usize = 1 << 20;

fn golden() -> Golden {
    serde_json::from_str(include_str!("data/families.json")).expect("the golden file")
}

fn load(case: &Case, contents: &[String]) -> Tokenizer {
    let folder = case.folder(contents);
    Tokenizer::with_words(folder.path(), case.words()).unwrap_or_else(|err| panic!("{}: {err:?}", case.name))
}

/// Returns the texts of a case for which the tokenizer differs from `transformers`.
fn differences(found: &Tokenizer, case: &Case, texts: &[(String, Option<String>)]) -> Vec<String> {
    let pairs = texts.iter().zip(&case.sequences);
    let differ = pairs.filter_map(|((first, second), (ids, ones_from))| {
        let tokens = found.encode(first, second.as_deref(), MAX_TOKENS).unwrap();
        let segments = TokenBatch::pack(std::slice::from_ref(&tokens), &[0]).segments;
        let ones = segments.iter().position(|&segment| segment == 1).unwrap_or(segments.len());
        (tokens.ids != *ids || ones != *ones_from).then(|| {
            format!("{}: {first:?} {second:?}: {:?} {ones}, expected {ids:?} {ones_from}", case.name, tokens.ids)
        })
    });
    differ.collect()
}

#[test]
fn the_tokens_of_every_family_match_transformers() {
    let golden = golden();
    let mut differ = Vec::new();
    for case in &golden.folders {
        assert_eq!(case.sequences.len(), golden.texts.len());
        differ.extend(differences(&load(case, &golden.contents), case, &golden.texts));
    }
    assert_eq!(differ, Vec::<String>::new());
    assert_eq!((golden.folders.len(), golden.texts.len()), (54, 89));
}

#[test]
fn a_saved_folder_of_every_family_has_the_same_tokens() {
    let golden = golden();
    for case in &golden.folders {
        let original = load(case, &golden.contents);
        let saved = folder();
        for it in original.files(512) {
            file(&saved, it.name, &it.bytes);
        }
        let words = if case.name.starts_with("Japanese") { Words::AsClass } else { case.words() };
        let once = Tokenizer::with_words(saved.path(), words).unwrap();
        assert_eq!(once.fingerprint(), original.fingerprint(), "{}", case.name);
        assert_eq!(once.files(512), original.files(512), "{}", case.name);
        // Reading a saved Japanese tokenizer for words does not split twice.
        let again = Tokenizer::with_words(saved.path(), case.words()).unwrap();
        assert_eq!(again.fingerprint(), original.fingerprint(), "{}", case.name);
        assert_eq!(differences(&once, case, &golden.texts), Vec::<String>::new());
    }
}

/// The variable with an interpreter that has `transformers`; without it, the test does nothing.
const PYTHON: &str = "NB_TEST_PYTHON";

#[test]
fn saved_folders_load_in_transformers() {
    let Ok(python) = std::env::var(PYTHON) else {
        eprintln!("{PYTHON} is not set: not compared with transformers");
        return;
    };
    let golden = golden();
    let all = folder();
    for (i, case) in golden.folders.iter().enumerate() {
        let place = all.path().join(i.to_string());
        std::fs::create_dir(&place).unwrap();
        let config = &golden.contents[case.files["config.json"]];
        std::fs::write(place.join("config.json"), config).unwrap();
        for it in load(case, &golden.contents).files(512) {
            std::fs::write(place.join(it.name), it.bytes).unwrap();
        }
    }
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/tokenizer/data/compare.py");
    let output = std::process::Command::new(python).args([script, "saved"]).arg(all.path()).output().unwrap();
    let [found, errors] = [output.stdout, output.stderr].map(|it| String::from_utf8_lossy(&it).into_owned());
    assert!(output.status.success(), "{found}{errors}");
    assert_eq!(found, "54 folders, 4806 sequences, 0 differ\n");
}

/// Reads the file of `NB_RANDOM_TOKENS`: the output of `data/compare.py random`.
#[test]
#[ignore = "needs the file of NB_RANDOM_TOKENS, which Python writes"]
fn random_texts_match_transformers() {
    let path = std::env::var("NB_RANDOM_TOKENS").expect("NB_RANDOM_TOKENS");
    let golden: Golden = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let mut all = 0;
    for case in &golden.folders {
        let differ = differences(&load(case, &golden.contents), case, &golden.texts);
        println!("{}: {} of {} differ", case.name, differ.len(), golden.texts.len());
        differ.iter().take(5).for_each(|it| println!("  {it}"));
        all += differ.len();
    }
    assert_eq!(all, 0);
}
