//! The folder of a student in other tools, and the code of its model card compared with `nb predict`.

use std::fmt::Write as _;
use std::process::{Command, Stdio};

use nb_data::random::Stream;
use serde_json::{Value, json};

use super::place::{FINETUNE, Place, STUDENT};

/// Tokenizer folders of many kinds, from `crates/nb-data/tests/golden/make_tokenizers.py`.
const GOLDEN: &str = include_str!("../../../crates/nb-data/tests/golden/tokenizers.json");
/// The variable with the path of a Python that has torch, transformers 5 and safetensors.
const PYTHON: &str = "NB_TEST_PYTHON";
const ROWS: usize = 40;

#[test]
fn the_folder_of_a_student_contains_labels_and_length_limit() {
    let place = Place::new();
    // The teacher has settings of a different task.
    place.write("tokenizer/tokenizer_config.json", r#"{"model_max_length": 512, "do_lower_case": true}"#);
    place.train(&[FINETUNE]).done();
    let config = place.json("runs/tiny/student/config.json");
    assert_eq!(config["id2label"], json!({"0": "finance", "1": "sports", "2": "weather"}));
    assert_eq!(config["label2id"], json!({"finance": 0, "sports": 1, "weather": 2}));
    let tokenizer = place.json("runs/tiny/student/tokenizer_config.json");
    assert_eq!((&tokenizer["model_max_length"], &tokenizer["do_lower_case"]), (&json!(16), &json!(true)));

    // When it becomes the teacher of another run, its labels are replaced.
    let rows = place.text("train.csv").replace("finance,", "money,").replace("weather,", "art,");
    place.write("other.csv", rows);
    let other = [
        "output=runs/other",
        "data={format: csv, train: other.csv, columns: {label: 0, text: [1, 2]}, max_tokens: 12}",
    ];
    let teacher = "teacher={checkpoint: runs/tiny/student}";
    place.train(&[other[0], other[1], teacher, "student.layers=1", FINETUNE]).done();
    let config = place.json("runs/other/student/config.json");
    assert_eq!(config["id2label"], json!({"0": "art", "1": "money", "2": "sports"}));
    assert_eq!(place.json("runs/other/student/tokenizer_config.json")["model_max_length"], json!(12));
}

/// The golden sequences of nb-data were made with this function.
#[test]
fn the_card_contains_the_function_of_the_golden_sequences() {
    let golden: Value = serde_json::from_str(GOLDEN).unwrap();
    let place = Place::new();
    place.train(&[FINETUNE]).done();
    let card = place.text("runs/tiny/student/README.md");
    let function = golden["card"].as_str().unwrap().replace("{max_tokens}", "16");
    assert!(card.contains(&function), "{function}\nis not in\n{card}");
    assert!(card.contains("add_pooling_layer=False"), "{card}");
}

/// Returns rows with a random title and abstract.
fn rows(stream: &mut Stream) -> Vec<[String; 2]> {
    const WORDS: [&str; 22] = [
        "rain",
        "storm",
        "Paris",
        "Café",
        "the",
        "a",
        "news",
        "covid19",
        "covid19s",
        "trade deal",
        "Trade Deal",
        "[NUM]",
        "<url>",
        "[SEP]",
        "<s>",
        "</s>",
        "北京",
        "goals",
        "NBA",
        "\u{ad}",
        "\u{200b}",
        "x",
    ];
    let mut text = |max_words: u64| {
        let count = stream.below(max_words);
        let words: Vec<&str> = (0..count).map(|_| *stream.choose(&WORDS)).collect();
        words.join(if stream.below(4) == 0 { "  " } else { " " })
    };
    (0..ROWS).map(|i| [format!("{} t{}", text(12), i % 3), text(9)]).collect()
}

/// Returns the path of an interpreter, if there is one.
pub(super) fn interpreter() -> Option<String> {
    let python = std::env::var(PYTHON).ok();
    if python.is_none() {
        assert!(!std::env::var("NB_REQUIRE").is_ok_and(|it| it.contains("python")), "{PYTHON} is not set");
        eprintln!("skipped: {PYTHON} names no interpreter with torch, transformers and safetensors");
    }
    python
}

/// Runs the code of cards. `jobs` has a line for each; so has the answer.
pub(super) fn run_cards(python: &str, place: &Place, jobs: &str) -> String {
    place.write("jobs.jsonl", jobs);
    let jobs = std::fs::File::open(place.path("jobs.jsonl")).unwrap();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/golden/run_cards.py");
    let mut command = Command::new(python);
    command.arg(script).env("HF_MODULES_CACHE", place.path("modules")).env("HF_HUB_OFFLINE", "1");
    let done = command.stdin(jobs).stderr(Stdio::inherit()).output().unwrap();
    String::from_utf8(done.stdout).unwrap()
}

/// For every kind of tokenizer, with random texts and lengths.
#[test]
fn the_code_of_the_card_gives_the_probabilities_of_predict() {
    let Some(python) = interpreter() else { return };
    let golden: Value = serde_json::from_str(GOLDEN).unwrap();
    let mut jobs = String::new();
    let mut answers = Vec::new();
    let place = Place::new();
    for (i, case) in golden["folders"].as_array().unwrap().iter().enumerate() {
        for (name, content) in case["files"].as_object().unwrap() {
            place.write(&format!("t{i}/{name}"), content.as_str().unwrap());
        }
        let mut stream = Stream::new(i as u64);
        let max_tokens = 7 + stream.below(14);
        let rows = rows(&mut stream);
        let mut csv = String::new();
        for (row, [first, second]) in rows.iter().enumerate() {
            writeln!(csv, "{},\"{first}\",\"{second}\"", ["a", "b", "c"][row % 3]).unwrap();
        }
        place.write(&format!("{i}.csv"), csv);
        let file = format!("{i}.csv");
        let data = format!(
            "data={{format: csv, train: {file}, dev: {file}, columns: {{label: 0, text: [1, 2]}}, max_tokens: {max_tokens}}}"
        );
        let teacher = format!("teacher.random.tokenizer=t{i}");
        let output = format!("output=runs/{i}");
        place.train(&[&data, &teacher, &output, "train.lr=0.1", "teacher.random.layers=2", "student.layers=1"]).done();
        let student = format!("runs/{i}/student");
        let predict = ["predict", "--model", &student, "--input", &file, "--columns", "1,2", "--probabilities", "all"];
        answers.push((case["name"].clone(), place.nb(&predict).done().json_lines()));
        let job = json!({"folder": place.path(&student), "rows": rows});
        writeln!(jobs, "{job}").unwrap();
    }
    let out = run_cards(&python, &place, &jobs);
    let (mut checked, mut worst) = (0, 0.0_f64);
    for (line, (name, ours)) in out.lines().zip(&answers) {
        let theirs: Vec<Vec<f64>> = serde_json::from_str(line).unwrap();
        assert_eq!(theirs.len(), ours.len(), "{name}");
        for (row, (theirs, ours)) in theirs.iter().zip(ours).enumerate() {
            for (p, label) in theirs.iter().zip(["a", "b", "c"]) {
                let off = (p - ours["probabilities"][label].as_f64().unwrap()).abs();
                assert!(off <= 1e-6, "{name}, row {row}, {label}: {p} in Python, {ours}");
                worst = worst.max(off);
            }
            checked += 1;
        }
    }
    eprintln!("{checked} rows of {} students, largest difference {worst:.1e}", answers.len());
    assert_eq!(checked, ROWS * answers.len());
}

#[test]
fn the_code_of_the_card_gives_the_probabilities_of_label_sets() {
    let Some(python) = interpreter() else { return };
    let place = Place::new();
    let data = "data={format: csv, train: train.csv, dev: dev.csv, columns: {labels: 0, text: [1, 2]}, max_tokens: 16}";
    place.train(&[FINETUNE, data]).done();
    let predict = ["predict", "--model", STUDENT, "--input", "dev.csv", "--columns", "1,2", "--probabilities", "all"];
    let ours = place.nb(&predict).done().json_lines();
    let rows: Vec<Vec<String>> = place
        .text("dev.csv")
        .lines()
        .map(|line| line.splitn(3, ',').skip(1).map(|text| text.trim_matches('"').to_owned()).collect())
        .collect();
    let job = json!({"folder": place.path(STUDENT), "rows": rows});
    let theirs: Vec<Vec<f64>> = serde_json::from_str(&run_cards(&python, &place, &format!("{job}\n"))).unwrap();
    assert_eq!(theirs.len(), ours.len());
    for (theirs, ours) in theirs.iter().zip(&ours) {
        for (p, label) in theirs.iter().zip(["finance", "sports", "weather"]) {
            let off = (p - ours["probabilities"][label].as_f64().unwrap()).abs();
            assert!(off <= 1e-6, "{label}: {p} in Python, {ours}");
        }
    }
    // The example at the end of the card decides by the thresholds.
    let card = place.text(&format!("{STUDENT}/README.md"));
    assert!(card.contains("about[\"thresholds\"]") && card.contains("sigmoid"), "{card}");
}

/// For every pooling and score, and for a projection. Skipped if the interpreter does not have the package.
#[test]
fn sentence_transformers_computes_the_vectors_of_the_model() {
    let Some(python) = interpreter() else { return };
    let texts =
        ["storm in snow", "", "a match", "bank shares profit today and the rain that falls on them all day long"];
    let narrow =
        ["method={teacher: frozen, weights: {vector: 1}}", "student={layers: 1, hidden: 8, heads: 2, init: random}"];
    let check = |place: &Place, sets: &[&str], modules: usize| {
        place.train(sets).done();
        assert_eq!(place.json(&format!("{STUDENT}/modules.json")).as_array().unwrap().len(), modules, "{sets:?}");
        let job = json!({"folder": place.path(STUDENT), "sentences": texts});
        let out = run_cards(&python, place, &format!("{job}\n"));
        let found: Option<Vec<Vec<f32>>> = serde_json::from_str(&out).unwrap();
        let Some(found) = found else { return eprintln!("skipped: {python} has no sentence-transformers") };
        let model = nb_infer::Model::open(place.path(STUDENT), &nb_infer::Options::default()).unwrap();
        let expected = model.vectors(&texts.map(nb_infer::Text::from)).unwrap();
        assert_eq!((found.len(), found[0].len()), (expected.len(), expected[0].len()), "{sets:?}");
        for (row, (found, expected)) in found.iter().flatten().zip(expected.iter().flatten()).enumerate() {
            assert!((found - expected).abs() <= 1e-5, "{sets:?}, entry {row}: {found}, expected {expected}");
        }
    };
    check(&Place::new(), &[FINETUNE], 2); // attentive
    check(&Place::new(), &[FINETUNE, "head.pooling=mean"], 2);
    let finetune = "method={name: finetune}"; // without the paper's preset
    check(&Place::searches(), &[finetune], 3); // mean, cosine
    check(&Place::searches(), &[finetune, "head.pooling=cls", "head.score=dot"], 2);
    check(&Place::searches(), &narrow, 4);
}
