//! Writes the modules of a trained model, so that sentence-transformers computes the model's vectors.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use safetensors::Dtype;
use serde_json::{Value, json};

use crate::config::BertConfig;
use crate::description::Description;
use crate::error::CheckpointError;
use crate::files::{CONFIG_FILE, DESCRIPTION_FILE, HEAD_FILE, LIBRARY_FILE, MODULES_FILE, SENTENCE_FILE, WEIGHTS_FILE};
use crate::head::{POOLING_QUERY, PoolingKind, ScoreKind};
use crate::header::serialize;
use crate::tensor_bytes::TensorBytes;
use crate::tensor_file::TensorFile;

/// Attentive pooling, which the library does not have.
const POOLING_CODE: &str = include_str!("newsbert_pooling.py");
/// The file of [`POOLING_CODE`] in a model folder.
const POOLING_CODE_FILE: &str = "newsbert_pooling.py";
/// The class in [`POOLING_CODE_FILE`].
const POOLING_CLASS: &str = "newsbert_pooling.AttentivePooling";
/// The library's own modules. Version 3 and later know them by these names.
const LIBRARY: &str = "sentence_transformers.models";

/// Writes the files by which `SentenceTransformer(folder)` computes the vectors of a trained model: pooled, projected, and
/// of length 1 if the model's score is a cosine. The folder must contain `config.json` and, for a head with parameters,
/// `head.safetensors`.
///
/// * `modules.json`: the encoder, then `1_Pooling`, `2_Dense` for a projection, and `Normalize` for a cosine.
/// * `sentence_bert_config.json`: texts are truncated as in training. `do_lower_case` is false because the tokenizer's own
///   files say how it lower-cases; a second lower-casing would also change special tokens that are part of a text.
/// * `newsbert_pooling.py`, for attentive pooling. The library reads it if it is called with `trust_remote_code=True`, and
///   refuses to load the folder otherwise.
/// * `config_sentence_transformers.json`, for a task with a score: `similarity` then computes that score.
///
/// The parameters of a module are copied from `head.safetensors` to the module's folder.
///
/// ```
/// use nb_checkpoint::{BertConfig, CONFIG_FILE, Description, SentenceModules, write_sentence_modules};
/// let folder = tempfile::tempdir()?;
/// BertConfig::new(100, 8, 2, 2).write(&folder.path().join(CONFIG_FILE))?;
/// let text = r#"{"task": "retrieve", "max_tokens": 64, "texts": 1, "head": {"pooling": "mean", "score": "cosine"}}"#;
/// let description: Description = serde_json::from_str(text)?;
/// write_sentence_modules(folder.path(), &description)?;
/// let modules = SentenceModules::read(folder.path())?.unwrap();
/// assert_eq!((modules.normalize, modules.max_tokens), (true, Some(64)));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// If `config.json` is not that of a BERT, if `head.safetensors` lacks a tensor or has one of another shape or type, or if a
/// file cannot be written. Files that were written before the error remain.
pub fn write_sentence_modules(folder: &Path, description: &Description) -> Result<(), CheckpointError> {
    let (Description { head, labels, .. }, max_tokens) = (description, description.longest_sequence());
    let hidden = BertConfig::read(&folder.join(CONFIG_FILE))?.hidden_size;
    let mut list = vec![("", format!("{LIBRARY}.Transformer"))];
    if head.pooling == PoolingKind::Attentive {
        write_attentive(folder, hidden)?;
        list.push(("1_Pooling", POOLING_CLASS.to_owned()));
    } else {
        write_json(&module_folder(folder, "1_Pooling")?.join(CONFIG_FILE), &pooling(head.pooling, hidden))?;
        list.push(("1_Pooling", format!("{LIBRARY}.Pooling")));
    }
    if let Some(width) = head.projection {
        write_dense(folder, width, hidden)?;
        list.push(("2_Dense", format!("{LIBRARY}.Dense")));
    }
    if head.score == ScoreKind::Cosine {
        let path = if head.projection.is_some() { "3_Normalize" } else { "2_Normalize" };
        list.push((path, format!("{LIBRARY}.Normalize")));
    }
    let entry =
        |(idx, (path, class)): (usize, _)| json!({"idx": idx, "name": idx.to_string(), "path": path, "type": class});
    let modules: Vec<Value> = list.into_iter().enumerate().map(entry).collect();
    if labels.is_empty() {
        let settings = json!({"model_type": "SentenceTransformer", "similarity_fn_name": head.score.name()});
        write_json(&folder.join(LIBRARY_FILE), &settings)?;
    }
    write_json(&folder.join(SENTENCE_FILE), &json!({"max_seq_length": max_tokens, "do_lower_case": false}))?;
    write_json(&folder.join(MODULES_FILE), &modules.into())
}

/// Returns the configuration of the library's pooling. Older versions take the mean if no flag says otherwise.
fn pooling(kind: PoolingKind, hidden: i64) -> Value {
    json!({
        "word_embedding_dimension": hidden,
        "pooling_mode_cls_token": kind == PoolingKind::Cls,
        "pooling_mode_mean_tokens": kind == PoolingKind::Mean,
        "pooling_mode_max_tokens": false,
        "pooling_mode_mean_sqrt_len_tokens": false,
    })
}

fn write_attentive(folder: &Path, hidden: i64) -> Result<(), CheckpointError> {
    let config = json!({"embedding_dimension": hidden, "query_dimension": POOLING_QUERY});
    let tensors = [
        ("pooling.proj.weight", "proj.weight", vec![POOLING_QUERY, hidden]),
        ("pooling.proj.bias", "proj.bias", vec![POOLING_QUERY]),
        ("pooling.query.weight", "query.weight", vec![1, POOLING_QUERY]),
    ];
    write_module(folder, "1_Pooling", &config, &tensors)?;
    write_bytes(&folder.join(POOLING_CODE_FILE), POOLING_CODE.as_bytes())
}

fn write_dense(folder: &Path, width: i64, hidden: i64) -> Result<(), CheckpointError> {
    if width < 1 {
        let found = format!("`head.projection`: {width}, expected 1 or more");
        return Err(CheckpointError::Module { path: folder.join(DESCRIPTION_FILE), found });
    }
    let activation_function = "torch.nn.modules.linear.Identity";
    let config =
        json!({"in_features": hidden, "out_features": width, "bias": true, "activation_function": activation_function});
    let tensors =
        [("vector.weight", "linear.weight", vec![width, hidden]), ("vector.bias", "linear.bias", vec![width])];
    write_module(folder, "2_Dense", &config, &tensors)
}

/// Writes the configuration and the parameters of a module. `tensors` lists the name in `head.safetensors`, the name in the
/// module, and the shape.
fn write_module(
    folder: &Path,
    name: &str,
    config: &Value,
    tensors: &[(&str, &str, Vec<i64>)],
) -> Result<(), CheckpointError> {
    let head = TensorFile::read(&folder.join(HEAD_FILE))?;
    let mut found: BTreeMap<String, TensorBytes<'_>> =
        head.tensors()?.into_iter().map(|tensor| (tensor.name.clone(), tensor)).collect();
    let tensors = tensors.iter().map(|(name, new_name, shape)| {
        let tensor = found.remove(*name);
        let tensor = check_tensor(head.path(), name, tensor, shape)?;
        Ok(TensorBytes { name: (*new_name).to_owned(), ..tensor })
    });
    let tensors = tensors.collect::<Result<Vec<_>, CheckpointError>>()?;
    let module = module_folder(folder, name)?;
    let path = module.join(WEIGHTS_FILE);
    let metadata = BTreeMap::from([("format", "pt".to_owned())]); // without it, Hugging Face's loader refuses the file
    write_bytes(&path, &serialize(&path, &metadata, tensors)?)?;
    write_json(&module.join(CONFIG_FILE), config)
}

/// Checks that a tensor exists and is of this shape and of a floating-point type.
fn check_tensor<'a>(
    path: &Path,
    name: &str,
    tensor: Option<TensorBytes<'a>>,
    shape: &[i64],
) -> Result<TensorBytes<'a>, CheckpointError> {
    let differs = |found: String, expected: String| CheckpointError::Tensor {
        path: path.to_owned(),
        name: name.to_owned(),
        found,
        expected,
    };
    let Some(tensor) = tensor else { return Err(differs("is missing".to_owned(), format!("shape {shape:?}"))) };
    if tensor.signed_shape().as_deref() != Some(shape) {
        return Err(differs(format!("has the shape {:?}", tensor.shape), format!("{shape:?}")));
    }
    match tensor.dtype {
        Dtype::F32 | Dtype::F16 | Dtype::BF16 | Dtype::F64 => Ok(tensor),
        other => Err(differs(format!("is of type {other:?}"), "F32, F16, BF16 or F64".to_owned())),
    }
}

/// Creates the folder of a module.
fn module_folder(folder: &Path, name: &str) -> Result<std::path::PathBuf, CheckpointError> {
    let path = folder.join(name);
    fs::create_dir_all(&path).map_err(CheckpointError::io("cannot create", &path))?;
    Ok(path)
}

fn write_json(path: &Path, value: &Value) -> Result<(), CheckpointError> {
    write_bytes(path, format!("{value:#}\n").as_bytes())
}

/// Writes a file and flushes it to disk: a folder that is flushed later does not flush its subfolders.
fn write_bytes(path: &Path, bytes: &[u8]) -> Result<(), CheckpointError> {
    nb_files::write(path, bytes).map_err(CheckpointError::io("cannot write", path))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sentence_transformers::SentenceModules;

    const HIDDEN: usize = 4;

    /// Bytes of a tensor whose entries are 0, 1, 2, …
    fn counting(len: usize) -> Vec<u8> {
        (0..len).flat_map(|i| (i as f32).to_le_bytes()).collect()
    }

    /// A head with attentive pooling, a projection to 3 units and a classifier.
    fn head_file(without: &str) -> Vec<u8> {
        let query = POOLING_QUERY as usize;
        let shapes: [(&str, Vec<usize>); 6] = [
            ("dense.bias", vec![2]),
            ("pooling.proj.bias", vec![query]),
            ("pooling.proj.weight", vec![query, HIDDEN]),
            ("pooling.query.weight", vec![1, query]),
            ("vector.bias", vec![3]),
            ("vector.weight", vec![3, HIDDEN]),
        ];
        let bytes: Vec<Vec<u8>> = shapes.iter().map(|(_, shape)| counting(shape.iter().product())).collect();
        let tensors = shapes.iter().zip(&bytes).filter(|((name, _), _)| *name != without);
        let tensors = tensors.map(|((name, shape), bytes)| TensorBytes {
            name: (*name).to_owned(),
            dtype: Dtype::F32,
            shape: shape.clone(),
            bytes,
        });
        serialize(Path::new("x"), &BTreeMap::new(), tensors.collect()).unwrap()
    }

    /// A folder with this head, before its modules are written.
    fn folder(head: &str, without: &str) -> (tempfile::TempDir, Description) {
        let folder = tempfile::tempdir().unwrap();
        BertConfig::new(30, HIDDEN as i64, 2, 2).write(&folder.path().join(CONFIG_FILE)).unwrap();
        fs::write(folder.path().join(HEAD_FILE), head_file(without)).unwrap();
        let text = format!(r#"{{"task": "retrieve", "max_tokens": 24, "texts": 1, "head": {head}}}"#);
        (folder, serde_json::from_str(&text).unwrap())
    }

    fn json(folder: &Path, name: &str) -> Value {
        serde_json::from_slice(&fs::read(folder.join(name)).unwrap()).unwrap()
    }

    /// The modules of a folder as `path class`.
    fn modules(folder: &Path) -> Vec<String> {
        let list = json(folder, MODULES_FILE);
        let entries = list.as_array().unwrap().iter().enumerate();
        entries
            .map(|(i, entry)| {
                assert_eq!((&entry["idx"], &entry["name"]), (&json!(i), &json!(i.to_string())));
                format!("{} {}", entry["path"].as_str().unwrap(), entry["type"].as_str().unwrap())
            })
            .collect()
    }

    #[test]
    fn a_head_without_parameters_is_written_in_the_librarys_own_modules() {
        for (pooling, kind) in [("mean", PoolingKind::Mean), ("cls", PoolingKind::Cls)] {
            for score in [ScoreKind::Dot, ScoreKind::Cosine] {
                let head = format!(r#"{{"pooling": "{pooling}", "score": "{}"}}"#, score.name());
                let (folder, description) = folder(&head, "");
                let folder = folder.path();
                write_sentence_modules(folder, &description).unwrap();
                let mut expected =
                    vec![" sentence_transformers.models.Transformer", "1_Pooling sentence_transformers.models.Pooling"];
                if score == ScoreKind::Cosine {
                    expected.push("2_Normalize sentence_transformers.models.Normalize");
                }
                assert_eq!(modules(folder), expected);
                let expected = json!({
                    "word_embedding_dimension": 4,
                    "pooling_mode_cls_token": pooling == "cls",
                    "pooling_mode_mean_tokens": pooling == "mean",
                    "pooling_mode_max_tokens": false,
                    "pooling_mode_mean_sqrt_len_tokens": false,
                });
                assert_eq!(json(folder, "1_Pooling/config.json"), expected);
                assert_eq!(json(folder, SENTENCE_FILE), json!({"max_seq_length": 24, "do_lower_case": false}));
                assert_eq!(json(folder, LIBRARY_FILE)["similarity_fn_name"], score.name());
                assert!(!folder.join(POOLING_CODE_FILE).exists());
                let normalize = score == ScoreKind::Cosine;
                let expected = SentenceModules { pooling: kind, dense: Vec::new(), normalize, max_tokens: Some(24) };
                assert_eq!(SentenceModules::read(folder).unwrap(), Some(expected));
            }
        }
    }

    #[test]
    fn parameters_are_copied_to_their_modules() {
        let (folder, mut description) = folder(r#"{"score": "cosine", "projection": 3}"#, "");
        let folder = folder.path();
        description.labels = vec!["a".into(), "b".into()];
        write_sentence_modules(folder, &description).unwrap();
        let expected = [
            " sentence_transformers.models.Transformer",
            "1_Pooling newsbert_pooling.AttentivePooling",
            "2_Dense sentence_transformers.models.Dense",
            "3_Normalize sentence_transformers.models.Normalize",
        ];
        assert_eq!(modules(folder), expected);
        assert_eq!(json(folder, "1_Pooling/config.json"), json!({"embedding_dimension": 4, "query_dimension": 200}));
        let identity = "torch.nn.modules.linear.Identity";
        let expected = json!({"in_features": 4, "out_features": 3, "bias": true, "activation_function": identity});
        assert_eq!(json(folder, "2_Dense/config.json"), expected);
        assert_eq!(fs::read_to_string(folder.join(POOLING_CODE_FILE)).unwrap(), POOLING_CODE);
        assert!(!folder.join(LIBRARY_FILE).exists(), "a classifier has no score");
        for (module, expected) in [
            (
                "1_Pooling",
                vec![("proj.bias", vec![200]), ("proj.weight", vec![200, 4]), ("query.weight", vec![1, 200])],
            ),
            ("2_Dense", vec![("linear.bias", vec![3]), ("linear.weight", vec![3, 4])]),
        ] {
            let file = TensorFile::read(&folder.join(module).join(WEIGHTS_FILE)).unwrap();
            let found = file.tensors().unwrap();
            let shapes: Vec<_> = found.iter().map(|tensor| (tensor.name.as_str(), tensor.shape.clone())).collect();
            assert_eq!(shapes, expected);
            for tensor in &found {
                assert_eq!(tensor.bytes, counting(tensor.shape.iter().product()), "{}", tensor.name);
            }
        }
        // Without newsbert.json, this project does not compute such a folder.
        let error = SentenceModules::read(folder).unwrap_err().to_string();
        assert!(error.contains("the module `AttentivePooling`, expected Transformer"), "{error}");
    }

    #[test]
    fn a_head_that_does_not_fit_is_refused() {
        let error = |head: &str, without: &str| {
            let (folder, description) = folder(head, without);
            let error = write_sentence_modules(folder.path(), &description).unwrap_err().to_string();
            assert!(!folder.path().join(MODULES_FILE).exists());
            error
        };
        for (without, shape) in [("pooling.proj.bias", "[200]"), ("pooling.query.weight", "[1, 200]")] {
            let error = error("{}", without);
            let expected = format!("head.safetensors: tensor {without} is missing, expected shape {shape}");
            assert!(error.ends_with(&expected), "{error}");
        }
        let mean = |width: &str| format!(r#"{{"pooling": "mean", "projection": {width}}}"#);
        let error = |width| error(&mean(width), "");
        assert!(error("5").ends_with("tensor vector.weight has the shape [3, 4], expected [5, 4]"));
        for width in ["0", "-3"] {
            assert!(
                error(width).ends_with(&format!("newsbert.json: found `head.projection`: {width}, expected 1 or more"))
            );
        }
        assert!(error("9223372036854775807").contains("vector.weight has the shape [3, 4]"));
    }
}
