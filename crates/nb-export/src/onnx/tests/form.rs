//! The form of exported files.

use std::collections::HashSet;
use std::fs;
use std::path::Path;

use nb_checkpoint::{
    Activation, CONFIG_FILE, HeadDescription, PoolingKind, SEGMENT_EMBEDDINGS, ScoreKind, WEIGHTS_FILE, WORD_EMBEDDINGS,
};
use prost::Message;

use super::folder::{DENSE, Folder, HIDDEN, description};
use crate::onnx::proto::{Dimension, GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto};
use crate::onnx::{Calibration, InputRange, LayerInputs, OnnxPrecision, onnx, onnx_reader};

/// Decodes a file and checks all that makes a graph valid.
fn decode(path: &Path) -> ModelProto {
    let model = ModelProto::decode(&fs::read(path).unwrap()[..]).unwrap();
    assert_eq!((model.ir_version, model.opset_import.len()), (Some(8), 1));
    assert_eq!(model.opset_import[0].version, Some(17));
    let graph = model.graph.as_ref().unwrap();
    let mut values = HashSet::new();
    for value in graph.input.iter().map(|input| input.name.clone().unwrap()) {
        assert!(values.insert(value.clone()), "{value} twice");
    }
    for tensor in &graph.initializer {
        let name = tensor.name.clone().unwrap();
        let size = match tensor.data_type.unwrap() {
            1 => 4,
            2 | 3 => 1,
            7 => 8,
            other => panic!("{name} is of type {other}"),
        };
        let count: i64 = tensor.dims.iter().product();
        assert_eq!(tensor.raw_data.as_ref().unwrap().len() as i64, size * count, "{name}");
        assert!(values.insert(name.clone()), "{name} twice");
    }
    let mut nodes = HashSet::new();
    for node in &graph.node {
        assert!(nodes.insert(node.name.clone().unwrap()), "node {:?} twice", node.name);
        for input in &node.input {
            assert!(values.contains(input), "{:?} uses {input} before it exists", node.name);
        }
        for output in &node.output {
            assert!(values.insert(output.clone()), "{output} twice");
        }
    }
    for value in graph.output.iter().chain(&graph.value_info) {
        assert!(values.contains(value.name.as_ref().unwrap()), "{value:?}");
    }
    model
}

fn export(folder: &Folder, precision: &OnnxPrecision) -> ModelProto {
    onnx(&folder.model(), &folder.output(), precision).unwrap();
    assert_eq!(folder.files_beside(), 1);
    decode(&folder.output())
}

fn graph(model: &ModelProto) -> &GraphProto {
    model.graph.as_ref().unwrap()
}

fn count(model: &ModelProto, op: &str) -> usize {
    graph(model).node.iter().filter(|node| node.op_type.as_deref() == Some(op)).count()
}

fn constant<'a>(model: &'a ModelProto, name: &str) -> &'a TensorProto {
    let found = graph(model).initializer.iter().find(|tensor| tensor.name.as_deref() == Some(name));
    found.unwrap_or_else(|| panic!("no constant {name}"))
}

fn floats(tensor: &TensorProto) -> Vec<f32> {
    tensor.raw_data.as_ref().unwrap().as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()
}

/// The names and dimensions of inputs or outputs.
fn shapes(values: &[ValueInfoProto]) -> Vec<String> {
    let dims = |value: &ValueInfoProto| -> Vec<String> {
        let tensor = value.r#type.as_ref().unwrap().tensor_type.as_ref().unwrap();
        let dim = |value: &Option<Dimension>| match value.as_ref().unwrap() {
            Dimension::Value(size) => size.to_string(),
            Dimension::Param(name) => name.clone(),
        };
        tensor.shape.as_ref().unwrap().dim.iter().map(|found| dim(&found.value)).collect()
    };
    values.iter().map(|value| format!("{}[{}]", value.name.as_ref().unwrap(), dims(value).join(","))).collect()
}

#[test]
fn every_head_gives_a_valid_graph_with_the_outputs_of_its_task() {
    let inputs = ["input_ids", "attention_mask", "token_type_ids"].map(|name| format!("{name}[batch,sequence]"));
    for pooling in [PoolingKind::Attentive, PoolingKind::Mean, PoolingKind::Cls] {
        for (score, projection) in [(ScoreKind::Dot, None), (ScoreKind::Cosine, Some(5))] {
            let head = HeadDescription { pooling, score, projection, ..HeadDescription::default() };
            let width = projection.unwrap_or(HIDDEN as i64);
            for (task, labels) in [("topic", &["a", "b", "c"][..]), ("recommend", &[]), ("retrieve", &[])] {
                let model = export(&Folder::new(&description(task, labels, head)), &OnnxPrecision::F32);
                let vectors = format!("vectors[batch,{width}]");
                let expected = match task {
                    "topic" => vec!["probabilities[batch,3]".to_owned(), vectors],
                    _ => vec![vectors],
                };
                assert_eq!(shapes(&graph(&model).input), inputs);
                assert_eq!(shapes(&graph(&model).output), expected, "{task}, {head:?}");
                assert_eq!(count(&model, "ReduceL2"), usize::from(score == ScoreKind::Cosine));
            }
        }
    }
}

#[test]
fn weights_are_transposed() {
    let folder = Folder::new(&description("retrieve", &[], HeadDescription::default()));
    let model = export(&folder, &OnnxPrecision::F32);
    let name = "encoder.layer.1.intermediate.dense.weight";
    let (_, shape, weight) = folder.encoder_tensors().into_iter().find(|(found, ..)| found == name).unwrap();
    let found = constant(&model, name);
    assert_eq!(found.dims, [shape[1] as i64, shape[0] as i64]);
    let found = floats(found);
    for output in 0..shape[0] {
        for input in 0..shape[1] {
            assert_eq!(found[input * shape[0] + output], weight[output * shape[1] + input]);
        }
    }
}

#[test]
fn the_metadata_has_the_task_the_labels_and_the_length() {
    let labels = ["sport", "ü \"quoted\", with a comma"];
    let model = export(&Folder::new(&description("topic", &labels, HeadDescription::default())), &OnnxPrecision::F32);
    let value = |key: &str| {
        let entry = model.metadata_props.iter().find(|entry| entry.key.as_deref() == Some(key)).unwrap();
        entry.value.clone().unwrap()
    };
    assert_eq!((value("task"), value("max_tokens"), value("precision")), ("topic".into(), "30".into(), "f32".into()));
    assert_eq!(serde_json::from_str::<Vec<String>>(&value("labels")).unwrap(), labels);
}

#[test]
fn int8_files_have_int8_weights_and_one_rounding_for_each_input() {
    let folder = Folder::new(&description("topic", &["a", "b"], HeadDescription::default()));
    let weights = export(&folder, &OnnxPrecision::Int8Weights);
    assert_eq!((count(&weights, "QuantizeLinear"), count(&weights, "DequantizeLinear")), (0, 2 * 6));
    let [attention, attention_output, intermediate] =
        [1.0, 2.0, 3.0].map(|x| InputRange { least: -x, largest: x / 2.0 });
    let inputs =
        LayerInputs { attention, attention_output, intermediate, output: InputRange { least: -0.2, largest: 25.3 } };
    let calibration = Calibration { layers: vec![inputs; 2] };
    let full = export(&folder, &OnnxPrecision::Int8(calibration.clone()));
    assert_eq!((count(&full, "QuantizeLinear"), count(&full, "DequantizeLinear")), (2 * 4, 2 * (6 + 4)));

    // The input of the last layer of layer 1 is rounded with its own scale.
    let producer =
        |value: &str| -> &NodeProto { graph(&full).node.iter().find(|node| node.output[0] == value).unwrap() };
    let product = producer("encoder.layer.1.output.dense/MatMul");
    let rounded = producer(&product.input[0]);
    assert_eq!(rounded.op_type.as_deref(), Some("DequantizeLinear"));
    assert!((floats(constant(&full, &rounded.input[1]))[0] - 0.1).abs() < 1e-7);
    let zero = |model: &ModelProto, name: &str| {
        let zero = constant(model, name);
        (zero.data_type, zero.raw_data.as_ref().unwrap()[0])
    };
    assert_eq!(zero(&full, &rounded.input[2]), (Some(2), 2));
    let symmetric = export(&folder, &OnnxPrecision::Int8(calibration.symmetric()));
    let rounded = graph(&symmetric).node.iter().filter(|node| node.op_type.as_deref() == Some("QuantizeLinear"));
    assert!(rounded.map(|node| zero(&symmetric, &node.input[2])).all(|zero| zero == (Some(3), 0)));

    // Numbers and scales give the weights again.
    let name = "encoder.layer.0.attention.self.key.weight";
    let (_, shape, weight) = folder.encoder_tensors().into_iter().find(|(found, ..)| found == name).unwrap();
    let (numbers, scales) = (constant(&full, name), floats(constant(&full, &format!("{name}.scale"))));
    assert_eq!((numbers.data_type, scales.len()), (Some(3), HIDDEN));
    for (i, number) in numbers.raw_data.as_ref().unwrap().iter().enumerate() {
        let (input, output) = (i / HIDDEN, i % HIDDEN);
        let error = f32::from(*number as i8) * scales[output] - weight[output * shape[1] + input];
        assert!(error.abs() <= 0.5001 * scales[output], "{error}");
    }
    let words = constant(&full, WORD_EMBEDDINGS);
    assert_eq!((words.data_type, &words.dims[..]), (Some(3), &[20, HIDDEN as i64][..]));
    assert_eq!(constant(&full, &format!("{WORD_EMBEDDINGS}.scale")).dims, [20, 1]);
}

#[test]
fn each_activation_is_another_operation() {
    let mut folder = Folder::new(&description("retrieve", &[], HeadDescription::default()));
    for (activation, op, tanhs) in [
        (Activation::Gelu, "Erf", 1),
        (Activation::GeluNew, "Pow", 3),
        (Activation::Relu, "Relu", 1),
        (Activation::Silu, "Sigmoid", 1),
    ] {
        folder.config.hidden_act = activation;
        folder.config.write(&folder.path(CONFIG_FILE)).unwrap();
        let model = export(&folder, &OnnxPrecision::F32);
        assert_eq!((count(&model, op), count(&model, "Tanh")), (2, tanhs), "{activation:?}"); // one Tanh pools
    }
}

#[test]
fn models_without_segments_ignore_the_input() {
    let folder = Folder::new(&description("retrieve", &[], HeadDescription::default()));
    let uses = |model: &ModelProto| {
        let inputs = graph(model).node.iter().flat_map(|node| &node.input);
        inputs.filter(|input| *input == "token_type_ids").count()
    };
    assert_eq!(uses(&export(&folder, &OnnxPrecision::F32)), 1);
    let mut tensors = folder.encoder_tensors();
    tensors.retain(|(name, ..)| name != SEGMENT_EMBEDDINGS);
    folder.write_tensors(WEIGHTS_FILE, &tensors);
    let model = export(&folder, &OnnxPrecision::F32);
    assert_eq!((uses(&model), graph(&model).input.len()), (0, 3));
}

#[test]
fn a_folder_of_sentence_transformers_gives_vectors() {
    let folder = Folder::of_encoder();
    let modules = r#"[{"path": "", "type": "a.Transformer"}, {"path": "1_Pooling", "type": "a.Pooling"},
        {"path": "2_Normalize", "type": "a.Normalize"}]"#;
    fs::create_dir(folder.path("1_Pooling")).unwrap();
    fs::write(folder.path("1_Pooling/config.json"), r#"{"pooling_mode_mean_tokens": true}"#).unwrap();
    fs::write(folder.path("modules.json"), modules).unwrap();
    let model = export(&folder, &OnnxPrecision::F32);
    assert_eq!(shapes(&graph(&model).output), ["vectors[batch,8]"]);
    assert_eq!((count(&model, "ReduceL2"), count(&model, "Tanh")), (1, 0));
    assert_eq!(model.metadata_props.len(), 2);
}

#[test]
fn dense_modules_are_part_of_the_graph() {
    let module = "torch.nn.modules.activation";
    for (activation, op) in
        [("Tanh", "Tanh"), ("Sigmoid", "Sigmoid"), ("ReLU", "Relu"), ("GELU", "Erf"), ("SiLU", "Sigmoid")]
    {
        let activation = format!("{module}.{activation}");
        let folder = Folder::of_modules(&["torch.nn.modules.linear.Identity", &activation, &activation]);
        let model = export(&folder, &OnnxPrecision::F32);
        assert_eq!(shapes(&graph(&model).output), ["vectors[batch,6]"]);
        let of_encoder = if op == "Erf" { 2 } else { 0 };
        assert_eq!(count(&model, op), 2 + of_encoder, "{activation}");
        let weights = graph(&model).initializer.iter().filter(|it| it.name.as_ref().unwrap().starts_with("modules."));
        let dims: Vec<_> = weights.filter(|it| it.dims.len() == 2).map(|it| it.dims.clone()).collect();
        assert_eq!(dims, [[HIDDEN as i64, DENSE as i64], [DENSE as i64; 2], [DENSE as i64; 2]]);
    }
}

#[test]
fn the_reader_model_is_a_file_of_its_own() {
    for (reader, self_attention) in [(PoolingKind::Attentive, None), (PoolingKind::Mean, Some(5))] {
        let head = HeadDescription { reader, projection: Some(10), ..HeadDescription::default() };
        let mut description = description("recommend", &[], head);
        description.self_attention = self_attention;
        let folder = Folder::new(&description);
        onnx_reader(&folder.model(), &folder.output()).unwrap();
        let model = decode(&folder.output());
        let inputs = ["clicks[batch,clicks,10]", "clicks_mask[batch,clicks]", "candidates[batch,candidates,10]"];
        assert_eq!(shapes(&graph(&model).input), inputs);
        assert_eq!(shapes(&graph(&model).output), ["reader[batch,10]", "scores[batch,candidates]"]);
        let softmaxes = usize::from(reader == PoolingKind::Attentive) + usize::from(self_attention.is_some());
        assert_eq!(count(&model, "Softmax"), softmaxes);
    }
}
