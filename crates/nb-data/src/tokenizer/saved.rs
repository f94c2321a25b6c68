//! The tokenizer files saved with a model. They contain every setting that affects tokens, including the implicit
//! defaults of the folder that they came from.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use tokenizers::{AddedToken, ModelWrapper};

use super::class::{Class, Segments};
use super::file::{TOKENIZER_FILE, TokenizerFile};
use super::side::Side;
use super::special::SpecialTokens;
use super::switches::Switches;

/// Keys that are not copied: they point to files of the original folder, or are saved in another form.
const DROPPED: [&str; 18] = [
    "name_or_path",
    "tokenizer_file",
    "special_tokens_map_file",
    "vocab_file",
    "merges_file",
    "spm_file",
    "auto_map",
    // The Japanese class's, which is saved as another class
    "word_tokenizer_type",
    "subword_tokenizer_type",
    "do_word_tokenize",
    "do_subword_tokenize",
    "never_split",
    "mecab_kwargs",
    "sudachi_kwargs",
    "jumanpp_kwargs",
    "additional_special_tokens", // older than `extra_special_tokens`
    "add_bos_token",
    "add_eos_token",
];

/// Keys of BERT's normalisation, which other classes ignore.
const NORMALISATION: [&str; 3] = ["do_lower_case", "strip_accents", "tokenize_chinese_chars"];

/// The parts of a saved tokenizer besides `tokenizer.json`.
#[derive(Debug)]
pub(super) struct Saved {
    /// `tokenizer_config.json`, without the keys that depend on the run.
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
        // null means that there is no token; a missing key would mean the class's default.
        for (key, _) in
            class.default_tokens().named.iter().filter(|(key, _)| !named.iter().any(|(known, _)| known == key))
        {
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
            _ => config.retain(|key, _| !NORMALISATION.contains(&key.as_str())),
        }
        Self { config, vocabulary: lines(inner) }
    }

    /// Returns the files for sequences of at most `max_tokens`, for a model with or without segment ids.
    pub(super) fn files(&self, json: &[u8], max_tokens: usize, segments: Segments, side: Side) -> Vec<TokenizerFile> {
        let mut config = self.config.clone();
        let inputs = ["input_ids", "token_type_ids", "attention_mask"];
        let inputs: Vec<&str> =
            inputs.into_iter().filter(|&it| segments == Segments::Template || it != "token_type_ids").collect();
        config.insert("model_input_names".into(), json!(inputs));
        config.insert("model_max_length".into(), max_tokens.into());
        config.insert("truncation_side".into(), side.name().into());
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

/// Returns a padding token for a folder without one, because Python cannot make a batch without padding. Padding is
/// masked, so any special token will do.
fn padding(decoder: &BTreeMap<u32, AddedToken>) -> Option<&str> {
    let usual = special_tokens(decoder).find(|&token| token == "[PAD]" || token == "<pad>");
    usual.or_else(|| special_tokens(decoder).next())
}

/// Returns a WordPiece vocabulary, one token per line, if it has no gaps and its tokens can be written as lines. Added
/// tokens are in the other files.
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
