//! Families of encoders with BERT's layers: the facts in which their files differ.
//!
//! All of them compute the same: embeddings of words, positions and segments, LayerNorm, and layers of attention and two dense
//! layers, each followed by a residual sum and LayerNorm. They differ in names, in the first position, in the presence of
//! segments, and in a projection after the embeddings. So each family is a row of a table here, and nothing elsewhere asks
//! for its name.

use serde::{Deserialize, Serialize};

/// A family of encoders: BERT, or a model with its layers and other names.
///
/// | family | `model_type` | difference from BERT |
/// | --- | --- | --- |
/// | [`Bert`](Self::Bert) | `bert` | |
/// | [`Roberta`](Self::Roberta) | `roberta` | the first position is `pad_token_id` + 1 |
/// | [`XlmRoberta`](Self::XlmRoberta) | `xlm-roberta` | the same |
/// | [`Camembert`](Self::Camembert) | `camembert` | the same |
/// | [`DistilBert`](Self::DistilBert) | `distilbert` | no segments; other names and keys |
/// | [`Electra`](Self::Electra) | `electra` | narrower embeddings, which a dense layer maps to the hidden size |
///
/// ```
/// use nb_checkpoint::Family;
/// let family = Family::of_model_type("distilbert").unwrap();
/// assert_eq!(family.saved_name("encoder.layer.3.output.dense.bias"), "transformer.layer.3.ffn.lin2.bias");
/// assert_eq!(family.key("hidden_size"), "dim");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Family {
    /// BERT (Devlin et al. 2019).
    #[default]
    Bert,
    /// RoBERTa (Liu et al. 2019).
    Roberta,
    /// XLM-R (Conneau et al. 2020).
    XlmRoberta,
    /// CamemBERT (Martin et al. 2020).
    Camembert,
    /// DistilBERT (Sanh et al. 2019).
    DistilBert,
    /// The discriminator of ELECTRA (Clark et al. 2020).
    Electra,
}

/// The head of a family's class for sequence classification: logits = `output`(f(`dense`(h))) for the state h of the first
/// token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Classifier {
    /// The class in transformers.
    pub class: &'static str,
    /// The prefix of the first layer's parameters, in a file that has the encoder as well: a weight [H, H] and a bias.
    pub dense: &'static str,
    /// f.
    pub activation: ClassifierActivation,
    /// The prefix of the last layer's parameters: a weight [classes, H] and a bias.
    pub output: &'static str,
}

/// The activation between the layers of a [`Classifier`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ClassifierActivation {
    /// tanh(x).
    Tanh,
    /// max(x, 0).
    Relu,
    /// x·Φ(x), exact (with erf).
    Gelu,
}

/// A name of BERT and the family's name for the same.
#[derive(Debug)]
struct Renamed {
    bert: &'static str,
    family: &'static str,
}

/// Everything in which a family differs.
#[derive(Debug)]
struct Facts {
    model_type: &'static str,
    /// The class of the encoder in transformers.
    encoder_class: &'static str,
    /// The prefix of the encoder's tensors in a file that has a head as well.
    prefix: &'static str,
    /// The part of a layer's name before its number.
    layers: &'static str,
    /// The modules of a layer with other names than BERT's.
    modules: &'static [Renamed],
    /// The keys of `config.json` with other names than BERT's.
    keys: &'static [Renamed],
    /// BERT's keys that have no counterpart: the class in transformers has a constant for them.
    fixed_keys: &'static [&'static str],
    first_position: FirstPosition,
    /// `pad_token_id` of a configuration without the key.
    pad_token_id: i64,
    segments: Segments,
    /// The width of the embeddings of a configuration without the key; `None` if it is always the hidden size.
    embedding_size: Option<i64>,
    classifier: Classifier,
    pooling_layer: PoolingLayer,
}

/// The layer of the encoder's class in transformers that only its classifiers use.
#[derive(Debug, PartialEq, Eq)]
enum PoolingLayer {
    Optional,
    None,
}

#[derive(Debug, PartialEq, Eq)]
enum FirstPosition {
    Zero,
    AfterPadding,
}

#[derive(Debug, PartialEq, Eq)]
enum Segments {
    Table,
    None,
}

const fn renamed(bert: &'static str, family: &'static str) -> Renamed {
    Renamed { bert, family }
}

/// BERT's layers, in all but DistilBERT.
const LAYERS: &str = "encoder.layer.";

const BERT: Facts = Facts {
    model_type: "bert",
    encoder_class: "BertModel",
    prefix: "bert.",
    layers: LAYERS,
    modules: &[],
    keys: &[],
    fixed_keys: &[],
    first_position: FirstPosition::Zero,
    pad_token_id: 0,
    segments: Segments::Table,
    embedding_size: None,
    classifier: Classifier {
        class: "BertForSequenceClassification",
        dense: "bert.pooler.dense",
        activation: ClassifierActivation::Tanh,
        output: "classifier",
    },
    pooling_layer: PoolingLayer::Optional,
};

/// The head of RoBERTa's class, whose layers ELECTRA's has, too.
const TWO_LAYERS: Classifier = Classifier {
    class: "RobertaForSequenceClassification",
    dense: "classifier.dense",
    activation: ClassifierActivation::Tanh,
    output: "classifier.out_proj",
};

const ROBERTA: Facts = Facts {
    model_type: "roberta",
    encoder_class: "RobertaModel",
    prefix: "roberta.",
    first_position: FirstPosition::AfterPadding,
    pad_token_id: 1,
    classifier: TWO_LAYERS,
    ..BERT
};

const XLM_ROBERTA: Facts = Facts {
    model_type: "xlm-roberta",
    encoder_class: "XLMRobertaModel",
    classifier: Classifier { class: "XLMRobertaForSequenceClassification", ..TWO_LAYERS },
    ..ROBERTA
};

const CAMEMBERT: Facts = Facts {
    model_type: "camembert",
    encoder_class: "CamembertModel",
    classifier: Classifier { class: "CamembertForSequenceClassification", ..TWO_LAYERS },
    ..ROBERTA
};

const DISTILBERT: Facts = Facts {
    model_type: "distilbert",
    encoder_class: "DistilBertModel",
    prefix: "distilbert.",
    layers: "transformer.layer.",
    modules: &[
        renamed("attention.self.query", "attention.q_lin"),
        renamed("attention.self.key", "attention.k_lin"),
        renamed("attention.self.value", "attention.v_lin"),
        renamed("attention.output.dense", "attention.out_lin"),
        renamed("attention.output.LayerNorm", "sa_layer_norm"),
        renamed("intermediate.dense", "ffn.lin1"),
        renamed("output.dense", "ffn.lin2"),
        renamed("output.LayerNorm", "output_layer_norm"),
    ],
    keys: &[
        renamed("hidden_size", "dim"),
        renamed("num_hidden_layers", "n_layers"),
        renamed("num_attention_heads", "n_heads"),
        renamed("intermediate_size", "hidden_dim"),
        renamed("hidden_act", "activation"),
        renamed("hidden_dropout_prob", "dropout"),
        renamed("attention_probs_dropout_prob", "attention_dropout"),
    ],
    fixed_keys: &["layer_norm_eps", "type_vocab_size"],
    segments: Segments::None,
    classifier: Classifier {
        class: "DistilBertForSequenceClassification",
        dense: "pre_classifier",
        activation: ClassifierActivation::Relu,
        output: "classifier",
    },
    pooling_layer: PoolingLayer::None,
    ..BERT
};

const ELECTRA: Facts = Facts {
    model_type: "electra",
    encoder_class: "ElectraModel",
    prefix: "electra.",
    embedding_size: Some(128),
    classifier: Classifier {
        class: "ElectraForSequenceClassification",
        activation: ClassifierActivation::Gelu,
        ..TWO_LAYERS
    },
    pooling_layer: PoolingLayer::None,
    ..BERT
};

impl Family {
    /// All families.
    pub const ALL: [Self; 6] =
        [Self::Bert, Self::Roberta, Self::XlmRoberta, Self::Camembert, Self::DistilBert, Self::Electra];

    fn facts(self) -> &'static Facts {
        match self {
            Self::Bert => &BERT,
            Self::Roberta => &ROBERTA,
            Self::XlmRoberta => &XLM_ROBERTA,
            Self::Camembert => &CAMEMBERT,
            Self::DistilBert => &DISTILBERT,
            Self::Electra => &ELECTRA,
        }
    }

    /// Returns the family with this `model_type` in `config.json`.
    pub fn of_model_type(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|family| family.model_type() == name)
    }

    /// Returns the `model_type` in `config.json`.
    pub fn model_type(self) -> &'static str {
        self.facts().model_type
    }

    /// Returns the class of the encoder in transformers, such as `BertModel`.
    pub fn encoder_class(self) -> &'static str {
        self.facts().encoder_class
    }

    /// Returns true if the encoder's class in transformers adds a pooling layer unless `add_pooling_layer=False` is given. The
    /// others refuse the argument.
    pub fn has_pooling_layer(self) -> bool {
        self.facts().pooling_layer == PoolingLayer::Optional
    }

    /// Returns the head of the class for sequence classification.
    pub fn classifier(self) -> &'static Classifier {
        &self.facts().classifier
    }

    /// Returns the prefix of the encoder's tensors in a file that has a head as well, such as `bert.`.
    pub fn prefix(self) -> &'static str {
        self.facts().prefix
    }

    /// Returns the family's key in `config.json` for a key of BERT's.
    pub fn key(self, bert: &'static str) -> &'static str {
        self.facts().keys.iter().find(|key| key.bert == bert).map_or(bert, |key| key.family)
    }

    /// Returns BERT's keys that the family's `config.json` does not have, because no model of the family differs in them.
    pub(crate) fn fixed_keys(self) -> &'static [&'static str] {
        self.facts().fixed_keys
    }

    /// Returns true if the first token has the position `pad_token_id` + 1 rather than 0.
    pub(crate) fn starts_after_padding(self) -> bool {
        self.facts().first_position == FirstPosition::AfterPadding
    }

    /// Returns `pad_token_id` of a configuration without the key.
    pub(crate) fn default_pad_token_id(self) -> i64 {
        self.facts().pad_token_id
    }

    /// Returns true if the family has embeddings of segments.
    pub(crate) fn has_segments(self) -> bool {
        self.facts().segments == Segments::Table
    }

    /// Returns the width of the embeddings of a configuration without the key; `None` if it is always the hidden size.
    pub(crate) fn default_embedding_size(self) -> Option<i64> {
        self.facts().embedding_size
    }

    /// Returns the family's name of a parameter, in a file of the encoder alone. `name` is BERT's.
    pub fn saved_name(self, name: &str) -> String {
        self.translate(name, LAYERS, self.facts().layers, |module| [module.bert, module.family])
    }

    /// Returns BERT's name of a parameter. `name` is the family's, without the [`prefix`](Self::prefix).
    pub(crate) fn bert_name(self, name: &str) -> String {
        self.translate(name, self.facts().layers, LAYERS, |module| [module.family, module.bert])
    }

    /// Returns true if a tensor of this name, without the prefix, belongs to the encoder.
    pub(crate) fn is_encoders(self, name: &str) -> bool {
        name.starts_with("embeddings.")
            || name.starts_with(self.facts().layers.trim_end_matches("layer."))
            || self.facts().embedding_size.is_some() && name.starts_with("embeddings_project.")
    }

    /// Replaces the parts of a layer's name: the part before the number, and the module.
    fn translate<'a>(
        self,
        name: &'a str,
        from: &str,
        to: &str,
        sides: impl Fn(&Renamed) -> [&'static str; 2],
    ) -> String {
        let parts = name.strip_prefix(from).and_then(|rest| rest.split_once('.'));
        let Some((number, (module, leaf))) = parts.and_then(|(number, rest)| Some((number, rest.rsplit_once('.')?)))
        else {
            return name.to_owned();
        };
        let known = self.facts().modules.iter().map(sides).find(|[old, _]| *old == module);
        let module: &'a str = known.map_or(module, |[_, new]| new);
        format!("{to}{number}.{module}.{leaf}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{BertConfig, parameter_layout};

    #[test]
    fn names_survive_a_round_trip() {
        for family in Family::ALL {
            let mut config = BertConfig::new(100, 8, 2, 2);
            config.family = family;
            let layout = parameter_layout(&config);
            for slot in layout.slots() {
                let saved = family.saved_name(&slot.name);
                assert!(family.is_encoders(&saved), "{saved}");
                assert_eq!(family.bert_name(&saved), slot.name);
            }
        }
    }

    #[test]
    fn a_layer_of_distilbert_has_its_own_names() {
        let name = |name: &str| Family::DistilBert.saved_name(name);
        assert_eq!(name("encoder.layer.11.attention.self.query.weight"), "transformer.layer.11.attention.q_lin.weight");
        assert_eq!(name("encoder.layer.0.attention.output.LayerNorm.bias"), "transformer.layer.0.sa_layer_norm.bias");
        assert_eq!(name("encoder.layer.0.output.LayerNorm.weight"), "transformer.layer.0.output_layer_norm.weight");
        assert_eq!(name("embeddings.LayerNorm.bias"), "embeddings.LayerNorm.bias");
        assert_eq!(name("encoder.layer.0.output.dense.weight_scale"), "transformer.layer.0.ffn.lin2.weight_scale");
        assert_eq!(
            Family::Roberta.saved_name("encoder.layer.0.output.dense.bias"),
            "encoder.layer.0.output.dense.bias"
        );
    }
}
