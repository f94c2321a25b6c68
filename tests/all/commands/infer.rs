//! nb-infer with the folders that `nb train` writes, beside the same model on libtorch.

use nb_data::read::Article;
use nb_infer::{InferError, Model, Options, Precision, Text};
use nb_rank::{ArticleVectors, ReaderEncoder};
use nb_train::inference::{SavedModel, VectorKind};
use nb_train::task::ReaderTable;
use tch::Device;

use super::place::{FINETUNE, Place, STUDENT, article};

/// Titles and abstracts of many lengths, one longer than a model reads, one empty, one of unknown words.
fn texts() -> Vec<(String, Option<String>)> {
    let mut texts = vec![
        ("goal ".repeat(400), None),
        (String::new(), None),
        ("unheard words".to_owned(), Some("storm".to_owned())),
    ];
    texts.extend((0..40).map(|i| {
        let words = ["bank shares profit today", "the big match", "rain and snow"][i % 3];
        ([words; 5][..1 + i % 5].join(" "), (i % 4 == 1).then(|| "goal storm bank".to_owned()))
    }));
    texts
}

fn borrowed(texts: &[(String, Option<String>)]) -> Vec<Text<'_>> {
    texts.iter().map(|(first, second)| Text { first, second: second.as_deref() }).collect()
}

fn articles(texts: &[(String, Option<String>)]) -> Vec<Article> {
    texts.iter().map(|(first, second)| article(first, second.as_deref())).collect()
}

fn open(place: &Place, folder: &str, precision: Precision) -> Model {
    Model::open(place.path(folder), &Options { precision, ..Options::default() }).unwrap()
}

fn largest_difference(found: &[Vec<f32>], expected: &[Vec<f32>]) -> f32 {
    assert_eq!(found.len(), expected.len());
    let rows = found.iter().zip(expected).map(|(found, expected)| {
        assert_eq!(found.len(), expected.len());
        found.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
    });
    rows.fold(0.0, f32::max)
}

fn cosine(a: &[f32], b: &[f32]) -> f32 {
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
}

/// Compares vectors in each precision with those of libtorch in f32.
#[track_caller]
fn assert_same_vectors(place: &Place, folder: &str) {
    let texts = texts();
    let saved = SavedModel::load(&place.path(folder), Device::Cpu, nb_model::Precision::F32).unwrap();
    let expected = saved.vectors(&articles(&texts), VectorKind::Head).unwrap();
    let model = open(place, folder, Precision::F32);
    let found = model.vectors(&borrowed(&texts)).unwrap();
    assert_eq!(Some(found[0].len()), model.width());
    let off = largest_difference(&found, &expected);
    assert!(off < 1e-5, "f32 is off by {off}");
    for (precision, least) in [(Precision::Bf16, 0.999), (Precision::Int8, 0.995)] {
        let found = open(place, folder, precision).vectors(&borrowed(&texts)).unwrap();
        let cosines = found.iter().zip(&expected).map(|(found, expected)| cosine(found, expected));
        let worst = cosines.fold(1.0, f32::min);
        assert!(worst > least, "{precision:?}: a cosine of {worst}, expected {least}");
    }
}

#[test]
fn topics_and_vectors_are_those_of_libtorch() {
    let place = Place::new();
    place.train(&["train.epochs=2", FINETUNE]).done();
    assert_same_vectors(&place, STUDENT);
    let (texts, model) = (texts(), open(&place, STUDENT, Precision::F32));
    let saved = SavedModel::load(&place.path(STUDENT), Device::Cpu, nb_model::Precision::F32).unwrap();
    assert_eq!(model.labels(), saved.labels().unwrap());
    let (found, expected) =
        (model.probabilities(&borrowed(&texts)).unwrap(), saved.probabilities(&articles(&texts)).unwrap());
    assert!(largest_difference(&found, &expected) < 1e-5);
    let int8 = open(&place, STUDENT, Precision::Int8).probabilities(&borrowed(&texts)).unwrap();
    assert!(largest_difference(&int8, &expected) < 0.02, "{}", largest_difference(&int8, &expected));
}

#[test]
fn every_pooling_and_score_is_that_of_libtorch() {
    let place = Place::searches();
    place.train(&["method={name: finetune}"]).done(); // mean, cosine
    assert_same_vectors(&place, STUDENT);
    std::fs::remove_file(place.path(&format!("{STUDENT}/newsbert.json"))).unwrap(); // modules.json says the same
    assert_same_vectors(&place, STUDENT);
    place.train(&["method={name: finetune}", "head.pooling=cls", "head.score=dot"]).done();
    assert_same_vectors(&place, STUDENT);

    let place = Place::readers(); // a head with a reader model
    place
        .train(&["method={name: finetune}", "head.pooling=attentive", "reader.pooling=attentive", "head.scale=learned"])
        .done();
    assert_same_vectors(&place, STUDENT);

    let narrow = "student={layers: 1, hidden: 8, heads: 2, init: random}"; // with a projection
    let method = "method={teacher: frozen, weights: {vector: 1, similarity: 1}}";
    let place = Place::searches();
    place.train(&[narrow, method, "teacher.train.epochs=1"]).done();
    assert_same_vectors(&place, STUDENT);
}

/// Readers with no click, with one, with the same click twice, and with many, beside the same reader model on libtorch.
#[test]
fn readers_are_those_of_libtorch() {
    let attentive = ["head.pooling=attentive", "reader.pooling=attentive"];
    let attended = ["reader={pooling: attentive, self_attention: 2}", "head.score=dot"];
    let place = Place::readers();
    for settings in [&["reader.pooling=mean"][..], &attentive, &attended] {
        place.train(&[&["method={name: finetune}"], settings].concat()).done();
        let model = open(&place, STUDENT, Precision::F32);
        let vectors = model.vectors(&borrowed(&texts())).unwrap().concat();
        let saved = SavedModel::load(&place.path(STUDENT), Device::Cpu, nb_model::Precision::F32).unwrap();
        let articles = ArticleVectors::new(vectors.clone(), model.width().unwrap());
        let many: Vec<u32> = (0..40).collect();
        let histories: Vec<&[u32]> = vec![&[], &[3], &[5, 5, 7], &many, &[], &[1, 2]];
        let reader = saved.reader().unwrap();
        let expected = ReaderTable::new(&articles, &reader).encode(&histories).unwrap();
        let readers = model.readers(&vectors).unwrap();
        let found = readers.vectors(&histories).unwrap();
        let off = largest_difference(std::slice::from_ref(&found), &[expected]);
        assert!(off < 1e-5, "{settings:?}: off by {off}");
        let width = model.width().unwrap();
        // A reader alone has the same vector, to the bit.
        assert_eq!(readers.vectors(&histories[3..4]).unwrap(), found[3 * width..4 * width]);
        let exact: f32 = found[width..2 * width].iter().zip(articles.row(9)).map(|(a, b)| a * b).sum();
        assert!((readers.score(&found[width..2 * width], 9) - exact).abs() < 1e-5);
        std::fs::remove_dir_all(place.path("runs")).unwrap();
    }
}

#[test]
fn a_model_without_readers_says_so() {
    let place = Place::new();
    place.train(&[FINETUNE]).done();
    let error = open(&place, STUDENT, Precision::F32).readers(&[]).unwrap_err().to_string();
    assert!(error.contains("has no reader model: it was trained for topic, expected recommend"), "{error}");
}

/// A head that the description does not use would be silently left out.
#[test]
fn tensors_that_the_description_does_not_name_are_refused() {
    let place = Place::new();
    place.train(&[FINETUNE]).done();
    let path = format!("{STUDENT}/newsbert.json");
    let description = place.text(&path).replace("\"pooling\": \"attentive\"", "\"pooling\": \"mean\"");
    place.write(&path, description);
    let error = Model::open(place.path(STUDENT), &Options::default()).unwrap_err().to_string();
    let expected = "head.safetensors: tensor pooling.proj.bias is unknown, expected names that begin with dense.";
    assert!(error.contains(expected), "{error}");
}

/// Every bit: a text's vector does not depend on the texts beside it, nor on their order.
#[test]
fn a_text_alone_has_the_same_bits_as_among_others() {
    let place = Place::new();
    place.train(&[FINETUNE]).done();
    let texts = texts();
    for precision in [Precision::F32, Precision::Bf16, Precision::Int8] {
        let model = open(&place, STUDENT, precision);
        let all = model.vectors(&borrowed(&texts)).unwrap();
        for (text, expected) in borrowed(&texts).into_iter().zip(&all).step_by(3) {
            assert_eq!(&model.vectors(&[text]).unwrap()[0], expected, "{precision:?}");
        }
    }
}

/// One model on many threads at once.
#[test]
fn threads_share_a_model() {
    let place = Place::new();
    place.train(&[FINETUNE]).done();
    let (texts, model) = (texts(), open(&place, STUDENT, Precision::Int8));
    let expected = model.probabilities(&borrowed(&texts)).unwrap();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..5 {
                    assert_eq!(model.probabilities(&borrowed(&texts)).unwrap(), expected);
                }
            });
        }
    });
    assert!(model.vectors(&[]).unwrap().is_empty());
}

#[test]
fn what_does_not_fit_is_refused() {
    let place = Place::searches();
    place.train(&["method={name: finetune}"]).done();
    let folder = place.path(STUDENT);
    let fails = |options: Options| Model::open(&folder, &options).unwrap_err().to_string();
    assert!(fails(Options { max_tokens: Some(2), ..Options::default() }).contains("max_tokens is 2, expected 3 to"));
    for threads in [0, 1_000_000] {
        let options = Options { threads: Some(threads), ..Options::default() };
        assert!(fails(options).contains(&format!("threads is {threads}, expected 1 to 1024")));
    }
    let missing = place.path("no-such-folder");
    assert!(matches!(Model::open(&missing, &Options::default()), Err(InferError::NotAFolder { .. })));

    let error = open(&place, STUDENT, Precision::F32).probabilities(&["rain".into()]).unwrap_err().to_string();
    assert!(error.contains("it was trained for retrieve, expected topic"), "{error}");
    for file in ["newsbert.json", "modules.json"] {
        std::fs::remove_file(folder.join(file)).unwrap();
    }
    let encoder = open(&place, STUDENT, Precision::F32);
    assert!(matches!(encoder.vectors(&["rain".into()]), Err(InferError::NoPooling { .. })));
    assert_eq!((encoder.width(), encoder.labels().len(), encoder.fields().len()), (None, 0, 0));

    for (description, message) in [
        (r#"{"task": "topic", "max_tokens": 2, "texts": 1}"#, "newsbert.json: max_tokens is 2, expected 3 or more"),
        (
            r#"{"task": "embed", "max_tokens": 9, "texts": 1, "head": {"projection": 0}}"#,
            "newsbert.json: head.projection is 0, expected 1 or more",
        ),
        (
            r#"{"task": "topic", "labels": ["a", "b"], "max_tokens": 9, "texts": 1}"#,
            "head.safetensors: tensor pooling.proj.weight is missing, expected shape [200, 16]",
        ),
    ] {
        std::fs::write(folder.join("newsbert.json"), description).unwrap();
        let error = fails(Options::default());
        assert!(error.contains(message), "{error}");
    }
    std::fs::remove_file(folder.join("newsbert.json")).unwrap();

    let weights = std::fs::read(folder.join("model.safetensors")).unwrap();
    std::fs::write(folder.join("model.safetensors"), &weights[..weights.len() / 2]).unwrap();
    assert!(fails(Options::default()).contains("model.safetensors is not a complete safetensors file"));
}
