//! The tokenizer class that `transformers` uses for a folder. It determines the parts of `tokenizer.json` that are
//! used.
//!
//! The rules are those of `AutoTokenizer` in `transformers` 5.24: `tokenizer_class` of `tokenizer_config.json`, else
//! `tokenizer_class` of `config.json`, else the class of the model type. Most classes build the tokenizer from their
//! own rules and take only the vocabulary and the added tokens from `tokenizer.json`; `PreTrainedTokenizerFast` uses
//! the file unchanged.

use super::file::wrong;
use super::folder::{Folder, Object};
use super::special::Defaults;
use crate::error::DataError;

/// The rules by which a folder's files become a tokenizer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Class {
    /// WordPiece with BERT's normalisation, pre-tokenisation and template; `tokenizer_config.json` contains their
    /// settings.
    Bert,
    /// Unigram with XLM-R's pre-tokenisation and template, and the precompiled character map of the normalisation.
    XlmRoberta,
    /// `tokenizer.json`, unchanged.
    AsSaved,
}

/// The segment ids in a model's input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Segments {
    /// The segment ids of the template.
    Template,
    /// 0 for every token, because the model has no segment input.
    Zero,
}

/// Classes by name, without a final `Fast`. `ConvBertTokenizer` is missing because it uses the normaliser of
/// `tokenizer.json`.
const CLASSES: [(&str, Class, Segments); 11] = [
    ("BertTokenizer", Class::Bert, Segments::Template),
    ("DistilBertTokenizer", Class::Bert, Segments::Zero),
    ("ElectraTokenizer", Class::Bert, Segments::Template),
    ("LayoutLMTokenizer", Class::Bert, Segments::Template),
    ("LxmertTokenizer", Class::Bert, Segments::Template),
    ("MobileBertTokenizer", Class::Bert, Segments::Template),
    ("SqueezeBertTokenizer", Class::Bert, Segments::Template),
    ("XLMRobertaTokenizer", Class::XlmRoberta, Segments::Zero),
    ("PreTrainedTokenizer", Class::AsSaved, Segments::Zero),
    ("TokenizersBackend", Class::AsSaved, Segments::Zero),
    ("PythonBackend", Class::AsSaved, Segments::Zero),
];

/// Model types whose tokenizer is a `BertTokenizer` if no class is named.
const BERT_MODELS: [&str; 9] =
    ["bert", "distilbert", "electra", "mobilebert", "convbert", "layoutlm", "lxmert", "squeezebert", "megatron-bert"];

impl Class {
    /// Returns the class of a folder, and the segment ids of its models if no key sets them.
    ///
    /// # Errors
    /// If the class is not supported, is code in the repository, or needs a program such as MeCab.
    pub(super) fn of(folder: &Folder) -> Result<(Self, Segments), DataError> {
        let named = [&folder.config, &folder.model].into_iter().find_map(|file| {
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
            refuse_code(&folder.config)?;
            return Err(refused(&file.path, "tokenizer_class", found));
        }
        refuse_code(&folder.config)?;
        // The configuration of older Japanese models names no class, only the program.
        let words = folder.config.value.get("word_tokenizer_type").and_then(|it| it.as_str());
        if let Some(found) = words.filter(|&it| it != "basic") {
            return Err(refused(&folder.config.path, "word_tokenizer_type", found));
        }
        match folder.model.value.get("model_type").and_then(|it| it.as_str()) {
            Some("xlm-roberta") => Ok((Self::XlmRoberta, Segments::Zero)),
            Some(other) if !BERT_MODELS.contains(&other) => Err(refused(&folder.model.path, "model_type", other)),
            // transformers has no class for a model without a type, and uses `tokenizer.json` unchanged.
            None if !folder.model.value.is_empty() && folder.vocabulary.is_json() => {
                Ok((Self::AsSaved, Segments::Zero))
            }
            _ => Ok((Self::Bert, Segments::Template)),
        }
    }

    /// Returns the class name to save.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Bert => "BertTokenizer",
            Self::XlmRoberta => "XLMRobertaTokenizer",
            Self::AsSaved => "PreTrainedTokenizerFast",
        }
    }

    /// Returns the special tokens of the class for keys that the folder does not set.
    pub(super) fn default_tokens(self) -> Defaults {
        match self {
            Self::Bert => &[
                ("unk_token", "[UNK]"),
                ("sep_token", "[SEP]"),
                ("pad_token", "[PAD]"),
                ("cls_token", "[CLS]"),
                ("mask_token", "[MASK]"),
            ],
            Self::XlmRoberta => &[
                ("bos_token", "<s>"),
                ("eos_token", "</s>"),
                ("unk_token", "<unk>"),
                ("sep_token", "</s>"),
                ("pad_token", "<pad>"),
                ("cls_token", "<s>"),
                ("mask_token", "<mask>"),
            ],
            Self::AsSaved => &[],
        }
    }
}

/// Rejects a tokenizer that is code in its repository.
fn refuse_code(config: &Object) -> Result<(), DataError> {
    match config.value.get("auto_map") {
        Some(map) if map.is_array() || map.get("AutoTokenizer").is_some() => {
            Err(DataError::TokenizerCode { path: config.path.clone() })
        }
        _ => Ok(()),
    }
}

fn refused(path: &std::path::Path, key: &'static str, found: &str) -> DataError {
    DataError::TokenizerClass { path: path.to_owned(), key, found: found.to_owned() }
}
