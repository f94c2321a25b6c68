//! The token store: a source, read and tokenised once, then one memory-mapped file.
//!
//! The file's name holds a hash of everything its content depends on: the source's bytes, its format (with the quoting
//! that the file is read with) and label rule, the tokenizer, `max_tokens` and the layout's version. So a change of any of them makes a new
//! file, and the same content under another path finds the old one. The file itself says its key again, its length
//! and a checksum, all of which are checked on opening; a file that fails is built anew in its place. It is written
//! beside its place and renamed, so any number of processes may build it at the same time: each finds or writes a
//! whole file. Old files stay until the user deletes them; deleting is always safe.

mod build;
mod layout;
mod map;

use std::fs::File;
use std::io;
use std::ops::Deref;
use std::path::{Path, PathBuf};

use memmap2::Mmap;

use crate::batch::{MIN_TOKENS, TokenBatch};
use crate::error::DataError;
use crate::labels::Labels;
use crate::read::{Skipped, Source};
use crate::tokenizer::Tokenizer;
use layout::{Content, Layout};

/// The tokens, labels, line numbers and ids of all usable articles of a source, in its order.
#[derive(Debug)]
pub struct TokenStore {
    source: PathBuf,
    path: PathBuf,
    bytes: Bytes,
    layout: Layout,
    origin: Origin,
    unquoted: Option<u64>,
}

/// A store's bytes.
#[derive(Debug)]
enum Bytes {
    Mapped(Mmap),
    /// In memory, because no file can be written.
    Owned(Vec<u8>),
}

impl Deref for Bytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Mapped(bytes) => bytes,
            Self::Owned(bytes) => bytes,
        }
    }
}

/// Where a store came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// It was there.
    Found,
    /// There was none; it was built.
    Built,
    /// There was one that could not be used, for this reason; it was built anew.
    Rebuilt(String),
    /// It was built and is in memory alone, since its file may not be written, for this reason.
    InMemory(String),
}

impl TokenStore {
    /// Opens the store of `source` in the folder `cache`, building it first if it is missing or damaged.
    ///
    /// Building reads and tokenises side by side, on all cores. Where the file may not be written, because the folder or the
    /// file system is read-only, the store is in memory alone ([`Origin::InMemory`]).
    ///
    /// # Errors
    /// If `max_tokens` is below [`MIN_TOKENS`], the source cannot be read or has too many unusable rows (also where
    /// the store is found and the source now allows fewer), the tokenizer fails, or the file cannot be written for another reason than permission.
    pub fn open_or_build(
        cache: &Path,
        source: &Source,
        tokenizer: &Tokenizer,
        max_tokens: usize,
    ) -> Result<Self, DataError> {
        if max_tokens < MIN_TOKENS {
            return Err(DataError::MaxTokens { found: max_tokens, fewest: MIN_TOKENS });
        }
        let unquoted = source.unquoted_line()?;
        let source = &source.decided_by(unquoted);
        let key = key(source, tokenizer, max_tokens)?;
        let stem = source.path.file_stem().unwrap_or_default().to_string_lossy();
        let path = cache.join(format!("{stem}-{}.tokens", &blake3::Hash::from(key).to_hex()[..32]));
        let build = || build::build(source, tokenizer, max_tokens);
        let ((bytes, layout), origin) = match open(&path, &key) {
            Ok(found) => (found, Origin::Found),
            Err(Unusable::Missing) => keep(&path, &key, &build()?, Origin::Built)?,
            Err(Unusable::Damaged(why)) => keep(&path, &key, &build()?, Origin::Rebuilt(why))?,
        };
        source.check(layout.rows as u64, &layout.skipped)?;
        Ok(Self { source: source.path.clone(), path, bytes, layout, origin, unquoted })
    }

    /// How many articles it holds; one or more.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "a source without a usable row is an error")]
    pub fn len(&self) -> usize {
        self.layout.rows
    }

    /// How many tokens it holds, special ones included.
    #[must_use]
    pub fn token_count(&self) -> u64 {
        self.layout.tokens as u64
    }

    /// Tokens of article `i`.
    ///
    /// # Panics
    /// Here and below, if `i` is not less than [`TokenStore::len`].
    #[must_use]
    pub fn length(&self, i: usize) -> usize {
        self.layout.tokens_of(&self.bytes, i).len()
    }

    /// The label of article `i`, if it has one.
    #[must_use]
    pub fn label(&self, i: usize) -> Option<&str> {
        self.layout.label(&self.bytes, i).map(|label| self.layout.label_names[label].as_str())
    }

    /// The labels that occur, in ascending order of their UTF-8 bytes.
    #[must_use]
    pub fn label_names(&self) -> &[String] {
        &self.layout.label_names
    }

    /// The line of the source on which article `i` begins, counted from 1.
    #[must_use]
    pub fn line(&self, i: usize) -> u64 {
        self.layout.line(&self.bytes, i)
    }

    /// The news id of article `i`, if the format has one.
    #[must_use]
    pub fn id(&self, i: usize) -> Option<&str> {
        self.layout.id(&self.bytes, i)
    }

    /// What was left out of the source.
    #[must_use]
    pub fn skipped(&self) -> &Skipped {
        &self.layout.skipped
    }

    /// Whether this call built the store rather than found it.
    #[must_use]
    pub fn built(&self) -> bool {
        self.origin != Origin::Found
    }

    /// Where the store came from.
    #[must_use]
    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    /// The file that was read.
    #[must_use]
    pub fn source(&self) -> &Path {
        &self.source
    }

    /// The line on which the source shows that it was written without quoting; see
    /// [`Quoting::Auto`](crate::read::Quoting::Auto).
    #[must_use]
    pub fn unquoted_line(&self) -> Option<u64> {
        self.unquoted
    }

    /// The store's own file, which is not there where the store is in memory alone.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The number of each article's label in `labels`; none for an article without a label.
    ///
    /// # Errors
    /// [`DataError::UnknownLabel`], naming the first row whose label the set does not have.
    pub fn encode_labels(&self, labels: &Labels) -> Result<Vec<Option<usize>>, DataError> {
        let known: Vec<Option<usize>> = self.label_names().iter().map(|name| labels.index_of(name)).collect();
        let number = |i| match self.layout.label(&self.bytes, i) {
            None => Ok(None),
            Some(label) => match known[label] {
                Some(number) => Ok(Some(number)),
                None => labels.encode(&self.layout.label_names[label], self.line(i), &self.source).map(Some),
            },
        };
        (0..self.len()).map(number).collect()
    }

    /// As [`TokenStore::encode_labels`], with none for a label that the set does not have too.
    #[must_use]
    pub fn known_labels(&self, labels: &Labels) -> Vec<Option<usize>> {
        let known: Vec<Option<usize>> = self.label_names().iter().map(|name| labels.index_of(name)).collect();
        (0..self.len()).map(|i| known[self.layout.label(&self.bytes, i)?]).collect()
    }

    /// Packs the given articles, in the order of `rows`.
    ///
    /// # Panics
    /// If a row is not less than [`TokenStore::len`].
    #[must_use]
    pub fn batch(&self, rows: &[u32]) -> TokenBatch {
        let mut batch = TokenBatch::with_capacity(rows.len(), rows.iter().map(|&row| self.length(row as usize)).sum());
        for &row in rows {
            let (tokens, second_starts) = (
                self.layout.tokens_of(&self.bytes, row as usize),
                self.layout.second_starts(&self.bytes, row as usize),
            );
            batch.push(row, self.layout.ids(&self.bytes, tokens), second_starts);
        }
        batch
    }
}

/// Why a file is no store to use.
enum Unusable {
    Missing,
    Damaged(String),
}

impl Unusable {
    fn why(self) -> String {
        match self {
            Self::Missing => "no file found".into(),
            Self::Damaged(why) => why,
        }
    }
}

/// Writes a store and opens it; holds it in memory where it may not be written.
fn keep(
    path: &Path,
    key: &[u8; 32],
    content: &Content,
    origin: Origin,
) -> Result<((Bytes, Layout), Origin), DataError> {
    let useless = |found: String| DataError::Store { path: path.to_owned(), found };
    match crate::atomic::write(path, |file| content.write(key, file)) {
        Ok(()) => Ok((open(path, key).map_err(|unusable| useless(unusable.why()))?, origin)),
        Err(error) if matches!(error.kind(), io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem) => {
            let mut bytes = Vec::new();
            content.write(key, &mut bytes).map_err(|error| useless(error.to_string()))?;
            let layout = Layout::parse(&bytes, key).map_err(useless)?;
            Ok(((Bytes::Owned(bytes), layout), Origin::InMemory(format!("cannot write {}: {error}", path.display()))))
        }
        Err(source) => Err(DataError::Write { path: path.to_owned(), source }),
    }
}

fn open(path: &Path, key: &[u8; 32]) -> Result<(Bytes, Layout), Unusable> {
    let bytes = map::map(path).map_err(|err| match err.kind() {
        io::ErrorKind::NotFound => Unusable::Missing,
        _ => Unusable::Damaged(err.to_string()),
    })?;
    let layout = Layout::parse(&bytes, key).map_err(Unusable::Damaged)?;
    Ok((Bytes::Mapped(bytes), layout))
}

/// A hash of everything the store's content depends on.
fn key(source: &Source, tokenizer: &Tokenizer, max_tokens: usize) -> Result<[u8; 32], DataError> {
    let mut content = blake3::Hasher::new();
    File::open(&source.path)
        .and_then(|file| content.update_reader(file).map(|_| ()))
        .map_err(|cause| DataError::Open { path: source.path.clone(), source: cause })?;
    // The debug form names every setting of a format. If it ever changes, stores are built once more.
    let settings = format!("{:?} {:?} {max_tokens} {}", source.format, source.labels, layout::VERSION);
    let mut hasher = blake3::Hasher::new();
    hasher.update(content.finalize().as_bytes()).update(tokenizer.fingerprint()).update(settings.as_bytes());
    Ok(*hasher.finalize().as_bytes())
}
