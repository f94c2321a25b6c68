//! Heads as data: what a configuration or a teacher's folder says about pooling and score, and what commands make of it.

use nb_model::{Bert, Precision};
use nb_train::inference::{SavedModel, VectorKind};
use serde_json::{Value, json};
use tch::Device;

use super::place::{Place, STUDENT, article, assert_same_metrics, tensors};

/// Fine-tuning and NewsBERT with the recipe of their task. The places for ranking have the paper's settings.
const FINETUNE: &str = "method={name: finetune}";
const NEWSBERT: &str = "method={name: newsbert}";
const JOINT: &str = "method={name: newsbert, teacher: joint, weights: {hard: 1}}";

/// The head of a ranking task, unless something else is said.
const DEFAULT: &str = r#"{"pooling":"mean","score":"cosine","scale":20.0,"reader":"attentive"}"#;

fn head(place: &Place, folder: &str) -> Value {
    place.json(&format!("{folder}/newsbert.json"))["head"].clone()
}

/// Turns a trained model folder into the folder of an encoder alone.
fn strip(place: &Place, folder: &str) {
    for file in ["newsbert.json", "head.safetensors", "modules.json", "sentence_bert_config.json"] {
        let _ = std::fs::remove_file(place.path(&format!("{folder}/{file}")));
    }
    let _ = std::fs::remove_dir_all(place.path(&format!("{folder}/1_Pooling")));
}

fn vectors(place: &Place, folder: &str, text: &str) -> Vec<f32> {
    let model = SavedModel::load(&place.path(folder), Device::Cpu, Precision::F32).unwrap();
    model.vectors(&[article(text, None)], VectorKind::Head).unwrap().remove(0)
}

fn length(vector: &[f32]) -> f32 {
    vector.iter().map(|x| x * x).sum::<f32>().sqrt()
}

#[test]
fn ranking_starts_from_means_and_cosines_and_topics_from_attention() {
    let place = Place::searches();
    place.train(&[FINETUNE]).done();
    assert_eq!(head(&place, STUDENT), serde_json::from_str::<Value>(DEFAULT).unwrap());
    assert!((length(&vectors(&place, STUDENT, "storm in snow")) - 1.0).abs() < 1e-5);
    assert_eq!(tensors(&place.path(&format!("{STUDENT}/head.safetensors"))).len(), 0, "nothing to train");

    let place = Place::readers();
    place.train(&[FINETUNE]).done();
    let found = head(&place, STUDENT);
    assert_eq!(
        (&found["pooling"], &found["score"], &found["reader"]),
        (&json!("mean"), &json!("cosine"), &json!("mean"))
    );

    let place = Place::new();
    place.train(&[FINETUNE]).done();
    assert_eq!(head(&place, STUDENT)["pooling"], "attentive");
    place.train(&[FINETUNE, "head.score=dot"]).failed(&["head.score is given", "task: topic does not score pairs"]);
}

/// Every head trains, is saved, and gives the same metrics when loaded; or the same vectors, where the cosines of untrained states differ
/// by less than the rounding of training and inference, which run on different kernels.
#[test]
fn every_head_is_loaded_as_it_was_trained() {
    let place = Place::searches();
    let heads = [
        "head={pooling: attentive, score: dot}",
        "head={pooling: cls, score: cosine, scale: learned}",
        "head={pooling: mean, score: dot, scale: 0.5}",
    ];
    for (i, set) in heads.into_iter().enumerate() {
        let run = format!("runs/h{i}");
        place.train(&[JOINT, set, "train.epochs=2", &format!("output={run}")]).done();
        for role in ["student", "teacher"] {
            let model = format!("{run}/{role}");
            let ended = place.nb(&["eval", "--model", &model, "--input", "beir", "--split", "dev"]).done();
            let found: Value = serde_json::from_str(&ended.out).unwrap();
            if set.contains("cosine") {
                let model = nb_infer::Model::open(place.path(&model), &nb_infer::Options::default()).unwrap();
                let found = model.vectors(&["storm in snow".into()]).unwrap().remove(0);
                let expected = vectors(&place, &format!("{run}/{role}"), "storm in snow");
                assert!(found.iter().zip(&expected).all(|(a, b)| (a - b).abs() < 1e-5), "{found:?}, {expected:?}");
                assert!((length(&found) - 1.0).abs() < 1e-5);
                continue;
            }
            assert_same_metrics(&found, &place.summary(&run)[role], "queries", &["ndcg@10", "mrr@10"]);
        }
    }
    let learned = tensors(&place.path("runs/h1/student/head.safetensors"));
    let [(name, value)] = &learned[..] else { panic!("{learned:?}") };
    assert_eq!(name, "score.log_scale");
    let log_scale = value.double_value(&[0]);
    assert!((log_scale - 20_f64.ln()).abs() > 1e-6 && (2.0..5.0).contains(&log_scale), "{log_scale}: it is trained");
}

#[test]
fn readers_pool_by_mean_or_attention() {
    let place = Place::readers();
    for (reader, count) in [("mean", 1), ("attentive", 4)] {
        let run = format!("output=runs/{reader}");
        place.train(&[NEWSBERT, &format!("reader.pooling={reader}"), "train.epochs=2", &run]).done();
        let model = format!("runs/{reader}/student");
        assert_eq!(tensors(&place.path(&format!("{model}/head.safetensors"))).len(), count, "{reader}");
        let ended = place.nb(&["eval", "--model", &model, "--input", "mind/dev"]).done();
        let found: Value = serde_json::from_str(&ended.out).unwrap();
        let expected = &place.summary(&format!("runs/{reader}"))["student"];
        assert_same_metrics(&found, expected, "impressions", &["auc", "mrr"]);
    }
}

#[test]
fn a_folder_says_how_its_model_pools() {
    let place = Place::searches();
    place.train(&[FINETUNE, "output=runs/first"]).done();
    let folder = "runs/first/student";
    assert_eq!(place.json(&format!("{folder}/modules.json")).as_array().map(Vec::len), Some(3), "it normalises");
    let before = vectors(&place, folder, "storm in snow");
    let modules = place.text(&format!("{folder}/modules.json"));
    strip(&place, folder);
    // As a sentence-transformers folder, the model computes what it did.
    place.write(&format!("{folder}/modules.json"), &modules);
    let pooling = |mode: &str| format!(r#"{{"word_embedding_dimension": 16, "pooling_mode_{mode}_tokens": true}}"#);
    place.write(&format!("{folder}/1_Pooling/config.json"), pooling("mean"));
    assert_eq!(vectors(&place, folder, "storm in snow"), before);

    let checkpoint = ["teacher={checkpoint: runs/first/student}", FINETUNE, "output=runs/second", "student.layers=1"];
    place.write(&format!("{folder}/1_Pooling/config.json"), pooling("cls").replace("cls_tokens", "cls_token"));
    place.train(&checkpoint).done();
    assert_eq!(head(&place, "runs/second/student")["pooling"], "cls");
    place.train(&[&checkpoint[..2], &["head.pooling=mean", "output=runs/third", "student.layers=1"]].concat()).done();
    assert_eq!(head(&place, "runs/third/student")["pooling"], "mean");

    place.write(&format!("{folder}/1_Pooling/config.json"), pooling("max"));
    let refused = place.train(&[&checkpoint[..2], &["output=runs/fourth", "student.layers=1"]].concat());
    refused.failed(&["1_Pooling/config.json", "found the pooling mode `max_tokens`, expected mean or cls"]);
    std::fs::remove_file(place.path(&format!("{folder}/modules.json"))).unwrap();
    let embed = ["embed", "--model", folder, "--input", "beir/corpus.jsonl", "--output", "v.safetensors"];
    place.nb(&embed).failed(&["neither newsbert.json nor modules.json", "--pooling mean or cls"]);
}

#[test]
fn a_checkpoint_can_teach_as_it_comes() {
    let place = Place::searches();
    place.train(&[FINETUNE, "student.layers=4", "output=runs/first"]).done();
    strip(&place, "runs/first/student");
    let taught =
        ["teacher={checkpoint: runs/first/student, train: {epochs: 0}}", "method={name: kd, weights: {vector: 1}}"];
    place.train(&taught).done();
    assert!(!place.exists("runs/tiny-teacher"), "no teacher was trained");
    let summary = place.summary("runs/tiny");
    assert_eq!(summary["teacher"]["ndcg@10"], summary["untouched"]["teacher"]["ndcg@10"]);
    assert_eq!(summary["cost"].get("teacher"), None);
    let refused: [(&str, &[&str]); 3] = [
        ("head.pooling=attentive", &["teacher.train.epochs is 0", "attentive pooling has parameters"]),
        ("teacher.trained=[runs/first/student]", &["teacher.train.epochs is 0", "teacher.trained is given"]),
        ("task=topic", &["teacher.train.epochs", "data.format"]),
    ];
    for (set, parts) in refused {
        let ended = place.train(&[&taught[..], &[set, "output=runs/refused"]].concat());
        assert!(parts.iter().any(|part| ended.err.contains(part)), "{set}: {}", ended.err);
        assert_eq!(ended.code, Some(1), "{set}");
    }
}

/// A model that was trained for retrieval is, for recommendation, a checkpoint like any other.
#[test]
fn a_model_of_another_task_can_teach_as_it_comes() {
    let searches = Place::searches();
    searches.train(&[FINETUNE, "student.layers=4"]).done();
    let place = Place::readers();
    let folder = searches.path(STUDENT).display().to_string();
    let untouched = format!("teacher={{checkpoint: {folder}, train: {{epochs: 0}}}}");
    place.train(&[NEWSBERT, &untouched, "student.init=ends"]).done();
    let summary = place.summary("runs/tiny");
    assert_eq!(summary["teacher"]["auc"], summary["untouched"]["teacher"]["auc"]);
    for teacher in
        [format!("teacher.trained=[{folder}]"), format!("teacher={{checkpoint: {folder}, trained: [{folder}]}}")]
    {
        place.train(&[NEWSBERT, &teacher, "output=runs/refused"]).failed(&["it was trained for retrieve"]);
    }
}

/// A narrower student learns vectors of the teacher's width, which its folder keeps.
#[test]
fn a_narrow_student_lives_in_its_teachers_space() {
    for place in [Place::searches(), Place::readers()] {
        let narrow = "student={layers: 1, hidden: 8, heads: 2, init: random}";
        let method = "method={teacher: frozen, weights: {vector: 1, similarity: 1}}";
        place.train(&[narrow, method, "train.epochs=2", "teacher.train.epochs=1"]).done();
        assert_eq!(head(&place, STUDENT)["projection"], 16);
        let description = place.text(&format!("{STUDENT}/newsbert.json"));
        for width in ["-1", "0", "1000", "9223372036854775807"] {
            let changed = description.replace("\"projection\": 16", &format!("\"projection\": {width}"));
            place.write("hostile/newsbert.json", changed);
            for file in ["config.json", "model.safetensors", "head.safetensors", "vocab.txt", "tokenizer.json"] {
                place.write(&format!("hostile/{file}"), place.read(&format!("{STUDENT}/{file}")));
            }
            let embed =
                ["embed", "--model", "hostile", "--input", "train.csv", "--columns", "1", "--output", "v.safetensors"];
            let expected = match width {
                "-1" | "0" => format!("newsbert.json: head.projection is {width}, expected 1 or more"),
                width => format!("tensor vector.weight has the shape [16, 8], expected [{width}, 8]"),
            };
            place.nb(&embed).failed(&[&expected]);
        }
        assert_eq!(vectors(&place, STUDENT, "storm in snow").len(), 16);
        let bert = Bert::load(&place.path(STUDENT), Device::Cpu, Precision::F32).unwrap();
        assert_eq!(bert.config().hidden_size, 8);
        let modules = place.json(&format!("{STUDENT}/modules.json"));
        let paths: Vec<&str> =
            modules.as_array().unwrap().iter().filter_map(|module| module["path"].as_str()).collect();
        assert_eq!(paths, ["", "1_Pooling", "2_Dense", "3_Normalize"], "another program projects too");
    }
}

/// No term of the recipe reaches a reader model, so the student takes its teacher's.
#[test]
fn a_student_that_learns_vectors_takes_its_teachers_reader() {
    let place = Place::readers();
    place.train(&[NEWSBERT, "reader={pooling: attentive, self_attention: 2}", "teacher.train.epochs=2"]).done();
    let reader = |folder: &str| tensors(&place.path(&format!("{folder}/head.safetensors")));
    let (teacher, student) = (reader("runs/tiny-teacher/teacher"), reader(STUDENT));
    assert_eq!(student.len(), 10);
    for ((name, expected), (other, found)) in teacher.iter().zip(&student) {
        assert!(name == other && found.equal(expected), "{name}");
    }
    let cold = teacher.iter().find(|(name, _)| name == "reader.cold").unwrap();
    assert!(cold.1.abs().max().double_value(&[]) > 0.0, "the teacher has readers without clicks");
}

#[test]
fn a_teacher_with_a_projection_is_refused() {
    let place = Place::searches();
    let narrow = "student={layers: 1, hidden: 8, heads: 2, init: random}";
    let method = "method={teacher: frozen, weights: {vector: 1}}";
    place.train(&[narrow, method, "teacher.train.epochs=1", "output=runs/narrow"]).done();
    let teacher = "teacher={checkpoint: runs/narrow/student}";
    let refused = place.train(&[teacher, method, "student.layers=1", "output=runs/refused"]);
    refused.failed(&["runs/narrow/student", "its head projects to 16 units, expected the 8 hidden units"]);
}

#[test]
fn terms_of_vectors_train_in_every_task() {
    for place in [Place::searches(), Place::readers(), Place::new()] {
        let weights = "weights: {hard: 1, vector: 1, vector_cosine: 1, similarity: 1, similarity_kl: 1}";
        for teacher in ["frozen", "joint"] {
            let teachers = if teacher == "joint" { ", teacher: 1" } else { "" };
            let method = format!("method={{teacher: {teacher}, {}{teachers}}}}}", &weights[..weights.len() - 1]);
            place.train(&[&method, &format!("output=runs/{teacher}"), "teacher.train.epochs=1"]).done();
            let lines = place.text(&format!("runs/{teacher}/metrics.jsonl"));
            let first: Value = serde_json::from_str(lines.lines().next().unwrap()).unwrap();
            for term in ["vector", "vector_cosine", "similarity", "similarity_kl"] {
                let value = first["terms"][term].as_f64().unwrap_or_else(|| panic!("{term} in {first}"));
                assert!(value.is_finite() && value > 0.0, "{term}: {value}");
            }
        }
    }
    let refused = Place::searches().train(&[NEWSBERT, "method.similarity_scale=0"]);
    refused.failed(&["method.similarity_scale is 0, expected a number above 0"]);
}

#[test]
fn the_models_before_training_come_first() {
    let place = Place::searches();
    place.train(&[FINETUNE, "student.layers=4", "output=runs/first"]).done();
    // With a learning rate this high, the teacher forgets.
    let worse = [
        JOINT,
        "teacher={checkpoint: runs/first/student}",
        "train={lr: 1, teacher_lr: 1, batch: 8}",
        "student.layers=2",
    ];
    let ended = place.train(&worse).done();
    let header = ended.out.lines().find(|line| line.contains("untouched")).unwrap();
    let columns: Vec<&str> = header.split('┆').map(str::trim).collect();
    assert_eq!(columns[1..3], ["untouched", "untouched"]);
    let summary = place.summary("runs/tiny");
    for role in ["teacher", "student"] {
        let untouched = &summary["untouched"][role];
        assert!(untouched["ndcg@10"].as_f64().is_some(), "{untouched}");
        assert_eq!(untouched["layers"], summary[role]["layers"]);
    }
    let [before, after] =
        [&summary["untouched"]["teacher"], &summary["teacher"]].map(|m| m["ndcg@10"].as_f64().unwrap());
    let warning = "training left the teacher below the checkpoint";
    assert_eq!(ended.err.contains(warning), after < before, "{before} to {after}: {}", ended.err);
    assert!(after < before, "{before} to {after}");
    assert!(summary["warnings"][0].as_str().unwrap().contains("teacher.train.epochs: 0"));
    assert!(place.text("runs/tiny/report.html").contains("untouched teacher"));
    let cost = &summary["cost"]["run"];
    assert!(cost["seconds"].as_f64().unwrap() > 0.0 && cost["processor_seconds"].as_f64().unwrap() > 0.0, "{cost}");
}

#[test]
fn a_recipe_fills_what_is_left_open_and_the_papers_settings_remain() {
    let place = Place::searches();
    let config = |sets: &[&str], run: &str| -> serde_yaml::Value {
        place.train(&[sets, &[&format!("output=runs/{run}"), "train.max_steps=1"]].concat()).done();
        serde_yaml::from_str(&place.text(&format!("runs/{run}/config.yaml"))).unwrap()
    };
    let tuned = config(&[NEWSBERT], "tuned");
    assert_eq!(tuned["student"]["init"], "ends");
    assert_eq!(tuned["head"]["pooling"], "mean");
    let paper = config(&["method={preset: paper}"], "paper");
    assert_eq!(paper["student"]["init"], "first");
    assert_eq!((&paper["head"]["pooling"], &paper["head"]["score"]), (&"attentive".into(), &"dot".into()));
    let weights = &paper["method"]["weights"];
    for term in ["teacher", "embedding", "hidden", "pooled", "soft", "hard"] {
        assert_eq!(weights[term].as_f64(), Some(1.0), "{term}");
    }
    assert_eq!(paper["method"]["beta"].as_f64(), Some(0.15));
    let given = config(&[NEWSBERT, "student.init=spaced"], "given");
    assert_eq!(given["student"]["init"], "spaced");
    place.train(&["method.preset=best"]).failed(&["method.preset", "`tuned`", "`paper`"]);
}
