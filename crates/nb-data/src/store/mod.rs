//! The token store: a source is read and tokenised once, then used as a memory-mapped file.
//!
//! The file's name contains a hash of everything its content depends on: the source's bytes, its format (with the
//! resolved quoting), encoding and label rule, the tokenizer, `max_tokens` and the layout's version. A change of any of them
//! makes a new file, and the same content under another path finds the existing one. The file repeats its key and holds
//! its length and a checksum; all are checked when it is opened, and a damaged file is rebuilt. It is written
//! atomically, so any number of processes may build it at the same time: each finds or writes a complete file. Old
//! files stay until the user deletes them, which is always safe.

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
use crate::labels::{LabelNumbers, Labels};
use crate::read::{Compression, Skipped, Source};
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
    /// Number of tokens of a window; 0 without windows.
    window: usize,
}

/// The bytes of a store.
#[derive(Debug)]
enum Bytes {
    Mapped(Mmap),
    /// In memory, because the file cannot be written.
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

/// The origin of a store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The file existed.
    Found,
    /// The file was missing, so the store was built.
    Built,
    /// The file could not be used, for this reason, so the store was rebuilt.
    Rebuilt(String),
    /// The store was built and is in memory only, because its file cannot be written, for this reason.
    InMemory(String),
}

impl TokenStore {
    /// Opens the store of `source` in the folder `cache`, building it first if it is missing or damaged.
    ///
    /// Building reads and tokenises in parallel, on all cores. If the file cannot be written because the folder or the
    /// file system is read-only, the store is in memory only ([`Origin::InMemory`]).
    ///
    /// # Errors
    /// If `max_tokens` is below [`MIN_TOKENS`], the source cannot be read or has too many unusable rows (also if the
    /// store exists and the source now allows fewer), the tokenizer fails, or the file cannot be written for a reason
    /// other than permission.
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
        let Opened { bytes, layout, origin } = match open(&path, &key) {
            Ok(found) => found,
            Err(Unusable::Missing) => write(&path, &key, &build()?, Origin::Built)?,
            Err(Unusable::Damaged(reason)) => write(&path, &key, &build()?, Origin::Rebuilt(reason))?,
        };
        source.check(layout.rows as u64, &layout.skipped)?;
        let window = tokenizer.windows().map_or(0, |windows| windows.size);
        Ok(Self { source: source.path.clone(), path, bytes, layout, origin, unquoted, window })
    }

    /// Returns the number of articles; one or more.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "a source without a usable row is an error")]
    pub fn len(&self) -> usize {
        self.layout.rows
    }

    /// Returns the number of tokens, special tokens included.
    #[must_use]
    pub fn token_count(&self) -> u64 {
        self.layout.tokens as u64
    }

    /// Returns the number of tokens of article `i`, in all of its windows.
    ///
    /// # Panics
    /// Here and in the accessors below, if `i` is not less than [`TokenStore::len`].
    #[must_use]
    pub fn length(&self, i: usize) -> usize {
        self.layout.tokens_of(&self.bytes, i).len()
    }

    /// Returns the label of article `i`, if it has one: the first of [`TokenStore::labels`].
    #[must_use]
    pub fn label(&self, i: usize) -> Option<&str> {
        self.labels(i).next()
    }

    /// Returns the labels of article `i`, in ascending order of their UTF-8 bytes.
    pub fn labels(&self, i: usize) -> impl ExactSizeIterator<Item = &str> {
        self.layout.labels_of(&self.bytes, i).map(|label| self.layout.label_names[label].as_str())
    }

    /// Returns the labels that occur, in ascending order of their UTF-8 bytes.
    #[must_use]
    pub fn label_names(&self) -> &[String] {
        &self.layout.label_names
    }

    /// Returns the line of the source on which article `i` begins, counted from 1.
    #[must_use]
    pub fn line(&self, i: usize) -> u64 {
        self.layout.line(&self.bytes, i)
    }

    /// Returns the id of article `i`, if the format has ids.
    #[must_use]
    pub fn id(&self, i: usize) -> Option<&str> {
        self.layout.id(&self.bytes, i)
    }

    /// Returns the number of articles that have no translation and keep their text, if the source has translations.
    #[must_use]
    pub fn untranslated(&self) -> u64 {
        self.layout.untranslated
    }

    /// Returns the skipped rows of the source.
    #[must_use]
    pub fn skipped(&self) -> &Skipped {
        &self.layout.skipped
    }

    /// Returns true if this call built the store.
    #[must_use]
    pub fn built(&self) -> bool {
        self.origin != Origin::Found
    }

    /// Returns the origin of the store.
    #[must_use]
    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    /// Returns the source file.
    #[must_use]
    pub fn source(&self) -> &Path {
        &self.source
    }

    /// Returns the line on which the source shows that it was written without quoting; see
    /// [`Quoting::Auto`](crate::read::Quoting::Auto).
    #[must_use]
    pub fn unquoted_line(&self) -> Option<u64> {
        self.unquoted
    }

    /// Returns the store's file, which does not exist if the store is in memory only.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the numbers of each article's labels in `labels`.
    ///
    /// # Errors
    /// [`DataError::UnknownLabel`] with the first row that has a label that is not in the set.
    pub fn encode_labels(&self, labels: &Labels) -> Result<LabelNumbers, DataError> {
        let numbers = self.known_labels(labels);
        match (0..self.len()).find(|&i| numbers.of(i).len() < self.labels(i).len()) {
            None => Ok(numbers),
            Some(i) => {
                let unknown = self.labels(i).find(|label| labels.index_of(label).is_none()).unwrap_or_default();
                labels.encode(unknown, self.line(i), &self.source).map(|_| numbers)
            }
        }
    }

    /// Like [`TokenStore::encode_labels`], but without labels that are not in the set.
    #[must_use]
    pub fn known_labels(&self, labels: &Labels) -> LabelNumbers {
        let known: Vec<Option<usize>> = self.label_names().iter().map(|name| labels.index_of(name)).collect();
        let mut numbers = LabelNumbers::default();
        for i in 0..self.len() {
            numbers.push(self.layout.labels_of(&self.bytes, i).filter_map(|label| known[label]));
        }
        numbers
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
            batch.push(row, self.layout.ids(&self.bytes, tokens), second_starts, self.window);
        }
        batch
    }
}

/// A store's bytes and their layout.
struct Opened {
    bytes: Bytes,
    layout: Layout,
    origin: Origin,
}

/// The reason why a file is not a usable store.
enum Unusable {
    Missing,
    Damaged(String),
}

impl Unusable {
    fn reason(self) -> String {
        match self {
            Self::Missing => "no file found".into(),
            Self::Damaged(reason) => reason,
        }
    }
}

/// Writes a store and opens it; keeps it in memory if it cannot be written.
fn write(path: &Path, key: &[u8; 32], content: &Content, origin: Origin) -> Result<Opened, DataError> {
    let unreadable = |found: String| DataError::Store { path: path.to_owned(), found };
    match crate::atomic::write(path, |file| content.write(key, file)) {
        Ok(()) => {
            let opened = open(path, key).map_err(|unusable| unreadable(unusable.reason()))?;
            Ok(Opened { origin, ..opened })
        }
        Err(error) if matches!(error.kind(), io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem) => {
            let mut bytes = Vec::new();
            content.write(key, &mut bytes).map_err(|error| unreadable(error.to_string()))?;
            let layout = Layout::parse(&bytes, key).map_err(unreadable)?;
            let origin = Origin::InMemory(format!("cannot write {}: {error}", path.display()));
            Ok(Opened { bytes: Bytes::Owned(bytes), layout, origin })
        }
        Err(source) => Err(DataError::Write { path: path.to_owned(), source }),
    }
}

fn open(path: &Path, key: &[u8; 32]) -> Result<Opened, Unusable> {
    let bytes = map::map(path).map_err(|err| match err.kind() {
        io::ErrorKind::NotFound => Unusable::Missing,
        _ => Unusable::Damaged(err.to_string()),
    })?;
    let layout = Layout::parse(&bytes, key).map_err(Unusable::Damaged)?;
    Ok(Opened { bytes: Bytes::Mapped(bytes), layout, origin: Origin::Found })
}

/// Hashes everything that the store's content depends on.
fn key(source: &Source, tokenizer: &Tokenizer, max_tokens: usize) -> Result<[u8; 32], DataError> {
    let mut hasher = blake3::Hasher::new();
    // Without these, two files of articles and one with translations would have the same key.
    let is_translated = source.translations.is_some();
    hasher.update(format!("{} {is_translated} ", source.files().len()).as_bytes());
    for path in source.files().iter().chain(&source.translations) {
        let mut content = blake3::Hasher::new();
        File::open(path)
            .and_then(|file| content.update_reader(file).map(|_| ()))
            .map_err(|cause| DataError::Open { path: path.clone(), source: cause })?;
        hasher.update(content.finalize().as_bytes());
        // The same bytes may be text under one name and compressed text under another.
        hasher.update(format!("{:?}", Compression::of(path)).as_bytes());
    }
    // The debug form contains every setting of a format. If it ever changes, stores are rebuilt once.
    let Source { format, encoding, labels, .. } = source;
    let settings = format!("{format:?} {encoding:?} {labels:?} {max_tokens} {}", layout::VERSION);
    hasher.update(tokenizer.fingerprint()).update(settings.as_bytes());
    Ok(*hasher.finalize().as_bytes())
}
