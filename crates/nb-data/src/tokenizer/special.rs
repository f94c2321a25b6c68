//! Special tokens and added tokens, from all files of a folder.
//!
//! `transformers` 5.24 reads them in this order:
//!
//! 1. `added_tokens_decoder` of `tokenizer_config.json`. If present, the files of step 2 are ignored, and so are the
//!    added tokens of `tokenizer.json` unless the class uses that file unchanged.
//! 2. Otherwise `special_tokens_map.json`, which overrides the names of `tokenizer_config.json`; `added_tokens.json`;
//!    and the added tokens of `tokenizer.json`, which override others with the same id.
//! 3. Tokens that the vocabulary lacks are appended to it.
//!
//! Tokens are added in the order of their ids, and each gets the next free id: gaps are closed, as in `transformers`.

use std::collections::{BTreeMap, HashSet};

use serde_json::{Map, Value};
use tokenizers::AddedToken;

use super::file::wrong;
use super::folder::{Folder, Object, Settings};
use super::sentencepiece::Piece;
use super::vocabulary::Vocabulary;
use crate::error::DataError;

/// The special tokens of a class for keys that a folder does not set.
#[derive(Clone, Copy, Debug)]
pub(super) struct Defaults {
    /// Tokens by key.
    pub(super) named: &'static [(&'static str, &'static str)],
    /// Special tokens without a key, if the folder lists none.
    pub(super) extra: &'static [&'static str],
    /// The key of the token that takes the white space before it, unless the folder sets its flags.
    pub(super) strips_left: Option<&'static str>,
}

/// Keys of special tokens in the order in which `transformers` adds them.
const KEYS: [&str; 7] = ["bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token"];
/// The key of the list of special tokens without a key, and its older name.
const EXTRA: [&str; 2] = ["extra_special_tokens", "additional_special_tokens"];
const DECODER: &str = "added_tokens_decoder";

/// The special and added tokens of a folder.
#[derive(Debug)]
pub(super) struct SpecialTokens {
    /// Tokens by key, in the order in which they are added.
    pub(super) named: Vec<(String, AddedToken)>,
    /// Added tokens by the id in their file.
    pub(super) added: BTreeMap<u64, AddedToken>,
    /// The texts of the added tokens.
    declared: HashSet<String>,
    /// Special tokens without a key.
    extra: Vec<AddedToken>,
}

impl SpecialTokens {
    /// Collects the tokens from a folder's files.
    ///
    /// # Errors
    /// If a token is neither text nor an object with `content`, or an id is not a number.
    pub(super) fn of(folder: &Folder, defaults: Defaults) -> Result<Self, DataError> {
        let settings = &folder.settings;
        let mut named = keyed(&settings.config)?;
        let mut extra = listed(&settings.config, EXTRA[0])?;
        if extra.is_empty() {
            extra = listed(&settings.config, EXTRA[1])?;
        }
        let added = match settings.config.value.get(DECODER) {
            Some(decoder) => decoded(&settings.config, decoder)?,
            None => {
                override_by_map(&settings.special_tokens, &mut named)?;
                let keys = named.iter().filter(|(key, _)| KEYS.contains(&key.as_str()));
                let special = keys.map(|(_, token)| token).chain(&extra).map(|token| token.content.as_str()).collect();
                let added = added_by_file(folder, &special)?;
                extra.extend(listed(&settings.special_tokens, EXTRA[0])?);
                if extra.is_empty() {
                    extra = listed(&settings.special_tokens, EXTRA[1])?;
                }
                added
            }
        };
        if !lists_extra(settings) {
            match &folder.vocabulary {
                Vocabulary::Pieces { model, .. } => extra.extend(model.tokens().map(piece)),
                _ => extra.extend(defaults.extra.iter().map(|&token| AddedToken::from(token, true))),
            }
        }
        for (key, token) in defaults.named {
            if !is_without_token(settings, key) && !named.iter().any(|(known, _)| known == key) {
                named.push(((*key).to_owned(), AddedToken::from(*token, true)));
            }
        }
        if let Some(key) = defaults.strips_left
            && !value(settings, key).is_some_and(Value::is_object)
            && let Some((_, token)) = named.iter_mut().find(|(known, _)| known == key)
        {
            token.lstrip = true;
        }
        // Known keys come first, in the order of `KEYS`; the sort is stable for the others.
        named.sort_by_key(|(key, _)| KEYS.iter().position(|known| known == key).unwrap_or(KEYS.len()));
        for (_, token) in &mut named {
            if let Some(known) = added.values().find(|known| known.content == token.content) {
                *token = known.clone();
            }
        }
        let declared = added.values().map(|token| token.content.clone()).collect();
        Ok(Self { named, added, declared, extra })
    }

    /// Returns the token of a key.
    pub(super) fn get(&self, key: &str) -> Option<&str> {
        self.named.iter().find(|(known, _)| known == key).map(|(_, token)| token.content.as_str())
    }

    /// Returns true if a file gives an id for a token.
    pub(super) fn declares(&self, token: &str) -> bool {
        self.declared.contains(token)
    }

    /// Returns the tokens to add, in order. `known` returns true for a token that the vocabulary's file already added.
    pub(super) fn to_add(&self, known: impl Fn(&str) -> bool) -> Vec<AddedToken> {
        let mut tokens: Vec<AddedToken> = self.added.values().cloned().collect();
        let mut seen: HashSet<&str> = self.added.values().map(|token| token.content.as_str()).collect();
        for token in self.named.iter().map(|(_, token)| token).chain(&self.extra) {
            if !known(&token.content) && seen.insert(&token.content) {
                tokens.push(token.clone());
            }
        }
        let named: HashSet<&str> = self.named.iter().map(|(_, named)| named.content.as_str()).collect();
        for token in &mut tokens {
            token.special |= named.contains(token.content.as_str());
        }
        tokens
    }
}

/// Returns the tokens that have a key, in the order of the file.
fn keyed(file: &Object) -> Result<Vec<(String, AddedToken)>, DataError> {
    let mut tokens = Vec::new();
    let mut take = |entries: &Map<String, Value>| {
        for (key, value) in entries.iter().filter(|(key, _)| key.ends_with("_token")) {
            if let Some(token) = token(value) {
                tokens.push((key.clone(), token));
            } else if KEYS.contains(&key.as_str()) && !value.is_null() {
                let found = format!("{key} is {value}, expected a token");
                return Err(wrong(file.path.clone())(found.into()));
            }
        }
        Ok(())
    };
    take(&file.value)?;
    // The value may be a map of named tokens instead of a list.
    if let Some(Value::Object(names)) = file.value.get(EXTRA[0]) {
        take(names)?;
    }
    Ok(tokens)
}

/// Returns the value of a key: that of `special_tokens_map.json`, unless it is ignored, else that of the configuration.
fn value<'a>(settings: &'a Settings, key: &str) -> Option<&'a Value> {
    let map = settings.special_tokens.value.get(key).filter(|_| !settings.config.value.contains_key(DECODER));
    map.or_else(|| settings.config.value.get(key))
}

/// Returns true if a folder sets a key to `null`, which means that there is no such token.
fn is_without_token(settings: &Settings, key: &str) -> bool {
    value(settings, key).is_some_and(Value::is_null)
}

/// Returns true if a folder lists special tokens without a key, even if its list is empty.
fn lists_extra(settings: &Settings) -> bool {
    let [new, old] = EXTRA;
    let config = &settings.config.value;
    config.contains_key(old) || value(settings, new).is_some() || value(settings, old).is_some_and(|it| !it.is_null())
}

/// Overrides tokens by the keys of `special_tokens_map.json`; a `null` removes the token.
fn override_by_map(map: &Object, named: &mut Vec<(String, AddedToken)>) -> Result<(), DataError> {
    named.retain(|(key, _)| map.value.get(key) != Some(&Value::Null));
    for (key, mut token) in keyed(map)? {
        token.special = true;
        match named.iter_mut().find(|(known, _)| *known == key) {
            Some((_, old)) => *old = token,
            None => named.push((key, token)),
        }
    }
    Ok(())
}

/// Returns the tokens of an `added_tokens_decoder`.
fn decoded(config: &Object, decoder: &Value) -> Result<BTreeMap<u64, AddedToken>, DataError> {
    let broken = |found: String| wrong(config.path.clone())(found.into());
    let decoder = decoder.as_object().ok_or_else(|| broken(format!("{DECODER} is not an object")))?;
    let mut added = BTreeMap::new();
    for (id, value) in decoder {
        let token = token(value).filter(|_| value.is_object());
        let token =
            token.ok_or_else(|| broken(format!("{DECODER}: {id} is {value}, expected a token with its flags")))?;
        added.insert(id.parse().map_err(|_| broken(format!("{DECODER}: {id:?} found, expected an id")))?, token);
    }
    Ok(added)
}

/// Returns the special tokens of a list.
fn listed(file: &Object, key: &str) -> Result<Vec<AddedToken>, DataError> {
    let list = file.value.get(key).and_then(Value::as_array);
    let each = |value: &Value| {
        token(value).ok_or_else(|| wrong(file.path.clone())(format!("{value} found, expected a special token").into()))
    };
    list.into_iter().flatten().map(each).collect()
}

/// Returns the added tokens of `added_tokens.json` and `tokenizer.json`.
fn added_by_file(folder: &Folder, special: &HashSet<&str>) -> Result<BTreeMap<u64, AddedToken>, DataError> {
    let mut added = BTreeMap::new();
    for (token, id) in &folder.settings.added_tokens.value {
        let broken =
            || wrong(folder.settings.added_tokens.path.clone())(format!("{token:?} is {id}, expected an id").into());
        added
            .insert(id.as_u64().ok_or_else(broken)?, AddedToken::from(token.clone(), special.contains(token.as_str())));
    }
    if let Vocabulary::Json { path, value, .. } = &folder.vocabulary {
        for entry in value["added_tokens"].as_array().into_iter().flatten() {
            let both = entry["id"].as_u64().zip(token(entry));
            let broken = || wrong(path.clone())(format!("added_tokens: {entry} found, expected a token").into());
            let (id, token) = both.ok_or_else(broken)?;
            added.insert(id, token);
        }
    }
    Ok(added)
}

/// Returns the token of a piece of SentencePiece, which is found in a text as it is.
fn piece(piece: &Piece) -> AddedToken {
    AddedToken::from(piece.text.clone(), piece.is_control()).normalized(false)
}

/// Reads a token: its text, or an object with `content` and flags. A token given as text is special.
fn token(value: &Value) -> Option<AddedToken> {
    if let Some(text) = value.as_str() {
        return Some(AddedToken::from(text, true));
    }
    let flag = |key: &str| value.get(key).and_then(Value::as_bool);
    let special = flag("special").unwrap_or(false);
    Some(AddedToken {
        content: value.get("content")?.as_str()?.to_owned(),
        single_word: flag("single_word").unwrap_or(false),
        lstrip: flag("lstrip").unwrap_or(false),
        rstrip: flag("rstrip").unwrap_or(false),
        normalized: flag("normalized").unwrap_or(!special),
        special,
    })
}
