//! Folders with Dense modules, and with settings of the library.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use safetensors::Dtype;
use serde_json::{Value, json};

use super::*;
use crate::classifier::DenseParameters;
use crate::config::BertConfig;
use crate::error::CheckpointError;
use crate::files::{CONFIG_FILE, LIBRARY_FILE, MODULES_FILE, WEIGHTS_FILE};
use crate::header::serialize;
use crate::tensor_bytes::TensorBytes;

const HIDDEN: usize = 4;
const TANH: &str = "torch.nn.modules.activation.Tanh";

/// A folder with an encoder of width 4, the mean, a Dense module for each configuration, and Dropout after each of them.
struct Folder(tempfile::TempDir);

impl Folder {
    fn new(dense: &[Value]) -> Self {
        let folder = Self(tempfile::tempdir().unwrap());
        BertConfig::new(30, HIDDEN as i64, 1, 2).write(&folder.path(CONFIG_FILE)).unwrap();
        let mut modules = vec![json!({"path": "", "type": "a.Transformer"}), json!({"path": "p", "type": "a.Pooling"})];
        folder.write("p/config.json", &json!({"pooling_mode": "mean"}));
        for (i, config) in dense.iter().enumerate() {
            folder.write(&format!("{i}_Dense/config.json"), config);
            modules.push(json!({"path": format!("{i}_Dense"), "type": "a.Dense"}));
            modules.push(json!({"path": "x_Dropout", "type": "a.Dropout"}));
        }
        folder.write(MODULES_FILE, &Value::from(modules));
        folder
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, value: &Value) {
        fs::create_dir_all(self.path(name).parent().unwrap()).unwrap();
        fs::write(self.path(name), value.to_string()).unwrap();
    }

    /// Writes the weights of the first Dense module: for each name a shape, and one number for all entries.
    fn write_weights(&self, tensors: &[(&str, &[usize], f32)]) {
        let entries =
            |shape: &[usize], x: f32| -> Vec<u8> { [x.to_le_bytes()].repeat(shape.iter().product()).concat() };
        let bytes: Vec<Vec<u8>> = tensors.iter().map(|(_, shape, x)| entries(shape, *x)).collect();
        let tensors = tensors.iter().zip(&bytes).map(|((name, shape, _), bytes)| TensorBytes {
            name: (*name).to_owned(),
            dtype: Dtype::F32,
            shape: shape.to_vec(),
            bytes,
        });
        let file = serialize(Path::new("x"), &BTreeMap::new(), tensors.collect()).unwrap();
        fs::write(self.path("0_Dense").join(WEIGHTS_FILE), file).unwrap();
    }

    fn read(&self) -> Result<SentenceModules, String> {
        SentenceModules::read(self.0.path()).map(Option::unwrap).map_err(|error| with_source(&error))
    }

    fn parameters(&self) -> Result<DenseParameters, String> {
        self.read()?.dense[0].parameters().map_err(|error| with_source(&error))
    }
}

fn with_source(error: &CheckpointError) -> String {
    let source = std::error::Error::source(error);
    format!("{error}{}", source.map(|source| format!(": {source}")).unwrap_or_default())
}

fn dense(inputs: usize, outputs: usize) -> Value {
    json!({"in_features": inputs, "out_features": outputs, "bias": true, "activation_function": TANH})
}

/// A Dense module from 4 to 3 units with these changes; a null removes the key.
fn changed(changes: Value) -> Value {
    let mut config = dense(HIDDEN, 3);
    for (key, value) in changes.as_object().unwrap() {
        match value {
            Value::Null => drop(config.as_object_mut().unwrap().remove(key)),
            value => config[key] = value.clone(),
        }
    }
    config
}

#[test]
fn dense_modules_are_read_in_order_and_dropout_is_skipped() {
    let mut first = dense(HIDDEN, 7);
    first["module_input_name"] = "sentence_embedding".into();
    first["module_output_name"] = "sentence_embedding".into();
    first["use_residual"] = false.into();
    let second = json!({"in_features": 7, "out_features": 2, "bias": false,
        "activation_function": "torch.nn.modules.linear.Identity"});
    let modules = Folder::new(&[first, second]).read().unwrap();
    let found: Vec<_> = modules.dense.iter().map(|it| (it.inputs, it.outputs, it.bias, it.activation)).collect();
    assert_eq!(found, [(HIDDEN, 7, true, DenseActivation::Tanh), (7, 2, false, DenseActivation::Identity)]);
    assert!(!modules.normalize);
}

#[test]
fn missing_keys_mean_what_they_mean_in_the_library() {
    let config = json!({"in_features": HIDDEN, "out_features": 3});
    let modules = Folder::new(&[config]).read().unwrap();
    assert_eq!((modules.dense[0].bias, modules.dense[0].activation), (true, DenseActivation::Tanh));
}

#[test]
fn activations_are_named_by_their_class() {
    let read = |class: &str| Folder::new(&[changed(json!({"activation_function": class}))]).read();
    for (class, expected) in [
        ("torch.nn.modules.activation.Tanh", DenseActivation::Tanh),
        ("torch.nn.modules.activation.ReLU", DenseActivation::Relu),
        ("torch.nn.modules.activation.GELU", DenseActivation::Gelu),
        ("torch.nn.modules.activation.SiLU", DenseActivation::Silu),
        ("torch.nn.modules.activation.Sigmoid", DenseActivation::Sigmoid),
        ("torch.nn.modules.linear.Identity", DenseActivation::Identity),
        ("torch.nn.modules.Tanh", DenseActivation::Tanh),
        ("torch.nn.Identity", DenseActivation::Identity),
    ] {
        assert_eq!(read(class).unwrap().dense[0].activation, expected, "{class}");
    }
    for class in
        ["Tanh", "", "my.code.Tanh", "torch.nn.modules.activation.PReLU", "torch.tanh", "torch.nn.functional.tanh"]
    {
        let error = read(class).unwrap_err();
        assert!(
            error.contains(&format!("0_Dense/config.json: found `activation_function`: \"{class}\", expected")),
            "{error}"
        );
    }
}

#[test]
fn configurations_that_do_not_fit_are_refused_with_the_key() {
    for (config, message) in [
        (changed(json!({"in_features": 5})), "`in_features`: 5, expected 4, the width of the vectors before"),
        (changed(json!({"in_features": 1_u64 << 60})), "`in_features`: 1152921504606846976, expected 4"),
        (changed(json!({"in_features": null})), "`in_features`: nothing, expected a whole number above 0"),
        (changed(json!({"out_features": 0})), "`out_features`: 0, expected a whole number above 0"),
        (changed(json!({"out_features": -3})), "`out_features`: -3, expected"),
        (changed(json!({"out_features": 1.5})), "`out_features`: 1.5, expected"),
        (changed(json!({"out_features": "3"})), "`out_features`: \"3\", expected"),
        (changed(json!({"bias": 1})), "`bias`: 1, expected true or false"),
        (changed(json!({"activation_function": [TANH]})), "`activation_function`: [\"torch"),
        (changed(json!({"use_residual": true})), "`use_residual`: true, expected false"),
        (
            changed(json!({"module_input_name": "token_embeddings"})),
            "`module_input_name`: \"token_embeddings\", expected",
        ),
        (
            changed(json!({"module_output_name": "other"})),
            "`module_output_name`: \"other\", expected `sentence_embedding`",
        ),
    ] {
        let error = Folder::new(&[config]).read().unwrap_err();
        assert!(error.contains("0_Dense/config.json: found ") && error.contains(message), "{error}");
    }
    let error = Folder::new(&[dense(HIDDEN, 7), dense(6, 2)]).read().unwrap_err();
    assert!(error.contains("1_Dense/config.json: found `in_features`: 6, expected 7"), "{error}");
}

#[test]
fn a_dense_module_needs_its_configuration_and_that_of_the_encoder() {
    for name in ["0_Dense/config.json", CONFIG_FILE] {
        let folder = Folder::new(&[dense(HIDDEN, 3)]);
        fs::remove_file(folder.path(name)).unwrap();
        let error = folder.read().unwrap_err();
        assert!(error.contains("cannot read") && error.contains(name), "{error}");
    }
}

#[test]
fn parameters_are_read_with_and_without_a_bias() {
    let folder = Folder::new(&[dense(HIDDEN, 3)]);
    folder.write_weights(&[("linear.weight", &[3, HIDDEN], 0.5), ("linear.bias", &[3], -1.0)]);
    let expected = DenseParameters { weight: vec![0.5; 12], bias: vec![-1.0; 3] };
    assert_eq!(folder.parameters(), Ok(expected));
    let folder = Folder::new(&[changed(json!({"bias": false}))]);
    folder.write_weights(&[("linear.weight", &[3, HIDDEN], 0.5)]);
    assert_eq!(folder.parameters().unwrap().bias, [0.0; 3]);
}

#[test]
fn weights_that_do_not_fit_are_refused_with_file_and_tensor() {
    let folder = Folder::new(&[dense(HIDDEN, 3)]);
    let error = folder.parameters().unwrap_err();
    assert!(error.ends_with(
        "0_Dense: found neither model.safetensors nor pytorch_model.bin, expected the weights of a Dense module"
    ));
    let weight = ("linear.weight", &[3, HIDDEN][..], 0.5);
    let bias = ("linear.bias", &[3][..], 0.5);
    for (tensors, message) in [
        (vec![weight], "tensor linear.bias is missing, expected shape [3]"),
        (vec![bias], "tensor linear.weight is missing, expected shape [3, 4]"),
        (
            vec![weight, bias, ("residual.weight", &[3, HIDDEN], 0.5)],
            "tensor residual.weight is unknown, expected linear.weight and linear.bias",
        ),
        (
            vec![("linear.weight", &[HIDDEN, 3], 0.5), bias],
            "tensor linear.weight has the shape [4, 3], expected [3, 4]",
        ),
        (vec![weight, ("linear.bias", &[1], 0.5)], "tensor linear.bias has the shape [1], expected [3]"),
        (vec![weight, ("linear.bias", &[3], f32::NAN)], "3 of the 3 values of tensor linear.bias are NaN or infinite"),
        (
            vec![("linear.weight", &[3, HIDDEN], f32::INFINITY), bias],
            "12 of the 12 values of tensor linear.weight are NaN",
        ),
    ] {
        folder.write_weights(&tensors);
        let error = folder.parameters().unwrap_err();
        assert!(error.contains("0_Dense/model.safetensors") && error.contains(message), "{error}");
    }
    // The library refuses a bias that the configuration denies, too.
    let folder = Folder::new(&[changed(json!({"bias": false}))]);
    folder.write_weights(&[weight, bias]);
    assert!(folder.parameters().unwrap_err().contains("tensor linear.bias is unknown, expected linear.weight, as"));
}

#[test]
fn claimed_sizes_need_no_memory() {
    let outputs = 1_u64 << 60;
    let folder = Folder::new(&[changed(json!({"out_features": outputs, "bias": false}))]);
    folder.write_weights(&[("linear.weight", &[3, HIDDEN], 0.5)]);
    let error = folder.parameters().unwrap_err();
    assert!(error.contains("tensor linear.weight has the shape [3, 4], expected [1152921504606846976, 4]"), "{error}");
    let header = format!(r#"{{"linear.weight":{{"dtype":"F32","shape":[{outputs},4],"data_offsets":[0,16]}}}}"#);
    let file = [&(header.len() as u64).to_le_bytes(), header.as_bytes(), &[0; 16]].concat();
    fs::write(folder.path("0_Dense/model.safetensors"), file).unwrap();
    let error = folder.parameters().unwrap_err();
    assert!(error.contains("is not a complete safetensors file"), "{error}");
}

#[test]
fn settings_that_change_vectors_are_refused_with_the_key() {
    let read = |settings: Value| {
        let folder = Folder::new(&[]);
        folder.write(LIBRARY_FILE, &settings);
        folder.read().map(|_| ())
    };
    let prompts = json!({"query": "query: ", "document": "", "other": null});
    for settings in [
        json!({}),
        json!({"prompts": prompts, "default_prompt_name": null, "truncate_dim": null}),
        json!({"prompts": prompts, "default_prompt_name": "document"}),
        json!({"prompts": prompts, "default_prompt_name": "other"}),
        json!({"prompts": {}, "default_prompt_name": "query"}),
    ] {
        assert_eq!(read(settings.clone()), Ok(()), "{settings}");
    }
    for (settings, message) in [
        (
            json!({"prompts": prompts, "default_prompt_name": "query"}),
            "`default_prompt_name`: \"query\", the prompt \"query: \", expected null",
        ),
        (json!({"default_prompt_name": 3}), "`default_prompt_name`: 3, expected the name of a prompt, or null"),
        (json!({"truncate_dim": 2}), "`truncate_dim`: 2, expected null"),
    ] {
        let error = read(settings).unwrap_err();
        assert!(error.contains(&format!("config_sentence_transformers.json: found {message}")), "{error}");
    }
}

#[test]
fn the_files_of_modules_are_listed_without_those_outside_the_folder() {
    let folder = Folder::new(&[dense(HIDDEN, 3)]);
    let files = module_files(folder.0.path());
    assert_eq!(files.configs, ["p/config.json", "0_Dense/config.json", "x_Dropout/config.json"]);
    assert_eq!(files.weights, [["0_Dense/model.safetensors", "0_Dense/pytorch_model.bin"]]);
    let modules = json!([{"path": "", "type": "a.Transformer"}, {"path": "../p", "type": "a.Pooling"},
        {"path": "/d", "type": "a.Dense"}]);
    folder.write(MODULES_FILE, &modules);
    assert_eq!(module_files(folder.0.path()), ModuleFiles::default());
}
