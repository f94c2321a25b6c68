//! The configuration of a data set, in the YAML header of its `README.md`.

use std::fs;
use std::path::{Component, Path};

use serde::Deserialize;

use super::glob;
use crate::error::DataError;

/// The file with the header.
const README: &str = "README.md";

/// The largest README that is read.
const LARGEST: u64 = 16 << 20;

/// The files of a split.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct SplitPatterns {
    pub(super) split: String,
    pub(super) patterns: Vec<String>,
}

/// The files of a data set, as its configuration gives them.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Card {
    /// The folder of the files, inside that of the data set.
    pub(super) folder: Option<String>,
    /// The splits; none if the names of the files decide.
    pub(super) splits: Vec<SplitPatterns>,
}

impl Card {
    /// Checks that the patterns match some of the data set's files, as `datasets` does: one without a special character on
    /// its own, the others of a split together.
    pub(super) fn check(&self, folder: &Path, files: &[String]) -> Result<(), DataError> {
        let is_missing = |pattern: &&String| !files.iter().any(|file| glob::matches(pattern, file));
        for SplitPatterns { split, patterns } in &self.splits {
            let missing: Vec<&String> = patterns.iter().filter(is_missing).collect();
            let is_name = |pattern: &&&String| !pattern.contains(['*', '?', '[']);
            let found = match missing.iter().find(is_name) {
                Some(name) => format!("no data file {name:?} found, expected one for the split {split:?}"),
                None if missing.len() == patterns.len() => {
                    format!("no data file that matches {patterns:?} found, expected one for the split {split:?}")
                }
                None => continue,
            };
            return Err(DataError::DatasetCard { path: folder.join(README), found });
        }
        Ok(())
    }
}

#[derive(Deserialize)]
struct Header {
    #[serde(default)]
    configs: Vec<Config>,
}

#[derive(Deserialize)]
struct Config {
    config_name: String,
    #[serde(default)]
    default: bool,
    data_dir: Option<String>,
    data_files: Option<DataFiles>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum DataFiles {
    Splits(Vec<SplitFiles>),
    Patterns(Patterns),
}

#[derive(Deserialize)]
struct SplitFiles {
    split: String,
    path: Patterns,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Patterns {
    One(String),
    Several(Vec<String>),
}

impl Patterns {
    fn list(self) -> Vec<String> {
        match self {
            Self::One(pattern) => vec![pattern],
            Self::Several(patterns) => patterns,
        }
    }
}

/// Reads the default configuration of a data set.
pub(super) fn read(folder: &Path) -> Result<Card, DataError> {
    let path = folder.join(README);
    if !path.is_file() {
        return Ok(Card::default());
    }
    let failed = |source| DataError::Open { path: path.clone(), source };
    let length = fs::metadata(&path).map_err(failed)?.len();
    let damaged = |found: String| DataError::DatasetCard { path: path.clone(), found };
    if length > LARGEST {
        return Err(damaged(format!("{length} bytes found, expected at most {LARGEST}")));
    }
    let text = fs::read(&path).map_err(failed)?;
    let text = String::from_utf8_lossy(&text);
    let Some(header) = header(&text) else { return Ok(Card::default()) };
    let header: Header = serde_yaml::from_str(header).map_err(|error| damaged(error.to_string()))?;
    let config = default_config(header.configs).map_err(&damaged)?;
    Ok(config.map(Config::card).transpose().map_err(damaged)?.unwrap_or_default())
}

/// Returns the text between the two lines of dashes at the beginning.
fn header(text: &str) -> Option<&str> {
    let text = text.trim_start_matches('\u{feff}').trim_start();
    let rest = text.strip_prefix("---")?.trim_start_matches([' ', '\r']).strip_prefix('\n')?;
    let end = rest.starts_with("---").then_some(0).or_else(|| rest.find("\n---").map(|end| end + 1))?;
    Some(&rest[..end])
}

fn default_config(mut configs: Vec<Config>) -> Result<Option<Config>, String> {
    let names: Vec<String> = configs.iter().map(|config| config.config_name.clone()).collect();
    let marked = configs.iter().position(|config| config.default);
    let place = marked.or_else(|| names.iter().position(|name| name == "default"));
    match (place, configs.len()) {
        (_, 0) => Ok(None),
        (Some(place), _) => Ok(Some(configs.swap_remove(place))),
        (None, 1) => Ok(configs.pop()),
        (None, _) => Err(format!("configurations {names:?} found, expected one of them to be the default")),
    }
}

impl Config {
    fn card(self) -> Result<Card, String> {
        let is_inside = |part| matches!(part, Component::Normal(_) | Component::CurDir);
        if let Some(folder) = &self.data_dir
            && !Path::new(folder).components().all(is_inside)
        {
            return Err(format!("data_dir {folder:?} found, expected a folder inside that of the data set"));
        }
        let splits = match self.data_files {
            None => Vec::new(),
            Some(DataFiles::Patterns(patterns)) => {
                vec![SplitPatterns { split: "train".into(), patterns: patterns.list() }]
            }
            Some(DataFiles::Splits(splits)) => {
                splits.into_iter().map(|it| SplitPatterns { split: it.split, patterns: it.path.list() }).collect()
            }
        };
        Ok(Card { folder: self.data_dir, splits })
    }
}
