//! The files of a tokenizer: read from a checkpoint's folder, completed where some are missing.

use std::path::{Path, PathBuf};
use std::{fs, io};

use serde_json::{Map, Value, json};
use tokenizers::models::wordpiece::WordPiece;
use tokenizers::normalizers::BertNormalizer;
use tokenizers::pre_tokenizers::bert::BertPreTokenizer;
use tokenizers::processors::bert::BertProcessing;
use tokenizers::{AddedToken, ModelWrapper};

use super::{TokenizerFile, guarded, wrong};
use crate::error::DataError;

const TOKENIZER: &str = "tokenizer.json";
const CONFIG: &str = "tokenizer_config.json";
const VOCAB: &str = "vocab.txt";

/// BERT's special tokens besides those that begin and end a sequence.
const OTHER_SPECIAL: [(&str, &str); 3] = [("unk_token", "[UNK]"), ("pad_token", "[PAD]"), ("mask_token", "[MASK]")];

/// A tokenizer as it was found.
pub(super) struct Loaded {
    pub(super) inner: tokenizers::Tokenizer,
    /// The file that the vocabulary came from.
    pub(super) path: PathBuf,
    pub(super) cls: String,
    pub(super) sep: String,
    pub(super) fingerprint: [u8; 32],
    pub(super) files: Vec<TokenizerFile>,
}

pub(super) fn load(folder: &Path) -> Result<Loaded, DataError> {
    let config_path = folder.join(CONFIG);
    let config_bytes = read_if_there(&config_path)?;
    let config: Map<String, Value> = match &config_bytes {
        Some(bytes) => serde_json::from_slice(bytes).map_err(|err| wrong(config_path)(err.into()))?,
        None => Map::new(),
    };
    let (cls, sep) = (special(&config, "cls_token", "[CLS]"), special(&config, "sep_token", "[SEP]"));

    let json_path = folder.join(TOKENIZER);
    let vocab_path = folder.join(VOCAB);
    let vocab_bytes = read_if_there(&vocab_path)?;
    let (mut inner, bytes, path) = match (read_if_there(&json_path)?, &vocab_bytes) {
        (Some(bytes), _) => {
            let bytes = with_config(bytes, &config).map_err(wrong(json_path.clone()))?;
            let inner = guarded(|| tokenizers::Tokenizer::from_bytes(&bytes)).map_err(wrong(json_path.clone()))?;
            (inner, bytes, json_path)
        }
        (None, Some(vocab)) => {
            let inner = from_vocab(vocab, &config, [&cls, &sep]).map_err(wrong(vocab_path.clone()))?;
            let bytes = inner.to_string(false).map_err(wrong(vocab_path.clone()))?.into_bytes();
            (inner, bytes, vocab_path)
        }
        (None, None) => {
            return Err(DataError::NoTokenizer { folder: folder.to_owned() });
        }
    };
    // Lengths are ours to cut, and packed batches have no padding.
    inner.with_padding(None).with_truncation(None).map_err(wrong(path.clone()))?;

    let mut hasher = blake3::Hasher::new();
    for part in [bytes.as_slice(), cls.as_bytes(), sep.as_bytes()] {
        hasher.update(&(part.len() as u64).to_le_bytes()).update(part);
    }
    let config_bytes = config_bytes.unwrap_or_else(|| made_config(&inner, &bytes, [&cls, &sep]));
    let vocab_bytes = vocab_bytes.or_else(|| made_vocab(&inner));
    let mut files = vec![TokenizerFile { name: TOKENIZER, bytes }, TokenizerFile { name: CONFIG, bytes: config_bytes }];
    files.extend(vocab_bytes.map(|bytes| TokenizerFile { name: VOCAB, bytes }));
    Ok(Loaded { inner, path, cls, sep, fingerprint: *hasher.finalize().as_bytes(), files })
}

fn read_if_there(path: &Path) -> Result<Option<Vec<u8>>, DataError> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(err) if err.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(DataError::Open { path: path.to_owned(), source }),
    }
}

/// A special token's text: a string, or an object that holds it as `content`.
fn special(config: &Map<String, Value>, key: &str, default: &str) -> String {
    let value = config.get(key);
    let text = value.and_then(|value| value.as_str().or_else(|| value.get("content")?.as_str()));
    text.unwrap_or(default).to_owned()
}

/// How BERT's normalisation is set by `tokenizer_config.json`: its keys, and those of `tokenizer.json`.
const NORMALISATION: [(&str, &str); 3] = [
    ("do_lower_case", "lowercase"),
    ("strip_accents", "strip_accents"),
    ("tokenize_chinese_chars", "handle_chinese_chars"),
];

/// How many times as long a normaliser may make a text.
const MOST_GROWTH: f64 = 4096.0;

/// How many times as long a normaliser can make a text by putting other words in the place of some, again and again: in a few
/// kilobytes a file could ask for more than any memory.
fn growth(normalizer: &Value) -> f64 {
    let length = |value: &Value| value.as_str().map_or(0, str::len) as f64;
    match normalizer["type"].as_str() {
        Some("Sequence") => normalizer["normalizers"].as_array().into_iter().flatten().map(growth).product(),
        // An expression may match nothing at all, between any two letters.
        Some("Replace") => match length(&normalizer["pattern"]["String"]) {
            0.0 => 1.0 + length(&normalizer["content"]),
            sought => (length(&normalizer["content"]) / sought).max(1.0),
        },
        _ => 1.0,
    }
}

/// Lets the settings of `tokenizer_config.json` override those of `tokenizer.json`, as `transformers` does. Where
/// they agree the bytes stay as they are.
fn with_config(bytes: Vec<u8>, config: &Map<String, Value>) -> tokenizers::Result<Vec<u8>> {
    let mut json: Value = serde_json::from_slice(&bytes)?;
    let growth = growth(&json["normalizer"]);
    if growth > MOST_GROWTH {
        return Err(
            format!("its normalizer can make a text {growth} times as long, expected at most {MOST_GROWTH}").into()
        );
    }
    let normalizer = json.get_mut("normalizer").and_then(Value::as_object_mut);
    let Some(normalizer) = normalizer.filter(|it| it.get("type").and_then(Value::as_str) == Some("BertNormalizer"))
    else {
        return Ok(bytes);
    };
    let mut changed = false;
    for (ours, theirs) in NORMALISATION {
        if let Some(value) = config.get(ours)
            && normalizer.get(theirs) != Some(value)
        {
            normalizer.insert(theirs.to_owned(), value.clone());
            changed = true;
        }
    }
    Ok(if changed { serde_json::to_vec(&json)? } else { bytes })
}

/// BERT's tokenizer over a vocabulary of one token per line.
fn from_vocab(bytes: &[u8], config: &Map<String, Value>, ends: [&str; 2]) -> tokenizers::Result<tokenizers::Tokenizer> {
    let tokens: Vec<&str> = std::str::from_utf8(bytes)?.lines().map(str::trim_end).collect();
    let unknown = special(config, "unk_token", "[UNK]");
    if !tokens.contains(&unknown.as_str()) {
        return Err(format!("no token {unknown:?} found, expected it for words that the vocabulary lacks").into());
    }
    let model = WordPiece::builder().vocab(WordPiece::read_bytes(bytes)?).unk_token(unknown).build()?;

    let flag = |key: &str| config.get(key).and_then(Value::as_bool);
    let normalizer = BertNormalizer::new(
        true,
        flag("tokenize_chinese_chars").unwrap_or(true),
        flag("strip_accents"),
        flag("do_lower_case").unwrap_or_else(|| !is_cased(&tokens)),
    );
    let mut tokenizer = tokenizers::Tokenizer::new(model);
    tokenizer.with_normalizer(Some(normalizer))?.with_pre_tokenizer(Some(BertPreTokenizer));
    let others = OTHER_SPECIAL.iter().map(|(key, default)| special(config, key, default));
    let specials: Vec<AddedToken> = others
        .chain(ends.map(str::to_owned))
        .filter(|token| tokens.contains(&token.as_str()))
        .map(|token| AddedToken::from(token, true))
        .collect();
    tokenizer.add_special_tokens(specials)?;
    // Other tools expect the template of a sequence in the file. Without both ends there is none, and the caller
    // refuses the tokenizer.
    let [cls, sep] = ends.map(|token| tokenizer.token_to_id(token).map(|id| (token.to_owned(), id)));
    if let (Some(cls), Some(sep)) = (cls, sep) {
        tokenizer.with_post_processor(Some(BertProcessing::new(sep, cls)));
    }
    Ok(tokenizer)
}

/// Whether a vocabulary tells capital letters from small ones. Only ASCII counts: lower-cased vocabularies keep signs
/// such as ℝ, which have no small form and yet are capitals.
fn is_cased(tokens: &[&str]) -> bool {
    tokens.iter().any(|token| {
        !(token.starts_with('[') && token.ends_with(']')) && token.contains(|c: char| c.is_ascii_uppercase())
    })
}

/// A `tokenizer_config.json` for a tokenizer that came without one.
fn made_config(inner: &tokenizers::Tokenizer, bytes: &[u8], [cls, sep]: [&str; 2]) -> Vec<u8> {
    let json: Value = serde_json::from_slice(bytes).unwrap_or_default();
    let class = match inner.get_model() {
        ModelWrapper::WordPiece(_) => "BertTokenizer",
        _ => "PreTrainedTokenizerFast",
    };
    let mut config = json!({ "tokenizer_class": class, "cls_token": cls, "sep_token": sep });
    for (ours, theirs) in NORMALISATION {
        if let Some(value) = json.pointer(&format!("/normalizer/{theirs}")) {
            config[ours] = value.clone();
        }
    }
    for (key, token) in OTHER_SPECIAL {
        if inner.token_to_id(token).is_some() {
            config[key] = token.into();
        }
    }
    let mut text = format!("{config:#}").into_bytes();
    text.push(b'\n');
    text
}

/// A `vocab.txt` for a WordPiece vocabulary without gaps.
fn made_vocab(inner: &tokenizers::Tokenizer) -> Option<Vec<u8>> {
    let ModelWrapper::WordPiece(_) = inner.get_model() else {
        return None;
    };
    let mut tokens: Vec<(u32, String)> = inner.get_vocab(true).into_iter().map(|(token, id)| (id, token)).collect();
    tokens.sort_unstable();
    let gapless = tokens.iter().enumerate().all(|(place, (id, _))| place == *id as usize);
    let writable = tokens.iter().all(|(_, token)| !token.contains(['\r', '\n']));
    (gapless && writable).then(|| tokens.into_iter().flat_map(|(_, token)| format!("{token}\n").into_bytes()).collect())
}
