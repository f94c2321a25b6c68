//! The configuration of an encoder: the values on which a model relies, and their checks.

mod json;

use serde::Deserialize;
use serde_json::Value;

use crate::error::CheckpointError;
use crate::family::Family;

/// The shape of an encoder of BERT's [families](Family), as BERT's `config.json` names its parts.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct BertConfig {
    /// The family: `model_type`.
    #[serde(skip)]
    pub family: Family,
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
    /// Rows of the position embedding; see [`BertConfig::max_tokens`].
    #[serde(default = "default_positions")]
    pub max_position_embeddings: i64,
    /// Width E of the embeddings, if a dense layer maps them to width H; `None` if they have width H.
    #[serde(skip)]
    pub embedding_size: Option<i64>,
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
    /// Id of the padding token. Packed batches contain no padding; it decides the first position of some families.
    #[serde(default)]
    pub pad_token_id: i64,
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
const SHARED_KEYS: [&str; 10] = [
    "model_type",
    "vocab_size",
    "embedding_size",
    "hidden_size",
    "num_attention_heads",
    "intermediate_size",
    "max_position_embeddings",
    "pad_token_id",
    "type_vocab_size",
    "hidden_act",
];

/// The maximum number of layers, more than any BERT has. It keeps a hostile file from claiming more memory than there
/// is.
const MOST_LAYERS: i64 = 1024;

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
            family: Family::Bert,
            vocab_size,
            embedding_size: None,
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
            source: Value::Null,
        }
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
            ("embedding_size", self.embedding_width()),
        ];
        for (key, found) in positive {
            // The upper bound keeps a hostile file from claiming more memory than any BERT needs.
            if !(1..=1 << 24).contains(&found) {
                return Err(self.value(key, found, "a size between 1 and 16777216"));
            }
        }
        if self.hidden_size % self.num_attention_heads != 0 {
            let expected = format!("a divisor of hidden_size, which is {}", self.hidden_size);
            return Err(self.value("num_attention_heads", self.num_attention_heads, &expected));
        }
        if self.family.starts_after_padding() && !(0..self.max_position_embeddings - 1).contains(&self.pad_token_id) {
            let expected = format!(
                "0 or more and below max_position_embeddings − 1, which is {}: the first position is the one after it",
                self.max_position_embeddings - 1
            );
            return Err(self.value("pad_token_id", self.pad_token_id, &expected));
        }
        if !(0..=1 << 16).contains(&self.type_vocab_size) {
            return Err(self.value("type_vocab_size", self.type_vocab_size, "0 or more"));
        }
        for (key, p) in [
            ("hidden_dropout_prob", self.hidden_dropout_prob),
            ("attention_probs_dropout_prob", self.attention_probs_dropout_prob),
        ] {
            if !(0.0..1.0).contains(&p) {
                return Err(self.value(key, p, "a probability of at least 0 and below 1"));
            }
        }
        if !(self.initializer_range >= 0.0 && self.initializer_range.is_finite()) {
            return Err(self.value("initializer_range", self.initializer_range, "a number of at least 0"));
        }
        if self.num_hidden_layers > MOST_LAYERS {
            return Err(self.value("num_hidden_layers", self.num_hidden_layers, &format!("at most {MOST_LAYERS}")));
        }
        if self.layer_norm_eps <= 0.0 || !self.layer_norm_eps.is_finite() {
            return Err(self.value("layer_norm_eps", self.layer_norm_eps, "a small positive number"));
        }
        Ok(())
    }

    /// Returns the error of a value. `key` is BERT's.
    fn value(&self, key: &'static str, found: impl ToString, expected: &str) -> CheckpointError {
        value(self.family.key(key), found, expected)
    }

    /// Returns the width E of the embeddings.
    pub fn embedding_width(&self) -> i64 {
        self.embedding_size.unwrap_or(self.hidden_size)
    }

    /// Returns true if a dense layer maps the embeddings to the hidden size.
    pub fn projects_embeddings(&self) -> bool {
        self.embedding_width() != self.hidden_size
    }

    /// Returns the row of the position embedding for the first token of a sequence: 0, or `pad_token_id` + 1 in RoBERTa and its
    /// relatives.
    ///
    /// ```
    /// let text = r#"{"model_type": "roberta", "vocab_size": 9, "hidden_size": 4, "num_hidden_layers": 1,
    ///     "num_attention_heads": 1, "intermediate_size": 8, "max_position_embeddings": 514}"#;
    /// let config = nb_checkpoint::BertConfig::parse(text, "config.json".as_ref())?;
    /// assert_eq!((config.first_position(), config.max_tokens()), (2, 512));
    /// # Ok::<(), nb_checkpoint::CheckpointError>(())
    /// ```
    pub fn first_position(&self) -> i64 {
        if self.family.starts_after_padding() { self.pad_token_id + 1 } else { 0 }
    }

    /// Returns the length of the longest sequence, in tokens: the rows of the position embedding from the
    /// [first position](Self::first_position) on.
    pub fn max_tokens(&self) -> i64 {
        self.max_position_embeddings - self.first_position()
    }

    /// Returns this configuration with another hidden size. Embeddings of the hidden size get the new one; others keep their
    /// width, and are projected.
    pub fn with_hidden_size(&self, hidden_size: i64) -> Self {
        let embedding_size = if self.projects_embeddings() { self.embedding_size } else { None };
        Self { hidden_size, embedding_size, ..self.clone() }
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
            self.family.model_type().to_owned(),
            self.vocab_size.to_string(),
            self.embedding_width().to_string(),
            self.hidden_size.to_string(),
            self.num_attention_heads.to_string(),
            self.intermediate_size.to_string(),
            self.max_position_embeddings.to_string(),
            // The first position follows it in some families; elsewhere it changes nothing.
            if self.family.starts_after_padding() { self.pad_token_id } else { 0 }.to_string(),
            self.type_vocab_size.to_string(),
            self.hidden_act.name().to_owned(),
        ]
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

fn value(key: &'static str, found: impl ToString, expected: &str) -> CheckpointError {
    CheckpointError::ConfigValue { key, found: found.to_string(), expected: expected.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn models_of_two_depths_differ_in_no_other_key() {
        let (config, mut other) = (BertConfig::new(30, 8, 2, 2), BertConfig::new(30, 8, 4, 2));
        assert_eq!(config.first_difference(&other), None);
        other.hidden_size = 16;
        let difference = |key, value: &str, other: &str| {
            Some(ConfigDifference { key, value: value.to_owned(), other: other.to_owned() })
        };
        assert_eq!(config.first_difference(&other), difference("embedding_size", "8", "16"));
        other.embedding_size = Some(8);
        assert_eq!(config.first_difference(&other), difference("hidden_size", "8", "16"));
        other.family = Family::Electra;
        assert_eq!(config.first_difference(&other), difference("model_type", "bert", "electra"));
    }

    #[test]
    fn a_padding_token_after_the_last_position_is_refused() {
        let mut config = BertConfig { family: Family::Roberta, pad_token_id: 510, ..BertConfig::new(30, 8, 2, 2) };
        config.check().unwrap();
        assert_eq!((config.first_position(), config.max_tokens()), (511, 1));
        config.pad_token_id = 511;
        assert!(
            config.check().unwrap_err().to_string().starts_with("`pad_token_id` is 511, expected 0 or more and below")
        );
    }
}
