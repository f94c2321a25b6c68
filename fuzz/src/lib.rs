//! Shared code of the fuzz targets: inputs of several files, folders of these files, and checks of every article
//! reader.

#[cfg(feature = "torch")]
pub mod torch;

use std::fs;
use std::path::Path;

use nb_data::read::{Article, Format, LabelRule, Row, articles};
use tempfile::TempDir;

/// The separator between the files of an input: a line, so that seeds can be read and written by hand.
const BETWEEN: &[u8] = b"\n====\n";

/// Splits an input into `N` parts. Missing parts are empty; the last one takes the rest.
pub fn parts<const N: usize>(data: &[u8]) -> [&[u8]; N] {
    let mut rest = data;
    std::array::from_fn(|i| {
        let end = rest.windows(BETWEEN.len()).position(|window| window == BETWEEN).filter(|_| i + 1 < N);
        let (part, left) = match end {
            Some(end) => (&rest[..end], &rest[end + BETWEEN.len()..]),
            None => (rest, &[][..]),
        };
        rest = left;
        part
    })
}

/// Creates a folder of these files in `TMPDIR`, which is removed when the value is dropped. `cargo xtask fuzz` sets
/// `TMPDIR` to a folder in memory.
pub fn folder(files: &[(&str, &[u8])]) -> TempDir {
    let folder = tempfile::tempdir().expect("a folder for temporary files");
    files.iter().for_each(|(name, bytes)| write(folder.path(), name, bytes));
    folder
}

/// Writes a file of a folder, replacing an existing one.
pub fn write(folder: &Path, name: &str, bytes: &[u8]) {
    fs::write(folder.join(name), bytes).expect("room for a small file");
}

/// Reads articles and checks the guarantees of their reader. Stops at an error.
pub fn read(data: &[u8], format: &Format, labels: LabelRule) -> Vec<Article> {
    let Ok(rows) = articles(data, "-", format, labels) else {
        return Vec::new();
    };
    let (mut found, mut last) = (Vec::new(), 0);
    for row in rows {
        let line = match row {
            Ok(Row::Article(article)) => {
                assert!(!article.first.trim().is_empty(), "an empty text: {article:?}");
                assert!(article.second.as_ref().is_none_or(|text| !text.trim().is_empty()), "{article:?}");
                assert!(labels == LabelRule::Optional || article.label.is_some(), "no label: {article:?}");
                found.push(article);
                found[found.len() - 1].line
            }
            Ok(Row::Skipped(row)) => row.line,
            Err(_) => break,
        };
        assert!(line > last, "line {line} after line {last}");
        last = line;
    }
    found
}
