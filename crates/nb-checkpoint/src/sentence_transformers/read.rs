//! Reads how a sentence-transformers folder turns its encoder's states into a vector.

use std::path::Path;

use serde_json::{Map, Value};

use super::dense::SentenceDense;
use super::json::{check_names, read_config, read_json, wrong_value};
use super::library::check_library;
use super::list::{Chain, Module};
use crate::config::BertConfig;
use crate::error::CheckpointError;
use crate::files::{CONFIG_FILE, SENTENCE_FILE};
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
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SentenceModules {
    /// Pooling of the token states.
    pub pooling: PoolingKind,
    /// The layers from the pooled vectors to vectors, in order.
    pub dense: Vec<SentenceDense>,
    /// True if the vectors are divided by their lengths.
    pub normalize: bool,
    /// Longest sequence in tokens, if `sentence_bert_config.json` limits it.
    pub max_tokens: Option<usize>,
}

impl SentenceModules {
    /// Reads the modules of a folder; `None` if it has no `modules.json`. The encoder comes first and lies in the folder
    /// itself, then the pooling, then any number of Dense modules, then nothing or a normalisation. Dropout is skipped.
    ///
    /// The vectors are those of the library's `encode`: a folder whose settings change them in another way is refused.
    ///
    /// # Errors
    /// If a file cannot be read, if a key has a value of another type, if the widths of Dense modules do not fit each other
    /// or the encoder, or if a module is one that this project has no counterpart of: another pooling than `mean` and `cls`,
    /// another activation than those of [`DenseActivation`](crate::DenseActivation), a module other than `Transformer`,
    /// `Pooling`, `Dense`, `Dropout` and `Normalize`, or these in another order. Also if
    /// `config_sentence_transformers.json` has a default prompt or truncates vectors.
    pub fn read(folder: &Path) -> Result<Option<Self>, CheckpointError> {
        let Some(Chain { pooling, dense, normalize }) = Chain::read(folder)? else { return Ok(None) };
        check_library(folder)?;
        if let Some(normalize) = &normalize {
            check_normalize(folder, normalize)?;
        }
        Ok(Some(Self {
            pooling: read_pooling(&folder.join(&pooling.path).join(CONFIG_FILE))?,
            dense: read_dense(folder, &dense)?,
            normalize: normalize.is_some(),
            max_tokens: max_tokens(&folder.join(SENTENCE_FILE))?,
        }))
    }
}

/// Reads Dense modules, each of which must fit the vectors before it.
fn read_dense(folder: &Path, modules: &[Module]) -> Result<Vec<SentenceDense>, CheckpointError> {
    if modules.is_empty() {
        return Ok(Vec::new()); // the width of the encoder does not matter
    }
    let mut width = BertConfig::read(&folder.join(CONFIG_FILE))?.hidden_size.unsigned_abs() as usize;
    let mut layers: Vec<SentenceDense> = Vec::with_capacity(modules.len());
    for module in modules {
        let layer = SentenceDense::read(folder.join(&module.path), width)?;
        width = layer.outputs;
        layers.push(layer);
    }
    Ok(layers)
}

/// Reads the pooling mode: the flags `pooling_mode_…` of older versions, or one word in newer ones.
fn read_pooling(path: &Path) -> Result<PoolingKind, CheckpointError> {
    let config = read_config(path)?;
    let modes = match config.get("pooling_mode") {
        None => flags(path, &config)?,
        Some(Value::String(mode)) => vec![mode.as_str()],
        Some(other) => {
            let modes = other.as_array().and_then(|list| list.iter().map(Value::as_str).collect());
            modes.ok_or_else(|| wrong_value(path, "pooling_mode", other, "a word or a list of words"))?
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
            other => return Err(wrong_value(path, key, other, "true or false")),
        }
    }
    Ok(modes)
}

/// Refuses a normalisation of something other than the pooled vector. Older versions write no configuration for it.
fn check_normalize(folder: &Path, module: &Module) -> Result<(), CheckpointError> {
    if !module.has_plain_path() {
        return Ok(()); // without a folder of its own, it has no configuration
    }
    let path = folder.join(&module.path).join(CONFIG_FILE);
    check_names(&path, &read_json(&path)?.unwrap_or_default())
}

/// Reads the longest sequence of the encoder's settings.
fn max_tokens(path: &Path) -> Result<Option<usize>, CheckpointError> {
    const KEY: &str = "max_seq_length";
    let config = read_json::<Map<String, Value>>(path)?.unwrap_or_default();
    match config.get(KEY) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => match value.as_u64().and_then(|most| usize::try_from(most).ok()).filter(|&most| most > 0) {
            Some(most) => Ok(Some(most)),
            None => Err(wrong_value(path, KEY, value, "a whole number above 0, or null")),
        },
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::files::{MODULES_FILE, POOLING_FILE};

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
        let cls = SentenceModules { pooling: PoolingKind::Cls, dense: vec![], normalize: false, max_tokens: None };
        assert_eq!(read(flags, ""), Ok(Some(cls)));
        let normalize = r#", {"path": "2_Normalize", "type": "x.y.Normalize"}"#;
        assert_eq!(
            read(r#"{"pooling_mode": "mean", "include_prompt": true}"#, normalize),
            Ok(Some(SentenceModules { pooling: PoolingKind::Mean, dense: vec![], normalize: true, max_tokens: None }))
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
        for class in ["LayerNorm", "Router", "Asym", "StaticEmbedding", "CNN", "LSTM", "WeightedLayerPooling"] {
            let module = format!(r#", {{"path": "2_{class}", "type": "sentence_transformers.models.{class}"}}"#);
            let error = read(r#"{"pooling_mode": "mean"}"#, &module).unwrap_err();
            assert!(error.contains("modules.json") && error.contains(&format!("the module `{class}`")), "{error}");
        }
        for mode in ["max", "mean_sqrt_len_tokens", "weightedmean", "lasttoken"] {
            let error = read(&format!(r#"{{"pooling_mode": "{mode}"}}"#), "").unwrap_err();
            assert!(error.contains(&format!("the pooling mode `{mode}`, expected mean or cls")), "{error}");
        }
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
        let (dense, dropout) = (("d", "Dense"), ("", "Dropout"));
        for modules in [&[encoder, pooling, dropout, normalize][..], &[encoder, pooling, normalize, dropout]] {
            assert!(read(modules).unwrap().unwrap().normalize);
        }
        let wrong: [(&[_], &str); 11] = [
            (&[], "the modules []"),
            (&[encoder], "the modules [Transformer]"),
            (&[pooling, encoder], "the modules [Pooling, Transformer]"),
            (&[encoder, normalize, pooling], "the modules [Transformer, Normalize, Pooling]"),
            (&[encoder, pooling, pooling], "the modules [Transformer, Pooling, Pooling]"),
            (&[("0_Transformer", "Transformer"), pooling], "the encoder at the path `0_Transformer`"),
            (&[encoder, dense, pooling], "the modules [Transformer, Dense, Pooling]"),
            (&[encoder, dropout, pooling], "the modules [Transformer, Dropout, Pooling]"),
            (&[encoder, pooling, normalize, dense], "the modules [Transformer, Pooling, Normalize, Dense]"),
            (&[encoder, pooling, normalize, normalize], "the modules [Transformer, Pooling, Normalize, Normalize]"),
            (&[encoder, pooling, ("../d", "Dense")], "the path `../d`, expected a folder inside this one"),
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
