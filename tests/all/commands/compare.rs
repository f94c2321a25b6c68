//! `nb compare`: its table agrees with the runs, nothing runs twice, and mistakes are found before training.

use serde_json::Value;

use super::place::{DEV_ROWS, Place, TRAIN_ROWS};

const COMPARE: &str = "\
name: duel
output: runs/duel
run:
  task: topic
  device: cpu
  threads: 1
  data: {format: mind, train: train.tsv, dev_fraction: 0.25, test: dev.tsv, max_tokens: 16}
  teacher: {random: {layers: 4, hidden: 16, heads: 2, tokenizer: tokenizer}, train: {epochs: 2}}
  train: {epochs: 1, batch: 8, lr: 1e-3}
depths: [1, 2]
seeds: [0, 1]
methods:
  - {method: finetune, tries: [{train.lr: 1e-3}, {train.lr: 0}]}
  - {method: kd, depths: [2], set: {method.temperature: 3}}
";

/// The folders of its runs.
const RUNS: [&str; 11] = [
    "teacher-s0",
    "finetune-1l-try1",
    "finetune-1l-try2",
    "finetune-1l-s0",
    "finetune-1l-s1",
    "finetune-2l-try1",
    "finetune-2l-try2",
    "finetune-2l-s0",
    "finetune-2l-s1",
    "kd-2l-s0",
    "kd-2l-s1",
];

fn place() -> Place {
    let place = Place::new();
    place.write("duel.yaml", COMPARE);
    place
}

fn compare(place: &Place, sets: &[&str]) -> super::place::Ended {
    let sets = sets.iter().flat_map(|set| ["--set", set]);
    place.nb(&["compare", "--config", "duel.yaml"].into_iter().chain(sets).collect::<Vec<_>>())
}

fn accuracy(place: &Place, run: &str) -> f64 {
    place.summary(&format!("runs/duel/{run}"))["student"]["test"]["accuracy"].as_f64().unwrap()
}

#[test]
fn a_comparison_runs_everything_once_and_its_table_agrees_with_the_runs() {
    let place = place();
    let ended = compare(&place, &[]).done();
    for run in RUNS {
        assert!(place.exists(&format!("runs/duel/{run}/summary.json")), "{run}: {}", ended.err);
    }
    let table = place.json("runs/duel/compare.json");
    assert_eq!((&table["metric"], &table["rows_compared"]), (&"accuracy".into(), &DEV_ROWS.into()));
    let rows = table["rows"].as_array().unwrap();
    let names: Vec<(&str, u64)> =
        rows.iter().map(|row| (row["label"].as_str().unwrap(), row["layers"].as_u64().unwrap())).collect();
    assert_eq!(names, [("finetune", 1), ("finetune", 2), ("kd", 2)]);
    for (row, runs) in rows.iter().zip([
        ["finetune-1l-s0", "finetune-1l-s1"],
        ["finetune-2l-s0", "finetune-2l-s1"],
        ["kd-2l-s0", "kd-2l-s1"],
    ]) {
        let scores = runs.map(|run| accuracy(&place, run));
        assert_eq!(row["scores"], serde_json::json!(scores));
        assert!((row["mean"].as_f64().unwrap() - (scores[0] + scores[1]) / 2.0).abs() < 1e-12);
    }
    assert_eq!(rows[2]["settings"]["method.temperature"], "3");
    let difference = rows[2]["mean"].as_f64().unwrap() - rows[1]["mean"].as_f64().unwrap();
    assert!((rows[2]["against"]["difference"].as_f64().unwrap() - difference).abs() < 1e-12);
    check_sweep(&place, &table["sweeps"][0]);
    for file in ["compare.csv", "compare.txt", "report.html"] {
        assert!(place.text(&format!("runs/duel/{file}")).contains("finetune"), "{file}");
    }
    // The frozen teacher is shared and trained with teacher.train. Tries are not evaluated on test rows.
    let steps = place.summary("runs/duel/teacher-s0")["train"]["steps"].as_u64().unwrap();
    assert_eq!(steps, 2 * (TRAIN_ROWS as u64 * 3 / 4).div_ceil(8));
    assert!(place.text("runs/duel/kd-2l-s1/config.yaml").contains("duel/teacher-s0/teacher"));
    assert!(place.summary("runs/duel/finetune-1l-try1")["student"]["test"].is_null());
}

fn check_sweep(place: &Place, sweep: &Value) {
    let tries = sweep["tries"].as_array().unwrap();
    let found: Vec<f64> = tries.iter().map(|attempt| attempt["score"].as_f64().unwrap()).collect();
    let expected = ["try1", "try2"].map(|name| {
        let summary = place.summary(&format!("runs/duel/finetune-1l-{name}"));
        summary["student"]["accuracy"].as_f64().unwrap()
    });
    assert_eq!(found, expected);
    let best = usize::from(expected[1] > expected[0]); // the first one wins a tie
    assert_eq!(tries[best]["chosen"], true);
    let config = place.text("runs/duel/finetune-1l-s0/config.yaml");
    assert!(config.contains(["lr: 0.001", "lr: 0.0"][best]), "{config}");
}

#[test]
fn finished_runs_are_reused_until_the_data_change() {
    let place = place();
    let few = ["depths=[2]", "seeds=[0]", "methods=[{method: finetune}, {method: kd}]"];
    compare(&place, &few).done();
    let folders = |place: &Place| place.names("runs/duel");
    let (first, report) = (folders(&place), place.text("runs/duel/compare.json"));
    let again = compare(&place, &few).done();
    assert_eq!(again.err.matches("already done").count(), 3, "{}", again.err);
    assert_eq!((folders(&place), place.text("runs/duel/compare.json")), (first.clone(), report));
    let sets = few.iter().flat_map(|set| ["--set", set]);
    let listed =
        place.nb(&["compare", "--config", "duel.yaml", "--dry-run"].into_iter().chain(sets).collect::<Vec<_>>());
    assert_eq!(listed.done().out.lines().filter(|line| line.starts_with("done")).count(), 3);
    // With different training rows, every run is repeated in a new folder.
    let rows = place.text("train.tsv");
    place.write("train.tsv", rows.lines().skip(4).map(|line| format!("{line}\n")).collect::<String>());
    compare(&place, &few).done();
    let added: Vec<String> = folders(&place).difference(&first).cloned().collect();
    assert_eq!(added, ["finetune-2l-s0-2", "kd-2l-s0-2", "teacher-s0-2"]);
}

#[test]
fn mistakes_are_found_before_anything_is_trained() {
    let place = place();
    for (set, parts) in [
        ("methods=[{method: kdd}]", &["kdd", "expected one of"][..]),
        ("methods=[{method: kd, set: {method.beta: 0.5}}]", &["method.beta is 0.5", "frozen"]),
        ("methods=[{method: kd, set: {seed: 3}}]", &["seed is set", "set it under"]),
        ("methods=[{method: kd}, {method: kd}]", &["methods[1].label is `kd`", "the same label at depth"]),
        ("run.method.name=kd", &["run.method is given"]),
        ("seeds=[1, 1]", &["--set seeds", "seeds is [1, 1], expected distinct values"]),
        ("depths=[1, 1]", &["--set depths", "depths is [1, 1], expected distinct values"]),
        ("seeds=[]", &["seeds is empty"]),
        ("baseline=fintune", &["baseline is `fintune`"]),
        ("run.train.lr=fast", &["--set run.train.lr: ", "train.lr: invalid type: string \"fast\""]),
        ("methods=[{method: kd, set: {train.lr: fast}}]", &["--set methods: ", "train.lr: invalid type"]),
        ("methods=[{method: kd, tries: [{train.lr: -1}]}]", &["--set methods: ", "train.lr is -1"]),
        ("run.data.train=nowhere.tsv", &["data.train is", "no such file"]),
    ] {
        compare(&place, &[set]).failed(parts);
    }
    place.write("duel.yaml", COMPARE.replace("depths:", "depth:"));
    compare(&place, &[]).failed(&["duel.yaml:", "depth"]);
    assert!(!place.exists("runs"));
}

/// The recipe of the task counts for the shared teacher as it does for the teacher that `nb train` trains first.
#[test]
fn the_shared_teacher_is_trained_as_that_of_a_run() {
    const KD: &str = "method={name: kd}";
    for (place, task, data) in [
        (Place::searches(), "retrieve", "{format: beir, train: beir, max_tokens: 16}"),
        (Place::readers(), "recommend", "{format: mind, train: mind/train, dev: mind/dev, max_tokens: 16}"),
    ] {
        for train in ["{}", "{lr: 3e-3}", "{batch: 8, epochs: 1}", "{teacher_lr: 2e-3}"] {
            let run = format!(
                "task: {task}\ndevice: cpu\nthreads: 1\ndata: {data}\ntrain: {train}\n\
                 teacher: {{random: {{layers: 4, hidden: 16, heads: 2, tokenizer: tokenizer}}}}\n"
            );
            place.write("kd.yaml", format!("{run}output: runs/kd\n"));
            place.nb(&["train", "--config", "kd.yaml", "--overwrite", "--set", KD]).done();
            let run = run.replace('\n', "\n  ");
            let compared = format!(
                "name: duel\noutput: runs/duel\nrun:\n  {run}\ndepths: [2]\nseeds: [0]\nmethods: [{{method: kd}}]\n"
            );
            place.write("duel.yaml", compared);
            compare(&place, &[]).done();
            let config = |folder: &str| -> serde_yaml::Value {
                let config: serde_yaml::Value =
                    serde_yaml::from_str(&place.text(&format!("{folder}/config.yaml"))).unwrap();
                config["train"].clone()
            };
            assert_eq!(config("runs/duel/teacher-s0"), config("runs/kd-teacher"), "{task}: train: {train}");
            for folder in ["runs/duel", "runs/kd", "runs/kd-teacher"] {
                std::fs::remove_dir_all(place.path(folder)).unwrap();
            }
        }
    }
}
