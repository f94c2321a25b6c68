//! The `config.json` of a BERT: the values on which a model relies, and the models that are refused.
//!
//! All keys of the file are stored with the parsed values, so that a saved model inherits the keys of its teacher.

use std::path::Path;

use serde::Deserialize;
use serde_json::Value;

use crate::error::CheckpointError;

/// The shape of a BERT encoder, as the Hugging Face `config.json` names its parts.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct BertConfig {
    /// Rows of the word embedding.
    pub vocab_size: i64,
    /// Width H of every hidden state.
    pub hidden_size: i64,
    /// Encoder layers L.
    pub num_hidden_layers: i64,
    /// Attention heads A; divides `hidden_size`.
    pub num_attention_heads: i64,
    /// Width of the feed-forward layer.
    pub intermediate_size: i64,
    /// Longest sequence, in tokens.
    #[serde(default = "default_positions")]
    pub max_position_embeddings: i64,
    /// Rows of the segment embedding; 0 for a checkpoint without segments.
    #[serde(default = "default_types")]
    pub type_vocab_size: i64,
    /// Activation of the feed-forward layer.
    #[serde(default)]
    pub hidden_act: Activation,
    /// ε of every LayerNorm.
    #[serde(default = "default_eps")]
    pub layer_norm_eps: f64,
    /// Dropout after embeddings and dense layers, while training.
    #[serde(default = "default_dropout")]
    pub hidden_dropout_prob: f64,
    /// Dropout of the attention weights, while training.
    #[serde(default = "default_dropout")]
    pub attention_probs_dropout_prob: f64,
    /// Standard deviation of random initial weights.
    #[serde(default = "default_range")]
    pub initializer_range: f64,
    /// Id of the padding token, stored for the saved model. Packed batches contain no padding.
    #[serde(default)]
    pub pad_token_id: i64,
    #[serde(default)]
    model_type: Option<String>,
    #[serde(default)]
    position_embedding_type: Option<String>,
    #[serde(default)]
    is_decoder: Option<bool>,
    /// The parsed file; `Value::Null` for a configuration created in code.
    #[serde(skip)]
    source: Value,
}

/// The activation between the two dense layers of an encoder layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Activation {
    /// x·Φ(x), exact (with erf).
    #[default]
    Gelu,
    /// GELU in its tanh approximation.
    #[serde(alias = "gelu_pytorch_tanh", alias = "gelu_fast")]
    GeluNew,
    /// max(x, 0).
    Relu,
    /// x·σ(x).
    #[serde(alias = "swish")]
    Silu,
}

/// A key in which two configurations differ.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigDifference {
    /// The key in `config.json`.
    pub key: &'static str,
    /// The value in the first configuration.
    pub value: String,
    /// The value in the second configuration.
    pub other: String,
}

/// The keys that two models must have in common to share tokens, heads or hidden states.
const SHARED_KEYS: [&str; 7] = [
    "vocab_size",
    "hidden_size",
    "num_attention_heads",
    "intermediate_size",
    "max_position_embeddings",
    "type_vocab_size",
    "hidden_act",
];

/// The maximum number of layers, more than any BERT has. It keeps a hostile file from claiming more memory than there
/// is.
const MOST_LAYERS: i64 = 1024;

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

fn default_positions() -> i64 {
    512
}
fn default_types() -> i64 {
    2
}
fn default_eps() -> f64 {
    1e-12
}
fn default_dropout() -> f64 {
    0.1
}
fn default_range() -> f64 {
    0.02
}

impl BertConfig {
    /// Returns a configuration with BERT's defaults (dropout 0.1, ε 1e-12, GELU, 512 positions, 2 segments) and a feed-forward
    /// width of four times `hidden_size`.
    ///
    /// ```
    /// let config = nb_checkpoint::BertConfig::new(1000, 64, 2, 4);
    /// assert_eq!((config.hidden_size, config.intermediate_size), (64, 256));
    /// ```
    pub fn new(vocab_size: i64, hidden_size: i64, layers: i64, heads: i64) -> Self {
        Self {
            vocab_size,
            hidden_size,
            num_hidden_layers: layers,
            num_attention_heads: heads,
            intermediate_size: 4 * hidden_size,
            max_position_embeddings: default_positions(),
            type_vocab_size: default_types(),
            hidden_act: Activation::Gelu,
            layer_norm_eps: default_eps(),
            hidden_dropout_prob: default_dropout(),
            attention_probs_dropout_prob: default_dropout(),
            initializer_range: default_range(),
            pad_token_id: 0,
            model_type: None,
            position_embedding_type: None,
            is_decoder: None,
            source: Value::Null,
        }
    }

    /// Reads and checks a `config.json`.
    ///
    /// # Errors
    /// If the file is missing, is not JSON, lacks a size, or describes something that is not a BERT encoder.
    pub fn read(path: &Path) -> Result<Self, CheckpointError> {
        let text = std::fs::read_to_string(path).map_err(CheckpointError::io("cannot read", path))?;
        Self::parse(&text, path)
    }

    /// Parses the text of a `config.json`; `path` appears in error messages.
    ///
    /// # Errors
    /// As [`BertConfig::read`].
    pub fn parse(text: &str, path: &Path) -> Result<Self, CheckpointError> {
        let syntax = |e: serde_json::Error| CheckpointError::ConfigSyntax { path: path.into(), found: e.to_string() };
        let source: Value = serde_json::from_str(text).map_err(syntax)?;
        // The model type is checked first: a GPT's config lacks BERT's keys, and "missing field" would hide the reason.
        let located = |e| CheckpointError::ConfigFile { path: path.into(), value: Box::new(e) };
        refuse_other_models(&source).map_err(located)?;
        let mut config: Self = serde_json::from_value(without_nulls(&source)).map_err(syntax)?;
        config.source = source;
        config.check().map_err(located)?;
        Ok(config)
    }

    /// Checks every value on which the model relies.
    ///
    /// # Errors
    /// [`CheckpointError::ConfigValue`] with the key, its value and the supported values.
    pub fn check(&self) -> Result<(), CheckpointError> {
        let positive = [
            ("vocab_size", self.vocab_size),
            ("hidden_size", self.hidden_size),
            ("num_hidden_layers", self.num_hidden_layers),
            ("num_attention_heads", self.num_attention_heads),
            ("intermediate_size", self.intermediate_size),
            ("max_position_embeddings", self.max_position_embeddings),
        ];
        for (key, found) in positive {
            // The upper bound keeps a hostile file from claiming more memory than any BERT needs.
            if !(1..=1 << 24).contains(&found) {
                return Err(value(key, found, "a size between 1 and 16777216"));
            }
        }
        if self.hidden_size % self.num_attention_heads != 0 {
            let expected = format!("a divisor of hidden_size, which is {}", self.hidden_size);
            return Err(value("num_attention_heads", self.num_attention_heads, &expected));
        }
        if !(0..=1 << 16).contains(&self.type_vocab_size) {
            return Err(value("type_vocab_size", self.type_vocab_size, "0 or more"));
        }
        for (key, p) in [
            ("hidden_dropout_prob", self.hidden_dropout_prob),
            ("attention_probs_dropout_prob", self.attention_probs_dropout_prob),
        ] {
            if !(0.0..1.0).contains(&p) {
                return Err(value(key, p, "a probability of at least 0 and below 1"));
            }
        }
        if !(self.initializer_range >= 0.0 && self.initializer_range.is_finite()) {
            return Err(value("initializer_range", self.initializer_range, "a number of at least 0"));
        }
        if self.num_hidden_layers > MOST_LAYERS {
            return Err(value("num_hidden_layers", self.num_hidden_layers, &format!("at most {MOST_LAYERS}")));
        }
        if self.layer_norm_eps <= 0.0 || !self.layer_norm_eps.is_finite() {
            return Err(value("layer_norm_eps", self.layer_norm_eps, "a small positive number"));
        }
        Ok(())
    }

    /// Returns this configuration with another number of layers.
    pub fn with_layers(&self, layers: i64) -> Self {
        Self { num_hidden_layers: layers, ..self.clone() }
    }

    /// Returns the first difference that keeps two models from sharing tokens, heads or hidden states. Their numbers of
    /// layers may differ.
    pub fn first_difference(&self, other: &Self) -> Option<ConfigDifference> {
        let theirs = other.shared_values();
        for (i, value) in self.shared_values().into_iter().enumerate() {
            if value != theirs[i] {
                return Some(ConfigDifference { key: SHARED_KEYS[i], value, other: theirs[i].clone() });
            }
        }
        None
    }

    /// Returns the values of [`SHARED_KEYS`].
    fn shared_values(&self) -> [String; SHARED_KEYS.len()] {
        [
            self.vocab_size.to_string(),
            self.hidden_size.to_string(),
            self.num_attention_heads.to_string(),
            self.intermediate_size.to_string(),
            self.max_position_embeddings.to_string(),
            self.type_vocab_size.to_string(),
            self.hidden_act.name().to_owned(),
        ]
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
            _ => serde_json::Map::new(),
        };
        let mut set = |key: &str, value: Value| json.insert(key.to_owned(), value);
        set("architectures", serde_json::json!(["BertModel"]));
        set("model_type", "bert".into());
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
        json.retain(|key, _| !DROPPED.contains(&key.as_str()));
        Value::Object(json)
    }
}

impl Activation {
    /// Returns the name that `config.json` uses.
    pub fn name(self) -> &'static str {
        match self {
            Self::Gelu => "gelu",
            Self::GeluNew => "gelu_new",
            Self::Relu => "relu",
            Self::Silu => "silu",
        }
    }
}

/// Returns the keys of a file that have a value: `null` means the same as a missing key.
fn without_nulls(source: &Value) -> Value {
    let mut source = source.clone();
    if let Value::Object(keys) = &mut source {
        keys.retain(|_, value| !value.is_null());
    }
    source
}

/// Refuses other model types, relative positions, decoders and unknown activations, each with the reason.
fn refuse_other_models(json: &Value) -> Result<(), CheckpointError> {
    let text = |key| json.get(key).and_then(Value::as_str);
    if let Some(found) = text("model_type").filter(|&t| t != "bert") {
        return Err(value("model_type", found, "`bert`: only BERT encoders are supported"));
    }
    if let Some(found) = text("position_embedding_type").filter(|&t| t != "absolute") {
        return Err(value("position_embedding_type", found, "`absolute`: relative positions are not supported"));
    }
    if json.get("is_decoder").and_then(Value::as_bool) == Some(true) {
        return Err(value("is_decoder", true, "false: a decoder cannot encode a whole sequence"));
    }
    if let Some(found) = text("hidden_act")
        && serde_json::from_value::<Activation>(found.into()).is_err()
    {
        return Err(value("hidden_act", found, "`gelu`, `gelu_new`, `relu` or `silu`"));
    }
    Ok(())
}

fn value(key: &'static str, found: impl ToString, expected: &str) -> CheckpointError {
    CheckpointError::ConfigValue { key, found: found.to_string(), expected: expected.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(json: serde_json::Value) -> Result<BertConfig, CheckpointError> {
        BertConfig::parse(&json.to_string(), Path::new("config.json"))
    }

    fn base() -> serde_json::Value {
        serde_json::json!({"model_type": "bert", "vocab_size": 30, "hidden_size": 8, "num_hidden_layers": 2,
            "num_attention_heads": 2, "intermediate_size": 16, "custom": "kept"})
    }

    #[track_caller]
    fn refused(key: &str, value: serde_json::Value, message: &str) {
        let mut json = base();
        json[key] = value;
        let error = parse(json).unwrap_err().to_string();
        assert!(error.contains(message), "{error}");
    }

    #[test]
    fn other_models_are_refused_by_name() {
        refused("model_type", "distilbert".into(), "`model_type` is distilbert");
        refused("position_embedding_type", "relative_key".into(), "relative positions");
        refused("hidden_act", "mish".into(), "`hidden_act` is mish, expected `gelu`");
        refused("num_attention_heads", 3.into(), "divisor of hidden_size, which is 8");
        refused("hidden_size", (-8).into(), "`hidden_size` is -8");
        refused("vocab_size", (1_u64 << 40).into(), "`vocab_size` is 1099511627776");
        refused("hidden_dropout_prob", 1.5.into(), "`hidden_dropout_prob` is 1.5");
        refused("num_hidden_layers", "two".into(), "invalid type: string");
        refused("is_decoder", true.into(), "decoder");
    }

    #[test]
    fn models_of_two_depths_differ_in_no_other_key() {
        let (config, mut other) = (BertConfig::new(30, 8, 2, 2), BertConfig::new(30, 8, 4, 2));
        assert_eq!(config.first_difference(&other), None);
        other.hidden_size = 16;
        let expected = ConfigDifference { key: "hidden_size", value: "8".into(), other: "16".into() };
        assert_eq!(config.first_difference(&other), Some(expected));
    }

    #[test]
    fn a_missing_size_is_named() {
        let mut json = base();
        json.as_object_mut().unwrap().remove("intermediate_size");
        assert!(parse(json).unwrap_err().to_string().contains("intermediate_size"));
    }

    #[test]
    fn a_null_counts_as_a_missing_key() {
        let mut json = base();
        json["pad_token_id"] = serde_json::Value::Null;
        assert_eq!(parse(json.clone()).unwrap().pad_token_id, 0);
        json["hidden_size"] = serde_json::Value::Null;
        assert!(parse(json).unwrap_err().to_string().contains("missing field `hidden_size`"));
    }

    #[test]
    fn keys_of_another_task_are_not_saved() {
        let mut json = base();
        json["id2label"] = serde_json::json!({"0": "NEG", "1": "POS"});
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
