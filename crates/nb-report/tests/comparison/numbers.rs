//! Scores, differences, p-values and notes.

use nb_report::{Entry, RunRecord};
use serde_json::json;

use super::{as_teacher, close, compared, edit, entry, first_right, run, student};

#[test]
fn scores_are_averaged_over_seeds_and_compared_with_the_teacher() {
    let plain = [run("finetune", 1, 0, &first_right(5, 10))];
    let kd = [6, 8, 7].iter().zip(0..).map(|(&right, seed)| run("kd", 1, seed, &first_right(right, 10)));
    let kd: Vec<RunRecord> = kd.collect();
    let teacher = as_teacher(run("teacher", 6, 0, &first_right(8, 10)));
    let found = compared(&[entry("finetune", &plain), entry("kd", &kd)], Some(&teacher));

    assert_eq!((found.task.as_str(), found.metric.as_str(), found.rows_compared), ("topic", "accuracy", 10));
    let top = found.teacher.unwrap();
    assert_eq!((top.score, top.layers, top.parameters), (0.8, 6, 3_000_000));
    let [plain, kd] = &found.rows[..] else { panic!("two rows") };
    assert_eq!((plain.mean, plain.spread, plain.scores.len()), (0.5, None, 1));
    assert_eq!((&kd.seeds[..], &kd.scores[..]), (&[0, 1, 2][..], &[0.6, 0.8, 0.7][..]));
    // Mean 0.7; the squared deviations 0.01, 0.01 and 0 are divided by 2.
    assert!(close(kd.mean, 0.7) && close(kd.spread.unwrap(), 0.1));
    assert!(close(kd.kept.unwrap(), 0.875));
    assert_eq!(kd.metrics.keys().collect::<Vec<_>>(), ["macro_f1"]);
    assert!(close(kd.metrics["macro_f1"].mean, 0.35) && close(kd.metrics["macro_f1"].spread.unwrap(), 0.05));
    assert_eq!((kd.parameters, kd.megabytes), (500_000, 2.0));
    // Medians over all runs of this shape, including finetune: of 2, 2, 3, 4 and of 100, 100, 200, 300.
    assert_eq!((kd.milliseconds_per_text, kd.texts_per_second), (Some(2.5), Some(150.0)));
    assert_eq!(kd.runs, ["kd-1l-s0", "kd-1l-s1", "kd-1l-s2"]);
}

#[test]
fn the_median_of_two_seeds_is_their_mean() {
    let runs = [run("kd", 1, 0, &[1.0, 0.0]), run("kd", 1, 1, &[1.0, 0.0])];
    let found = compared(&[entry("kd", &runs)], None);
    assert_eq!(found.rows[0].milliseconds_per_text, Some(2.5));
    assert_eq!((found.rows[0].kept, found.rows[0].spread), (None, Some(0.0)));
}

#[test]
fn the_difference_is_paired_by_row_and_averaged_over_seeds() {
    // Rows 0 to 3; the second run of kd has another order. kd: ½ (1 1 0 1 + 1 0 0 1) = 1 ½ 0 1; finetune: 1 0 0 0.
    let plain = [run("finetune", 2, 0, &[1.0, 0.0, 0.0, 0.0])];
    let mut kd = [run("kd", 2, 0, &[1.0, 1.0, 0.0, 1.0]), run("kd", 2, 1, &[1.0, 0.0, 0.0, 1.0])];
    student(&mut kd[1]).rows = vec![3, 1, 2, 0];
    let found = compared(&[entry("finetune", &plain), entry("kd", &kd)], None);
    let against = found.rows[1].against.as_ref().unwrap();
    let expected =
        nb_eval::paired_bootstrap(&[1.0, 0.5, 0.0, 1.0], &[1.0, 0.0, 0.0, 0.0], nb_eval::Bootstrap::default());
    let expected = expected.unwrap();
    assert_eq!((against.difference, against.p), (0.375, expected.p));
    assert_eq!((against.low, against.high), (expected.difference.low, expected.difference.high));
    assert_eq!(against.p_holm, against.p);
    assert_eq!(found.rows[0].against, None);
    assert_eq!(against.label, "finetune");
}

#[test]
fn p_values_are_adjusted_over_all_depths() {
    let n = 60;
    let runs: Vec<RunRecord> = [("finetune", 1, 30), ("kd", 1, 36), ("pkd", 1, 31), ("finetune", 2, 30), ("kd", 2, 45)]
        .map(|(method, layers, right)| run(method, layers, 0, &first_right(right, n)))
        .into();
    let entries: Vec<Entry<'_>> = runs.iter().map(|run| entry(run.summary.method.as_deref().unwrap(), [run])).collect();
    let found = compared(&entries, None);
    let tests: Vec<_> = found.rows.iter().filter_map(|row| row.against.as_ref()).collect();
    let p: Vec<f64> = tests.iter().map(|test| test.p).collect();
    assert_eq!(tests.iter().map(|test| test.p_holm).collect::<Vec<_>>(), nb_eval::holm(&p).unwrap());
    assert_eq!(tests.len(), 3);
    // The smallest of the three p-values is multiplied by 3; the largest is unchanged.
    assert!(close(tests[2].p_holm, 3.0 * tests[2].p) && tests[1].p_holm == tests[1].p);
    assert!(found.notes[0].contains("over the 60 rows of the test data") && found.notes[0].contains("for 3 tests"));
}

#[test]
fn the_difference_of_equal_models_is_zero() {
    let (plain, kd) = (run("finetune", 1, 0, &first_right(3, 9)), run("kd", 1, 0, &first_right(3, 9)));
    let found = compared(&[entry("kd", [&kd]), entry("finetune", [&plain])], None);
    let against = found.rows[0].against.as_ref().unwrap();
    assert_eq!((against.difference, against.low, against.high, against.p, against.p_holm), (0.0, 0.0, 0.0, 1.0, 1.0));
    assert!(found.notes.iter().any(|note| note == "With only 9 rows, the intervals are too narrow."));
}

#[test]
fn a_depth_without_the_baseline_is_not_tested_but_noted() {
    let runs = [run("finetune", 1, 0, &[1.0, 0.0]), run("kd", 2, 0, &[1.0, 1.0]), run("pkd", 2, 0, &[1.0, 0.0])];
    let found = compared(&[entry("finetune", [&runs[0]]), entry("kd", [&runs[1]]), entry("pkd", [&runs[2]])], None);
    assert!(found.rows.iter().all(|row| row.against.is_none()));
    assert_eq!(found.notes[0], "finetune was not run at 2 layers, so kd, pkd cannot be tested against it.");
}

#[test]
fn notes_state_what_the_test_does_not_cover() {
    // finetune 50 % and 70 %, kd 60 % and 100 % of 100 rows: +0.2, significant over rows; the standard error over seeds
    // is √(0.2²/2 · ½ + 0.4²/2 · ½) = √(0.01 + 0.04) = 0.2236.
    let plain = [(0, 50), (1, 70)].map(|(seed, right)| run("finetune", 1, seed, &first_right(right, 100)));
    let kd = [(0, 60), (2, 100)].map(|(seed, right)| run("kd", 1, seed, &first_right(right, 100)));
    let found = compared(&[entry("finetune", &plain), entry("kd", &kd)], None);
    assert!(found.rows[1].against.as_ref().unwrap().p_holm < 0.05);
    assert_eq!(found.notes[1], "kd at 1 layer was run with seeds 0, 2, finetune with 0, 1.");
    assert!(found.notes[2].contains("+0.2000 is significant over rows, but its standard error over seeds is 0.2236"));
    assert_eq!(found.notes.len(), 3);
}

#[test]
fn without_test_data_development_scores_are_used_and_noted() {
    let mut kd = run("kd", 1, 0, &[1.0, 0.0]);
    edit(&mut kd.summary, |summary| {
        summary["student"]["accuracy"] = json!(0.5);
        summary["student"]["test"].take();
    });
    kd.outcomes.as_mut().unwrap().split = Some("dev".to_owned());
    let found = compared(&[entry("kd", [&kd])], None);
    assert_eq!(found.rows[0].mean, 0.5);
    assert!(
        found.notes[0].starts_with("Scores are on the dev data, on which the best checkpoint"),
        "{:?}",
        found.notes
    );
}

#[test]
fn a_run_that_trained_only_a_teacher_is_scored_by_its_teacher() {
    let teacher = as_teacher(run("teacher", 12, 0, &first_right(9, 10)));
    let found = compared(&[entry("teacher", [&teacher])], Some(&teacher));
    assert_eq!((found.rows[0].mean, found.rows[0].layers, found.rows[0].kept), (0.9, 12, Some(1.0)));
}
