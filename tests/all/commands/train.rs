//! Successful `nb train` and `nb plan`: the files of a run, and reproducibility.

use std::collections::BTreeSet;

use serde_json::Value;

use super::place::{DEV_ROWS, Place, STUDENT, TOPICS, TRAIN_ROWS};

/// The files of every model folder beside the modules of sentence-transformers.
pub(super) const MODEL_FILES: [&str; 8] = [
    "README.md",
    "config.json",
    "head.safetensors",
    "model.safetensors",
    "newsbert.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "vocab.txt",
];

/// Fails unless the folder contains exactly these names.
#[track_caller]
pub(super) fn assert_holds(place: &Place, folder: &str, expected: &[&str]) {
    assert_eq!(place.names(folder), expected.iter().map(|&name| name.to_owned()).collect(), "{folder}");
}

/// Fails unless the folder contains exactly the files of a model, with the modules that sentence-transformers needs for its
/// head.
#[track_caller]
pub(super) fn assert_model(place: &Place, folder: &str) {
    let description = place.json(&format!("{folder}/newsbert.json"));
    let head = &description["head"];
    let modules = [
        ("modules.json", true),
        ("sentence_bert_config.json", true),
        ("1_Pooling", true),
        ("newsbert_pooling.py", head["pooling"] == "attentive"),
        ("2_Dense", head.get("projection").is_some()),
        ("config_sentence_transformers.json", description.get("labels").is_none()),
    ];
    let modules = modules.into_iter().filter_map(|(name, is_there)| is_there.then_some(name));
    assert_holds(place, folder, &MODEL_FILES.into_iter().chain(modules).collect::<Vec<_>>());
}

/// The files of a finished run, except its models and TensorBoard's events.
const RUN_FILES: [&str; 5] = ["config.yaml", "metrics.jsonl", "outcomes.safetensors", "report.html", "summary.json"];

/// Fails unless the folder contains exactly the files of a finished run with models of these roles.
#[track_caller]
pub(super) fn assert_run(place: &Place, folder: &str, roles: &[&str]) {
    let is_events = |name: &String| name.starts_with("events.out.tfevents.");
    let (events, rest): (Vec<String>, Vec<String>) = place.names(folder).into_iter().partition(is_events);
    assert_eq!(events.len(), 1, "{folder}: {events:?}");
    let expected: BTreeSet<String> = RUN_FILES.iter().chain(roles).map(|&name| name.to_owned()).collect();
    assert_eq!(rest.into_iter().collect::<BTreeSet<_>>(), expected, "{folder}");
}

/// Fails unless the models of two runs are bitwise equal.
#[track_caller]
pub(super) fn assert_same_model(place: &Place, one: &str, other: &str) {
    for file in ["model.safetensors", "head.safetensors"] {
        assert!(
            place.read(&format!("{one}/{file}")) == place.read(&format!("{other}/{file}")),
            "{file} of {one} and {other}"
        );
    }
}

#[test]
fn a_run_writes_its_folder() {
    let place = Place::new();
    let ended = place.train(&["train.epochs=2"]).done();
    assert!(ended.out.contains("accuracy") && ended.out.contains(STUDENT), "{}", ended.out);
    assert_run(&place, "runs/tiny", &["student", "teacher"]);
    for (role, layers) in [("student", 2), ("teacher", 4)] {
        assert_model(&place, &format!("runs/tiny/{role}"));
        let config = place.json(&format!("runs/tiny/{role}/config.json"));
        assert_eq!((&config["num_hidden_layers"], &config["hidden_size"]), (&layers.into(), &16.into()));
        let description = place.json(&format!("runs/tiny/{role}/newsbert.json"));
        assert_eq!(description["labels"], serde_json::json!(TOPICS.map(|(name, _)| name)));
        nb_model::Bert::load(&place.path(&format!("runs/tiny/{role}")), tch::Device::Cpu, nb_model::Precision::F32)
            .unwrap();
    }
    check_summary(&place.summary("runs/tiny"));
    check_metrics(&place.text("runs/tiny/metrics.jsonl"));
}

fn check_summary(summary: &Value) {
    for (key, expected) in [("task", "topic"), ("method", "newsbert"), ("name", "tiny")] {
        assert_eq!(summary[key], expected, "{key}");
    }
    assert_eq!((&summary["seed"], &summary["train"]["steps"]), (&0.into(), &(2 * TRAIN_ROWS / 8).into()));
    for key in ["seconds", "sequences_per_second", "tokens_per_second"] {
        assert!(summary["train"][key].as_f64().unwrap() > 0.0, "train.{key}");
    }
    // A vocabulary of 26 tokens, 512 positions, 2 segments; a layer has 12·H² + 13·H parameters.
    let parameters = |layers: u64| (26 + 512 + 2) * 16 + 32 + layers * (12 * 256 + 13 * 16);
    for (role, layers) in [("student", 2), ("teacher", 4)] {
        let evaluation = &summary[role];
        assert_eq!(
            (&evaluation["layers"], &evaluation["parameters"]),
            (&layers.into(), &parameters(layers).into()),
            "{role}"
        );
        for metric in ["accuracy", "macro_f1"] {
            assert!((0.0..=1.0).contains(&evaluation[metric].as_f64().unwrap()), "{role}.{metric}");
        }
    }
}

fn check_metrics(text: &str) {
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let with_event = |event: &str| lines.iter().filter(|line| line["event"] == event).collect::<Vec<_>>();
    let (steps, evaluations) = (with_event("step"), with_event("eval"));
    assert_eq!((steps.len(), evaluations.len()), (2 * TRAIN_ROWS / 8, 2));
    for (i, line) in steps.iter().enumerate() {
        assert_eq!(line["step"], i + 1);
        let terms = line["terms"].as_object().unwrap();
        let names: Vec<&str> = terms.keys().map(String::as_str).collect();
        assert_eq!(names, ["teacher", "embedding", "hidden", "pooled", "soft", "hard"]);
        let weighted =
            |(name, value): (&String, &Value)| line["weights"][name].as_f64().unwrap() * value.as_f64().unwrap();
        let sum: f64 = terms.iter().map(weighted).sum();
        assert!(
            (sum - line["loss"].as_f64().unwrap()).abs() < 1e-9,
            "the loss is the sum of its weighted terms: {line}"
        );
    }
    for line in evaluations {
        assert!(line["student"]["accuracy"].is_number() && line["teacher"]["macro_f1"].is_number(), "{line}");
    }
}

#[test]
fn the_same_configuration_gives_the_same_bits() {
    let place = Place::new();
    // With two threads, dropout (BERT's default of 0.1), a blend, and accumulation with a partial last group.
    let sets = ["threads=2", "train.accumulate=4", "method.temperature=2"];
    place.train(&sets).done();
    // The number of threads changes nothing, and `auto` stands for the number that the machine has.
    let second = place.train(&[&sets[..], &["threads=auto"]].concat()).done();
    assert!(second.err.contains("tiny-2"), "the log names the folder: {}", second.err);
    let processors = std::thread::available_parallelism().unwrap().get();
    let config = String::from_utf8(place.read("runs/tiny-2/config.yaml")).unwrap();
    let threads = config.lines().find_map(|line| line.strip_prefix("threads: ")?.parse::<usize>().ok()).unwrap();
    assert!((processors..=processors + 1).contains(&threads), "{threads} of {processors}: a quota is rounded up");
    for role in ["student", "teacher"] {
        assert_same_model(&place, &format!("runs/tiny/{role}"), &format!("runs/tiny-2/{role}"));
    }
    // The resolved configuration in the run folder gives the same run.
    let again = ["train", "--config", "runs/tiny/config.yaml", "--set", "output=runs/again"];
    place.nb(&again).done();
    assert_same_model(&place, STUDENT, "runs/again/student");
    place.train(&[&sets[..], &["seed=1", "output=runs/other"]].concat()).done();
    assert!(
        place.read("runs/tiny/student/model.safetensors") != place.read("runs/other/student/model.safetensors"),
        "a different seed"
    );
}

#[test]
fn a_method_spelled_out_equals_its_preset() {
    let place = Place::new();
    let spelled = [
        "newsbert",
        "{teacher: joint, temperature: 1.0, t2: false, beta: 0.15, blend: [layers], share: [pooling, dense], \
         weights: {embedding: 0.1, hidden: 0.1, pooled: 1, soft: 1, hard: 1, teacher: 1}}",
        "finetune",
        "{teacher: none, weights: {hard: 1}}",
        "teacher",
        "{teacher: joint, weights: {teacher: 1}}",
    ];
    for pair in spelled.chunks(2) {
        let (name, parts) = (pair[0], pair[1]);
        place.train(&[&format!("method.name={name}"), &format!("output=runs/{name}")]).done();
        place.train(&[&format!("method={parts}"), &format!("output=runs/{name}-spelled")]).done();
        let role = if name == "teacher" { "teacher" } else { "student" };
        assert_same_model(&place, &format!("runs/{name}/{role}"), &format!("runs/{name}-spelled/{role}"));
        assert_eq!(place.summary(&format!("runs/{name}-spelled"))["method"], "custom");
    }
    place.train(&["method={}", "output=runs/nothing"]).done();
    assert_same_model(&place, "runs/newsbert/student", "runs/nothing/student");
}

#[test]
fn finetune_trains_only_a_student_and_teacher_only_a_teacher() {
    let place = Place::new();
    for (method, role, other) in [("finetune", "student", "teacher"), ("teacher", "teacher", "student")] {
        place.train(&[&format!("method.name={method}"), &format!("output=runs/{method}")]).done();
        assert_run(&place, &format!("runs/{method}"), &[role]);
        let summary = place.summary(&format!("runs/{method}"));
        assert_eq!(summary["method"], method);
        assert!(summary[role]["accuracy"].is_number() && summary.get(other).is_none(), "{summary}");
    }
}

#[test]
fn named_layers_equal_the_words_and_defaults_that_mean_the_same() {
    let place = Place::new();
    place.train(&["output=runs/0"]).done();
    let alike = [
        ("1", "student.init=first", "student.init={layers: [0, 1]}"),
        ("2", "student.init=spaced", "student.init={layers: [1, 3]}"),
        ("3", "student.init=ends", "student.init={layers: [0, 3]}"),
        ("4", "seed=0", "method.layers=[1, 3]"),
    ];
    for (run, word, layers) in alike {
        let student = |set: &str, run: String| {
            place.train(&[set, &format!("output=runs/{run}")]).done();
            place.read(&format!("runs/{run}/student/model.safetensors"))
        };
        assert!(student(word, format!("{run}a")) == student(layers, format!("{run}b")), "{word} and {layers}");
    }
}

#[test]
fn each_setting_changes_the_student() {
    let place = Place::new();
    place.train(&["output=runs/0"]).done();
    let base = place.read("runs/0/student/model.safetensors");
    let settings = [
        "method.beta=0",
        "method.blend=[layers, embeddings]",
        "method.share=[dense]",
        "method.weights.hidden=0",
        "method.temperature=3",
        "student.init=spaced",
        "student.init=ends",
        "student.init={layers: [2, 1]}",
        "method.layers=[0, 3]",
        "student.layers=1",
        "precision=bf16",
        "train.clip=0.1",
    ];
    for (i, setting) in (1..).zip(settings) {
        place.train(&[setting, &format!("output=runs/{i}")]).done();
        assert!(place.read(&format!("runs/{i}/student/model.safetensors")) != base, "{setting}");
    }
}

/// The complete pipeline learns: topics have distinct words, so nearly all development articles can be classified.
#[test]
fn a_student_learns_from_csv_with_a_checkpoint_as_teacher() {
    let place = Place::new();
    place.train(&["train.epochs=1", "output=runs/first"]).done();
    let csv = "{format: csv, train: train.csv, dev: dev.csv, columns: {label: 0, text: [1, 2]}, max_tokens: 16}";
    let sets = [
        &format!("data={csv}"),
        "teacher={checkpoint: runs/first/teacher}",
        "train.epochs=20",
        "train.lr=1e-2",
        "output=runs/csv",
    ];
    place.train(&sets).done();
    let summary = place.summary("runs/csv");
    for role in ["student", "teacher"] {
        let accuracy = summary[role]["accuracy"].as_f64().unwrap();
        assert!(accuracy >= 0.9, "{role}: {accuracy}");
    }
}

#[test]
fn training_with_held_out_rows_stops_early() {
    let place = Place::new();
    let sets = [
        "data.dev=null",
        "data.dev_fraction=0.25",
        "train.epochs=50",
        "train.eval_every=2",
        "train.patience=2",
        "train.lr=0",
    ];
    let ended = place.train(&sets).done();
    assert!(ended.err.contains("stopping early"), "{}", ended.err);
    // The first evaluation, after two steps, is the best; the next two are not better.
    assert_eq!(place.summary("runs/tiny")["train"]["steps"], 6);
    assert_eq!(place.summary("runs/tiny")["student"]["best_step"], 2);
}

#[test]
fn an_unfinished_run_is_overwritten_only_on_request() {
    let place = Place::new();
    place.write("runs/tiny/config.yaml", "task: topic\n");
    place.write("runs/tiny/student/model.safetensors", "precious");
    place.train(&[]).failed(&["runs/tiny", "unfinished", "--overwrite"]);
    assert_eq!(place.text("runs/tiny/student/model.safetensors"), "precious");
    place.nb(&["train", "--config", "tiny.yaml", "--overwrite"]).done();
    assert!(place.exists("runs/tiny/summary.json"));

    place.write("runs/notes/todo.txt", "mine");
    place.train(&["output=runs/notes"]).failed(&["runs/notes", "not from a run", "output"]);
    place
        .nb(&["train", "--config", "tiny.yaml", "--overwrite", "--set", "output=runs/notes"])
        .failed(&["not from a run"]);
    assert_holds(&place, "runs/notes", &["todo.txt"]);
}

#[test]
fn plan_describes_a_run_without_training() {
    let place = Place::new();
    let plan = place.nb(&["plan", "--config", "tiny.yaml", "--set", "train.epochs=3"]).done().out;
    let line = |key: &str| plan.lines().find(|line| line.starts_with(key)).unwrap_or_else(|| panic!("{key}: {plan}"));
    assert!(line("steps").ends_with(" 18"), "{plan}");
    assert!(
        line("texts").contains(&format!("{TRAIN_ROWS} for training"))
            && line("texts").contains(&format!("{DEV_ROWS} for development"))
    );
    assert!(line("texts").contains("3 labels"));
    assert!(plan.contains("learns from H_2 of the teacher") && plan.contains("layers 3 to 4"), "{plan}");
    assert!(!place.exists("runs"));
}

#[test]
fn logs_can_be_json() {
    let place = Place::new();
    let ended = place.nb(&["--log-format", "json", "train", "--config", "tiny.yaml"]).done();
    for line in ended.err.lines() {
        let line: Value = serde_json::from_str(line).unwrap_or_else(|e| panic!("{line}: {e}"));
        assert!(line["level"].is_string(), "{line}");
    }
    let quiet = place.nb(&["--log", "error", "train", "--config", "tiny.yaml"]).done();
    assert_eq!(quiet.err, "");
}
