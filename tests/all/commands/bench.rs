//! `nb-bench` from end to end, on the sample corpus with a tiny teacher. The measured speeds are not tested.

use std::process::Command;

use serde_json::Value;

use super::place::{Ended, Place};

/// Returns a folder with a trained teacher.
fn place() -> Place {
    let place = Place::new();
    place.train(&["train.max_steps=1"]).done();
    place
}

/// Runs `nb-bench` in this folder: a single round with the tiny teacher, in f32 unless the arguments name a precision.
fn bench(place: &Place, arguments: &[&str]) -> Ended {
    let mut command = Command::new(env!("CARGO_BIN_EXE_nb-bench-under-test"));
    place.configure(&mut command);
    command.args(arguments).args(["--threads", "1", "--rounds", "1", "--device", "cpu"]);
    if !arguments.contains(&"--precision") {
        command.args(["--precision", "f32"]);
    }
    command.args(["--teacher", "runs/tiny/teacher", "--json", "results.json"]).output().unwrap().into()
}

fn results(place: &Place) -> Vec<Value> {
    let report = place.json("results.json");
    assert!(report["host"]["cpu"].is_string() && report["host"]["threads"] == 1, "{report}");
    report["results"].as_array().unwrap().clone()
}

#[test]
fn training_is_measured_and_reported_as_json() {
    let place = place();
    let cases = ["sample-titles", "sample-clicks"];
    let ended =
        bench(&place, &["train", "--case", cases[0], "--case", cases[1], "--steps", "2", "--batch", "8"]).done();
    let results = results(&place);
    assert_eq!(results.len(), 2);
    for (i, unit) in ["sequences/s", "samples/s"].into_iter().enumerate() {
        let (result, case) = (&results[i], cases[i]);
        assert_eq!(
            (&result["bench"], &result["case"], &result["precision"]),
            (&"train".into(), &case.into(), &"f32".into())
        );
        assert_eq!((&result["unit"], &result["ratio"], &result["spread"]), (&unit.into(), &Value::Null, &Value::Null));
        let ours = result["ours"].as_f64().unwrap();
        assert!(ours > 0.0 && result["range"] == serde_json::json!([ours, ours]), "{result}");
        // Both rates are of the same round, so their ratio is the length: each title has 3 to 32 tokens.
        let tokens = result["tokens_per_second"].as_f64().unwrap() / ours;
        assert!(tokens > 3.0 && (case != cases[0] || tokens <= 32.0), "{result}");
        for key in ["gflops", "peak_gflops", "peak_gflops_at_shapes", "share_of_peak", "share_of_peak_at_shapes"] {
            assert!(result[key].as_f64().unwrap() > 0.0, "{key}: {result}");
        }
        for phase in ["data", "losses", "blend and norm", "optimiser"] {
            assert!(result["phases_ms"][phase].as_f64().unwrap() > 0.0, "{phase}: {result}");
        }
        assert!(ended.out.contains(&format!("train {case} f32: ")), "{}", ended.out);
    }
    assert!(!place.exists("runs/run"), "a bench leaves no run folder");
}

#[test]
fn a_teacher_of_any_shape_can_replace_the_checkpoint() {
    let place = place();
    let ended =
        bench(&place, &["train", "--random", "4x64", "--case", "sample-titles", "--steps", "2", "--batch", "8"]);
    ended.done();
    let gflops = |result: &Value| result["gflops"].as_f64().unwrap() / result["tokens_per_second"].as_f64().unwrap();
    let random = gflops(&results(&place)[0]);
    bench(&place, &["train", "--case", "sample-titles", "--steps", "2", "--batch", "8"]).done();
    // A token in a text of 12 takes 24·H² + 48·H operations per layer and 400·H per pooling. Both models have 6 layers and
    // 2 poolings in total, with H = 64 or H = 16.
    let ratio = random / gflops(&results(&place)[0]);
    assert!((11.5..12.5).contains(&ratio), "{ratio}");
}

#[test]
fn inference_and_the_data_path_are_measured() {
    let place = place();
    let ended = bench(&place, &["infer", "--case", "sample-one-title", "--case", "sample-bulk-64-teacher"]).done();
    let found = results(&place);
    assert_eq!((&found[0]["unit"], &found[0]["calls"]), (&"ms".into(), &1000.into()), "{}", ended.out);
    assert!(found[0]["p99"].as_f64().unwrap() >= found[0]["ours"].as_f64().unwrap());
    assert_eq!(found[1]["unit"], "texts/s");
    assert!(found.iter().all(|result| result.get("model").is_none()), "{found:?}");

    bench(&place, &["data", "--beside-load", "1"]).done();
    assert_eq!(place.json("results.json")["host"]["busy_threads"], 1);
    let found = results(&place);
    let cases: Vec<&str> = found.iter().map(|result| result["case"].as_str().unwrap()).collect();
    assert_eq!(cases, ["sample-parse", "sample-parse-mind", "sample-parse-behaviors", "sample-tokenise"]);
    assert!(found[3]["second_start_ms"].as_f64().unwrap() > 0.0);
}

#[test]
fn a_trained_model_is_compared_with_itself_in_f32() {
    let place = place();
    let arguments = ["infer", "--model", "runs/tiny/student", "--precision", "all", "--against", "libtorch"];
    let ended = bench(&place, &arguments).done();
    let found = results(&place);
    let keys: Vec<[&str; 2]> =
        found.iter().map(|result| ["case", "precision"].map(|key| result[key].as_str().unwrap())).collect();
    let expected = ["sample-one-title", "sample-bulk-64"]
        .into_iter()
        .flat_map(|case| ["f32", "bf16", "int8"].map(|precision| [case, precision]));
    assert_eq!(keys, expected.collect::<Vec<_>>(), "the teacher's cases need an untrained teacher");
    for (result, [_, precision]) in found.iter().zip(keys) {
        assert_eq!(result["model"], "runs/tiny/student");
        let agreement = &result["agreement"];
        if precision == "f32" {
            assert!(agreement.is_null(), "{result}");
        } else {
            let value = |key: &str| agreement[key].as_f64().unwrap();
            assert!(value("labels") > 0.8 && value("lowest_cosine") > 0.9 && value("cosine") <= 1.0, "{result}");
        }
        if precision == "int8" {
            assert!(result["skipped"]["libtorch"].as_str().unwrap().contains("f32 and bf16"), "{result}");
        } else {
            assert!(result["peers"]["libtorch"].as_f64().unwrap() > 0.0 && result["ratio"].is_f64(), "{result}");
        }
    }
    assert!(ended.out.contains("agreement with f32: ours "), "{}", ended.out);
}

#[test]
fn a_case_slower_than_the_baseline_exits_with_1() {
    let place = place();
    let measure = |place: &Place| bench(place, &["data", "--case", "sample-parse", "--baseline", "before.json"]);
    bench(&place, &["data", "--case", "sample-parse"]).done();
    let mut before = place.json("results.json");
    let compare_scaled = |factor: f64, before: &mut Value| {
        for key in ["ours", "range"] {
            let scaled = |value: &Value| serde_json::json!(value.as_f64().unwrap() * factor);
            let value = &mut before["results"][0][key];
            *value = match value.as_array() {
                Some(both) => both.iter().map(scaled).collect(),
                None => scaled(value),
            };
        }
        place.write("before.json", before.to_string());
        measure(&place)
    };
    assert!(compare_scaled(1e-6, &mut before).done().out.contains("nothing became slower"));
    let ended = compare_scaled(1e12, &mut before);
    assert_eq!(ended.code, Some(1), "{}", ended.err);
    assert!(ended.out.contains("slower: data sample-parse f32: "), "{}", ended.out);
}

#[test]
fn wrong_usage_is_an_error_that_names_the_option() {
    let place = place();
    bench(&place, &["train", "--case", "ag-64"]).failed(&["ag_news", "sample-64"]);
    bench(&place, &["train", "--case", "ag"]).failed(&["--case is ag", "ag-64", "sample-clicks"]);
    bench(&place, &["train", "--against", "onnx"]).failed(&["--against onnx is for infer"]);
    bench(&place, &["data", "--against", "openvino-int8"]).failed(&["--against openvino-int8 is for infer"]);
    bench(&place, &["train", "--precision", "all"]).failed(&["--precision int8 is for infer"]);
    bench(&place, &["infer", "--model", "none", "--case", "sample-one-title"]).failed(&["none is not a folder"]);
    let teacher = ["infer", "--model", "runs/tiny/student", "--case", "sample-one-title-teacher"];
    bench(&place, &teacher).failed(&["--case sample-one-title-teacher", "--model"]);
    bench(&place, &["data", "--case", "sample-parse", "--against", "torch"]).failed(&["--python", "requirements.txt"]);
    bench(&place, &["data", "--python", "python3"]).failed(&["--python is given without --against"]);
    bench(&place, &["data", "--baseline", "tiny.yaml"]).failed(&["tiny.yaml", "not a results file of nb-bench"]);
    for wrong in [&["infer", "--against", "jax"][..], &["train", "--steps", "0"], &["train", "--random", "3x65"], &[]] {
        assert_eq!(bench(&place, wrong).code, Some(2), "{wrong:?}");
    }
}

#[test]
fn the_help_of_each_bench_has_an_example() {
    let place = Place::new();
    for command in ["train", "infer", "data"] {
        let mut program = Command::new(env!("CARGO_BIN_EXE_nb-bench-under-test"));
        place.configure(&mut program);
        let help = Ended::from(program.args([command, "--help"]).output().unwrap()).done();
        assert!(help.out.contains(&format!("nb-bench {command} ")), "{}", help.out);
    }
}
