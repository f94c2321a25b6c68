//! Data sets of the Hugging Face Hub in a folder: the files of a split, as `datasets.load_dataset(folder, split=…)` finds
//! them. Nothing is downloaded, and files whose names end in no known format are ignored.

mod card;
mod glob;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use card::SplitPatterns;

use crate::error::DataError;

/// Words in the names of files and folders that show their split.
const KEYWORDS: [(&str, &[&str]); 3] = [
    ("train", &["train", "training"]),
    ("validation", &["validation", "valid", "dev", "val"]),
    ("test", &["test", "testing", "eval", "evaluation"]),
];

/// The formats of data files, by extension.
const FORMATS: [&[&str]; 5] = [&["parquet"], &["jsonl", "json", "ndjson"], &["csv"], &["tsv"], &["txt"]];

/// Files that are never data.
const IGNORED: [&str; 6] =
    ["README.md", "config.json", "dataset_info.json", "dataset_infos.json", "dummy_data.zip", "dataset_dict.json"];

/// The deepest folder that is searched.
const MOST_DEPTH: usize = 32;

/// Returns the files of a split of a data set, in the order in which `datasets` reads them.
///
/// The first of these that applies decides: the default configuration in the header of `README.md`
/// (`configs`: `data_files`, `data_dir`); files such as `data/train-00000-of-00002.parquet`; folders, then files whose names
/// contain a split's name or a synonym (`training`; `valid`, `dev`, `val`; `testing`, `eval`, `evaluation`); all files, which
/// are the split `train`. If the files have several formats, the most frequent one counts.
///
/// ```
/// use nb_data::read::dataset_files;
/// let folder = tempfile::tempdir()?;
/// for name in ["train_1.csv", "train_0.csv", "dev.csv", "notes.md"] {
///     std::fs::write(folder.path().join(name), "label,text\n")?;
/// }
/// let files = dataset_files(folder.path(), "train")?;
/// assert_eq!(files, ["train_0.csv", "train_1.csv"].map(|name| folder.path().join(name)));
/// assert!(dataset_files(folder.path(), "test").is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// If the folder cannot be read, its header is invalid or names files that do not exist, or it has no file of this split.
pub fn dataset_files(folder: &Path, split: &str) -> Result<Vec<PathBuf>, DataError> {
    let card = card::read(folder)?;
    let inside = card.folder.as_deref();
    let base = inside.map_or_else(|| folder.to_owned(), |inside| folder.join(inside));
    let files = files_of(&base)?;
    card.check(folder, &files)?;
    let splits = if card.splits.is_empty() { splits_by_name(&files) } else { card.splits };
    let resolved: Vec<(&str, Vec<&str>)> =
        splits.iter().map(|it| (it.split.as_str(), resolve(&it.patterns, &files))).collect();
    let format = most_frequent(resolved.iter().flat_map(|(_, files)| files));
    let found = resolved.iter().find(|(name, _)| *name == split).map(|(_, files)| files);
    let files: Vec<PathBuf> =
        found.into_iter().flatten().filter(|file| format_of(file) == format).map(|file| base.join(file)).collect();
    if files.is_empty() {
        let found = splits.into_iter().map(|it| it.split).collect();
        return Err(DataError::NoSplit { folder: folder.to_owned(), split: split.to_owned(), found });
    }
    Ok(files)
}

/// Returns the data files of a folder, relative to it and with `/`, in ascending order.
fn files_of(folder: &Path) -> Result<Vec<String>, DataError> {
    let mut files = Vec::new();
    collect(folder, "", 0, &mut files).map_err(|source| DataError::Open { path: folder.to_owned(), source })?;
    files.sort_unstable();
    Ok(files)
}

fn collect(folder: &Path, prefix: &str, depth: usize, files: &mut Vec<String>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let Ok(name) = entry.file_name().into_string() else { continue };
        let (path, relative) = (entry.path(), format!("{prefix}{name}"));
        // Links to files are common in the hub's cache; links to folders may form a circle.
        if entry.file_type()?.is_dir() {
            if depth < MOST_DEPTH {
                collect(&path, &format!("{relative}/"), depth + 1, files)?;
            }
        } else if path.is_file() && !IGNORED.contains(&name.as_str()) && format_of(&name).is_some() {
            files.push(relative);
        }
    }
    Ok(())
}

/// Returns the format that one of a file's extensions names.
fn format_of(file: &str) -> Option<usize> {
    let name = file.rsplit('/').next().unwrap_or(file);
    name.split('.').skip(1).find_map(|extension| FORMATS.iter().position(|format| format.contains(&extension)))
}

fn most_frequent<'a>(files: impl Iterator<Item = &'a &'a str>) -> Option<usize> {
    let mut counts = [0_usize; FORMATS.len()];
    files.filter_map(|file| format_of(file)).for_each(|format| counts[format] += 1);
    (0..FORMATS.len()).rev().max_by_key(|&format| counts[format]).filter(|&format| counts[format] > 0)
}

/// Returns the files that match the patterns, in the order of the patterns, each once.
fn resolve<'a>(patterns: &[String], files: &'a [String]) -> Vec<&'a str> {
    let mut found: Vec<&str> = Vec::new();
    for pattern in patterns {
        let new: Vec<&str> = files
            .iter()
            .map(String::as_str)
            .filter(|file| glob::matches(pattern, file) && !found.contains(file))
            .collect();
        found.extend(new);
    }
    found
}

/// Returns the splits that the names of files and folders show.
fn splits_by_name(files: &[String]) -> Vec<SplitPatterns> {
    let matching = |patterns: &[String]| patterns.iter().any(|it| files.iter().any(|file| glob::matches(it, file)));
    let sharded: Vec<String> = files.iter().filter_map(|file| sharded_split(file)).collect();
    if !sharded.is_empty() {
        let mut splits = sharded;
        splits.sort_unstable();
        splits.dedup();
        let digits = "[0-9]".repeat(5);
        let pattern = |split: &String| vec![format!("data/{split}-{digits}-of-{digits}*.*")];
        return splits.into_iter().map(|split| SplitPatterns { patterns: pattern(&split), split }).collect();
    }
    const BETWEEN: &str = "[-._ 0-9]";
    let folder = |word: &&str| {
        [
            format!("**/{word}/**"),
            format!("**/{word}{BETWEEN}*/**"),
            format!("**/*{BETWEEN}{word}/**"),
            format!("**/*{BETWEEN}{word}{BETWEEN}*/**"),
        ]
    };
    let file = |word: &&str| [format!("**/{word}{BETWEEN}*"), format!("**/*{BETWEEN}{word}{BETWEEN}*")];
    let by_folder = KEYWORDS.map(|(split, words)| (split, words.iter().flat_map(folder).collect::<Vec<_>>()));
    let by_file = KEYWORDS.map(|(split, words)| (split, words.iter().flat_map(file).collect::<Vec<_>>()));
    for patterns in [by_folder, by_file] {
        let splits: Vec<SplitPatterns> = patterns
            .into_iter()
            .filter(|(_, patterns)| matching(patterns))
            .map(|(split, patterns)| SplitPatterns { split: split.to_owned(), patterns })
            .collect();
        if !splits.is_empty() {
            return splits;
        }
    }
    vec![SplitPatterns { split: "train".to_owned(), patterns: vec!["**".to_owned()] }]
}

/// Returns `train` of `data/train-00000-of-00002.parquet`.
fn sharded_split(file: &str) -> Option<String> {
    let digits = "[0-9]".repeat(5);
    if !glob::matches(&format!("data/*-{digits}-of-{digits}*.*"), file) {
        return None;
    }
    let name = file.strip_prefix("data/")?;
    let of = name.rfind("-of-")?;
    Some(name.get(..of.checked_sub(6)?)?.to_owned())
}
