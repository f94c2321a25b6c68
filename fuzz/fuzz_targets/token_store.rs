//! Token stores. The key and the checksum of the input are corrected first: otherwise no store would be read.
#![no_main]

use std::fs;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use nb_data::read::{Field, Format, Source};
use nb_data::store::Origin;
use nb_data::{DataError, TokenStore, Tokenizer};
use nb_fuzz::folder;
use tempfile::TempDir;

/// Positions in a store, as documented in `nb-data/src/store/layout.rs`.
const KEY: Range<usize> = 16..48;
const CHECKSUM: Range<usize> = 48..80;

struct Place {
    _folder: TempDir,
    source: Source,
    tokenizer: Tokenizer,
    cache: PathBuf,
    /// The store's file, and the valid content for the source.
    path: PathBuf,
    good: Vec<u8>,
}

static PLACE: LazyLock<Place> = LazyLock::new(|| {
    let news = b"N1\tsports\tx\tA goal\tin Paris\nN2\tweather\tx\tRain\t\n";
    let folder = folder(&[("news.tsv", news), ("vocab.txt", b"[PAD]\n[UNK]\n[CLS]\n[SEP]\na\ngoal\nin\nrain\n")]);
    let cache = folder.path().join("cache");
    let source = Source::labelled(
        folder.path().join("news.tsv"),
        Format::MindNews { fields: vec![Field::Title, Field::Abstract] },
    );
    let tokenizer = Tokenizer::from_folder(folder.path()).expect("a vocabulary");
    let path = TokenStore::open_or_build(&cache, &source, &tokenizer, 8).expect("a store").path().to_owned();
    let good = fs::read(&path).expect("a store just written");
    let place = Place { _folder: folder, source, tokenizer, cache, path, good };
    assert_eq!(place.open(&place.good).expect("a store").origin(), &Origin::Found, "key or checksum have moved");
    place
});

fuzz_target!(|data: &[u8]| {
    // This fails if the store claims that too many rows of its source were skipped.
    let Ok(store) = PLACE.open(data) else { return };
    for i in 0..store.len() {
        let _ = (store.label(i), store.line(i), store.id(i), store.length(i), store.skipped().to_string());
    }
    let rows: Vec<u32> = (0..store.len() as u32).collect();
    assert!(!rows.is_empty());
    assert_eq!(store.batch(&rows).lengths.len(), rows.len());
});

impl Place {
    /// Opens these bytes as a store after correcting key and checksum; if they are not a valid store, one is built from
    /// the source.
    fn open(&self, bytes: &[u8]) -> Result<TokenStore, DataError> {
        let mut bytes = bytes.to_vec();
        if bytes.len() >= CHECKSUM.end {
            bytes[KEY].copy_from_slice(&self.good[KEY]);
            bytes[CHECKSUM].fill(0);
            let checksum = blake3::hash(&bytes);
            bytes[CHECKSUM].copy_from_slice(checksum.as_bytes());
        }
        // Writes a new file, because a mapped one must not change.
        let _ = fs::remove_file(&self.path);
        fs::write(&self.path, bytes).expect("room for a small file");
        TokenStore::open_or_build(&self.cache, &self.source, &self.tokenizer, 8)
    }
}
