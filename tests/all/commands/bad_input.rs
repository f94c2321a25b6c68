//! Invalid configurations, data and checkpoints, and unusual ones that are valid. An invalid one exits with code 1 and an
//! error that names file, line or key, and no files are written.

use super::place::{Place, tensors};

const WEIGHTS: &str = "made/teacher/model.safetensors";

/// Fails unless training with these settings fails with an error that contains all of `parts` and creates no run folder.
#[track_caller]
pub(super) fn assert_refused(place: &Place, sets: &[&str], parts: &[&str]) {
    place.train(sets).failed(parts);
    assert!(!place.exists("runs"), "nothing is written: {sets:?}");
}

#[test]
fn invalid_settings_are_refused() {
    let place = Place::new();
    let refused: [(&str, &[&str]); 28] = [
        ("sed=1", &["--set sed", "unknown field `sed`"]),
        ("train.epoch=1", &["--set train.epoch", "unknown field `epoch`", "`epochs`"]),
        ("train.lr=fast", &["--set train.lr", "expected f64"]),
        ("train.lr=-1", &["train.lr is -1"]),
        ("train.batch=0", &["train.batch is 0"]),
        ("train.warmup=2", &["train.warmup is 2"]),
        ("method.beta=1.5", &["method.beta is 1.5", "from 0", "to 1"]),
        ("method.temperature=0", &["method.temperature is 0"]),
        ("method.name=newsbart", &["method.name is `newsbart`", "newsbert, finetune, teacher"]),
        ("method={weights: {soft: 1}}", &["method.weights.soft", "teacher"]),
        ("student.layers=3", &["student.layers", "3", "possible depths are [1, 2, 4]"]),
        ("student.layers=0", &["student.layers", "0"]),
        ("student.init={layers: [0]}", &["--set student.init", "student.init.layers is [0]", "2 numbers"]),
        ("student.init={layers: [0, 4]}", &["student.init.layers[1] is 4, expected 0 to 3, a layer of the teacher"]),
        ("student.init={layers: [2, 2]}", &["student.init.layers[1] is 2, expected distinct layers"]),
        ("student.init={layer: [0, 1]}", &["--set student.init", "unknown field `layer`, expected `layers`"]),
        ("method.layers=[0, 1, 2]", &["--set method.layers: method.layers is [0, 1, 2], expected 2 numbers"]),
        ("teacher.random.heads=3", &["teacher.random", "num_attention_heads", "3"]),
        ("teacher.random.tokenizer=nowhere", &["teacher.random.tokenizer", "nowhere"]),
        ("teacher={checkpoint: nowhere}", &["teacher.checkpoint", "nowhere"]),
        ("data.train=nowhere.tsv", &["data.train", "nowhere.tsv", "no such file"]),
        ("data.dev=nowhere.tsv", &["data.dev", "nowhere.tsv", "no such file"]),
        ("data.max_tokens=2", &["data.max_tokens is 2", "at least 3"]),
        ("data.format=csv", &["data.columns", "label"]),
        ("data.format=beir", &["data.format is beir", "task: topic reads only mind, csv, tsv, jsonl or parquet"]),
        ("data.history=5", &["data.history is given", "tasks that rank"]),
        ("reader.self_attention=2", &["reader.self_attention is 2", "task: topic has no readers"]),
        ("name=../up", &["name is `../up`"]),
    ];
    for (set, parts) in refused {
        assert_refused(&place, &[set], parts);
    }
    assert_refused(&place, &["teacher.random.layers=6", "student.layers=4"], &["possible depths are [1, 2, 3, 6]"]);
}

#[test]
fn invalid_configuration_files_are_refused() {
    let place = Place::new();
    let good = place.text("tiny.yaml");
    let refused: [(String, &[&str]); 5] = [
        (format!("{good}beta: 0.5\n"), &["tiny.yaml:16:1", "unknown field `beta`"]),
        (good.replace("epochs: 1", "epochs: two"), &["tiny.yaml:15:", "train.epochs", "expected u64"]),
        (good.replace("format: mind", "format: xml"), &["tiny.yaml:7:", "data.format", "`xml`", "`mind`"]),
        (good.replace("task: topic\n", ""), &["tiny.yaml", "missing field `task`"]),
        (good.replace("student: {layers", "student: [layers"), &["tiny.yaml", "line"]),
    ];
    for (text, parts) in refused {
        place.write("tiny.yaml", text);
        assert_refused(&place, &[], parts);
    }
    place.write("tiny.yaml", "");
    assert_refused(&place, &[], &["tiny.yaml"]);
    std::fs::remove_file(place.path("tiny.yaml")).unwrap();
    assert_refused(&place, &[], &["tiny.yaml", "No such file"]);
}

#[test]
fn invalid_articles_are_refused() {
    let place = Place::new();
    let good = place.text("train.tsv");
    let broken = |line: &str| {
        let lines = good.lines().enumerate().map(|(i, original)| if i % 4 == 1 { line } else { original });
        lines.collect::<Vec<_>>().join("\n")
    };
    let refused: [(Vec<u8>, &[&str]); 6] = [
        (Vec::new(), &["train.tsv", "no usable row"]),
        (
            broken("N1\tsports\tall\ttoo few").into(),
            &["train.tsv", "12 of 48", "12 with too few columns, first on line 2"],
        ),
        (broken("N1\t\tall\tgoal\tmatch").into(), &["train.tsv", "12 without a label, first on line 2", "10"]),
        (broken("N1\tsports\tall\t \t\u{0}").into(), &["train.tsv", "12 without text, first on line 2"]),
        (
            good.replace("finance\t", "sports\t").replace("weather\t", "sports\t").into(),
            &["train.tsv", "\"sports\"", "two"],
        ),
        (b"\xff\xfe\n".repeat(5), &["train.tsv", "not valid text in their encoding"]),
    ];
    for (content, parts) in refused {
        place.write("train.tsv", content);
        assert_refused(&place, &[], parts);
    }
    // `data.allow_unusable` raises the limit.
    place.write("train.tsv", broken("N1\tsports"));
    place.train(&["data.allow_unusable=0.3"]).done();
}

#[test]
fn an_unknown_development_label_is_refused_with_its_row() {
    let place = Place::new();
    place.write("dev.tsv", place.text("dev.tsv") + "N9\tgardening\tall\train\tsnow\t\t\t\n");
    let error = ["data.unknown_labels=error"];
    assert_refused(&place, &error, &["dev.tsv:19", "\"gardening\"", "\"finance\", \"sports\", \"weather\""]);
}

#[test]
fn invalid_csv_is_refused() {
    let place = Place::new();
    let good = place.text("train.csv");
    let csv = |columns: &str| format!("data={{format: csv, train: train.csv, dev: dev.csv, columns: {columns}}}");
    let numbers = csv("{label: 0, text: [1, 2]}");
    place.write("train.csv", format!("{good}sports,\"goal match,coach\n{good}"));
    assert_refused(&place, &[&numbers], &["train.csv:49", "quote"]);
    place.write("train.csv", "");
    assert_refused(&place, &[&numbers], &["train.csv", "no usable row"]);
    place.write("train.csv", &good);
    assert_refused(&place, &[&csv("{label: topic, text: [title]}")], &["train.csv", "\"topic\"", "header"]);
    assert_refused(&place, &[&csv("{label: topic, text: [title]}"), "data.header=true"], &["train.csv:1", "\"topic\""]);
    assert_refused(&place, &[&csv("{label: 0, text: [7]}")], &["train.csv", "too few columns"]);
    assert_refused(&place, &[&csv("{label: 0, text: [1, 1]}")], &["text"]);
    assert_refused(&place, &[&csv("{label: 0, text: []}")], &["data.columns.text"]);
}

#[test]
fn unusual_articles_are_accepted() {
    let place = Place::new();
    let good = place.text("train.tsv");
    let long = "goal ".repeat(200_000); // a megabyte
    let odd = format!(
        "\u{feff}{}N1\tsports\tall\t{long}\tmatch\t\t\t\r\nN2\tweather\tall\tra\u{0}in \"snow\tstorm\t\t\t\r\nN3\tsports\r\n",
        good.replace('\n', "\r\n")
    );
    place.write("train.tsv", odd);
    let ended = place.train(&[]).done();
    assert!(ended.err.contains("1 with too few columns, first on line 51"), "{}", ended.err);
    assert!(ended.err.contains("50 rows"), "{}", ended.err);
}

#[test]
fn invalid_checkpoints_are_refused() {
    let place = Place::new();
    place.train(&["method.name=teacher", "output=made"]).done();
    let weights = place.read(WEIGHTS);
    let config = place.text("made/teacher/config.json");
    let refused = |parts: &[&str]| assert_refused(&place, &["teacher={checkpoint: made/teacher}"], parts);

    place.write(WEIGHTS, &weights[..weights.len() / 2]);
    refused(&["teacher", "model.safetensors", "not a complete safetensors file"]);

    place.write(WEIGHTS, &weights);
    let mut tensors = tensors(&place.path(WEIGHTS));
    tensors.retain(|(name, _)| name != "encoder.layer.3.output.dense.bias");
    nb_model::write_tensors(&place.path(WEIGHTS), &tensors).unwrap();
    refused(&["teacher", "model.safetensors", "missing    encoder.layer.3.output.dense.bias [16]"]);

    place.write(WEIGHTS, &weights);
    place.write("made/teacher/config.json", config.replace("\"hidden_size\": 16", "\"hidden_size\": 32"));
    refused(&["model.safetensors", "mis-shaped embeddings.LayerNorm.bias: found [16], expected [32]"]);
    place.write("made/teacher/config.json", config.replace("\"bert\"", "\"gpt2\""));
    refused(&["teacher.checkpoint", "`model_type` is gpt2"]);
    place.write("made/teacher/config.json", &config[..config.len() / 2]);
    refused(&["teacher.checkpoint", "made/teacher/config.json"]);
    place.write("made/teacher/config.json", &config);

    std::fs::remove_file(place.path("made/teacher/tokenizer.json")).unwrap();
    place.write("made/teacher/vocab.txt", place.text("made/teacher/vocab.txt") + "surplus\n");
    refused(&["made/teacher", "tokenizer", "embedding has 26 rows"]);
    place.write("made/teacher/vocab.txt", "goal\nmatch\n");
    refused(&["made/teacher/vocab.txt", "[UNK]"]);
    std::fs::remove_file(place.path("made/teacher/vocab.txt")).unwrap();
    refused(&["made/teacher", "expected tokenizer.json or vocab.txt"]);
}

#[test]
fn a_student_checkpoint_of_the_wrong_shape_is_refused() {
    let place = Place::new();
    place.train(&["output=made"]).done();
    assert_refused(
        &place,
        &["student.init=made/student", "student.layers=4"],
        &["made/student", "has 2 layers", "student.layers is 4"],
    );
    assert_refused(&place, &["student.init=made/student", "teacher.random.hidden=32"], &["student", "16", "32"]);
    assert_refused(&place, &["student.init=nowhere"], &["student.init", "nowhere"]);
    place.train(&["student.init=made/student"]).done();
}
