//! The tokenizer class that `transformers` uses for a folder. It determines the parts of `tokenizer.json` that are
//! used.
//!
//! The rules are those of `AutoTokenizer` in `transformers` 5.24: `tokenizer_class` of `tokenizer_config.json`, else
//! `tokenizer_class` of `config.json`, else the class of the model type. Most classes build the tokenizer from their
//! own rules and take only the vocabulary and the added tokens from `tokenizer.json`; `PreTrainedTokenizerFast` uses
//! the file unchanged.

use serde_json::{Map, Value};

use super::file::wrong;
use super::folder::{Object, Settings};
use super::special::Defaults;
use super::vocabulary::Form;
use super::words::Words;
use crate::error::{DataError, TokenizerError};

/// The rules by which a folder's files become a tokenizer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Class {
    /// WordPiece with BERT's normalisation, pre-tokenisation and template; `tokenizer_config.json` contains their
    /// settings.
    Bert,
    /// WordPiece or characters over words that were split before, with BERT's template.
    Japanese(Subwords),
    /// Byte-level BPE with RoBERTa's template.
    Roberta,
    /// Unigram with XLM-R's pre-tokenisation and template, and the precompiled character map of the normalisation.
    XlmRoberta,
    /// The same as XLM-R, but with other special tokens.
    Camembert,
    /// `tokenizer.json`, unchanged.
    AsSaved,
}

/// The tokens of a Japanese word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Subwords {
    WordPiece,
    Characters,
}

/// The segment ids in a model's input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Segments {
    /// The segment ids of the template.
    Template,
    /// 0 for every token, because the model has no segment input.
    Zero,
}

impl Segments {
    /// Returns the segment ids in a model's input, if the configuration lists the inputs.
    pub(super) fn listed(config: &Map<String, Value>) -> Option<Self> {
        let names = config.get("model_input_names")?.as_array()?;
        Some(if names.iter().any(|name| name == "token_type_ids") { Self::Template } else { Self::Zero })
    }
}

/// Classes by name, without a final `Fast`. `ConvBertTokenizer` is missing because it uses the normaliser of
/// `tokenizer.json`.
const CLASSES: [(&str, Class, Segments); 13] = [
    ("BertTokenizer", Class::Bert, Segments::Template),
    ("DistilBertTokenizer", Class::Bert, Segments::Zero),
    ("ElectraTokenizer", Class::Bert, Segments::Template),
    ("LayoutLMTokenizer", Class::Bert, Segments::Template),
    ("LxmertTokenizer", Class::Bert, Segments::Template),
    ("MobileBertTokenizer", Class::Bert, Segments::Template),
    ("SqueezeBertTokenizer", Class::Bert, Segments::Template),
    ("RobertaTokenizer", Class::Roberta, Segments::Zero),
    ("XLMRobertaTokenizer", Class::XlmRoberta, Segments::Zero),
    ("CamembertTokenizer", Class::Camembert, Segments::Zero),
    ("PreTrainedTokenizer", Class::AsSaved, Segments::Zero),
    ("TokenizersBackend", Class::AsSaved, Segments::Zero),
    ("PythonBackend", Class::AsSaved, Segments::Zero),
];

/// Model types whose tokenizer is a `BertTokenizer` if no class is named. DistilBERT's is one too, with segment ids.
const BERT_MODELS: [&str; 9] =
    ["bert", "distilbert", "electra", "mobilebert", "convbert", "layoutlm", "lxmert", "squeezebert", "megatron-bert"];

/// The class whose words come from MeCab, Sudachi or Juman++.
const JAPANESE: &str = "BertJapaneseTokenizer";

impl Class {
    /// Returns the class of a folder, and the segment ids of its models if no key sets them.
    ///
    /// # Errors
    /// If the class is not supported, is code in the repository, or needs a program such as MeCab.
    pub(super) fn of(settings: &Settings, words: Words) -> Result<(Self, Segments), DataError> {
        let Settings { config, model, .. } = settings;
        let named = [config, model].into_iter().find_map(|file| {
            let name = file.value.get("tokenizer_class").filter(|name| !name.is_null())?;
            Some((file, name))
        });
        if let Some((file, found)) = named {
            let found = found.as_str().ok_or_else(|| {
                wrong(file.path.clone())(format!("tokenizer_class is {found}, expected a name").into())
            })?;
            let name = found.strip_suffix("Fast").unwrap_or(found);
            if let Some((_, class, segments)) = CLASSES.iter().find(|(known, ..)| *known == name) {
                return Ok((*class, *segments));
            }
            refuse_code(config)?;
            if name == JAPANESE {
                return japanese(config, words, || refused_words(file, "tokenizer_class", found));
            }
            return Err(refused(file, "tokenizer_class", found));
        }
        refuse_code(config)?;
        // The configuration of older Japanese models names no class, only the program.
        let program = config.value.get("word_tokenizer_type").and_then(|it| it.as_str());
        if let Some(found) = program.filter(|&it| it != "basic") {
            return japanese(config, words, || refused_words(config, "word_tokenizer_type", found));
        }
        match model.value.get("model_type").and_then(|it| it.as_str()) {
            Some("roberta") => Ok((Self::Roberta, Segments::Zero)),
            Some("xlm-roberta") => Ok((Self::XlmRoberta, Segments::Zero)),
            Some("camembert") => Ok((Self::Camembert, Segments::Zero)),
            Some(other) if !BERT_MODELS.contains(&other) => Err(refused(model, "model_type", other)),
            // transformers has no class for a model without a type, and uses `tokenizer.json` unchanged.
            None if !model.value.is_empty() && settings.has_tokenizer_file() => Ok((Self::AsSaved, Segments::Zero)),
            _ => Ok((Self::Bert, Segments::Template)),
        }
    }

    /// Returns the files in which the class looks for its vocabulary.
    pub(super) fn form(self) -> Form {
        match self {
            Self::Roberta => Form::JsonOrMerges,
            Self::Japanese(_) => Form::Lines,
            Self::XlmRoberta | Self::Camembert => Form::JsonOrPieces,
            Self::Bert | Self::AsSaved => Form::JsonOrLines,
        }
    }

    /// Returns the class name to save.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Bert => "BertTokenizer",
            Self::Roberta => "RobertaTokenizer",
            Self::XlmRoberta => "XLMRobertaTokenizer",
            Self::Camembert => "CamembertTokenizer",
            // The Japanese class would look for its program; tokenizer.json splits words at white space.
            Self::Japanese(_) | Self::AsSaved => "PreTrainedTokenizerFast",
        }
    }

    /// Returns the special tokens of the class for keys that the folder does not set.
    pub(super) fn default_tokens(self) -> Defaults {
        const BERT: &[(&str, &str)] = &[
            ("unk_token", "[UNK]"),
            ("sep_token", "[SEP]"),
            ("pad_token", "[PAD]"),
            ("cls_token", "[CLS]"),
            ("mask_token", "[MASK]"),
        ];
        const ROBERTA: &[(&str, &str)] = &[
            ("bos_token", "<s>"),
            ("eos_token", "</s>"),
            ("unk_token", "<unk>"),
            ("sep_token", "</s>"),
            ("pad_token", "<pad>"),
            ("cls_token", "<s>"),
            ("mask_token", "<mask>"),
        ];
        let named = match self {
            Self::Bert | Self::Japanese(_) => BERT,
            Self::Roberta | Self::XlmRoberta | Self::Camembert => ROBERTA,
            Self::AsSaved => &[],
        };
        if self == Self::Camembert {
            let extra = &["<s>NOTUSED", "</s>NOTUSED", "<unk>NOTUSED"];
            return Defaults { named, extra, strips_left: Some("mask_token") };
        }
        Defaults { named, extra: &[], strips_left: None }
    }
}

/// Returns the class of a Japanese BERT. Its words come from a program, so it reads only texts that were split before.
fn japanese(
    config: &Object,
    words: Words,
    refused_words: impl FnOnce() -> DataError,
) -> Result<(Class, Segments), DataError> {
    if words == Words::AsClass {
        return Err(refused_words());
    }
    let subwords = match config.value.get("subword_tokenizer_type").map_or(Some("wordpiece"), |it| it.as_str()) {
        Some("wordpiece") => Subwords::WordPiece,
        Some("character") => Subwords::Characters,
        found => return Err(refused(config, "subword_tokenizer_type", found.unwrap_or("not a text"))),
    };
    Ok((Class::Japanese(subwords), Segments::Zero)) // version 4 had segments
}

/// Rejects a tokenizer that is code in its repository.
fn refuse_code(config: &Object) -> Result<(), DataError> {
    match config.value.get("auto_map") {
        Some(map) if map.is_array() || map.get("AutoTokenizer").is_some() => {
            Err(TokenizerError::Code { path: config.path.clone() }.into())
        }
        _ => Ok(()),
    }
}

fn refused(file: &Object, key: &'static str, found: &str) -> DataError {
    TokenizerError::Class { path: file.path.clone(), key, found: found.to_owned() }.into()
}

fn refused_words(file: &Object, key: &'static str, found: &str) -> DataError {
    TokenizerError::Words { path: file.path.clone(), key, found: found.to_owned() }.into()
}
