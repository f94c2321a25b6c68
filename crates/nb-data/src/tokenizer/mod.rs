//! A checkpoint's tokenizer: text becomes the token ids of one sequence, cut to a length.
//!
//! A sequence is `[CLS] first [SEP]`, or `[CLS] first [SEP] second [SEP]` with segment ids 0 up to and with the first
//! `[SEP]` and 1 behind it. If it has more than `max_tokens` tokens, special ones included,
//!
//! 1. the second text loses tokens from its end;
//! 2. where no token of it would be left, it goes whole, together with its `[SEP]`;
//! 3. then the first text loses tokens from its end.
//!
//! So the title stays whole as long as there is room for it, and a title alone has one token more of room than one
//! with an abstract. A second text without a token (nothing but characters that the tokenizer drops) is no second text.
//!
//! Padding, truncation and templates of `tokenizer.json` are not used.

mod files;

use std::fmt;
use std::panic::{self, AssertUnwindSafe};
use std::path::{Path, PathBuf};

use rayon::prelude::*;

use crate::batch::{MIN_TOKENS, Tokens};
use crate::error::DataError;
use crate::read::Article;

/// A file of a tokenizer, as it belongs beside a saved model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenizerFile {
    /// `tokenizer.json`, `tokenizer_config.json` or `vocab.txt`.
    pub name: &'static str,
    /// Its content.
    pub bytes: Vec<u8>,
}

/// The tokenizer of a BERT checkpoint.
pub struct Tokenizer {
    inner: tokenizers::Tokenizer,
    cls: u32,
    sep: u32,
    vocab_size: usize,
    fingerprint: [u8; 32],
    files: Vec<TokenizerFile>,
}

impl Tokenizer {
    /// Loads the tokenizer of a checkpoint's folder: `tokenizer.json`, or else `vocab.txt`, one token per line, as a
    /// WordPiece vocabulary.
    ///
    /// `tokenizer_config.json`, where it is there, says how the begin and end tokens are called (`cls_token`,
    /// `sep_token`, else `[CLS]` and `[SEP]`) and how BERT's normalisation goes (`do_lower_case`, `strip_accents`,
    /// `tokenize_chinese_chars`), in which it overrides `tokenizer.json`. Without a word on lower-casing, a
    /// `vocab.txt` with an ASCII capital in any token but the bracketed ones is cased, and any other lower-cases.
    ///
    /// # Errors
    /// If the folder has neither file, a file makes no sense, or the begin or end token is not in the vocabulary.
    pub fn from_folder(folder: &Path) -> Result<Self, DataError> {
        let loaded = files::load(folder)?;
        let vocab = loaded.inner.get_vocab(true);
        let special = |token: &str| {
            vocab
                .get(token)
                .copied()
                .ok_or_else(|| DataError::NoSpecialToken { path: loaded.path.clone(), token: token.to_owned() })
        };
        Ok(Self {
            cls: special(&loaded.cls)?,
            sep: special(&loaded.sep)?,
            vocab_size: vocab.values().max().map_or(0, |&largest| largest as usize + 1),
            fingerprint: loaded.fingerprint,
            files: loaded.files,
            inner: loaded.inner,
        })
    }

    /// The largest token id plus one: how many rows the embedding of a model must have at least.
    #[must_use]
    pub fn vocab_size(&self) -> usize {
        self.vocab_size
    }

    /// The files to put beside a saved model so that other tools load this same tokenizer: those of the folder it came
    /// from, and those missing there, made from what is known. `vocab.txt` is left out if the vocabulary cannot be
    /// written as one.
    #[must_use]
    pub fn files(&self) -> &[TokenizerFile] {
        &self.files
    }

    /// A hash of everything that decides which tokens a text becomes.
    #[must_use]
    pub fn fingerprint(&self) -> &[u8; 32] {
        &self.fingerprint
    }

    /// Tokenises one article, cut to `max_tokens` as the [module](self) says.
    ///
    /// # Errors
    /// [`DataError::MaxTokens`] if `max_tokens` is below [`MIN_TOKENS`], [`DataError::Encode`] if the tokenizer fails.
    pub fn encode(&self, first: &str, second: Option<&str>, max_tokens: usize) -> Result<Tokens, DataError> {
        if max_tokens < MIN_TOKENS {
            return Err(DataError::MaxTokens { found: max_tokens });
        }
        let first = self.pieces(first)?;
        let second = second.map(|text| self.pieces(text)).transpose()?;
        let second = second.as_ref().map_or(&[][..], |second| second.get_ids());
        Ok(assemble(first.get_ids(), second, max_tokens, [self.cls, self.sep]))
    }

    /// Tokenises articles on all cores, in their order.
    ///
    /// # Errors
    /// As [`Tokenizer::encode`].
    pub fn encode_all(&self, articles: &[Article], max_tokens: usize) -> Result<Vec<Tokens>, DataError> {
        articles.par_iter().map(|article| self.encode(&article.first, article.second.as_deref(), max_tokens)).collect()
    }

    fn pieces(&self, text: &str) -> Result<tokenizers::Encoding, DataError> {
        guarded(|| self.inner.encode_fast(text, false))
            .map_err(|source| DataError::Encode { start: text.chars().take(40).collect(), source })
    }
}

impl fmt::Debug for Tokenizer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tokenizer").field("vocab_size", &self.vocab_size).finish_non_exhaustive()
    }
}

/// Puts a sequence of at most `max_tokens` together.
fn assemble(first: &[u32], second: &[u32], max_tokens: usize, [cls, sep]: [u32; 2]) -> Tokens {
    let with_second = max_tokens.saturating_sub(first.len() + 3).min(second.len());
    let first = &first[..first.len().min(max_tokens - 2)];
    let mut ids = Vec::with_capacity(first.len() + with_second + 3);
    ids.push(cls);
    ids.extend_from_slice(first);
    ids.push(sep);
    let second_starts = ids.len();
    if with_second > 0 {
        ids.extend_from_slice(&second[..with_second]);
        ids.push(sep);
    }
    Tokens { ids, second_starts }
}

/// Does what a tokenizer's file asks for. The crate that does it panics on some that ask for nonsense, such as pieces of 0
/// characters or a table whose offsets lead out of it: an error of the file.
fn guarded<T>(work: impl FnOnce() -> tokenizers::Result<T>) -> tokenizers::Result<T> {
    // Nothing of ours is left half done; locks inside of the tokenizer are poisoned, and what meets them panics in here too.
    panic::catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|cause| {
        let words = cause.downcast_ref::<String>().map(String::as_str).or(cause.downcast_ref::<&str>().copied());
        Err(format!("the tokenizer's file asks for what cannot be done: {}", words.unwrap_or("a panic")).into())
    })
}

/// Where an unreadable or senseless file is.
fn wrong(path: PathBuf) -> impl FnOnce(Box<dyn std::error::Error + Send + Sync>) -> DataError {
    |source| DataError::Tokenizer { path, source }
}
