//! The cost of training: totals, the quality at equal cost, and the records that lack them.

use nb_report::record::{Cost, EvalLine, RunCost};
use nb_report::{Comparison, RunRecord, TotalCost};
use serde_json::{Value, json};

use super::{as_teacher, cells, compared, edit, entry, first_right, records, run};

/// A student's accuracy on the development data after some processor seconds of the run's own training.
struct Measured {
    processor_seconds: f64,
    accuracy: f64,
}

fn cost(seconds: f64, processor_seconds: f64) -> Cost {
    Cost { seconds: Some(seconds), processor_seconds: Some(processor_seconds) }
}

/// Returns a run of half that elapsed time, whose last evaluation is at its end.
fn costing(method: &str, seed: u64, teacher: Option<f64>, evaluations: &[(f64, f64)]) -> RunRecord {
    let mut run = run(method, 1, seed, &first_right(5, 10));
    let all = evaluations.iter().map(|&(processor_seconds, accuracy)| Measured { processor_seconds, accuracy });
    run.evaluations = all.map(|measured| evaluation(&measured)).collect();
    let total = |seconds: f64| cost(seconds / 2.0, seconds);
    let own = evaluations.last().map(|&(seconds, _)| total(seconds));
    run.summary.cost = Some(RunCost { run: own, teacher: teacher.map(total) });
    run
}

fn evaluation(measured: &Measured) -> EvalLine {
    let line = json!({
        "step": 1, "student": {"texts": 10, "accuracy": measured.accuracy},
        "cost": {"processor_seconds": measured.processor_seconds},
    });
    serde_json::from_value(line).unwrap()
}

fn at_equal_cost(found: &Comparison) -> Vec<Option<f64>> {
    found.rows.iter().map(|row| row.at_equal_cost).collect()
}

/// Returns a comparison with a budget of 20 processor seconds, the mean of finetune's 16 and 24.
fn full() -> Comparison {
    let plain = [
        costing("finetune", 0, None, &[(8.0, 0.25), (16.0, 0.5)]),
        // 0.75 costs 24, more than the budget.
        costing("finetune", 1, None, &[(8.0, 0.375), (16.0, 0.25), (24.0, 0.75)]),
    ];
    let kd = [
        // With the teacher's 12: 16, 20 and 32.
        costing("kd", 0, Some(12.0), &[(4.0, 0.5), (8.0, 0.625), (20.0, 0.875)]),
        costing("kd", 1, Some(12.0), &[(4.0, 0.375), (8.0, 0.25), (28.0, 0.875)]),
    ];
    let dear = [costing("mse", 0, Some(100.0), &[(0.0, 0.5), (50.0, 0.75)])];
    compared(&[entry("finetune", &plain), entry("kd", &kd), entry("mse", &dear)], None)
}

#[test]
fn totals_include_the_teacher_and_are_averaged_over_seeds() {
    let found = full();
    let costs: Vec<TotalCost> = found.rows.iter().map(|row| row.cost.unwrap()).collect();
    let total =
        |seconds, processor_seconds| TotalCost { seconds: Some(seconds), processor_seconds: Some(processor_seconds) };
    // (16 + 24) ÷ 2; 12 + (20 + 28) ÷ 2; 100 + 50.
    assert_eq!(costs, [total(10.0, 20.0), total(18.0, 36.0), total(75.0, 150.0)]);
    assert_eq!(found.budget(), Some(20.0));
}

#[test]
fn the_quality_at_equal_cost_is_the_best_evaluation_within_the_budget() {
    // finetune: ½ (0.5 + 0.375); kd: ½ (0.625 + 0.375), where 12 + 8 is exactly the budget; the teacher of mse alone
    // exceeds it.
    assert_eq!(at_equal_cost(&full()), [Some(0.4375), Some(0.5), None]);
}

#[test]
fn a_seed_without_an_evaluation_within_the_budget_leaves_no_value() {
    let plain = costing("finetune", 0, None, &[(10.0, 0.5)]);
    let kd =
        [costing("kd", 0, None, &[(9.0, 0.25), (30.0, 0.5)]), costing("kd", 1, None, &[(11.0, 0.75), (30.0, 0.5)])];
    let entries = [entry("finetune", [&plain]), entry("kd", &kd)];
    assert_eq!(at_equal_cost(&compared(&entries, None)), [Some(0.5), None]);
    let entries = [entry("finetune", [&plain]), entry("kd", &kd[..1])];
    assert_eq!(at_equal_cost(&compared(&entries, None)), [Some(0.5), Some(0.25)]);
    // Without any evaluation, with one that has no cost, or without the metric.
    for odd in [None, Some(json!({"student": {"accuracy": 0.5}})), Some(json!({"cost": {"processor_seconds": 1.0}}))] {
        let mut kd = costing("kd", 0, None, &[(30.0, 0.5)]);
        kd.evaluations = odd.into_iter().map(|line| serde_json::from_value(line).unwrap()).collect();
        let found = compared(&[entry("finetune", [&plain]), entry("kd", [&kd])], None);
        assert_eq!(at_equal_cost(&found), [Some(0.5), None]);
    }
}

#[test]
fn rows_of_equal_cost_use_all_of_their_evaluations() {
    // (0.7 + 0.7 + 0.7) ÷ 3 rounds to less than 0.7, yet each last evaluation is within the budget.
    let three = |method: &str, best: f64| [0, 1, 2].map(|seed| costing(method, seed, None, &[(0.7, best)]));
    let (plain, kd) = (three("finetune", 0.5), three("kd", 0.75));
    let found = compared(&[entry("finetune", &plain), entry("kd", &kd)], None);
    assert!(found.budget().unwrap() < 0.7);
    assert_eq!(at_equal_cost(&found), [Some(0.5), Some(0.75)]);
    assert!(!found.text().contains("at equal cost") && !found.csv().contains("at_equal_cost"), "{}", found.text());
    assert!(found.notes.iter().all(|note| !note.starts_with("At equal cost")), "{:?}", found.notes);
}

#[test]
fn a_row_without_any_cost_sets_a_budget_of_zero() {
    let plain = costing("finetune", 0, None, &[(0.0, 0.5)]);
    let kd = costing("kd", 0, None, &[(1.0, 0.75)]);
    let found = compared(&[entry("finetune", [&plain]), entry("kd", [&kd])], None);
    assert_eq!((found.budget(), at_equal_cost(&found)), (Some(0.0), vec![Some(0.5), None]));
    assert!(found.text().contains("at equal cost"));
}

#[test]
fn the_column_needs_costs_that_differ_by_more_than_a_tenth() {
    for (seconds, expected) in [(10.0, false), (11.0, false), (11.5, true)] {
        let (plain, kd) =
            (costing("finetune", 0, None, &[(10.0, 0.5)]), costing("kd", 0, None, &[(5.0, 0.25), (seconds, 0.5)]));
        let found = compared(&[entry("finetune", [&plain]), entry("kd", [&kd])], None);
        assert_eq!(found.text().contains("at equal cost"), expected, "{seconds}");
        assert_eq!(found.csv().contains(",at_equal_cost,"), expected, "{seconds}");
        assert_eq!(found.notes.iter().any(|note| note.starts_with("At equal cost")), expected, "{seconds}");
    }
}

#[test]
fn a_method_that_trains_only_a_teacher_is_scored_by_its_teacher() {
    let plain = costing("finetune", 0, None, &[(10.0, 0.5)]);
    let mut teacher = as_teacher(costing("teacher", 0, None, &[(10.0, 0.25), (40.0, 0.5)]));
    for line in &mut teacher.evaluations {
        line.teacher = line.student.take();
    }
    let found = compared(&[entry("finetune", [&plain]), entry("teacher", [&teacher])], None);
    assert_eq!(at_equal_cost(&found), [Some(0.5), Some(0.25)]);
}

#[test]
fn a_teacher_of_unknown_cost_makes_the_total_unknown() {
    let total = |models: Value| {
        let mut kd = costing("kd", 0, None, &[(1.0, 0.5)]);
        edit(&mut kd.summary, |summary| summary["models"] = models);
        let found = compared(&[entry("kd", [&kd])], None);
        (found.rows[0].cost.and_then(|cost| cost.processor_seconds), found.rows[0].at_equal_cost)
    };
    assert_eq!(total(json!({"checkpoint": "aa", "trained": ["bb"]})), (None, None));
    assert_eq!(total(json!({"trained": ["aa", "bb"]})), (None, None));
    // A checkpoint that is used as it comes costs no training.
    assert_eq!(total(json!({"checkpoint": "aa", "trained": ["aa"]})), (Some(1.0), Some(0.5)));
    assert_eq!(total(json!({"checkpoint": "aa"})), (Some(1.0), Some(0.5)));

    // A part of the cost that is unknown: of the run, of one seed.
    let plain = [costing("kd", 0, None, &[(8.0, 0.5)]), costing("kd", 1, None, &[(8.0, 0.5)])];
    let mut other = plain.clone();
    other[1].summary.cost.as_mut().unwrap().run = Some(Cost { seconds: Some(6.0), processor_seconds: None });
    let row = &compared(&[entry("kd", &other)], None).rows[0];
    assert_eq!(row.cost, Some(TotalCost { seconds: Some(5.0), processor_seconds: None }));
    other[1].summary.cost = None;
    let row = &compared(&[entry("kd", &other)], None).rows[0];
    assert_eq!((row.cost, row.at_equal_cost), (None, None));
}

#[test]
fn times_that_cannot_be_times_are_unknown() {
    for odd in [-1.0, f64::NAN, f64::INFINITY] {
        let mut kd = costing("kd", 0, Some(2.0), &[(1.0, 0.5), (2.0, 0.75)]);
        kd.evaluations[1].cost = Some(cost(odd, odd));
        let row = |run: &RunRecord| compared(&[entry("kd", [run])], None).rows.remove(0);
        assert_eq!(row(&kd).at_equal_cost, Some(0.5));
        kd.summary.cost = Some(RunCost { run: Some(cost(1.0, odd)), teacher: Some(cost(odd, 1.0)) });
        assert_eq!(row(&kd).cost, None);
        kd.summary.cost = Some(RunCost { run: Some(cost(1.0, 2.0)), teacher: Some(cost(odd, 1.0)) });
        assert_eq!(row(&kd).cost, Some(TotalCost { seconds: None, processor_seconds: Some(3.0) }));
    }
    for odd in [json!(7), json!("text"), json!([1]), json!({"run": 3}), json!({"run": {"seconds": "long"}})] {
        let mut kd = costing("kd", 0, None, &[(1.0, 0.5)]);
        edit(&mut kd.summary, |summary| summary["cost"] = odd.clone());
        assert_eq!(compared(&[entry("kd", [&kd])], None).rows[0].cost, None, "{odd}");
    }
    // The sum of finite numbers that is not finite.
    let mut kd = costing("kd", 0, None, &[(1.0, 0.5)]);
    kd.summary.cost = Some(RunCost { run: Some(cost(f64::MAX, 1.0)), teacher: Some(cost(f64::MAX, 1.0)) });
    let found = compared(&[entry("kd", [&kd])], None);
    assert_eq!(found.rows[0].cost, Some(TotalCost { seconds: None, processor_seconds: Some(2.0) }));
}

#[test]
fn text_csv_and_json_show_costs() {
    let found = full();
    let text = found.text();
    let titles = cells(&text, "layers");
    assert_eq!(titles[titles.len() - 3..], ["seconds", "processor seconds", "at equal cost"]);
    let last = |label: &str| cells(&text, label).split_off(titles.len() - 3);
    assert_eq!(last("│ finetune"), ["10.0", "20.0", "0.4375"]);
    assert_eq!(last("│ kd"), ["18.0", "36.0", "0.5000"]);
    assert_eq!(last("│ mse"), ["75.0", "150.0", "–"]);
    assert!(text.contains("\nSeconds and processor seconds are of the training, the teacher's included.\n"), "{text}");
    let note = "At equal cost: the best accuracy on the development data within 20.0 processor seconds, the cost of the \
                cheapest row. The teacher's training counts, so a method whose teacher alone costs more has no value. \
                The learning rate of the others had not yet fallen to zero there, so the column favours the cheapest \
                method.";
    assert_eq!(found.notes.last().unwrap(), note);

    let csv = found.csv();
    assert!(csv.contains(",texts_per_second,seconds,processor_seconds,at_equal_cost,against,"), "{csv}");
    let records = records(&csv);
    let costs = |at: usize| ["seconds", "processor_seconds", "at_equal_cost"].map(|title| records[at][title].as_str());
    assert_eq!([costs(0), costs(2)], [["10", "20", "0.4375"], ["75", "150", ""]]);

    let value: Value = serde_json::from_str(&found.json()).unwrap();
    assert_eq!(value["rows"][0]["cost"], json!({"seconds": 10.0, "processor_seconds": 20.0}));
    assert_eq!(value["rows"][0]["at_equal_cost"], json!(0.4375));
    assert!(value["rows"][2].get("at_equal_cost").is_none());
    assert_eq!(serde_json::from_str::<Comparison>(&found.json()).unwrap(), found);
}

#[test]
fn a_comparison_without_costs_and_untouched_models_has_no_trace_of_them() {
    let kd = run("kd", 1, 0, &first_right(5, 10));
    let found = compared(&[entry("kd", [&kd])], Some(&as_teacher(run("teacher", 6, 0, &first_right(8, 10)))));
    let titles = "label,method,layers,seeds,scores,mean,spread,kept,macro_f1 mean,macro_f1 spread,parameters,megabytes,\
                  milliseconds_per_text,texts_per_second,against,difference,low,high,p,p_holm,settings,runs";
    assert_eq!(found.csv().lines().next(), Some(titles));
    assert_eq!(
        cells(&found.text(), "layers"),
        [
            "",
            "layers",
            "seeds",
            "accuracy",
            "kept",
            "macro f1",
            "parameters",
            "MB",
            "ms for one text",
            "texts per second"
        ]
    );
    assert!(!found.json().contains("cost") && !found.json().contains("untouched"), "{}", found.json());
    assert_eq!(found.budget(), None);
    assert!(found.notes.iter().all(|note| !note.contains("cost") && !note.contains("checkpoint")), "{:?}", found.notes);
}
