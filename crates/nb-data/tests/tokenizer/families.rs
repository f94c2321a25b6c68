//! Compares tokenizers of every family with `transformers` (`data/make_families.py`): RoBERTa's, XLM-R's, CamemBERT's,
//! DistilBERT's, ELECTRA's and Japanese ones, and texts that were split into words before.

use std::collections::BTreeMap;

use nb_data::tokenizer::{TokenizerWarning, Words};
use nb_data::{TokenBatch, Tokenizer};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
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
            file(&folder, name, bytes(name, &contents[*content]));
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

/// Returns the bytes of a file; each character of a binary one stands for a byte.
fn bytes(name: &str, content: &str) -> Vec<u8> {
    if name.ends_with(".model") {
        content.chars().map(|c| u8::try_from(c).expect("a byte")).collect()
    } else {
        content.as_bytes().to_vec()
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
        let tokens = found.encode(first, second.as_deref(), MAX_TOKENS).expect("tokens");
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
    assert_eq!((golden.folders.len(), golden.texts.len()), (62, 90));
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
        assert_eq!(once.warnings(), [], "{}", case.name);
        // Reading a saved Japanese tokenizer for words does not split twice.
        let again = Tokenizer::with_words(saved.path(), case.words()).unwrap();
        assert_eq!(again.fingerprint(), original.fingerprint(), "{}", case.name);
        assert_eq!(differences(&once, case, &golden.texts), Vec::<String>::new());
    }
}

/// Damaged files give errors or tokenizers, never a panic, and ids stay within the vocabulary.
#[test]
fn damaged_folders_of_every_family_never_panic() {
    let golden = golden();
    let damage = (0..golden.folders.len(), any::<prop::sample::Index>(), any::<prop::sample::Index>(), 0_u8..6);
    let mut runner = TestRunner::deterministic();
    let (mut loaded, mut rejected) = (0, 0);
    for _ in 0..400 {
        let (case, file_index, at, kind) = damage.new_tree(&mut runner).unwrap().current();
        let case = &golden.folders[case];
        let damaged = case.files.keys().nth(file_index.index(case.files.len())).unwrap();
        let folder = case.folder(&golden.contents);
        let content = &golden.contents[case.files[damaged]];
        let at = (0..=at.index(content.len().max(1))).rev().find(|&at| content.is_char_boundary(at)).unwrap();
        let (before, after) = content.split_at(at);
        let after = match kind {
            0 => String::new(),
            1 => after.get(1..).unwrap_or_default().into(),
            2 => format!("7{after}"),
            3 => after.replacen(':', ": null, \"x\":", 1),
            4 => after.replacen('"', "\"$A:", 1),
            _ => after.replacen(char::is_numeric, "4294967296", 1),
        };
        let content = format!("{before}{after}").replace(|c| damaged.ends_with(".model") && c > '\u{ff}', "?");
        file(&folder, damaged, bytes(damaged, &content));
        let Ok(found) = Tokenizer::with_words(folder.path(), case.words()) else {
            rejected += 1;
            continue;
        };
        loaded += 1;
        for (first, second) in golden.texts.iter().step_by(3) {
            if let Ok(tokens) = found.encode(first, second.as_deref(), 9) {
                assert!((1..=9).contains(&tokens.ids.len()) && tokens.second_starts <= tokens.ids.len());
                assert!(tokens.ids.iter().all(|&id| (id as usize) < found.vocab_size()), "{}: {tokens:?}", case.name);
            }
        }
    }
    assert!(loaded > 50 && rejected > 50, "{loaded} {rejected}");
}

fn error(words: Words, files: &[(&str, &str)]) -> String {
    let folder = folder();
    for (name, content) in files {
        file(&folder, name, content);
    }
    let err = Tokenizer::with_words(folder.path(), words).expect_err("no tokenizer");
    let cause = std::error::Error::source(&err).map(|cause| format!(": {cause}")).unwrap_or_default();
    format!("{err}{cause}").replace(&folder.path().display().to_string(), "FOLDER")
}

const VOCAB_JSON: &str = r#"{"<s>": 0, "<pad>": 1, "</s>": 2, "<unk>": 3, "a": 4, "b": 5, "ab": 6}"#;

#[test]
fn invalid_vocabularies_of_roberta_are_rejected() {
    let class = ("tokenizer_config.json", r#"{"tokenizer_class": "RobertaTokenizer"}"#);
    let rejected =
        |vocab: &str, merges: &str| error(Words::AsClass, &[class, ("vocab.json", vocab), ("merges.txt", merges)]);
    assert_eq!(
        rejected(VOCAB_JSON, "#version: 0.2\na b\na  b\n"),
        "FOLDER/merges.txt: not a usable tokenizer: line 3: \"a  b\" found, expected two tokens with a space between them"
    );
    let missing = rejected(VOCAB_JSON, "a c\n");
    assert!(missing.starts_with("FOLDER/vocab.json: not a usable tokenizer: ") && missing.contains("`c`"), "{missing}");
    let ids = rejected(&VOCAB_JSON.replace('6', "\"six\""), "a b\n");
    assert_eq!(ids, "FOLDER/vocab.json: not a usable tokenizer: \"ab\" is \"six\", expected an id");
    assert!(rejected("[1]", "a b\n").starts_with("FOLDER/vocab.json: not a usable tokenizer: "));
    let ends = rejected(&VOCAB_JSON.replace("</s>", "end"), "a b\n");
    assert!(ends.starts_with("FOLDER/vocab.json: no token \"</s>\" found"), "{ends}");
    assert_eq!(
        error(Words::AsClass, &[class, ("vocab.json", VOCAB_JSON)]),
        "FOLDER/merges.txt: not a usable tokenizer: no file found, expected one, because there is a vocab.json"
    );
    assert_eq!(
        error(Words::AsClass, &[class, ("merges.txt", "a b\n")]),
        "FOLDER/vocab.json: not a usable tokenizer: no file found, expected one, because there is a merges.txt"
    );
    assert_eq!(
        error(Words::AsClass, &[class, ("vocab.txt", "a\n")]),
        "FOLDER: no tokenizer found, expected tokenizer.json, or vocab.json and merges.txt"
    );
    let word_piece = r#"{"added_tokens": [], "model": {"type": "WordPiece", "vocab": {}}}"#;
    let found = error(Words::AsClass, &[class, ("tokenizer.json", word_piece)]);
    assert!(found.contains("found a WordPiece model, expected a BPE vocabulary with merges"), "{found}");
}

/// Returns a folder of the golden file.
fn of(name: &str) -> Tokenizer {
    let golden = golden();
    load(golden.folders.iter().find(|case| case.name == name).expect("a case"), &golden.contents)
}

#[test]
fn long_texts_are_read_by_every_family() {
    for name in ["RoBERTa", "RoBERTa, words", "CamemBERT", "Japanese", "Japanese, characters"] {
        let found = of(name);
        for part in [" ", "\n", "rain ", "r", "  a", "北", "\u{3000}"] {
            let text = part.repeat((1 << 15) / part.len()) + "!";
            let tokens = found.encode(&text, None, 16).unwrap_or_else(|err| panic!("{name}: {part:?}: {err:?}"));
            assert!((3..=16).contains(&tokens.ids.len()), "{name}: {part:?}: {tokens:?}");
        }
    }
}

#[test]
fn a_japanese_tokenizer_without_model_input_names_has_a_warning() {
    let warned = |name: &str| {
        let warnings = of(name).warnings().to_vec();
        warnings.iter().any(|it| matches!(it, TokenizerWarning::NoSegments { .. }))
    };
    assert_eq!((warned("Japanese"), warned("Japanese, segments")), (true, false));
}

#[test]
fn the_source_of_words_is_part_of_the_fingerprint() {
    let golden = golden();
    let case = golden.folders.iter().find(|case| case.name == "BERT, words").unwrap();
    let folder = case.folder(&golden.contents);
    let [class, words] =
        [Words::AsClass, Words::Pretokenized].map(|words| Tokenizer::with_words(folder.path(), words).unwrap());
    assert_ne!(class.fingerprint(), words.fingerprint());
    // An added token with a space is found only if the words are not split before.
    let lengths = [&class, &words].map(|it| it.encode("trade deal", None, 16).unwrap().ids.len());
    assert!(lengths[0] == 3 && lengths[1] > 3, "{lengths:?}");
}

/// Returns a field of a message of protocol buffers.
fn field(number: u8, content: &[u8]) -> Vec<u8> {
    [&[number << 3 | 2, u8::try_from(content.len()).expect("a short field")], content].concat()
}

#[test]
fn invalid_files_of_sentencepiece_are_rejected() {
    let rejected = |name: &str, model: &[u8]| {
        let folder = folder();
        file(&folder, "config.json", r#"{"model_type": "camembert"}"#);
        file(&folder, name, model);
        let err = Tokenizer::from_folder(folder.path()).expect_err("no tokenizer");
        let cause = std::error::Error::source(&err).unwrap().to_string();
        assert_eq!(err.to_string(), format!("{}/{name}: not a usable tokenizer", folder.path().display()));
        cause
    };
    let of_class = |model: &[u8]| rejected("sentencepiece.bpe.model", model);
    let piece = field(1, &field(1, b"a"));
    assert_eq!(of_class(b""), "no pieces found, expected a model of SentencePiece");
    assert_eq!(of_class(&[0x0a]), "the file ends in the middle of a field");
    assert_eq!(of_class(&[0x0a, 9, 1]), "the file ends in the middle of a field");
    assert_eq!(of_class(&[&[0x0a][..], &[0xff; 9], &[1]].concat()), "the file ends in the middle of a field");
    assert_eq!(of_class(&[0xff; 12]), "found a number of more than 64 bits, expected a model of SentencePiece");
    assert_eq!(of_class(&[0x0b]), "found a field of type 3, expected a model of SentencePiece");
    assert!(of_class(&field(1, &field(1, &[0xff]))).starts_with("a piece is not UTF-8: "));
    let bpe = [piece.clone(), field(2, &[3 << 3, 2])].concat();
    assert_eq!(of_class(&bpe), "found a model of kind 2, expected 1, which is Unigram");
    let map = [piece.clone(), field(3, &field(2, &[9, 0, 0, 0, 1]))].concat();
    assert!(!of_class(&map).is_empty());
    let other = rejected("spiece.model", &piece);
    assert!(
        other.starts_with("found a file of SentencePiece alone, expected tokenizer.json; make one in Python"),
        "{other}"
    );
}

#[test]
fn words_that_need_a_program_are_rejected_with_the_way_out() {
    let class = r#"{"tokenizer_class": "BertJapaneseTokenizer", "subword_tokenizer_type": "sentencepiece"}"#;
    let vocab = ("vocab.txt", "[PAD]\n[UNK]\n[CLS]\n[SEP]\n");
    assert_eq!(
        error(Words::AsClass, &[vocab, ("tokenizer_config.json", class)]),
        "FOLDER/tokenizer_config.json: `tokenizer_class` is BertJapaneseTokenizer, which is not supported, because its words \
         come from a program such as MeCab; split the texts into words with that program, join the words with spaces and \
         set `data.pretokenized`, or save a tokenizer.json and set `tokenizer_class` to PreTrainedTokenizerFast"
    );
    let pieces = error(Words::Pretokenized, &[vocab, ("tokenizer_config.json", class)]);
    let expected = "FOLDER/tokenizer_config.json: `subword_tokenizer_type` is sentencepiece, which is not supported, ";
    assert!(pieces.starts_with(expected), "{pieces}");
    let class = ("tokenizer_config.json", r#"{"tokenizer_class": "RobertaTokenizer"}"#);
    let joined = error(Words::Pretokenized, &[class, ("vocab.json", VOCAB_JSON), ("merges.txt", "a b\n")]);
    let expected = "FOLDER/tokenizer_config.json: not a usable tokenizer: add_prefix_space is not true, expected true";
    assert!(joined.starts_with(expected), "{joined}");
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
    assert_eq!(found, "62 folders, 5580 sequences, 0 differ\n");
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
