//! The models before training: their scores, their row and column, and the note about a teacher that lost.

use nb_report::record::Summary;
use nb_report::{Comparison, RunRecord};
use serde_json::{Value, json};

use super::{as_teacher, cells, compared, edit, entry, first_right, records, run};

/// Returns an untouched model with 6 layers.
fn untouched(dev: f64, test: f64) -> Value {
    json!({"layers": 6, "parameters": 3_000_000, "accuracy": dev, "test": {"texts": 10, "accuracy": test}})
}

fn with_untouched(mut run: RunRecord, models: &Value) -> RunRecord {
    edit(&mut run.summary, |summary| summary["untouched"] = models.clone());
    run
}

/// Returns a comparison of two entries with a teacher that scores 0.8; the untouched one scores `before`.
fn with_teacher(before: f64) -> Comparison {
    let teacher = as_teacher(run("teacher", 6, 0, &first_right(8, 10)));
    let teacher = with_untouched(teacher, &json!({"teacher": untouched(0.1, before)}));
    let plain = with_untouched(run("finetune", 1, 0, &first_right(5, 10)), &json!({"student": untouched(0.9, 0.25)}));
    let kd = [(0, 0.125), (1, 0.375)].map(|(seed, before)| {
        // Another untouched teacher, which is not the first.
        let models = json!({"student": untouched(0.9, before), "teacher": untouched(0.9, 0.9)});
        with_untouched(run("kd", 1, seed, &first_right(6, 10)), &models)
    });
    compared(&[entry("finetune", [&plain]), entry("kd", &kd)], Some(&teacher))
}

#[test]
fn scores_before_training_are_of_the_compared_split_and_averaged_over_seeds() {
    let found = with_teacher(0.75);
    let top = found.untouched.as_ref().unwrap();
    assert_eq!((top.score, top.layers, top.parameters), (0.75, 6, 3_000_000));
    // The teacher's run timed a teacher of this shape.
    assert_eq!((top.milliseconds_per_text, top.texts_per_second), (Some(2.0), Some(100.0)));
    assert_eq!(found.rows[0].untouched, Some(0.25));
    assert_eq!(found.rows[1].untouched, Some(0.25)); // (0.125 + 0.375) ÷ 2
}

#[test]
fn scores_before_training_are_of_the_development_data_without_test_data() {
    let mut kd = run("kd", 1, 0, &first_right(5, 10));
    kd.outcomes.as_mut().unwrap().split = Some("dev".to_owned());
    edit(&mut kd.summary, |summary| {
        summary["student"]["accuracy"] = json!(0.5);
        summary["student"]["test"].take();
        summary["untouched"] = json!({"student": untouched(0.375, 0.9), "teacher": untouched(0.625, 0.9)});
    });
    let found = compared(&[entry("kd", [&kd])], None);
    assert_eq!((found.rows[0].untouched, found.untouched.unwrap().score), (Some(0.375), 0.625));
}

#[test]
fn a_score_before_training_that_was_not_measured_is_unknown() {
    let check = |models: Value, expected: Option<f64>| {
        let kd = [
            run("kd", 1, 0, &first_right(5, 10)),
            with_untouched(run("kd", 1, 1, &first_right(6, 10)), &json!({"student": untouched(0.9, 0.5)})),
        ];
        let kd = [with_untouched(kd[0].clone(), &models), kd[1].clone()];
        let found = compared(&[entry("kd", &kd)], None);
        assert_eq!((found.rows[0].untouched, found.untouched), (expected, None), "{models}");
    };
    check(json!({"student": untouched(0.9, 0.25)}), Some(0.375));
    let odd = [json!(null), json!(7), json!("text"), json!([1]), json!({"student": 3, "teacher": [4]})];
    odd.into_iter().for_each(|models| check(models, None));
    // Without test data, the development data are another split; without a size, there is no row.
    check(json!({"student": {"layers": 1, "accuracy": 0.5}}), None);
    check(json!({"student": {"layers": 1, "test": {"accuracy": "high"}}}), None);
    check(json!({"teacher": {"layers": -6, "test": {"accuracy": 0.5}}}), None);
}

#[test]
fn a_run_that_trained_only_a_teacher_starts_from_the_untouched_teacher() {
    let teacher = as_teacher(run("teacher", 6, 0, &first_right(8, 10)));
    let models = json!({"teacher": untouched(0.1, 0.75), "student": untouched(0.1, 0.25)});
    let found = compared(&[entry("teacher", [&with_untouched(teacher, &models)])], None);
    assert_eq!((found.rows[0].untouched, found.untouched.unwrap().score), (Some(0.75), 0.75));
}

#[test]
fn a_note_names_a_teacher_that_training_made_worse() {
    let note = "Training left the teacher below the checkpoint that it started from (0.8000 against 0.8125 accuracy); \
                lower teacher.train.lr or train.teacher_lr, or use the checkpoint as it comes with teacher.train.epochs: 0.";
    assert!(with_teacher(0.8125).notes.iter().any(|found| found == note), "{:?}", with_teacher(0.8125).notes);
    for before in [0.8, 0.75] {
        assert!(with_teacher(before).notes.iter().all(|found| !found.contains("Training left the teacher")));
    }
}

#[test]
fn text_and_csv_start_with_the_untouched_teacher() {
    let found = with_teacher(0.75);
    let text = found.text();
    let at = |label: &str| text.find(label).unwrap();
    assert!(at("│ untouched teacher") < at("│ teacher") && at("│ teacher") < at("│ finetune"), "{text}");
    let titles = cells(&text, "layers");
    assert_eq!(titles[1..6], ["layers", "seeds", "accuracy", "before", "kept"]);
    assert_eq!(cells(&text, "│ untouched teacher")[1..6], ["6", "–", "0.7500", "–", "–"]);
    assert_eq!(cells(&text, "│ finetune")[1..6], ["1", "1", "0.5000", "0.2500", "62.5 %"]);

    let csv = found.csv();
    assert!(csv.starts_with("label,method,layers,seeds,scores,mean,spread,before,kept,"), "{csv}");
    let records = records(&csv);
    let labels: Vec<&str> = records.iter().map(|record| record["label"].as_str()).collect();
    assert_eq!(labels, ["untouched teacher", "teacher", "finetune", "kd"]);
    let top = &records[0];
    assert_eq!([&top["layers"], &top["mean"], &top["before"], &top["megabytes"]], ["6", "0.75", "", "12"]);
    assert_eq!(records[3]["before"], "0.25");

    let value: Value = serde_json::from_str(&found.json()).unwrap();
    assert_eq!((&value["untouched"]["score"], &value["rows"][1]["untouched"]), (&json!(0.75), &json!(0.25)));
    assert_eq!(serde_json::from_str::<Comparison>(&found.json()).unwrap(), found);
}

#[test]
fn an_untouched_score_that_is_not_finite_is_absent() {
    let mut kd = with_untouched(run("kd", 1, 0, &first_right(5, 10)), &json!({"student": untouched(0.9, 0.25)}));
    let summary: &mut Summary = &mut kd.summary;
    let student = summary.untouched.as_mut().unwrap().student.as_mut().unwrap();
    student.test.as_mut().unwrap().scores.metrics.insert("accuracy", f64::NAN);
    assert_eq!(compared(&[entry("kd", [&kd])], None).rows[0].untouched, None);
}
