//! `config.json`, read and written: the keys of each family, and the models that are refused.
//!
//! All keys of the file are stored with the parsed values, so that a saved model inherits the keys of its teacher.

use std::path::Path;

use serde_json::{Map, Value};

use super::{Activation, BertConfig, value};
use crate::error::CheckpointError;
use crate::family::Family;

/// Keys of a `config.json` that are not saved with another model: they belong to the task, code or location of the file.
const DROPPED: [&str; 11] = [
    "torch_dtype", // the old name of `dtype`
    "_name_or_path",
    "auto_map",
    "tokenizer_class", // tokenizer_config.json has it
    "id2label",
    "label2id",
    "num_labels",
    "problem_type",
    "finetuning_task",
    "task_specific_params",
    "quantization_config",
];

/// BERT's keys with a size or a rate that a family may name differently.
const KEYS: [&str; 9] = [
    "hidden_size",
    "num_hidden_layers",
    "num_attention_heads",
    "intermediate_size",
    "hidden_act",
    "hidden_dropout_prob",
    "attention_probs_dropout_prob",
    "layer_norm_eps",
    "type_vocab_size",
];

/// Model types that look like BERT and are not, and the difference.
const REFUSED: [Refused; 5] = [
    refused("modernbert", "its layers normalise their inputs, rotate positions and gate the feed-forward layer"),
    refused("mpnet", "its attention adds a learned bias for the distance of two tokens"),
    refused("deberta-v2", "its attention has products of words with distances"),
    refused("deberta", "its attention has products of words with distances"),
    refused("albert", "its layers share one set of weights, so a student cannot start from some of them"),
];

/// A model type, and the reason why it is refused.
struct Refused {
    model_type: &'static str,
    why: &'static str,
}

const fn refused(model_type: &'static str, why: &'static str) -> Refused {
    Refused { model_type, why }
}

impl BertConfig {
    /// Reads and checks a `config.json`.
    ///
    /// # Errors
    /// If the file is missing, is not JSON, lacks a size, or describes something other than an encoder of a supported
    /// [`Family`].
    pub fn read(path: &Path) -> Result<Self, CheckpointError> {
        let text = std::fs::read_to_string(path).map_err(CheckpointError::io("cannot read", path))?;
        Self::parse(&text, path)
    }

    /// Parses the text of a `config.json`; `path` appears in error messages.
    ///
    /// # Errors
    /// As [`BertConfig::read`].
    pub fn parse(text: &str, path: &Path) -> Result<Self, CheckpointError> {
        let syntax = |found: String| CheckpointError::ConfigSyntax { path: path.into(), found };
        let source: Value = serde_json::from_str(text).map_err(|error| syntax(error.to_string()))?;
        let Value::Object(keys) = &source else {
            return Err(syntax("found no object".to_owned()));
        };
        // The model type is checked first: a GPT's config lacks BERT's keys, and "missing field" would hide the reason.
        let located = |e| CheckpointError::ConfigFile { path: path.into(), value: Box::new(e) };
        let family = family(keys).map_err(located)?;
        refuse_other_encoders(keys, family).map_err(located)?;
        let keys = berts_keys(keys, family);
        let embedding_size = embedding_size(&keys, family).map_err(located)?;
        let mut config: Self =
            serde_path_to_error::deserialize(Value::Object(keys)).map_err(|error| syntax(with_key(&error, family)))?;
        config.family = family;
        config.embedding_size = embedding_size;
        config.source = source;
        config.check().map_err(located)?;
        Ok(config)
    }

    /// Writes the `config.json` of a model to a file.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn write(&self, path: &Path) -> Result<(), CheckpointError> {
        let text = format!("{:#}\n", self.to_json());
        nb_files::write(path, text.as_bytes()).map_err(CheckpointError::io("cannot write", path))
    }

    /// Returns the `config.json` to save: the keys of the original file, with the sizes of this model.
    pub fn to_json(&self) -> Value {
        let mut json = match &self.source {
            Value::Object(map) => map.clone(),
            _ => Map::new(),
        };
        let family = self.family;
        json.retain(|key, _| !DROPPED.contains(&key.as_str()) && !KEYS.contains(&key.as_str()));
        let mut set = |key: &'static str, value: Value| {
            if !family.fixed_keys().contains(&key) {
                json.insert(family.key(key).to_owned(), value);
            }
        };
        set("architectures", serde_json::json!([family.encoder_class()]));
        set("model_type", family.model_type().into());
        set("dtype", "float32".into());
        set("vocab_size", self.vocab_size.into());
        set("hidden_size", self.hidden_size.into());
        set("num_hidden_layers", self.num_hidden_layers.into());
        set("num_attention_heads", self.num_attention_heads.into());
        set("intermediate_size", self.intermediate_size.into());
        set("max_position_embeddings", self.max_position_embeddings.into());
        set("type_vocab_size", self.type_vocab_size.into());
        set("hidden_act", self.hidden_act.name().into());
        set("layer_norm_eps", self.layer_norm_eps.into());
        set("hidden_dropout_prob", self.hidden_dropout_prob.into());
        set("attention_probs_dropout_prob", self.attention_probs_dropout_prob.into());
        set("initializer_range", self.initializer_range.into());
        set("pad_token_id", self.pad_token_id.into());
        if family.default_embedding_size().is_some() {
            set("embedding_size", self.embedding_width().into());
        }
        Value::Object(json)
    }
}

/// Returns the family that a file names; BERT if it names none.
fn family(keys: &Map<String, Value>) -> Result<Family, CheckpointError> {
    let Some(found) = keys.get("model_type").filter(|found| !found.is_null()) else { return Ok(Family::Bert) };
    let name = found.as_str().unwrap_or_default();
    if let Some(family) = Family::of_model_type(name) {
        return Ok(family);
    }
    let found = found.as_str().map_or_else(|| found.to_string(), str::to_owned);
    let names = Family::ALL.map(|family| format!("`{}`", family.model_type())).join(", ");
    let expected = match REFUSED.iter().find(|refused| refused.model_type == name) {
        Some(refused) => format!("one of {names}: {}", refused.why),
        None => format!("one of {names}"),
    };
    Err(value("model_type", found, &expected))
}

/// Refuses relative positions, decoders and unknown activations, each with the reason.
fn refuse_other_encoders(keys: &Map<String, Value>, family: Family) -> Result<(), CheckpointError> {
    let given = |key: &str| keys.get(key).filter(|found| !found.is_null());
    if let Some(found) = given("position_embedding_type").filter(|&found| found != "absolute") {
        return Err(value("position_embedding_type", word(found), "`absolute`: relative positions are not supported"));
    }
    if let Some(found) = given("is_decoder").filter(|&found| *found != Value::Bool(false)) {
        return Err(value("is_decoder", found, "false: a decoder cannot encode a whole sequence"));
    }
    let key = family.key("hidden_act");
    if let Some(found) = given(key)
        && serde_json::from_value::<Activation>(found.clone()).is_err()
    {
        return Err(value(key, word(found), "`gelu`, `gelu_new`, `relu` or `silu`"));
    }
    Ok(())
}

/// Returns a value as a message shows it: a string without quotes.
fn word(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// Returns the keys of a file that have a value, under the names of BERT, with the family's defaults: `null` means the same as
/// a missing key.
fn berts_keys(keys: &Map<String, Value>, family: Family) -> Map<String, Value> {
    let mut keys = keys.clone();
    keys.retain(|_, value| !value.is_null());
    for key in KEYS {
        if family.fixed_keys().contains(&key) {
            keys.remove(key);
        }
        if let Some(value) = keys.remove(family.key(key)) {
            keys.insert(key.to_owned(), value);
        }
    }
    keys.entry("pad_token_id").or_insert(family.default_pad_token_id().into());
    if !family.has_segments() {
        keys.insert("type_vocab_size".to_owned(), 0.into());
    }
    keys
}

/// Returns the width of the embeddings, if it is a size of its own.
fn embedding_size(keys: &Map<String, Value>, family: Family) -> Result<Option<i64>, CheckpointError> {
    match (family.default_embedding_size(), keys.get("embedding_size")) {
        (None, _) => Ok(None),
        (default, None) => Ok(default),
        (_, Some(found)) => match found.as_i64() {
            Some(size) => Ok(Some(size)),
            None => Err(value("embedding_size", found, "a whole number")),
        },
    }
}

/// Returns the message of the parser with the key as the family names it.
fn with_key(error: &serde_path_to_error::Error<serde_json::Error>, family: Family) -> String {
    let (path, message) = (error.path().to_string(), error.inner().to_string());
    match KEYS.into_iter().find(|key| path == **key || message.contains(&format!("`{key}`"))) {
        Some(key) if path == key => format!("`{}`: {message}", family.key(key)),
        Some(key) => message.replace(&format!("`{key}`"), &format!("`{}`", family.key(key))),
        None if path == "." => message,
        None => format!("`{path}`: {message}"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn parse(json: Value) -> Result<BertConfig, CheckpointError> {
        BertConfig::parse(&json.to_string(), Path::new("config.json"))
    }

    fn base() -> Value {
        json!({"model_type": "bert", "vocab_size": 30, "hidden_size": 8, "num_hidden_layers": 2,
            "num_attention_heads": 2, "intermediate_size": 16, "custom": "kept"})
    }

    fn distilbert() -> Value {
        json!({"model_type": "distilbert", "vocab_size": 30, "dim": 8, "n_layers": 2, "n_heads": 4, "hidden_dim": 24,
            "activation": "relu", "dropout": 0.2, "attention_dropout": 0.3, "sinusoidal_pos_embds": true})
    }

    #[track_caller]
    fn refused_from(mut json: Value, key: &str, value: Value, message: &str) {
        json[key] = value;
        let error = parse(json).unwrap_err().to_string();
        assert!(error.contains(message), "{error}");
    }

    #[test]
    fn other_models_are_refused_by_name() {
        let refused = |key, value, message| refused_from(base(), key, value, message);
        refused("model_type", "gpt2".into(), "`model_type` is gpt2, expected one of `bert`, `roberta`");
        refused("model_type", "modernbert".into(), "`electra`: its layers normalise their inputs");
        refused("model_type", 7.into(), "`model_type` is 7");
        refused("position_embedding_type", "relative_key".into(), "relative positions");
        refused("hidden_act", "mish".into(), "`hidden_act` is mish, expected `gelu`");
        refused("num_attention_heads", 3.into(), "divisor of hidden_size, which is 8");
        refused("hidden_size", (-8).into(), "`hidden_size` is -8");
        refused("vocab_size", (1_u64 << 40).into(), "`vocab_size` is 1099511627776");
        refused("hidden_dropout_prob", 1.5.into(), "`hidden_dropout_prob` is 1.5");
        refused("num_hidden_layers", "two".into(), "`num_hidden_layers`: invalid type: string");
        refused("is_decoder", true.into(), "decoder");
    }

    #[test]
    fn errors_name_the_keys_of_the_family() {
        let refused = |key, value, message| refused_from(distilbert(), key, value, message);
        refused("activation", "mish".into(), "`activation` is mish");
        refused("n_heads", 3.into(), "`n_heads` is 3, expected a divisor");
        refused("dim", "wide".into(), "`dim`: invalid type: string \"wide\"");
        refused("dim", Value::Null, "missing field `dim`");
        refused("dropout", 2.into(), "`dropout` is 2");
    }

    #[test]
    fn distilbert_has_no_segments_and_a_fixed_epsilon() {
        let mut json = distilbert();
        json["layer_norm_eps"] = 0.1.into();
        json["type_vocab_size"] = 2.into();
        let config = parse(json).unwrap();
        assert_eq!((config.hidden_size, config.num_hidden_layers, config.intermediate_size), (8, 2, 24));
        assert_eq!((config.num_attention_heads, config.hidden_act, config.type_vocab_size), (4, Activation::Relu, 0));
        assert_eq!((config.hidden_dropout_prob, config.attention_probs_dropout_prob), (0.2, 0.3));
        assert_eq!(config.layer_norm_eps, 1e-12);
        let saved = config.with_layers(1).to_json();
        assert_eq!((&saved["n_layers"], &saved["architectures"]), (&json!(1), &json!(["DistilBertModel"])));
        assert!(KEYS.iter().all(|key| saved.get(key).is_none()), "{saved}");
    }

    #[test]
    fn the_first_position_of_roberta_follows_the_padding_token() {
        for (name, pad, first) in [("roberta", None, 2), ("xlm-roberta", Some(4), 5), ("camembert", None, 2)] {
            let mut json = base();
            json["model_type"] = name.into();
            json["max_position_embeddings"] = 514.into();
            json["pad_token_id"] = json!(pad);
            let config = parse(json).unwrap();
            assert_eq!((config.first_position(), config.max_tokens()), (first, 514 - first));
            assert_eq!(parse(config.to_json()).unwrap().first_position(), first);
        }
        assert_eq!(parse(base()).unwrap().first_position(), 0);
    }

    #[test]
    fn electra_may_project_its_embeddings() {
        let mut json = base();
        json["model_type"] = "electra".into();
        let size = |json: &Value| {
            let config = parse(json.clone()).unwrap();
            assert_eq!(parse(config.to_json()).unwrap().embedding_width(), config.embedding_width());
            (config.embedding_width(), config.projects_embeddings())
        };
        assert_eq!(size(&json), (128, true));
        json["embedding_size"] = 8.into();
        assert_eq!(size(&json), (8, false));
        json["embedding_size"] = "x".into();
        assert!(parse(json).unwrap_err().to_string().contains("`embedding_size` is \"x\""));
        let mut bert = base();
        bert["embedding_size"] = 4.into(); // BERT does not know the key
        assert_eq!(size(&bert), (8, false));
    }

    #[test]
    fn a_missing_size_is_named() {
        let mut json = base();
        json.as_object_mut().unwrap().remove("intermediate_size");
        assert!(parse(json).unwrap_err().to_string().contains("missing field `intermediate_size`"));
        assert!(parse(json!([])).unwrap_err().to_string().ends_with("found no object"));
    }

    #[test]
    fn a_null_counts_as_a_missing_key() {
        let mut json = base();
        json["pad_token_id"] = Value::Null;
        assert_eq!(parse(json.clone()).unwrap().pad_token_id, 0);
        json["hidden_size"] = Value::Null;
        assert!(parse(json).unwrap_err().to_string().contains("missing field `hidden_size`"));
    }

    #[test]
    fn keys_of_another_task_are_not_saved() {
        let mut json = base();
        json["id2label"] = json!({"0": "NEG", "1": "POS"});
        json["problem_type"] = "single_label_classification".into();
        json["tokenizer_class"] = "BertTokenizer".into();
        let saved = parse(json).unwrap().to_json();
        assert!(DROPPED.iter().all(|key| saved.get(key).is_none()), "{saved}");
    }

    #[test]
    fn a_saved_config_keeps_unknown_keys_and_changes_the_depth() {
        let json = parse(base()).unwrap().with_layers(1).to_json();
        assert_eq!(json["custom"], "kept");
        assert_eq!(json["num_hidden_layers"], 1);
        assert_eq!(parse(json).unwrap().num_hidden_layers, 1);
    }
}
