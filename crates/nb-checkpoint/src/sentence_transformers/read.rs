//! Reads how a sentence-transformers folder turns its encoder's states into a vector.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::error::CheckpointError;
use crate::files::{CONFIG_FILE, MODULES_FILE, SENTENCE_FILE, is_plain_name};
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
/// std::fs::write(folder.path().join("sentence_bert_config.json"), r#"{"max_seq_length": 256}"#)?;
/// let found = SentenceModules::read(folder.path())?.unwrap();
/// assert_eq!((found.pooling, found.normalize, found.max_tokens), (PoolingKind::Mean, true, Some(256)));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SentenceModules {
    /// Pooling of the token states.
    pub pooling: PoolingKind,
    /// True if the vectors are divided by their lengths.
    pub normalize: bool,
    /// Longest sequence in tokens, if `sentence_bert_config.json` limits it.
    pub max_tokens: Option<usize>,
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

    /// Returns true if the module's path stays in the folder.
    fn has_plain_path(&self) -> bool {
        self.path.split('/').all(is_plain_name)
    }
}

impl SentenceModules {
    /// Reads the modules of a folder; `None` if it has no `modules.json`. The encoder comes first and lies in the folder
    /// itself, then the pooling, then nothing or a normalisation.
    ///
    /// # Errors
    /// If a file cannot be read, if a key has a value of another type, or if a module is one that this project has no
    /// counterpart of: another pooling than `mean` and `cls`, a module other than `Transformer`, `Pooling` and
    /// `Normalize`, or these in another order.
    pub fn read(folder: &Path) -> Result<Option<Self>, CheckpointError> {
        let path = folder.join(MODULES_FILE);
        let Some(modules) = read_json::<Vec<Module>>(&path)? else { return Ok(None) };
        let pooling = match &modules[..] {
            [encoder, pooling] | [encoder, pooling, _] if is_encoder(encoder) && is_pooling(pooling) => pooling,
            _ => return Err(unsupported(path, &modules)),
        };
        let normalize = match modules.get(2) {
            None => false,
            Some(last) if last.class_name() == "Normalize" => {
                check_normalize(folder, last)?;
                true
            }
            Some(_) => return Err(unsupported(path, &modules)),
        };
        let pooling = read_pooling(&folder.join(&pooling.path).join(CONFIG_FILE))?;
        Ok(Some(Self { pooling, normalize, max_tokens: max_tokens(&folder.join(SENTENCE_FILE))? }))
    }
}

/// Returns the configuration files of the modules after the encoder, relative to the folder; none if `modules.json` is
/// missing or damaged, which [`SentenceModules::read`] reports.
pub fn module_configs(folder: &Path) -> Vec<String> {
    let modules = read_json::<Vec<Module>>(&folder.join(MODULES_FILE)).ok().flatten().unwrap_or_default();
    let modules = modules.iter().filter(|module| ["Pooling", "Normalize"].contains(&module.class_name()));
    modules.filter(|module| module.has_plain_path()).map(|module| format!("{}/{CONFIG_FILE}", module.path)).collect()
}

fn is_encoder(module: &Module) -> bool {
    module.class_name() == "Transformer" && module.path.is_empty()
}

fn is_pooling(module: &Module) -> bool {
    module.class_name() == "Pooling" && module.has_plain_path()
}

/// Returns the error for a list of modules that this project does not compute. It names the first module that does not fit.
fn unsupported(path: PathBuf, modules: &[Module]) -> CheckpointError {
    const EXPECTED: &str = "expected Transformer, Pooling and Normalize";
    let is_unknown = |module: &&Module| !["Transformer", "Pooling", "Normalize"].contains(&module.class_name());
    let found = if let Some(module) = modules.iter().find(is_unknown) {
        format!("the module `{}`, {EXPECTED}", module.class_name())
    } else if let Some(Module { path, .. }) =
        modules.first().filter(|first| first.class_name() == "Transformer" && !first.path.is_empty())
    {
        format!("the encoder at the path `{path}`, expected it in the folder itself, with the path ``")
    } else if let Some(Module { path, .. }) =
        modules.get(1).filter(|second| second.class_name() == "Pooling" && !second.has_plain_path())
    {
        format!("the path `{path}`, expected a folder inside this one")
    } else {
        let names: Vec<&str> = modules.iter().map(Module::class_name).collect();
        format!("the modules [{}], {EXPECTED}, in this order", names.join(", "))
    };
    CheckpointError::Module { path, found }
}

/// Reads the pooling mode: the flags `pooling_mode_…` of older versions, or one word in newer ones.
fn read_pooling(path: &Path) -> Result<PoolingKind, CheckpointError> {
    let Some(config) = read_json::<Map<String, Value>>(path)? else {
        return Err(CheckpointError::io("cannot read", path)(ErrorKind::NotFound.into()));
    };
    let modes = match config.get("pooling_mode") {
        None => flags(path, &config)?,
        Some(Value::String(mode)) => vec![mode.as_str()],
        Some(other) => {
            let modes = other.as_array().and_then(|list| list.iter().map(Value::as_str).collect());
            modes.ok_or_else(|| wrong_type(path, "pooling_mode", other, "a word or a list of words"))?
        }
    };
    match modes[..] {
        ["mean_tokens" | "mean"] | [] => Ok(PoolingKind::Mean), // without a mode, the library takes the mean
        ["cls_token" | "cls"] => Ok(PoolingKind::Cls),
        _ => Err(CheckpointError::Module {
            path: path.to_owned(),
            found: format!("the pooling mode `{}`, expected mean or cls", modes.join(", ")),
        }),
    }
}

/// Returns the modes whose flags are set.
fn flags<'a>(path: &Path, config: &'a Map<String, Value>) -> Result<Vec<&'a str>, CheckpointError> {
    let mut modes = Vec::new();
    for (key, value) in config {
        let Some(mode) = key.strip_prefix("pooling_mode_") else { continue };
        match value {
            Value::Bool(true) => modes.push(mode),
            Value::Bool(false) => {}
            other => return Err(wrong_type(path, key, other, "true or false")),
        }
    }
    Ok(modes)
}

/// Refuses a normalisation of something other than the pooled vector. Older versions write no configuration for it.
fn check_normalize(folder: &Path, module: &Module) -> Result<(), CheckpointError> {
    const VECTOR: &str = "sentence_embedding";
    if !module.has_plain_path() {
        return Ok(()); // without a folder of its own, it has no configuration
    }
    let path = folder.join(&module.path).join(CONFIG_FILE);
    let config = read_json::<Map<String, Value>>(&path)?.unwrap_or_default();
    for key in ["module_input_name", "module_output_name"] {
        match config.get(key) {
            None | Some(Value::Null) => {}
            Some(name) if name == VECTOR => {}
            Some(other) => return Err(wrong_type(&path, key, other, &format!("`{VECTOR}`"))),
        }
    }
    Ok(())
}

/// Reads the longest sequence of the encoder's settings.
fn max_tokens(path: &Path) -> Result<Option<usize>, CheckpointError> {
    const KEY: &str = "max_seq_length";
    let config = read_json::<Map<String, Value>>(path)?.unwrap_or_default();
    match config.get(KEY) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => match value.as_u64().and_then(|most| usize::try_from(most).ok()).filter(|&most| most > 0) {
            Some(most) => Ok(Some(most)),
            None => Err(wrong_type(path, KEY, value, "a whole number above 0, or null")),
        },
    }
}

fn wrong_type(path: &Path, key: &str, found: &Value, expected: &str) -> CheckpointError {
    CheckpointError::Module { path: path.to_owned(), found: format!("`{key}`: {found}, expected {expected}") }
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
        outcome(folder.path())
    }

    fn outcome(folder: &Path) -> Result<Option<SentenceModules>, String> {
        SentenceModules::read(folder).map_err(|error| {
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
        let cls = SentenceModules { pooling: PoolingKind::Cls, normalize: false, max_tokens: None };
        assert_eq!(read(flags, ""), Ok(Some(cls)));
        let normalize = r#", {"path": "2_Normalize", "type": "x.y.Normalize"}"#;
        assert_eq!(
            read(r#"{"pooling_mode": "mean", "include_prompt": true}"#, normalize),
            Ok(Some(SentenceModules { pooling: PoolingKind::Mean, normalize: true, max_tokens: None }))
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

    /// The modules of a folder with these files.
    fn read_files(files: &[(&str, &str)]) -> Result<Option<SentenceModules>, String> {
        let folder = tempfile::tempdir().unwrap();
        for (name, content) in files {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
        outcome(folder.path())
    }

    #[test]
    fn the_pooling_is_where_the_list_says() {
        let modules = |path: &str| {
            format!(r#"[{{"path": "", "type": "a.Transformer"}}, {{"path": "{path}", "type": "a.Pooling"}}]"#)
        };
        let (cls, mean) = (r#"{"pooling_mode": "cls"}"#, r#"{"pooling_mode": "mean"}"#);
        for path in ["7_Pooling", "modules/pool"] {
            let config = format!("{path}/config.json");
            let files = [(MODULES_FILE, modules(path)), (&config, cls.to_owned()), (POOLING_FILE, mean.to_owned())];
            let found = read_files(&files.each_ref().map(|(name, content)| (*name, content.as_str())));
            assert_eq!(found.map(|modules| modules.unwrap().pooling), Ok(PoolingKind::Cls), "{path}");
        }
        for path in ["..", "../x", "/etc", "a//b", "", ".hidden"] {
            let error = read_files(&[(MODULES_FILE, &modules(path))]).unwrap_err();
            assert!(error.contains(&format!("the path `{path}`, expected a folder inside this one")), "{error}");
        }
    }

    #[test]
    fn another_order_of_modules_is_refused() {
        let read = |modules: &[(&str, &str)]| {
            let entry = |(path, class): &(&str, &str)| format!(r#"{{"path": "{path}", "type": "a.{class}"}}"#);
            let list = modules.iter().map(entry).collect::<Vec<_>>().join(", ");
            read_files(&[(MODULES_FILE, &format!("[{list}]")), ("p/config.json", "{}")])
        };
        let (encoder, pooling, normalize) = (("", "Transformer"), ("p", "Pooling"), ("n", "Normalize"));
        assert!(read(&[encoder, pooling, normalize]).unwrap().unwrap().normalize);
        let wrong: [(&[_], &str); 6] = [
            (&[], "the modules []"),
            (&[encoder], "the modules [Transformer]"),
            (&[pooling, encoder], "the modules [Pooling, Transformer]"),
            (&[encoder, normalize, pooling], "the modules [Transformer, Normalize, Pooling]"),
            (&[encoder, pooling, pooling], "the modules [Transformer, Pooling, Pooling]"),
            (&[("0_Transformer", "Transformer"), pooling], "the encoder at the path `0_Transformer`"),
        ];
        for (modules, found) in wrong {
            let error = read(modules).unwrap_err();
            assert!(error.contains("modules.json") && error.contains(found), "{error}");
        }
        let other = r#"{"module_input_name": "token_embeddings"}"#;
        let list = r#"[{"path": "", "type": "Transformer"}, {"path": "p", "type": "Pooling"}, {"path": "n", "type": "Normalize"}]"#;
        let error = read_files(&[(MODULES_FILE, list), ("p/config.json", "{}"), ("n/config.json", other)]).unwrap_err();
        assert!(error.contains(r#"`module_input_name`: "token_embeddings", expected `sentence_embedding`"#), "{error}");
    }

    #[test]
    fn a_value_of_another_type_is_refused_with_its_key() {
        for (config, found) in [
            (r#"{"pooling_mode_cls_token": 1}"#, "`pooling_mode_cls_token`: 1, expected true or false"),
            (r#"{"pooling_mode_max_tokens": "false"}"#, "`pooling_mode_max_tokens`: \"false\", expected true or false"),
            (r#"{"pooling_mode": true}"#, "`pooling_mode`: true, expected a word or a list of words"),
            (r#"{"pooling_mode": ["cls", null]}"#, "`pooling_mode`: [\"cls\",null], expected a word"),
        ] {
            let error = read(config, "").unwrap_err();
            assert!(error.contains("1_Pooling/config.json") && error.contains(found), "{error}");
        }
    }

    #[test]
    fn the_longest_sequence_is_read() {
        let list = r#"[{"path": "", "type": "Transformer"}, {"path": "p", "type": "Pooling"}]"#;
        let read = |settings: &str| {
            let found = read_files(&[(MODULES_FILE, list), ("p/config.json", "{}"), (SENTENCE_FILE, settings)]);
            found.map(|modules| modules.unwrap().max_tokens)
        };
        assert_eq!(read(r#"{"max_seq_length": 128, "do_lower_case": false}"#), Ok(Some(128)));
        assert_eq!((read("{}"), read(r#"{"max_seq_length": null}"#)), (Ok(None), Ok(None)));
        for wrong in ["0", "-1", "1.5", "\"128\"", "true", "1e30"] {
            let error = read(&format!(r#"{{"max_seq_length": {wrong}}}"#)).unwrap_err();
            assert!(error.contains("sentence_bert_config.json: found `max_seq_length`"), "{error}");
        }
    }
}
