//! Compares the tokenizer with `transformers` on the same texts (`golden/make_tokens.py`), and tests its files.

#[path = "../common/mod.rs"]
mod common;
mod families;
mod folders;
mod long_texts;

use std::fs;

use common::{VOCAB, checkpoint, file, folder, tokenizer};
use nb_data::read::Article;
use nb_data::tokenizer::TokenizerWarning;
use nb_data::{DataError, Tokenizer};
use serde_json::Value;

#[test]
fn ids_segments_and_truncation_match_transformers() {
    let [lower, cased] =
        ["true", "false"].map(|lower| tokenizer(checkpoint(Some(&format!("{{\"do_lower_case\": {lower}}}"))).path()));
    let cases: Vec<Value> = serde_json::from_str(include_str!("../golden/tokens.json")).unwrap();
    assert_eq!(cases.len(), 320);
    for case in cases {
        let tokenizer = if case["lower"] == true { &lower } else { &cased };
        let (first, second) = (case["first"].as_str().unwrap(), case["second"].as_str());
        let tokens = tokenizer.encode(first, second, case["max_tokens"].as_u64().unwrap() as usize).unwrap();
        assert_eq!(Value::from(tokens.ids), case["ids"], "{case}");
        assert_eq!(Value::from(tokens.second_starts), case["second_starts"], "{case}");
    }
}

#[test]
fn the_second_text_is_truncated_before_the_first() {
    let tokenizer = common::golden_tokenizer();
    let show = |max_tokens| {
        let vocab: Vec<&str> = VOCAB.lines().collect();
        let tokens = tokenizer.encode("rain in york", Some("a storm"), max_tokens).unwrap();
        let words: Vec<&str> = tokens.ids.iter().map(|&id| vocab[id as usize]).collect();
        (words.join(" "), tokens.second_starts)
    };
    assert_eq!(show(8), ("[CLS] rain in york [SEP] a storm [SEP]".into(), 5));
    assert_eq!(show(7), ("[CLS] rain in york [SEP] a [SEP]".into(), 5));
    assert_eq!(show(6), ("[CLS] rain in york [SEP]".into(), 5));
    assert_eq!(show(5), ("[CLS] rain in york [SEP]".into(), 5));
    assert_eq!(show(4), ("[CLS] rain in [SEP]".into(), 4));
    assert_eq!(show(3), ("[CLS] rain [SEP]".into(), 3));
    assert!(matches!(tokenizer.encode("rain", None, 2), Err(DataError::MaxTokens { found: 2, fewest: 3 })));
}

#[test]
fn a_title_of_a_megabyte_is_truncated() {
    let tokenizer = common::golden_tokenizer();
    let tokens = tokenizer.encode(&"rain storm ".repeat(100_000), Some("a"), 64).unwrap();
    assert_eq!((tokens.ids.len(), tokens.second_starts), (64, 64));
    let tokens = tokenizer.encode(&"r".repeat(1 << 20), None, 64).unwrap();
    assert_eq!(tokens.ids, [2, 1, 3]);
}

#[test]
fn articles_are_encoded_in_order() {
    let tokenizer = common::golden_tokenizer();
    let article = |i: u64| Article {
        line: i,
        first: "rain ".repeat(1 + i as usize % 7),
        second: i.is_multiple_of(2).then(|| "storm".into()),
        ..Article::default()
    };
    let articles: Vec<Article> = (0..500).map(article).collect();
    let tokens = tokenizer.encode_all(&articles, 8).unwrap();
    for (article, tokens) in articles.iter().zip(&tokens) {
        assert_eq!(tokens, &tokenizer.encode(&article.first, article.second.as_deref(), 8).unwrap());
    }
}

#[test]
fn the_checkpoint_determines_casing() {
    let id = |folder: &tempfile::TempDir| tokenizer(folder.path()).encode("Paris", None, 8).unwrap().ids[1];
    let place = |token: &str| VOCAB.lines().position(|it| it == token).unwrap() as u32;
    assert_eq!(id(&checkpoint(Some(r#"{"do_lower_case": false}"#))), place("Paris"));
    assert_eq!(id(&checkpoint(Some(r#"{"do_lower_case": true}"#))), place("paris"));
    // Without `do_lower_case`, texts are lower-cased for any vocabulary, as in transformers 5, with a warning if that
    // makes words unreachable.
    let unset = checkpoint(None);
    assert_eq!(id(&unset), place("paris"));
    let warnings = tokenizer(unset.path()).warnings().to_vec();
    let [TokenizerWarning::LowerCases { words: 4, example, .. }] = warnings.as_slice() else { panic!("{warnings:?}") };
    assert_eq!(example, "Paris");
    let text = warnings[0].to_string();
    assert!(text.contains("no `do_lower_case` found") && text.contains("set `\"do_lower_case\": false`"), "{text}");
    assert_eq!(tokenizer(checkpoint(Some(r#"{"do_lower_case": true}"#)).path()).warnings(), []);
    // Markers and letters without a lower-case form do not count as words with capitals.
    let small = folder();
    file(&small, "vocab.txt", "[PAD]\n[UNK]\n[CLS]\n[SEP]\nparis\nℝ\n<S>\n<T>\n");
    assert_eq!((id(&small), tokenizer(small.path()).warnings().len()), (4, 0));
}

#[test]
fn saved_files_load_as_the_same_tokenizer() {
    for config in [None, Some(r#"{"do_lower_case": true, "cls_token": {"content": "[CLS]"}, "model_max_length": 512}"#)]
    {
        let original = tokenizer(checkpoint(config).path());
        let saved = folder();
        for it in original.files(64) {
            file(&saved, it.name, &it.bytes);
        }
        let names: Vec<&str> = original.files(64).iter().map(|file| file.name).collect();
        assert_eq!(names, ["tokenizer.json", "tokenizer_config.json", "vocab.txt"]);
        assert_eq!(fs::read_to_string(saved.path().join("vocab.txt")).unwrap(), VOCAB);
        let loaded = tokenizer(saved.path());
        assert_eq!(loaded.fingerprint(), original.fingerprint());
        assert_eq!(loaded.vocab_size(), VOCAB.lines().count());
        let text = "The Rain in York: 2012";
        assert_eq!(loaded.encode(text, None, 64).unwrap(), original.encode(text, None, 64).unwrap());

        // The other two files are recreated from `tokenizer.json` alone.
        fs::remove_file(saved.path().join("vocab.txt")).unwrap();
        fs::remove_file(saved.path().join("tokenizer_config.json")).unwrap();
        let again = tokenizer(saved.path());
        assert_eq!(again.fingerprint(), original.fingerprint());
        assert_eq!(again.files(64)[2], original.files(64)[2]);
        let config: Value = serde_json::from_slice(&again.files(64)[1].bytes).unwrap();
        assert_eq!(
            config["do_lower_case"],
            original.encode("Paris", None, 3).unwrap().ids == [2, place_of("paris"), 3]
        );
    }
}

fn place_of(token: &str) -> u32 {
    VOCAB.lines().position(|it| it == token).expect("a token of the vocabulary") as u32
}

#[test]
fn the_config_overrides_normalisation_and_padding_and_truncation_are_ignored() {
    let folder = folder();
    let original = tokenizer(checkpoint(Some(r#"{"do_lower_case": true}"#)).path());
    let mut json: Value = serde_json::from_slice(&original.files(64)[0].bytes).unwrap();
    json["truncation"] =
        serde_json::json!({"direction": "Right", "max_length": 4, "strategy": "LongestFirst", "stride": 0});
    json["padding"] = serde_json::json!({"strategy": {"Fixed": 16}, "direction": "Right", "pad_to_multiple_of": null,
        "pad_id": 0, "pad_type_id": 0, "pad_token": "[PAD]"});
    file(&folder, "tokenizer.json", json.to_string());
    let text = "The Rain in Paris after the storm";
    assert_eq!(tokenizer(folder.path()).encode(text, None, 64).unwrap(), original.encode(text, None, 64).unwrap());
    file(&folder, "tokenizer_config.json", r#"{"do_lower_case": false}"#);
    let cased = tokenizer(folder.path());
    assert_eq!(cased.encode("Paris", None, 64).unwrap().ids[1], place_of("Paris"));
    assert_ne!(cased.fingerprint(), original.fingerprint());
}

fn error(files: &[(&str, &[u8])]) -> String {
    let folder = folder();
    for (name, content) in files {
        file(&folder, name, content);
    }
    let err = Tokenizer::from_folder(folder.path()).expect_err("no tokenizer");
    let mut text = err.to_string();
    let mut cause = std::error::Error::source(&err);
    while let Some(err) = cause {
        text = format!("{text}: {err}");
        cause = err.source();
    }
    text.replace(&folder.path().display().to_string(), "FOLDER")
}

#[test]
fn invalid_tokenizers_are_rejected() {
    assert_eq!(error(&[]), "FOLDER: no tokenizer found, expected tokenizer.json or vocab.txt");
    let missing = "expected it in the vocabulary because sequences begin and end with it";
    assert_eq!(
        error(&[("vocab.txt", b"[UNK]\n[CLS]\nrain\n")]),
        format!("FOLDER/vocab.txt: no token \"[SEP]\" found, {missing}")
    );
    assert_eq!(
        error(&[("vocab.txt", b"[UNK]\n[CLS]\n[SEP]\n"), ("tokenizer_config.json", br#"{"cls_token": "<s>"}"#)]),
        format!("FOLDER/vocab.txt: no token \"<s>\" found, {missing}")
    );
    let no_unknown = error(&[("vocab.txt", b"[CLS]\n[SEP]\nrain\n")]);
    assert!(no_unknown.contains("no token \"[UNK]\" found"), "{no_unknown}");
    for (name, content) in [
        ("tokenizer.json", &b"{\"version\": \"1.0\""[..]),
        ("tokenizer.json", b""),
        ("tokenizer.json", b"[1, 2]"),
        ("vocab.txt", b"[UNK]\n[CLS]\n[SEP]\n\xff\n"),
        ("vocab.txt", b""),
    ] {
        let text = error(&[(name, content)]);
        assert!(text.starts_with(&format!("FOLDER/{name}: not a usable tokenizer: ")), "{text}");
    }
    let text = error(&[("vocab.txt", VOCAB.as_bytes()), ("tokenizer_config.json", b"[]")]);
    assert!(text.starts_with("FOLDER/tokenizer_config.json: not a usable tokenizer: "), "{text}");
}

#[test]
fn unsupported_classes_are_rejected_by_name() {
    let refused = |name: &str, content: &str, expected: &str| {
        let text = error(&[("vocab.txt", VOCAB.as_bytes()), (name, content.as_bytes())]);
        assert!(text.starts_with(&format!("FOLDER/{name}: {expected}, which is not supported, ")), "{text}");
    };
    let class = "`tokenizer_class` is BertJapaneseTokenizer";
    refused("tokenizer_config.json", r#"{"tokenizer_class": "BertJapaneseTokenizer"}"#, class);
    refused("config.json", r#"{"model_type": "bert", "tokenizer_class": "BertJapaneseTokenizer"}"#, class);
    refused("tokenizer_config.json", r#"{"word_tokenizer_type": "mecab"}"#, "`word_tokenizer_type` is mecab");
    let code = error(&[
        ("vocab.txt", VOCAB.as_bytes()),
        ("tokenizer_config.json", br#"{"auto_map": {"AutoTokenizer": ["a.B", null]}}"#),
    ]);
    assert!(code.starts_with("FOLDER/tokenizer_config.json: `auto_map` found: the tokenizer is Python code"), "{code}");
    refused("config.json", r#"{"model_type": "longformer"}"#, "`model_type` is longformer");
    refused(
        "tokenizer_config.json",
        r#"{"tokenizer_class": "NewsTokenizerFast"}"#,
        "`tokenizer_class` is NewsTokenizerFast",
    );
    let vocab = ("vocab.txt", VOCAB.as_bytes());
    let fast = error(&[vocab, ("tokenizer_config.json", br#"{"tokenizer_class": "PreTrainedTokenizerFast"}"#)]);
    assert!(fast.contains("FOLDER/vocab.txt: not a usable tokenizer: found vocab.txt"), "{fast}");
    let pieces = br#"{"added_tokens": [], "model": {"type": "Unigram", "vocab": [["[CLS]", 0.0], ["[SEP]", 0.0]]}}"#;
    let unigram = error(&[("tokenizer.json", pieces)]);
    assert!(unigram.contains("found a Unigram model, expected a WordPiece vocabulary"), "{unigram}");
}

#[test]
fn invalid_tokens_and_settings_are_rejected() {
    let refused = |name: &str, content: &str, expected: &str| {
        let text = error(&[("vocab.txt", VOCAB.as_bytes()), (name, content.as_bytes())]);
        assert!(text.contains(&format!("FOLDER/{name}: not a usable tokenizer: {expected}")), "{text}");
    };
    refused("added_tokens.json", r#"{"rain": -1}"#, "\"rain\" is -1, expected an id");
    refused(
        "tokenizer_config.json",
        r#"{"added_tokens_decoder": {"x": {"content": "rain"}}}"#,
        "added_tokens_decoder: \"x\" found",
    );
    refused(
        "tokenizer_config.json",
        r#"{"added_tokens_decoder": {"7": 7}}"#,
        "added_tokens_decoder: 7 is 7, expected a token with its flags",
    );
    refused("tokenizer_config.json", r#"{"cls_token": 7}"#, "cls_token is 7, expected a token");
    refused("special_tokens_map.json", "[]", "invalid type");
    refused("tokenizer_config.json", r#"{"truncation_side": "up"}"#, "truncation_side is \"up\", expected \"left\" or");
    refused("tokenizer_config.json", r#"{"sep_token": null}"#, "sep_token is null, expected a token");
    refused("tokenizer_config.json", r#"{"tokenizer_class": 7}"#, "tokenizer_class is 7, expected a name");
    for found in [r#""False""#, "0", "null"] {
        let config = format!(r#"{{"do_lower_case": {found}}}"#);
        refused("tokenizer_config.json", &config, &format!("do_lower_case is {found}, expected true or false"));
    }
    refused(
        "tokenizer_config.json",
        r#"{"split_special_tokens": 1}"#,
        "split_special_tokens is 1, expected true or false",
    );
}

#[test]
fn a_token_without_an_embedding_row_is_not_added() {
    let tokens = |rows: usize| {
        let folder = checkpoint(Some(r#"{"do_lower_case": true, "extra_special_tokens": ["<new>"]}"#));
        file(&folder, "config.json", serde_json::json!({"model_type": "bert", "vocab_size": rows}).to_string());
        let tokenizer = tokenizer(folder.path());
        (tokenizer.vocab_size(), tokenizer.encode("<new>", None, 8).unwrap().ids.len())
    };
    let n = VOCAB.lines().count();
    assert_eq!(tokens(n + 1), (n + 1, 3));
    assert_eq!(tokens(n), (n, 5));
}

/// An id of four billion would cost as many entries when the tokenizer is serialised.
#[test]
fn a_huge_id_is_refused() {
    let folder = common::folder();
    for saved in common::golden_tokenizer().files(8) {
        file(&folder, saved.name, &saved.bytes);
    }
    let path = folder.path().join("tokenizer.json");
    let mut json: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    json["model"]["vocab"]["rain"] = (u32::MAX - 1).into();
    fs::write(&path, json.to_string()).unwrap();
    let error = Tokenizer::from_folder(folder.path()).unwrap_err();
    let source = std::error::Error::source(&error).unwrap().to_string();
    assert_eq!(source, "token \"rain\" has the id 4294967294, expected at most 16777216");
}

/// The ids of a `post_processor` count, even if no token of the vocabulary has them: a model looks them up in its embedding.
#[test]
fn ids_that_only_the_post_processor_has_count() {
    let golden = common::golden_tokenizer();
    let folder = common::folder();
    for saved in golden.files(8) {
        file(&folder, saved.name, &saved.bytes);
    }
    let path = folder.path().join("tokenizer.json");
    let mut json: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    json["post_processor"] =
        serde_json::json!({"type": "BertProcessing", "sep": ["[SEP]", 99_999], "cls": ["[CLS]", 2]});
    fs::write(&path, json.to_string()).unwrap();
    fs::write(folder.path().join("tokenizer_config.json"), r#"{"tokenizer_class": "PreTrainedTokenizerFast"}"#)
        .unwrap();
    let tokenizer = tokenizer(folder.path());
    assert_eq!(tokenizer.encode("rain", None, 8).unwrap().ids.last(), Some(&99_999));
    assert_eq!(tokenizer.vocab_size(), 100_000);
}

#[test]
fn a_model_with_one_segment_gets_segment_zero() {
    let two = common::golden_tokenizer();
    let one = common::golden_tokenizer().for_segments(1);
    let starts = |it: &Tokenizer| it.encode("rain", Some("storm"), 8).unwrap().second_starts;
    assert_eq!((starts(&two), starts(&one)), (3, 5));
    assert_ne!(two.fingerprint(), one.fingerprint());
    let config: Value = serde_json::from_slice(&one.files(8)[1].bytes).unwrap();
    assert_eq!(config["model_input_names"], serde_json::json!(["input_ids", "attention_mask"]));
    assert_eq!(common::golden_tokenizer().for_segments(2).fingerprint(), two.fingerprint());
}

/// Each `a` becomes two, forty times: one letter becomes a terabyte.
#[test]
fn a_normaliser_that_makes_texts_far_longer_is_rejected() {
    let original = tokenizer(checkpoint(None).path());
    let mut json: Value = serde_json::from_slice(&original.files(64)[0].bytes).unwrap();
    let replace =
        |pattern: Value, content: &str| serde_json::json!({"type": "Replace", "pattern": pattern, "content": content});
    let twice = replace(serde_json::json!({"String": "a"}), "aa");
    json["normalizer"] = serde_json::json!({"type": "Sequence", "normalizers": vec![twice; 40]});
    let text = error(&[("tokenizer.json", json.to_string().as_bytes())]);
    assert!(
        text.contains("its normalizer can make a text 1099511627776 times as long, expected at most 4096"),
        "{text}"
    );
    json["normalizer"] = replace(serde_json::json!({"Regex": ""}), &"a".repeat(5000));
    assert!(error(&[("tokenizer.json", json.to_string().as_bytes())]).contains("5001 times as long"));
    // Multilingual models have this replacement.
    json["normalizer"] = replace(serde_json::json!({"Regex": " {2,}"}), "\u{2581}");
    let folder = folder();
    file(&folder, "tokenizer.json", json.to_string());
    assert!(tokenizer(folder.path()).encode("rain  in york", None, 8).is_ok());
}

/// The `tokenizers` crate panics on this file; the panic becomes an error in every call.
#[test]
fn a_panic_of_the_tokenizers_crate_is_an_error() {
    let original = tokenizer(checkpoint(None).path());
    let mut json: Value = serde_json::from_slice(&original.files(64)[0].bytes).unwrap();
    json["pre_tokenizer"] = serde_json::json!({"type": "FixedLength", "length": 0});
    let folder = folder();
    file(&folder, "tokenizer.json", json.to_string());
    file(&folder, "tokenizer_config.json", r#"{"tokenizer_class": "PreTrainedTokenizerFast"}"#);
    let tokenizer = tokenizer(folder.path());
    for _ in 0..2 {
        let error = tokenizer.encode("rain in york", None, 8).unwrap_err();
        assert_eq!(error.to_string(), "cannot tokenise the text beginning \"rain in york\"");
        let cause = std::error::Error::source(&error).unwrap().to_string();
        assert!(cause.starts_with("invalid tokenizer: "), "{cause}");
    }
}
