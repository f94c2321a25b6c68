//! The files by which a sentence-transformers folder says how its encoder's states become a vector.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::error::CheckpointError;
use crate::files::{CONFIG_FILE, MODULES_FILE, is_plain_name};
use crate::head::PoolingKind;

/// The modules of a sentence-transformers folder after its encoder, as `modules.json` lists them.
///
/// ```
/// use nb_checkpoint::{PoolingKind, SentenceModules};
/// let folder = tempfile::tempdir()?;
/// assert_eq!(SentenceModules::read(folder.path())?, None); // not a sentence-transformers folder
/// std::fs::create_dir(folder.path().join("1_Pooling"))?;
/// std::fs::write(folder.path().join("1_Pooling/config.json"), r#"{"pooling_mode_mean_tokens": true}"#)?;
/// let modules = r#"[{"path": "", "type": "sentence_transformers.models.Transformer"},
///     {"path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
///     {"path": "2_Normalize", "type": "sentence_transformers.models.Normalize"}]"#;
/// std::fs::write(folder.path().join("modules.json"), modules)?;
/// let found = SentenceModules::read(folder.path())?.unwrap();
/// assert_eq!((found.pooling, found.normalize), (PoolingKind::Mean, true));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SentenceModules {
    /// Pooling of the token states.
    pub pooling: PoolingKind,
    /// True if the vectors are divided by their lengths.
    pub normalize: bool,
}

/// An entry of `modules.json`.
#[derive(Debug, Deserialize)]
struct Module {
    path: String,
    #[serde(rename = "type")]
    class: String,
}

impl Module {
    /// The name of the class without its Python module, which differs among versions.
    fn class_name(&self) -> &str {
        self.class.rsplit('.').next().unwrap_or_default()
    }
}

impl SentenceModules {
    /// Reads the modules of a folder; `None` if it has no `modules.json`.
    ///
    /// # Errors
    /// If a file cannot be read, or if a module is one that this project has no counterpart of: another pooling than
    /// `mean` and `cls`, or a module other than `Transformer`, `Pooling` and `Normalize`.
    pub fn read(folder: &Path) -> Result<Option<Self>, CheckpointError> {
        let path = folder.join(MODULES_FILE);
        let Some(modules) = read_json::<Vec<Module>>(&path)? else { return Ok(None) };
        let mut found = Self { pooling: PoolingKind::Mean, normalize: false };
        for module in modules {
            match module.class_name() {
                "Transformer" => {}
                "Pooling" if is_plain_name(&module.path) => {
                    found.pooling = pooling(&folder.join(&module.path).join(CONFIG_FILE))?;
                }
                "Normalize" => found.normalize = true,
                other => {
                    return Err(CheckpointError::Module {
                        found: format!("the module `{other}`, expected Transformer, Pooling and Normalize"),
                        path,
                    });
                }
            }
        }
        Ok(Some(found))
    }
}

/// Reads the pooling mode: the flags `pooling_mode_…` of older versions, or one word in newer ones.
fn pooling(path: &Path) -> Result<PoolingKind, CheckpointError> {
    let Some(config) = read_json::<Map<String, Value>>(path)? else {
        return Err(CheckpointError::io("cannot read", path)(ErrorKind::NotFound.into()));
    };
    const FLAG: &str = "pooling_mode_";
    let is_set = |(key, value): (&String, &Value)| {
        let mode = key.strip_prefix(FLAG)?;
        (value == &Value::Bool(true)).then(|| mode.to_owned())
    };
    let mut modes: Vec<String> = config.iter().filter_map(is_set).collect();
    match config.get("pooling_mode") {
        Some(Value::String(mode)) => modes = vec![mode.clone()],
        Some(Value::Array(list)) => modes = list.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
        _ => {}
    }
    match modes.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["mean_tokens" | "mean"] | [] => Ok(PoolingKind::Mean), // without a mode, the library takes the mean
        ["cls_token" | "cls"] => Ok(PoolingKind::Cls),
        _ => Err(CheckpointError::Module {
            path: path.to_owned(),
            found: format!("the pooling mode `{}`, expected mean or cls", modes.join(", ")),
        }),
    }
}

/// Reads a JSON file; `None` if it does not exist.
fn read_json<T: for<'de> Deserialize<'de>>(path: &Path) -> Result<Option<T>, CheckpointError> {
    match fs::read_to_string(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(CheckpointError::io("cannot read", path)(error)),
        Ok(text) => match serde_json::from_str(&text) {
            Ok(value) => Ok(Some(value)),
            Err(source) => Err(CheckpointError::Json { path: path.to_owned(), source }),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::POOLING_FILE;

    /// The modules of a folder with a pooling module whose configuration is `config`.
    fn read(config: &str, last: &str) -> Result<Option<SentenceModules>, String> {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("1_Pooling")).unwrap();
        fs::write(folder.path().join(POOLING_FILE), config).unwrap();
        let modules = format!(
            r#"[{{"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"}},
            {{"idx": 1, "name": "1", "path": "1_Pooling", "type": "a.Pooling"}}{last}]"#
        );
        fs::write(folder.path().join(MODULES_FILE), modules).unwrap();
        SentenceModules::read(folder.path()).map_err(|error| {
            let mut text = error.to_string();
            let mut source = std::error::Error::source(&error);
            while let Some(cause) = source {
                text += &format!(": {cause}");
                source = cause.source();
            }
            text
        })
    }

    #[test]
    fn pooling_and_normalisation_are_read_from_flags_and_words() {
        let flags =
            r#"{"word_embedding_dimension": 8, "pooling_mode_cls_token": true, "pooling_mode_mean_tokens": false}"#;
        let cls = SentenceModules { pooling: PoolingKind::Cls, normalize: false };
        assert_eq!(read(flags, ""), Ok(Some(cls)));
        let normalize = r#", {"path": "2_Normalize", "type": "x.y.Normalize"}"#;
        assert_eq!(
            read(r#"{"pooling_mode": "mean", "include_prompt": true}"#, normalize),
            Ok(Some(SentenceModules { pooling: PoolingKind::Mean, normalize: true }))
        );
    }

    #[test]
    fn a_list_of_one_mode_is_that_mode_and_none_is_the_mean() {
        let of = |config| read(config, "").map(|modules| modules.unwrap().pooling);
        assert_eq!(of(r#"{"pooling_mode": ["cls"]}"#), Ok(PoolingKind::Cls));
        assert_eq!(of(r#"{"word_embedding_dimension": 8}"#), Ok(PoolingKind::Mean));
        let error = of(r#"{"pooling_mode": ["cls", "mean"]}"#).unwrap_err();
        assert!(error.contains("`cls, mean`, expected mean or cls"), "{error}");
    }

    #[test]
    fn what_this_project_cannot_compute_is_refused_by_name() {
        let error = read(r#"{"pooling_mode_max_tokens": true}"#, "").unwrap_err();
        assert!(error.contains("config.json") && error.contains("`max_tokens`, expected mean or cls"), "{error}");
        let error = read(r#"{"pooling_mode_cls_token": true, "pooling_mode_mean_tokens": true}"#, "").unwrap_err();
        assert!(error.contains("`cls_token, mean_tokens`"), "{error}");
        let error = read(r#"{"pooling_mode": "mean"}"#, r#", {"path": "2_Dense", "type": "a.Dense"}"#).unwrap_err();
        assert!(error.contains("modules.json") && error.contains("`Dense`"), "{error}");
        let error = read("[", "").unwrap_err();
        assert!(error.contains("1_Pooling"), "{error}");
    }
}
