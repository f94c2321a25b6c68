//! A topic model as a classifier of Hugging Face's transformers.

mod library_head;
mod parameter;

use std::fs;
use std::io::Write;
use std::path::Path;

use nb_checkpoint::{
    BertConfig, CONFIG_FILE, DESCRIPTION_FILE, Description, Dtype, Family, FloatTensors, HEAD_FILE, HeadDescription,
    Header, POOLING_QUERY, PoolingKind, SavedEncoder, ScoreKind, Slot, TensorFile, WEIGHTS_FILE, parameter_layout,
    write_tensor_file,
};
use serde_json::{Map, Value, json};

use self::library_head::library_head;
use self::parameter::Parameter;
use crate::error::ExportError;
use crate::model_folder::{TOKENIZER_FILES, copy_files, describe, stage};

/// The class for the heads that the classes of transformers cannot express.
const CODE: &str = include_str!("../modeling_newsbert.py");
/// The file of [`CODE`] in an exported folder.
const CODE_FILE: &str = "modeling_newsbert.py";
/// The prefix of the encoder's parameters in the class of [`CODE`].
const CODE_PREFIX: &str = "newsbert.";
/// The class that loads an exported classifier.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClassifierClass {
    /// The class of the model's family in transformers, such as `BertForSequenceClassification`.
    Library,
    /// `NewsBertForSequenceClassification` in the folder's `modeling_newsbert.py`, which is loaded with
    /// `trust_remote_code=True` and refused without it.
    Folder,
}

impl ClassifierClass {
    /// Returns the class that can compute the head of a model of this shape.
    fn of(head: &HeadDescription, config: &BertConfig, labels: usize) -> Self {
        let units = config.hidden_size.unsigned_abs() as usize;
        match (head.pooling, head.score) {
            (PoolingKind::Cls, ScoreKind::Dot) if library_head::fits(config.family.classifier(), units, labels) => {
                Self::Library
            }
            _ => Self::Folder,
        }
    }
}

/// Exports a topic model to `output`, a folder that `AutoModelForSequenceClassification.from_pretrained` and
/// `pipeline("text-classification")` load, with the model's labels and probabilities. Returns the class that loads it.
///
/// # `[CLS]` pooling
///
/// The class is the family's own in transformers: logits = C·f(W h + b) + c for the state h of the first token. The model has no
/// f: its logits are D h + d, after its projection if there is one is multiplied into D and d.
///
/// * f = tanh (BERT, RoBERTa, XLM-R, CamemBERT): W = εI, b = 0, C = D/ε and c = d with ε = 2^-14. For arguments this small, tanh
///   is the identity to rounding: in f32 the probabilities differ from the model's by some 1e-7, and by less than 1e-5 for
///   states up to 100.
/// * f = ReLU (DistilBERT) or GELU (ELECTRA): f(x) − f(−x) = x. W = (D; −D), b = (d; −d), C = (I, −I) and c = 0. This needs two
///   units for each label; a model with fewer is exported like those of the next section.
///
/// # Attentive and mean pooling
///
/// No class of transformers can compute them: their poolers read only the state of `[CLS]`, and no weights of that layer make
/// it a mean over all tokens. The same holds for a model that divides its vectors by their length, which is not linear. (The
/// heads of `nb train` for topics do not, but a description can say so.) The export writes the class
/// `NewsBertForSequenceClassification` into the folder, with the model type `newsbert`: transformers then refuses to load
/// the folder without `trust_remote_code=True`. If the type stayed the family's, it would load its own class with a random head.
///
/// All other keys of `config.json` remain, except those that describe the classifier. Texts are truncated to the length of
/// training if the tokenizer or the pipeline is called with `truncation=True`.
///
/// `output` must not exist, or be an empty folder; it appears complete or not at all.
///
/// ```no_run
/// let class = nb_export::hugging_face("runs/news/student".as_ref(), "news-classifier".as_ref())?;
/// println!("{class:?}");
/// # Ok::<(), nb_export::ExportError>(())
/// ```
///
/// # Errors
/// If `model` is not the model folder of a run, has no labels, or has files that do not fit each other, if its weights are not
/// finite numbers, if `output` is not empty or is `model` itself, or if a file cannot be written.
pub fn hugging_face(model: &Path, output: &Path) -> Result<ClassifierClass, ExportError> {
    let description = describe(model)?;
    if description.labels.is_empty() {
        return Err(ExportError::NoLabels { path: model.to_owned(), task: description.task });
    }
    let encoder = SavedEncoder::read(model)?;
    let head_file = TensorFile::read(&model.join(HEAD_FILE))?;
    let head = head_parameters(&head_file, &description, &encoder.config)?;
    let mut parameters = encoder_parameters(&encoder)?;
    let class = ClassifierClass::of(&description.head, &encoder.config, description.labels.len());
    let family = encoder.config.family;
    let prefix = match class {
        ClassifierClass::Library => family.prefix(),
        ClassifierClass::Folder => CODE_PREFIX,
    };
    parameters.iter_mut().for_each(|parameter| parameter.name.insert_str(0, prefix));
    parameters.extend(match class {
        ClassifierClass::Library => {
            library_head(family.classifier(), &head, encoder.config.hidden_size as usize, description.labels.len())
        }
        ClassifierClass::Folder => head,
    });
    let staged = stage(model, output)?;
    let folder = staged.path();
    write_weights(&folder.join(WEIGHTS_FILE), &parameters)?;
    write_config(model, folder, &description, Loaded { class, family })?;
    if class == ClassifierClass::Folder {
        write(&folder.join(CODE_FILE), CODE)?;
    }
    copy_files(model, folder, &TOKENIZER_FILES)?;
    staged.sync_and_commit().map_err(ExportError::write(output))?;
    Ok(class)
}

/// The class that loads an exported folder, and the family of its encoder.
#[derive(Debug, Clone, Copy)]
struct Loaded {
    class: ClassifierClass,
    family: Family,
}

/// Returns the encoder's parameters under the names of its family.
///
/// # Errors
/// If a tensor is missing, unknown, of another shape, or not of finite numbers.
fn encoder_parameters(encoder: &SavedEncoder) -> Result<Vec<Parameter>, ExportError> {
    let (config, tensors) = encoder.float_tensors()?;
    let parameter = |slot: &Slot| {
        let shape: Vec<usize> = slot.shape.iter().map(|size| size.unsigned_abs() as usize).collect();
        let values = tensors.get(&slot.name, &shape)?;
        Ok(Parameter { name: config.family.saved_name(&slot.name), shape, values })
    };
    parameter_layout(&config).slots().iter().map(parameter).collect()
}

/// Returns the parameters of the head that its description calls for.
///
/// # Errors
/// If one is missing, of another shape, or not of finite numbers.
fn head_parameters(
    file: &TensorFile,
    description: &Description,
    config: &BertConfig,
) -> Result<Vec<Parameter>, ExportError> {
    let (hidden, labels) = (config.hidden_size as usize, description.labels.len());
    let width = match description.head.projection {
        None => hidden,
        Some(width) if width > 0 => width as usize,
        Some(width) => {
            let path = file.path().with_file_name(DESCRIPTION_FILE);
            let (found, expected) = (width.to_string(), "1 or more".to_owned());
            return Err(ExportError::Value { path, key: "head.projection", found, expected });
        }
    };
    let mut expected: Vec<(&'static str, Vec<usize>)> = Vec::new();
    if description.head.pooling == PoolingKind::Attentive {
        let query = POOLING_QUERY as usize;
        expected.push(("pooling.proj.weight", vec![query, hidden]));
        expected.push(("pooling.proj.bias", vec![query]));
        expected.push(("pooling.query.weight", vec![1, query]));
    }
    if description.head.projection.is_some() {
        expected.push(("vector.weight", vec![width, hidden]));
        expected.push(("vector.bias", vec![width]));
    }
    expected.push(("dense.weight", vec![labels, width]));
    expected.push(("dense.bias", vec![labels]));
    let tensors = FloatTensors::of_head(file)?;
    let parameter = |(name, shape): (&'static str, Vec<usize>)| {
        Ok(Parameter { name: name.to_owned(), values: tensors.get(name, &shape)?, shape })
    };
    expected.into_iter().map(parameter).collect()
}

/// Writes the weights.
fn write_weights(path: &Path, parameters: &[Parameter]) -> Result<(), ExportError> {
    let mut header = Header::of_model();
    for Parameter { name, shape, .. } in parameters {
        header.push(name, Dtype::F32, shape);
    }
    let fill = |out: &mut dyn Write| {
        let mut numbers = parameters.iter().flat_map(|parameter| &parameter.values);
        numbers.try_for_each(|number| out.write_all(&number.to_le_bytes()))
    };
    Ok(write_tensor_file(path, &header, |out| fill(out))?)
}

/// Writes `config.json` with the keys of the model's and those of its class.
fn write_config(model: &Path, folder: &Path, description: &Description, loaded: Loaded) -> Result<(), ExportError> {
    let path = model.join(CONFIG_FILE);
    let text = fs::read(&path).map_err(ExportError::read(&path))?;
    let invalid = |error: serde_json::Error| ExportError::read(&path)(error.into());
    let mut config: Map<String, Value> = serde_json::from_slice(&text).map_err(invalid)?;
    config.remove("torch_dtype"); // the old name of `dtype`
    let labels = || description.labels.iter().enumerate();
    let by_id: Map<String, Value> = labels().map(|(id, label)| (id.to_string(), label.as_str().into())).collect();
    let by_label: Map<String, Value> = labels().map(|(id, label)| (label.clone(), id.into())).collect();
    if by_label.len() < by_id.len() {
        let path = model.join(DESCRIPTION_FILE);
        let found = format!("{:?}", description.labels);
        return Err(ExportError::Value { path, key: "labels", found, expected: "different names".to_owned() });
    }
    let mut set = |key: &str, value: Value| config.insert(key.to_owned(), value);
    set("dtype", "float32".into());
    set("id2label", by_id.into());
    set("label2id", by_label.into());
    set("problem_type", description.label_kind().problem_type().into());
    if !description.thresholds.is_empty() {
        set("newsbert_thresholds", json!(description.thresholds)); // transformers keeps it, and nb reads it
    }
    match loaded.class {
        ClassifierClass::Library => {
            set("architectures", json!([loaded.family.classifier().class]));
        }
        ClassifierClass::Folder => {
            let HeadDescription { pooling, score, projection, .. } = description.head;
            set("architectures", json!(["NewsBertForSequenceClassification"]));
            set("model_type", "newsbert".into());
            set("newsbert_encoder", loaded.family.model_type().into());
            let class = |name: &str| format!("modeling_newsbert.{name}");
            let (config_class, model_class) = (class("NewsBertConfig"), class("NewsBertForSequenceClassification"));
            set("auto_map", json!({"AutoConfig": config_class, "AutoModelForSequenceClassification": model_class}));
            set("newsbert_pooling", pooling.name().into());
            set("newsbert_query", POOLING_QUERY.into());
            set("newsbert_projection", projection.into());
            set("newsbert_score", score.name().into());
        }
    }
    write(&folder.join(CONFIG_FILE), &format!("{:#}\n", Value::Object(config)))
}

fn write(path: &Path, text: &str) -> Result<(), ExportError> {
    fs::write(path, text).map_err(ExportError::write(path))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Place, json_file, names, read_tensors, write_tensors};

    const EPS: f32 = 1.0 / 16384.0;

    fn error_of(place: &Place) -> String {
        let error = hugging_face(&place.model(), &place.output()).unwrap_err().to_string();
        assert_eq!(place.names(), ["student"], "nothing is written");
        error
    }

    #[test]
    fn a_head_for_cls_becomes_berts_pooler_and_classifier() {
        let place = Place::new("topic", json!({"pooling": "cls", "projection": 3}));
        assert_eq!(hugging_face(&place.model(), &place.output()).unwrap(), ClassifierClass::Library);
        let output = place.output();
        assert_eq!(names(&output), ["config.json", "model.safetensors", "tokenizer.json", "vocab.txt"]);
        let found = read_tensors(&output.join(WEIGHTS_FILE));
        let encoder = read_tensors(&place.model().join(WEIGHTS_FILE));
        assert_eq!(found.len(), encoder.len() + 4);
        for (name, tensor) in &encoder {
            assert_eq!(&found[&format!("bert.{name}")], tensor, "{name}");
        }
        let identity: Vec<f32> = (0..16).map(|i| if i % 5 == 0 { EPS } else { 0.0 }).collect();
        assert_eq!(found["bert.pooler.dense.weight"], (vec![4, 4], identity));
        assert_eq!(found["bert.pooler.dense.bias"], (vec![4], vec![0.0; 4]));
        // D = [[1, 2, 3], [4, 5, 6]]/8 and V = [[1, 2, 3, 4], [5, 6, 7, 8], [9, 10, 11, 12]]/8, d = [1, 2]/8, v = [1, 2, 3]/8.
        let product = [38.0, 44.0, 50.0, 56.0, 83.0, 98.0, 113.0, 128.0].map(|x: f32| x / 64.0 / EPS);
        assert_eq!(found["classifier.weight"], (vec![2, 4], product.to_vec()));
        assert_eq!(found["classifier.bias"], (vec![2], vec![(14.0 + 8.0) / 64.0, (32.0 + 16.0) / 64.0]));
    }

    #[test]
    fn the_configuration_keeps_its_keys() {
        let place = Place::new("topic", json!({"pooling": "cls"}));
        let path = place.model().join(CONFIG_FILE);
        let mut config = json_file(&path);
        config["torch_dtype"] = "float16".into();
        config["mine"] = json!({"a": [1]});
        config["id2label"] = json!({"0": "of the teacher"});
        fs::write(&path, config.to_string()).unwrap();
        hugging_face(&place.model(), &place.output()).unwrap();
        let mut expected = config.as_object().unwrap().clone();
        expected.remove("torch_dtype");
        for (key, value) in [
            ("architectures", json!(["BertForSequenceClassification"])),
            ("dtype", json!("float32")),
            ("id2label", json!({"0": "rain", "1": "sport"})),
            ("label2id", json!({"rain": 0, "sport": 1})),
            ("problem_type", json!("single_label_classification")),
        ] {
            expected.insert(key.to_owned(), value);
        }
        assert_eq!(json_file(&place.output().join(CONFIG_FILE)), Value::Object(expected));
    }

    #[test]
    fn another_head_brings_its_class() {
        let heads = [
            (json!({"pooling": "attentive"}), 2 + 3),
            (json!({"pooling": "mean", "projection": 3}), 2 + 2),
            (json!({"pooling": "cls", "score": "cosine"}), 2),
        ];
        for (head, tensors) in heads {
            let place = Place::new("topic", head.clone());
            assert_eq!(hugging_face(&place.model(), &place.output()).unwrap(), ClassifierClass::Folder, "{head}");
            let output = place.output();
            assert_eq!(fs::read_to_string(output.join(CODE_FILE)).unwrap(), CODE);
            let config = json_file(&output.join(CONFIG_FILE));
            assert_eq!(config["architectures"], json!(["NewsBertForSequenceClassification"]));
            assert_eq!((&config["model_type"], &config["newsbert_query"]), (&json!("newsbert"), &json!(200)));
            assert_eq!(
                (&config["newsbert_pooling"], &config["newsbert_projection"]),
                (&head["pooling"], &head["projection"])
            );
            let map = &config["auto_map"];
            assert_eq!(map["AutoConfig"], "modeling_newsbert.NewsBertConfig");
            let class = "modeling_newsbert.NewsBertForSequenceClassification";
            assert_eq!(map["AutoModelForSequenceClassification"], class);
            let (found, source) =
                (read_tensors(&output.join(WEIGHTS_FILE)), read_tensors(&place.model().join(HEAD_FILE)));
            let head_names: Vec<&String> = found.keys().filter(|name| !name.starts_with("newsbert.")).collect();
            assert_eq!(head_names.len(), tensors, "{head_names:?}");
            assert!(head_names.iter().all(|name| found[*name] == source[*name]), "{head_names:?}");
        }
    }

    #[test]
    fn a_model_without_labels_is_refused_with_a_remedy() {
        let place = Place::new("retrieve", json!({"pooling": "mean"}));
        let error = error_of(&place);
        assert!(error.contains("was trained for retrieve and has no labels"), "{error}");
        assert!(error.ends_with("use `--to sentence-transformers` for its vectors"), "{error}");
    }

    #[test]
    fn files_that_do_not_fit_are_refused() {
        let damaged = |head: Value, damage: &dyn Fn(&Path)| {
            let place = Place::new("topic", head);
            damage(&place.model());
            error_of(&place)
        };
        let tensors = |file: &'static str, tensors: Vec<(&'static str, Vec<i64>)>| {
            move |model: &Path| {
                let tensors = tensors.iter().map(|(name, shape)| ((*name).to_owned(), shape.clone()));
                write_tensors(&model.join(file), tensors.collect());
            }
        };
        let cls = || json!({"pooling": "cls"});
        let error = damaged(cls(), &tensors(HEAD_FILE, vec![("dense.weight", vec![2, 4])]));
        assert!(error.ends_with("head.safetensors: tensor dense.bias is missing, expected shape [2]"), "{error}");
        let error = damaged(cls(), &tensors(HEAD_FILE, vec![("dense.weight", vec![3, 4]), ("dense.bias", vec![3])]));
        assert!(error.ends_with("tensor dense.weight has the shape [3, 4], expected [2, 4]"), "{error}");
        for width in [0, -1] {
            let head = json!({"pooling": "cls", "projection": width});
            let error =
                damaged(head, &tensors(HEAD_FILE, vec![("vector.weight", vec![0, 4]), ("vector.bias", vec![0])]));
            assert!(
                error.ends_with(&format!("newsbert.json: head.projection is {width}, expected 1 or more")),
                "{error}"
            );
        }
        let error = damaged(cls(), &tensors(WEIGHTS_FILE, vec![("embeddings.word_embeddings.weight", vec![30, 4])]));
        assert!(
            error.contains("model.safetensors") && error.contains("missing    embeddings.LayerNorm.bias"),
            "{error}"
        );
        let error = damaged(json!({"pooling": "cls", "projection": 3}), &|model| {
            let mut bytes = fs::read(model.join(HEAD_FILE)).unwrap();
            let last = bytes.len() - 4; // tensors of one type are sorted by name, so it is part of `vector.weight`
            bytes[last..].copy_from_slice(&f32::NAN.to_le_bytes());
            fs::write(model.join(HEAD_FILE), bytes).unwrap();
        });
        assert!(error.contains("1 of the 12 values of tensor vector.weight are NaN or infinite"), "{error}");
        let error = damaged(cls(), &|model| {
            let path = model.join("newsbert.json");
            let text = fs::read_to_string(&path).unwrap().replace("\"sport\"", "\"rain\"");
            fs::write(path, text).unwrap();
        });
        assert!(error.contains(r#"labels is ["rain", "rain"], expected different names"#), "{error}");
    }
}
