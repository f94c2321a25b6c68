//! BERT's families: states and gradients compared with those of transformers, and folders under the family's own names.

use std::path::{Path, PathBuf};

use nb_checkpoint::{
    BertConfig, CONFIG_FILE, DenseParameters, PoolingKind, SavedClassifier, SavedEncoder, ScoreKind, TensorBytes,
    TensorFile, WEIGHTS_FILE, serialize,
};
use nb_data::Tokens;
use nb_infer::{Model, Options, Precision as InferPrecision};
use nb_model::{Bert, Capture, DropoutKey, Encoded, Packed, Pass, Precision};
use nb_train::task::{TaskHead, TopicHead};
use serde_json::Value;
use tch::{Device, Tensor};
use tempfile::TempDir;

use crate::support::max_abs;

/// The golden files, by the name after `family_`.
const FAMILIES: [&str; 7] =
    ["bert", "roberta", "xlm_roberta", "camembert", "distilbert", "electra", "electra_projected"];

/// A golden file.
struct Golden {
    file: TensorFile,
    config: String,
    texts: Vec<Tokens>,
}

impl Golden {
    fn read(name: &str) -> Self {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("golden/family_{name}.safetensors"));
        let bytes = std::fs::read(&path).unwrap();
        let (_, header) = safetensors::SafeTensors::read_metadata(&bytes).unwrap();
        let metadata = header.metadata().as_ref().unwrap();
        let texts: Vec<(Vec<u32>, usize)> = serde_json::from_str(&metadata["texts"]).unwrap();
        let tokens = |(ids, second_starts)| Tokens { ids, second_starts, window: 0 };
        let config = metadata["config"].clone();
        Self { config, texts: texts.into_iter().map(tokens).collect(), file: TensorFile::new(&path, bytes) }
    }

    fn tensor(&self, name: &str) -> Tensor {
        let tensors = self.file.tensors().unwrap();
        let found = tensors.iter().find(|tensor| tensor.name == name).unwrap_or_else(|| panic!("{name}"));
        Tensor::from_data_size(found.bytes, &found.signed_shape().unwrap(), tch::Kind::Float)
    }

    /// Writes the model as a folder with the library's names.
    fn write(&self) -> TempDir {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join(WEIGHTS_FILE);
        let tensors = self.file.tensors().unwrap().into_iter().filter_map(|tensor| {
            let name = tensor.name.strip_prefix("weights.")?.to_owned();
            Some(TensorBytes { name, ..tensor })
        });
        std::fs::write(&path, serialize(&path, &Default::default(), tensors.collect()).unwrap()).unwrap();
        std::fs::write(folder.path().join(CONFIG_FILE), &self.config).unwrap();
        folder
    }

    fn load(&self) -> Bert {
        Bert::load(self.write().path(), Device::Cpu, Precision::F32).unwrap_or_else(|error| panic!("{error}"))
    }

    fn packed(&self) -> Packed {
        let ids: Vec<i64> = self.texts.iter().flat_map(|text| &text.ids).map(|&id| id.into()).collect();
        let segment =
            |text: &Tokens| (0..text.ids.len()).map(|t| i64::from(t >= text.second_starts)).collect::<Vec<_>>();
        let segments: Vec<i64> = self.texts.iter().flat_map(segment).collect();
        let lengths: Vec<i64> = self.texts.iter().map(|text| text.ids.len() as i64).collect();
        Packed::new(&ids, &segments, &lengths, Device::Cpu)
    }

    /// Returns the states of a layer of all texts, one below the other; or the factors of the golden loss.
    fn rows(&self, kind: &str, layer: usize) -> Tensor {
        let rows: Vec<Tensor> =
            (0..self.texts.len()).map(|text| self.tensor(&format!("{kind}.{text}.{layer}"))).collect();
        Tensor::cat(&rows, 0)
    }
}

/// Fails if an entry differs by more than `tolerance`, a share of the largest entry.
#[track_caller]
fn assert_close(name: &str, found: &Tensor, expected: &Tensor, tolerance: f64) {
    assert_near(name, found, expected, tolerance * max_abs(expected));
}

#[track_caller]
fn assert_near(name: &str, found: &Tensor, expected: &Tensor, most: f64) {
    let difference = max_abs(&(found - expected));
    assert!(difference <= most, "{name}: differs by {difference}, of {} at most {most}", max_abs(expected));
}

/// Encodes without dropout, and runs the backward pass of the golden loss: the sum of states times factors.
fn trained_states(golden: &Golden, bert: &mut Bert) -> Vec<Tensor> {
    bert.turn_off_dropout();
    let packed = golden.packed();
    let encoded: Encoded = bert.encode(&packed, Pass::Training(DropoutKey::Off), Capture::States);
    let products = encoded
        .states()
        .iter()
        .enumerate()
        .map(|(layer, states)| (states * golden.rows("factors", layer)).sum(tch::Kind::Float));
    let loss = products.reduce(|sum, product| sum + product).unwrap();
    loss.backward();
    let states = encoded.states().iter().map(Tensor::detach).collect();
    bert.backward(&packed, encoded);
    states
}

#[test]
fn states_and_gradients_equal_those_of_transformers() {
    for name in FAMILIES {
        let golden = Golden::read(name);
        let mut bert = golden.load();
        for (layer, states) in trained_states(&golden, &mut bert).iter().enumerate() {
            assert_close(&format!("{name}: state {layer}"), states, &golden.rows("hidden", layer), 1e-5);
        }
        let family = bert.config().family;
        let slots = bert.arena().layout().slots();
        let expected = |name: &str| golden.tensor(&format!("grads.{}{}", family.prefix(), family.saved_name(name)));
        let largest = slots.iter().map(|slot| max_abs(&expected(&slot.name))).fold(0.0, f64::max);
        for slot in slots {
            let (found, expected) = (bert.arena().trained_grad(&slot.name).unwrap(), expected(&slot.name));
            let most = 1e-4 * max_abs(&expected) + 1e-6 * largest; // the gradient of a key's bias is 0 but for rounding
            assert_near(&format!("{name}: gradient of {}", slot.name), &found, &expected, most);
        }
    }
}

#[test]
fn a_saved_encoder_has_the_names_of_its_family() {
    for name in FAMILIES {
        let golden = Golden::read(name);
        let bert = golden.load();
        let copy = TempDir::new().unwrap();
        bert.save(copy.path()).unwrap();
        let saved = TensorFile::read(&copy.path().join(WEIGHTS_FILE)).unwrap();
        let prefix = format!("weights.{}", bert.config().family.prefix());
        let mut expected: Vec<TensorBytes<'_>> = golden.file.tensors().unwrap();
        expected.retain(|tensor| tensor.name.starts_with(&prefix) && !tensor.name.contains("pooler"));
        expected.iter_mut().for_each(|tensor| tensor.name.drain(..prefix.len()).for_each(drop));
        assert_eq!(saved.tensors().unwrap(), expected, "{name}");

        let [given, config]: [Value; 2] = [golden.config.clone(), read(copy.path().join(CONFIG_FILE))]
            .map(|text| serde_json::from_str(&text).unwrap());
        for (key, value) in
            config.as_object().unwrap().iter().filter(|(key, _)| *key != "architectures" && *key != "dtype")
        {
            assert_eq!(value, &given[key], "{name}: {key}");
        }
        assert_eq!(config["architectures"][0], bert.config().family.encoder_class());
        let again = Bert::load(copy.path(), Device::Cpu, Precision::F32).unwrap();
        assert!(again.arena().values().equal(&bert.arena().values()), "{name}");
    }
}

#[test]
fn a_classifier_computes_the_logits_of_transformers() {
    for name in FAMILIES {
        let golden = Golden::read(name);
        let folder = golden.write();
        write_vocabulary(folder.path());
        let classifier = SavedClassifier::read(folder.path()).unwrap().expect("the files are classifiers");
        assert_eq!(classifier.labels(), ["LABEL_0", "LABEL_1", "LABEL_2"]);
        let parameters = classifier.parameters(&SavedEncoder::map(folder.path()).unwrap().weights).unwrap();
        let bert = golden.load();
        let (hidden, packed) = (bert.config().hidden_size, golden.packed());
        let head = TopicHead::classifier(classifier.form().activation, hidden, 3, Device::Cpu);
        for (arena, layer, DenseParameters { weight, bias }) in
            [(head.arenas()[0], "transform", &parameters.dense), (head.arenas()[1], "dense", &parameters.output)]
        {
            let set = |part: &str, values: &[f32]| {
                let mut value = arena.value(&format!("{layer}.{part}"));
                value.copy_(&Tensor::from_slice(values).view_as(&value));
            };
            set("weight", weight);
            set("bias", bias);
        }
        let states = bert.encode(&packed, Pass::Inference, Capture::Last);
        let logits = head.forward(states.last(), &packed).detach();
        let model = Model::open(folder.path(), &Options::default()).unwrap();
        let output = Tensor::from_slice(&parameters.output.weight).view([3, hidden]);
        for (text, vector) in model.vectors_of(&golden.texts).unwrap().iter().enumerate() {
            let expected = golden.tensor(&format!("logits.{text}"));
            assert_close(&format!("{name} {text}"), &logits.get(text as i64), &expected, 1e-5);
            let inferred = output.mv(&Tensor::from_slice(vector)) + Tensor::from_slice(&parameters.output.bias);
            assert_close(&format!("{name} {text}"), &inferred, &expected, 1e-5);
        }
    }
}

fn read(path: PathBuf) -> String {
    std::fs::read_to_string(path).unwrap()
}

/// Adds a tokenizer with as many tokens as the models have.
fn write_vocabulary(folder: &Path) {
    let tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"].map(str::to_owned).into_iter();
    let words: Vec<String> = tokens.chain((5..23).map(|i| format!("word{i}"))).collect();
    std::fs::write(folder.join("vocab.txt"), words.join("\n")).unwrap();
    std::fs::write(folder.join("tokenizer_config.json"), r#"{"tokenizer_class": "BertTokenizer"}"#).unwrap();
}

#[test]
fn inference_computes_the_states_of_every_family() {
    for name in FAMILIES {
        let golden = Golden::read(name);
        let folder = golden.write();
        write_vocabulary(folder.path());
        let depth = BertConfig::read(&folder.path().join(CONFIG_FILE)).unwrap().num_hidden_layers as usize;
        let tolerances = [(InferPrecision::F32, 1e-5), (InferPrecision::Bf16, 0.03), (InferPrecision::Int8, 0.05)];
        for (precision, tolerance) in tolerances {
            let options = Options { precision, ..Options::default() };
            let model = Model::open(folder.path(), &options).unwrap_or_else(|error| panic!("{name}: {error}"));
            let model = model.with_pooling(PoolingKind::Mean, ScoreKind::Dot).unwrap();
            let vectors = model.vectors_of(&golden.texts).unwrap();
            for (text, vector) in vectors.iter().enumerate() {
                let expected = golden.tensor(&format!("hidden.{text}.{depth}")).mean_dim(0, false, tch::Kind::Float);
                assert_close(
                    &format!("{name} {precision:?} {text}"),
                    &Tensor::from_slice(vector),
                    &expected,
                    tolerance,
                );
            }
        }
    }
}
