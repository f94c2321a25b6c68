//! JSON schemas that cannot be derived: of values that are a number or a word, and of mappings with a fixed set of keys.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::{Map, Value, json};

use super::checkpoints::CheckpointEvery;
use super::choices::{ColumnKey, ColumnKeys, DeviceChoice};
use super::class_weights::ClassWeights;
use super::ramp::RampConfig;
use super::student_init::StudentInit;
use super::term::TermKind;
use super::threads::{MAX_THREADS, ThreadsChoice};
use super::train::EvalEvery;
use super::trained_layers::TrainedLayers;

/// Implements [`JsonSchema`] with a given schema.
macro_rules! schema {
    ($type:ident, $schema:tt) => {
        impl JsonSchema for $type {
            fn schema_name() -> Cow<'static, str> {
                stringify!($type).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!($schema)
            }
        }
    };
}

schema!(DeviceChoice, {
    "description": "Device: `auto`, `cpu`, `cuda` or `cuda:N`.",
    "anyOf": [
        {"enum": ["auto", "cpu", "cuda"]},
        {"type": "string", "pattern": "^cuda:[0-9]+$"}
    ]
});

schema!(TrainedLayers, {
    "description": "Encoder layers that are trained",
    "anyOf": [
        {"const": "all", "description": "All layers"},
        {"const": "none", "description": "No layer"},
        {"type": "string", "pattern": "^top [1-9][0-9]*$", "description": "The topmost layers: `top 2`"}
    ]
});

schema!(StudentInit, {
    "description": "Initial weights: layers of the teacher, random weights, or a checkpoint.",
    "anyOf": [
        {"const": "first", "description": "The teacher's first layers"},
        {"const": "spaced", "description": "Every K-th layer of the teacher"},
        {"const": "ends", "description": "The teacher's lowest and topmost layers"},
        {"const": "random", "description": "Random weights"},
        {"type": "string", "description": "A checkpoint: a folder, or `hf:owner/name`"},
        {
            "type": "object",
            "description": "Layers of the teacher, counted from 0",
            "properties": {"layers": {"type": "array", "items": {"type": "integer", "minimum": 0}, "minItems": 1}},
            "required": ["layers"],
            "additionalProperties": false,
            "examples": [{"layers": [0, 5]}]
        }
    ]
});

schema!(ClassWeights, {
    "description": "Weights of the classes in the hard loss",
    "anyOf": [
        {"const": "none", "description": "Every row counts the same"},
        {"const": "balanced", "description": "Every class counts the same"},
        {
            "type": "object",
            "description": "A weight for some labels; 1 for the others",
            "additionalProperties": {"type": "number", "exclusiveMinimum": 0},
            "examples": [{"sport": 2.0}]
        },
        {"type": "null"}
    ]
});

schema!(ColumnKey, {
    "description": "Column, by name or by number from 0.",
    "anyOf": [{"type": "string"}, {"type": "integer", "minimum": 0}]
});

schema!(ColumnKeys, {
    "description": "Columns, by name or by number from 0: one, or a list.",
    "anyOf": [
        {"type": "string"},
        {"type": "integer", "minimum": 0},
        {
            "type": "array",
            "items": {"anyOf": [{"type": "string"}, {"type": "integer", "minimum": 0}]},
            "minItems": 1
        },
        {"type": "null"}
    ]
});

schema!(ThreadsChoice, {
    "description": "CPU threads per process: `auto`, or a number.",
    "anyOf": [{"const": "auto"}, {"type": "integer", "minimum": 1, "maximum": MAX_THREADS}, {"type": "null"}]
});

schema!(EvalEvery, {
    "description": "Interval between evaluations: `epoch`, or a number of steps.",
    "anyOf": [{"const": "epoch"}, {"type": "integer", "minimum": 1}]
});

schema!(CheckpointEvery, {
    "description": "Interval between checkpoints: `never`, a number of steps, or a time.",
    "anyOf": [
        {"const": "never"},
        {"type": "integer", "minimum": 1},
        {"type": "string", "pattern": "^[0-9]*[1-9][0-9]* *(h|min|s)$", "examples": ["90s", "15min", "2h"]}
    ]
});

/// The schema of the weights of the terms by name.
pub(super) fn weights(generator: &mut SchemaGenerator) -> Schema {
    let weight = generator.subschema_for::<RampConfig>();
    let terms = TermKind::json_schema(generator);
    let terms = terms.get("oneOf").and_then(Value::as_array).into_iter().flatten();
    let properties: Map<String, Value> = terms
        .filter_map(|term| {
            let mut schema = weight.clone();
            schema.insert("description".to_owned(), term["description"].clone());
            Some((term["const"].as_str()?.to_owned(), schema.into()))
        })
        .collect();
    json_schema!({"type": "object", "properties": properties, "additionalProperties": false})
}

/// Adds the word `reader`, an alias of `dense`.
pub(super) fn add_alias_of_dense(schema: &mut Schema) {
    if let Some(words) = schema.get_mut("oneOf").and_then(Value::as_array_mut) {
        words.push(json!({"const": "reader", "description": "The same as `dense`"}));
    }
}

/// The schema of the scale of a score.
pub(super) fn scale(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"anyOf": [{"type": "number", "exclusiveMinimum": 0}, {"const": "learned"}, {"type": "null"}]})
}

/// The schema of the part that remains of a text with too many tokens.
pub(super) fn truncation(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "anyOf": [
            {"const": "head", "description": "The beginning"},
            {"const": "head_tail", "description": "The beginning (a quarter) and the end"},
            {"type": "null"}
        ]
    })
}

/// The schema of the windows of long articles.
pub(super) fn windows(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": ["object", "null"],
        "properties": {
            "size": {"type": "integer", "minimum": 8, "description": "Largest number of tokens of a window"},
            "stride": {"type": "integer", "minimum": 1, "description": "Tokens between the starts of two windows"}
        },
        "required": ["size", "stride"],
        "additionalProperties": false
    })
}

/// The schema of the parts of an article that are read.
pub(super) fn article_fields(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": ["array", "null"],
        "items": {
            "oneOf": [
                {"const": "title", "description": "The title"},
                {"const": "abstract", "description": "The abstract; BEIR's `text`"}
            ]
        }
    })
}
