//! Compares folders of many kinds with `transformers` (`golden/make_tokenizers.py`), saved folders with their
//! originals, and sequences of random texts and lengths with the `tokenizers` crate.

use std::collections::BTreeMap;

use nb_data::{TokenBatch, Tokenizer, Tokens};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use serde::Deserialize;
use serde_json::Value;
use tempfile::TempDir;
use tokenizers::{TruncationDirection, TruncationParams, TruncationStrategy};

use crate::common::{file, folder, tokenizer};

#[derive(Deserialize)]
struct Golden {
    texts: Vec<(String, Option<String>)>,
    folders: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    name: String,
    files: BTreeMap<String, String>,
    /// Text, longest sequence, token ids, segment ids.
    sequences: Vec<(usize, usize, Vec<u32>, Vec<i64>)>,
}

impl Case {
    fn folder(&self) -> TempDir {
        let folder = folder();
        for (name, content) in &self.files {
            file(&folder, name, content);
        }
        folder
    }
}

fn golden() -> Golden {
    serde_json::from_str(include_str!("../golden/tokenizers.json")).expect("the golden file")
}

fn saved(tokenizer: &Tokenizer, max_tokens: usize) -> TempDir {
    let folder = folder();
    for it in tokenizer.files(max_tokens) {
        file(&folder, it.name, &it.bytes);
    }
    file(&folder, "config.json", r#"{"model_type": "bert"}"#);
    folder
}

fn segments(tokens: &Tokens) -> Vec<i64> {
    TokenBatch::pack(std::slice::from_ref(tokens), &[0]).segments
}

#[test]
fn the_tokens_of_a_folder_match_transformers() {
    let golden = golden();
    let mut checked = 0;
    for case in &golden.folders {
        let folder = case.folder();
        let found = tokenizer(folder.path());
        for (text, most, ids, expected) in &case.sequences {
            // The readers and the model card's function use the second text in place of an empty first one.
            let (first, second) = match &golden.texts[*text] {
                (first, Some(second)) if first.is_empty() => (second, None),
                (first, second) => (first, second.as_deref()),
            };
            let tokens = found.encode(first, second, *most).unwrap();
            let context = format!("{}: {first:?} {second:?} to {most}", case.name);
            assert_eq!(&tokens.ids, ids, "{context}");
            assert_eq!(&segments(&tokens), expected, "{context}");
            checked += 1;
        }
    }
    assert_eq!((golden.folders.len(), checked), (51, 2117));
}

#[test]
fn a_saved_folder_contains_every_setting() {
    for case in golden().folders {
        let original = tokenizer(case.folder().path());
        let once = tokenizer(saved(&original, 48).path());
        assert_eq!(once.fingerprint(), original.fingerprint(), "{}", case.name);
        assert_eq!(once.files(48), original.files(48), "{}", case.name);
        assert_eq!(once.warnings(), [], "{}", case.name);
        let config: Value = serde_json::from_slice(&original.files(48)[1].bytes).unwrap();
        assert_eq!((&config["model_max_length"], &config["padding_side"]), (&48.into(), &"right".into()));
        let normalisation = ["do_lower_case", "strip_accents", "tokenize_chinese_chars"];
        let bert = config["tokenizer_class"] == "BertTokenizer";
        assert!(normalisation.iter().all(|key| config.get(key).is_some() == bert), "{}: {config}", case.name);
        assert!(config["pad_token"].is_string(), "{}: {config}", case.name);
        assert!(config["added_tokens_decoder"].is_object() && config["model_input_names"].is_array());
    }
}

/// Returns the sequence that the crate's truncation and post-processor make, or `None` if they fail: the crate rejects
/// a pair whose second text would lose its last token.
fn by_the_crate(inner: &mut tokenizers::Tokenizer, first: &str, second: Option<&str>, most: usize) -> Option<Vec<u32>> {
    let pair = second.is_some();
    let strategy = if pair { TruncationStrategy::OnlySecond } else { TruncationStrategy::LongestFirst };
    let direction = TruncationDirection::Right;
    inner.with_truncation(Some(TruncationParams { max_length: most, strategy, direction, stride: 0 })).ok()?;
    let encoding = match second {
        Some(second) => inner.encode((first, second), true),
        None => inner.encode(first, true),
    };
    encoding.ok().map(|it| it.get_ids().to_vec())
}

fn text() -> impl Strategy<Value = String> {
    let word = prop_oneof![
        4 => prop::sample::select(vec!["rain", "storm", "Paris", "the", "a", "news", "covid19", "trade deal", "[NUM]", "[SEP]"])
            .prop_map(str::to_owned),
        1 => "[a-zA-Zé北<>/ \u{200b}]{0,8}",
    ];
    prop::collection::vec(word, 0..12).prop_map(|words| words.join(" "))
}

#[test]
fn random_texts_are_truncated_as_by_the_tokenizers_crate() {
    let golden = golden();
    let folders = [
        "cased",
        "added_tokens_decoder",
        "XLM-R",
        "two separators, segments",
        "RoBERTa's processor",
        "special tokens split",
    ];
    let (mut pairs, mut dropped) = (0, 0);
    for name in folders {
        let case = golden.folders.iter().find(|case| case.name == name).unwrap();
        let mut case_files = case.files.clone();
        if let Some(config) = case_files.get_mut("tokenizer_config.json") {
            *config = config.replace("\"left\"", "\"right\"");
        }
        let folder = Case { name: name.into(), files: case_files, sequences: Vec::new() }.folder();
        let ours = tokenizer(folder.path());
        let mut inner: tokenizers::Tokenizer =
            String::from_utf8(ours.files(64)[0].bytes.clone()).unwrap().parse().unwrap();
        inner.set_encode_special_tokens(name == "special tokens split");
        let mut runner = proptest::test_runner::TestRunner::deterministic();
        let drawn = (text(), prop::option::of(text()), 5_usize..40);
        for _ in 0..256 {
            let (first, second, most) = drawn.new_tree(&mut runner).unwrap().current();
            let tokens = ours.encode(&first, second.as_deref(), most).unwrap();
            assert!(tokens.ids.len() <= most, "{name}: {first:?} {second:?} {most}");
            let length = |inner: &tokenizers::Tokenizer, text: &str| inner.encode(text, false).unwrap().len();
            inner.with_truncation(None).unwrap();
            let both = second.as_deref().filter(|text| length(&inner, text) > 0);
            let expected = by_the_crate(&mut inner, &first, both, most);
            pairs += usize::from(both.is_some() && expected.is_some());
            // The second text is dropped if the crate finds no room for it.
            let expected = expected.unwrap_or_else(|| {
                dropped += 1;
                by_the_crate(&mut inner, &first, None, most).unwrap()
            });
            assert_eq!(tokens.ids, expected, "{name}: {first:?} {second:?} {most}");
        }
    }
    assert!(pairs > 300 && dropped > 100, "{pairs} pairs, {dropped} second texts dropped");
}

/// Damaged files give errors or tokenizers, never a panic, and sequences stay within the maximum length.
#[test]
fn damaged_folders_never_panic() {
    let golden = golden();
    let names: Vec<&str> = golden.folders.iter().map(|case| case.name.as_str()).collect();
    let damage = (0..names.len(), any::<prop::sample::Index>(), any::<prop::sample::Index>(), 0_u8..6);
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let mut loaded = 0;
    for _ in 0..600 {
        let (case, file, at, kind) = damage.new_tree(&mut runner).unwrap().current();
        let case = &golden.folders[case];
        let mut files = case.files.clone();
        let name = files.keys().nth(file.index(files.len())).unwrap().clone();
        let content = files.get_mut(&name).unwrap();
        let mut at = at.index(content.len().max(1));
        while !content.is_char_boundary(at) {
            at -= 1;
        }
        let rest = content.split_off(at);
        match kind {
            0 => {}
            1 => content.push_str(rest.get(1..).unwrap_or_default()),
            2 => content.push_str(&format!("7{rest}")),
            3 => content.push_str(&rest.replacen(':', ": null, \"x\":", 1)),
            4 => content.push_str(&rest.replacen('"', "\"$A:", 1)),
            _ => content.push_str(&rest.replacen(char::is_numeric, "4294967296", 1)),
        }
        let folder = Case { name: case.name.clone(), files, sequences: Vec::new() }.folder();
        let Ok(found) = Tokenizer::from_folder(folder.path()) else { continue };
        loaded += 1;
        for (first, second) in &golden.texts {
            if let Ok(tokens) = found.encode(first, second.as_deref(), 9) {
                assert!((1..=9).contains(&tokens.ids.len()) && tokens.second_starts <= tokens.ids.len());
                assert!(tokens.ids.iter().all(|&id| (id as usize) < found.vocab_size()), "{}: {tokens:?}", case.name);
            }
        }
    }
    assert!(loaded > 100, "{loaded}");
}
