//! The files of a tokenizer as they belong beside a saved model: everything that decides on tokens is said in them, also
//! what the folder they came from left to defaults.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use tokenizers::{AddedToken, ModelWrapper};

use super::backend::Switches;
use super::class::Class;
use super::file::{TOKENIZER_FILE, TokenizerFile};
use super::special::SpecialTokens;

/// Keys that point to files of the folder the tokenizer came from, or are said in another way.
const DROPPED: [&str; 9] = [
    "name_or_path",
    "tokenizer_file",
    "special_tokens_map_file",
    "vocab_file",
    "auto_map",
    "word_tokenizer_type",
    "additional_special_tokens", // older than `extra_special_tokens`
    "add_bos_token",
    "add_eos_token",
];

/// Keys of BERT's normalisation, which another class does not read.
const NORMALISATION: [&str; 3] = ["do_lower_case", "strip_accents", "tokenize_chinese_chars"];

/// The parts of a saved tokenizer besides `tokenizer.json`.
#[derive(Debug)]
pub(super) struct Saved {
    /// `tokenizer_config.json`, but for what the run decides.
    config: Map<String, Value>,
    /// `vocab.txt`, if the vocabulary can be written as one.
    vocabulary: Option<Vec<u8>>,
}

impl Saved {
    pub(super) fn new(
        class: Class,
        found: &Map<String, Value>,
        special: &SpecialTokens,
        switches: Switches,
        inner: &tokenizers::Tokenizer,
    ) -> Self {
        let mut config = found.clone();
        config.retain(|key, _| !DROPPED.contains(&key.as_str()));
        config.insert("tokenizer_class".into(), class.name().into());
        let decoder: BTreeMap<u32, AddedToken> = inner.get_added_tokens_decoder().into_iter().collect();
        let known = special.named.iter().filter(|(_, token)| inner.token_to_id(&token.content).is_some());
        let mut named: Vec<(&str, &str)> = known.map(|(key, token)| (key.as_str(), token.content.as_str())).collect();
        if !named.iter().any(|(key, _)| *key == "pad_token") {
            named.extend(padding(&decoder).map(|token| ("pad_token", token)));
        }
        config.extend(named.iter().map(|(key, token)| ((*key).to_owned(), Value::from(*token))));
        // A null says that there is no token; a missing key would mean the class's own.
        for (key, _) in class.default_tokens().iter().filter(|(key, _)| !named.iter().any(|(known, _)| known == key)) {
            config.insert((*key).to_owned(), Value::Null);
        }
        let keyed = |content: &str| named.iter().any(|(_, token)| *token == content);
        let extra: Vec<&str> = special_tokens(&decoder).filter(|content| !keyed(content)).collect();
        config.insert("extra_special_tokens".into(), json!(extra));
        let decoder: Map<String, Value> = decoder.iter().map(|(id, token)| (id.to_string(), json!(token))).collect();
        config.insert("added_tokens_decoder".into(), decoder.into());
        match class {
            Class::Bert => {
                let Switches { lower_case, strip_accents, chinese_characters, .. } = switches;
                let values = [json!(lower_case), json!(strip_accents), json!(chinese_characters)];
                config.extend(NORMALISATION.into_iter().map(str::to_owned).zip(values));
            }
            Class::XlmRoberta | Class::AsSaved => config.retain(|key, _| !NORMALISATION.contains(&key.as_str())),
        }
        Self { config, vocabulary: lines(inner) }
    }

    /// The files, for sequences of at most `max_tokens` and a model that sees segment ids or not.
    pub(super) fn files(&self, json: &[u8], max_tokens: usize, segments: bool, left: bool) -> Vec<TokenizerFile> {
        let mut config = self.config.clone();
        let inputs = ["input_ids", "token_type_ids", "attention_mask"];
        let inputs: Vec<&str> = inputs.into_iter().filter(|&it| segments || it != "token_type_ids").collect();
        config.insert("model_input_names".into(), json!(inputs));
        config.insert("model_max_length".into(), max_tokens.into());
        config.insert("truncation_side".into(), if left { "left" } else { "right" }.into());
        // Positions count from the first token, which padding on the left would shift.
        config.insert("padding_side".into(), "right".into());
        let mut text = format!("{:#}", Value::Object(config)).into_bytes();
        text.push(b'\n');
        let mut files = vec![
            TokenizerFile { name: TOKENIZER_FILE, bytes: json.to_vec() },
            TokenizerFile { name: "tokenizer_config.json", bytes: text },
        ];
        files.extend(self.vocabulary.clone().map(|bytes| TokenizerFile { name: "vocab.txt", bytes }));
        files
    }
}

fn special_tokens(decoder: &BTreeMap<u32, AddedToken>) -> impl Iterator<Item = &str> {
    decoder.values().filter(|token| token.special).map(|token| token.content.as_str())
}

/// A token to pad with where none is named: Python cannot make a batch without one. Masks hide it, so that any special
/// token will do.
fn padding(decoder: &BTreeMap<u32, AddedToken>) -> Option<&str> {
    let usual = special_tokens(decoder).find(|&token| token == "[PAD]" || token == "<pad>");
    usual.or_else(|| special_tokens(decoder).next())
}

/// A WordPiece vocabulary without gaps, one token per line. Added tokens stand in the other files.
fn lines(inner: &tokenizers::Tokenizer) -> Option<Vec<u8>> {
    let ModelWrapper::WordPiece(_) = inner.get_model() else {
        return None;
    };
    let mut tokens: Vec<(u32, String)> = inner.get_vocab(false).into_iter().map(|(token, id)| (id, token)).collect();
    tokens.sort_unstable();
    let gapless = tokens.iter().enumerate().all(|(place, (id, _))| place == *id as usize);
    let writable = tokens.iter().all(|(_, token)| !token.contains(['\r', '\n']) && token.trim_end() == token);
    (gapless && writable).then(|| tokens.into_iter().flat_map(|(_, token)| format!("{token}\n").into_bytes()).collect())
}
