//! Errors of tokenizers.

use std::error::Error;
use std::path::PathBuf;

/// A tokenizer that cannot be used, or a text that it cannot process.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TokenizerError {
    /// A folder without a tokenizer.
    #[error("{}: no tokenizer found, expected {expected}", folder.display())]
    Missing {
        /// The folder.
        folder: PathBuf,
        /// The files of its class.
        expected: &'static str,
    },

    /// An invalid tokenizer file.
    #[error("{}: not a usable tokenizer", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: Box<dyn Error + Send + Sync>,
    },

    /// A tokenizer of an unsupported class.
    #[error(
        "{}: `{key}` is {found}, which is not supported, expected BertTokenizer, RobertaTokenizer, XLMRobertaTokenizer, \
         CamembertTokenizer or PreTrainedTokenizerFast; save the tokenizer as a PreTrainedTokenizerFast with a tokenizer.json if possible",
        path.display()
    )]
    Class {
        /// The file of the key.
        path: PathBuf,
        /// The key.
        key: &'static str,
        /// Its value.
        found: String,
    },

    /// A tokenizer whose words come from another program.
    #[error(
        "{}: `{key}` is {found}, which is not supported, because its words come from a program such as MeCab; split the \
         texts into words with that program, join the words with spaces and set `data.pretokenized`, or save a \
         tokenizer.json and set `tokenizer_class` to PreTrainedTokenizerFast",
        path.display()
    )]
    Words {
        /// The file of the key.
        path: PathBuf,
        /// The key.
        key: &'static str,
        /// Its value.
        found: String,
    },

    /// A tokenizer that is Python code in the model's repository.
    #[error(
        "{}: `auto_map` found: the tokenizer is Python code, which newsbert does not run, expected BertTokenizer, \
         RobertaTokenizer, XLMRobertaTokenizer, CamembertTokenizer or PreTrainedTokenizerFast; save the tokenizer as a PreTrainedTokenizerFast with a tokenizer.json if possible",
        path.display()
    )]
    Code {
        /// The file.
        path: PathBuf,
    },

    /// A tokenizer without one of the tokens that every sequence needs.
    #[error("{}: no token {token:?} found, expected it in the vocabulary because sequences begin and end with it", path.display())]
    NoSpecialToken {
        /// The tokenizer's file.
        path: PathBuf,
        /// The token.
        token: String,
    },

    /// A text that the tokenizer cannot process.
    #[error("cannot tokenise the text beginning {start:?}")]
    Encode {
        /// The first characters of the text.
        start: String,
        /// The cause.
        source: Box<dyn Error + Send + Sync>,
    },
}
