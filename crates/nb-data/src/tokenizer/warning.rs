//! Warnings about interpretations of a folder that follow `transformers` but may not be intended.

use std::fmt;
use std::path::PathBuf;

use super::class::Class;
use super::folder::Folder;
use super::special::SpecialTokens;

/// An interpretation of a tokenizer's folder that may not be intended.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TokenizerWarning {
    /// Texts are lower-cased by default, although the vocabulary has words with capitals.
    LowerCases {
        /// The file in which the key is missing.
        path: PathBuf,
        /// Number of words with a capital.
        words: usize,
        /// One of them.
        example: String,
    },
    /// The id of an added token differs from the one in its file.
    MovedToken {
        /// The vocabulary file.
        path: PathBuf,
        /// The token.
        token: String,
        /// The id in the file.
        named: u64,
        /// The id in use.
        id: u32,
    },
    /// The template has segment ids, but they are not part of a model's input.
    NoSegments {
        /// The file in which the key is missing.
        path: PathBuf,
    },
    /// The class ignores a key.
    Ignored {
        /// The file of the key.
        path: PathBuf,
        /// The key.
        key: &'static str,
    },
}

impl fmt::Display for TokenizerWarning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::LowerCases { path, words, example } => write!(
                f,
                "{}: no `do_lower_case` found, so texts are lower-cased, as in transformers 5, but {words} words of the \
                 vocabulary contain capitals, such as {example:?}; set `\"do_lower_case\": false` if the model is cased",
                path.display()
            ),
            Self::MovedToken { path, token, named, id } => write!(
                f,
                "{}: the added token {token:?} has id {id}, as in transformers 5, but id {named} in its file",
                path.display()
            ),
            Self::NoSegments { path } => write!(
                f,
                "{}: no `model_input_names` found, so every token has segment 0, as in transformers 5, although the template \
                 gives second texts segment 1; list \"token_type_ids\" there if the model was trained with them",
                path.display()
            ),
            Self::Ignored { path, key } => write!(
                f,
                "{}: `{key}` has no effect, as in transformers 5: the tokenizer's class uses tokenizer.json unchanged",
                path.display()
            ),
        }
    }
}

pub(super) fn all(
    class: Class,
    folder: &Folder,
    special: &SpecialTokens,
    inner: &tokenizers::Tokenizer,
) -> Vec<TokenizerWarning> {
    let config = &folder.settings.config.value;
    let mut warnings = Vec::new();
    if class == Class::Bert && !config.contains_key("do_lower_case") {
        let capitals = capitals(inner);
        // A long word is the most telling example.
        if let Some(example) = capitals.iter().max_by_key(|word| (word.len(), std::cmp::Reverse(word.as_str()))) {
            let (path, words, example) = (folder.settings.config.path.clone(), capitals.len(), example.clone());
            warnings.push(TokenizerWarning::LowerCases { path, words, example });
        }
    }
    if class == Class::AsSaved && config.contains_key("do_lower_case") {
        warnings.push(TokenizerWarning::Ignored { path: folder.settings.config.path.clone(), key: "do_lower_case" });
    }
    for (&named, token) in &special.added {
        if let Some(id) = inner.token_to_id(&token.content).filter(|&id| u64::from(id) != named) {
            let (path, token) = (folder.vocabulary.path().to_owned(), token.content.clone());
            warnings.push(TokenizerWarning::MovedToken { path, token, named, id });
        }
    }
    warnings
}

/// Returns the words with capitals that lower-casing makes unreachable, except for markers such as `<S>` and `[CLS]`,
/// and letters such as ℝ that have no lower-case form.
fn capitals(inner: &tokenizers::Tokenizer) -> Vec<String> {
    let is_marker = |token: &str| {
        let ends = |open, close| token.starts_with(open) && token.ends_with(close);
        ends('[', ']') || ends('<', '>')
    };
    let words = inner.get_vocab(false).into_keys();
    words
        .filter(|token| !is_marker(token) && token.chars().any(|c| c.is_uppercase() && !c.to_lowercase().eq([c])))
        .collect()
}
