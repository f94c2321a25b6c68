//! The vocabulary of a folder, in the files of its class.

use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use super::file::{TOKENIZER_FILE, read_if_present, wrong};
use super::sentencepiece::Model;
use crate::error::{DataError, TokenizerError};

/// SentencePiece's file under the names in use. Only the first belongs to a class that reads it.
const PIECES: [&str; 3] = ["sentencepiece.bpe.model", "spiece.model", "tokenizer.model"];

/// The files in which a class looks for its vocabulary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// `tokenizer.json`, else `vocab.txt`.
    JsonOrLines,
    /// `tokenizer.json`, else `vocab.json` and `merges.txt`.
    JsonOrMerges,
    /// `tokenizer.json`, else `sentencepiece.bpe.model`.
    JsonOrPieces,
    /// `vocab.txt`, even beside a `tokenizer.json`.
    Lines,
}

/// The file with the vocabulary.
#[derive(Debug)]
pub(super) enum Vocabulary {
    /// `tokenizer.json`.
    Json { path: PathBuf, value: Value, bytes: Vec<u8> },
    /// `vocab.txt`, one token per line.
    Lines { path: PathBuf, bytes: Vec<u8> },
    /// `vocab.json`, ids by token, with the lines of `merges.txt`.
    Merges { path: PathBuf, ids: Map<String, Value>, merges: Vec<[String; 2]> },
    /// `sentencepiece.bpe.model`.
    Pieces { path: PathBuf, model: Model },
}

impl Form {
    /// Returns the names of the files, for an error message.
    fn names(self) -> &'static str {
        match self {
            Self::JsonOrLines => "tokenizer.json or vocab.txt",
            Self::JsonOrMerges => "tokenizer.json, or vocab.json and merges.txt",
            Self::JsonOrPieces => "tokenizer.json or sentencepiece.bpe.model",
            Self::Lines => "vocab.txt",
        }
    }
}

impl Vocabulary {
    /// Reads the vocabulary of a folder.
    ///
    /// # Errors
    /// If there is none in this form, a file cannot be read, or a JSON file is invalid.
    pub(super) fn read(folder: &Path, form: Form) -> Result<Self, DataError> {
        let found = match form {
            Form::JsonOrLines => json(folder)?.map_or_else(|| lines(folder), |found| Ok(Some(found)))?,
            Form::JsonOrMerges => json(folder)?.map_or_else(|| merges(folder), |found| Ok(Some(found)))?,
            Form::JsonOrPieces => json(folder)?.map_or_else(|| pieces(folder), |found| Ok(Some(found)))?,
            Form::Lines => lines(folder)?,
        };
        if let Some(found) = found {
            return Ok(found);
        }
        if let Some(path) = PIECES.map(|name| folder.join(name)).into_iter().find(|path| path.is_file()) {
            let message = "found a file of SentencePiece alone, expected tokenizer.json; make one in Python: load the folder \
                           with AutoTokenizer, and save it with save_pretrained";
            return Err(wrong(path)(message.into()));
        }
        Err(TokenizerError::Missing { folder: folder.to_owned(), expected: form.names() }.into())
    }

    pub(super) fn path(&self) -> &Path {
        match self {
            Self::Json { path, .. }
            | Self::Lines { path, .. }
            | Self::Merges { path, .. }
            | Self::Pieces { path, .. } => path,
        }
    }

    /// Returns true if a token is in the vocabulary, not counting added tokens.
    pub(super) fn contains(&self, token: &str) -> bool {
        match self {
            Self::Json { value, .. } => match &value["model"]["vocab"] {
                Value::Object(ids) => ids.contains_key(token),
                Value::Array(pieces) => pieces.iter().any(|piece| piece == token || piece[0] == token),
                _ => false,
            },
            Self::Lines { bytes, .. } => {
                bytes.split(|&byte| byte == b'\n').any(|line| line.trim_ascii_end() == token.as_bytes())
            }
            Self::Merges { ids, .. } => ids.contains_key(token),
            // Both classes add the tokens around the pieces.
            Self::Pieces { .. } => true,
        }
    }
}

fn json(folder: &Path) -> Result<Option<Vocabulary>, DataError> {
    let path = folder.join(TOKENIZER_FILE);
    let Some(bytes) = read_if_present(&path)? else { return Ok(None) };
    let value: Map<String, Value> = serde_json::from_slice(&bytes).map_err(|err| wrong(path.clone())(err.into()))?;
    Ok(Some(Vocabulary::Json { path, value: value.into(), bytes }))
}

fn lines(folder: &Path) -> Result<Option<Vocabulary>, DataError> {
    let path = folder.join("vocab.txt");
    Ok(read_if_present(&path)?.map(|bytes| Vocabulary::Lines { path, bytes }))
}

fn pieces(folder: &Path) -> Result<Option<Vocabulary>, DataError> {
    let path = folder.join(PIECES[0]);
    let Some(bytes) = read_if_present(&path)? else { return Ok(None) };
    let model = Model::read(&bytes).map_err(|found| wrong(path.clone())(found.into()))?;
    Ok(Some(Vocabulary::Pieces { path, model }))
}

/// Reads `vocab.json` and `merges.txt`; one without the other is an error.
fn merges(folder: &Path) -> Result<Option<Vocabulary>, DataError> {
    let [path, merges_path] = ["vocab.json", "merges.txt"].map(|name| folder.join(name));
    let missing = |path: &Path, other: &str| {
        Err(wrong(path.to_owned())(format!("no file found, expected one, because there is a {other}").into()))
    };
    let (bytes, merges) = match (read_if_present(&path)?, read_if_present(&merges_path)?) {
        (Some(bytes), Some(merges)) => (bytes, merges),
        (None, None) => return Ok(None),
        (Some(_), None) => return missing(&merges_path, "vocab.json"),
        (None, Some(_)) => return missing(&path, "merges.txt"),
    };
    let ids = serde_json::from_slice(&bytes).map_err(|err| wrong(path.clone())(err.into()))?;
    let merges = merge_lines(&merges).map_err(|found| wrong(merges_path)(found.into()))?;
    Ok(Some(Vocabulary::Merges { path, ids, merges }))
}

/// Reads the pairs of `merges.txt`, in their order.
fn merge_lines(bytes: &[u8]) -> Result<Vec<[String; 2]>, String> {
    let text = std::str::from_utf8(bytes).map_err(|err| err.to_string())?;
    let lines = (1..).zip(text.lines()).filter(|(_, line)| !line.starts_with("#version"));
    let merge = |(number, line): (usize, &str)| {
        let wrong = || format!("line {number}: {line:?} found, expected two tokens with a space between them");
        pair(line).ok_or_else(wrong)
    };
    lines.map(merge).collect()
}

/// Reads two tokens with a space between them.
pub(super) fn pair(text: &str) -> Option<[String; 2]> {
    let (left, right) = text.split_once(' ')?;
    (!right.contains(' ')).then(|| [left.to_owned(), right.to_owned()])
}
