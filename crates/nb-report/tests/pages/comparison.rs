//! The page of a comparison.

use std::collections::BTreeMap;

use nb_report::{Against, Comparison, Row, RunRecord, Spread, Sweep, TeacherRow, TotalCost, Try, comparison_report};

use crate::support::{alts, checked, found, full, texts};

fn row(label: &str, layers: u64, mean: f64, against: Option<Against>) -> Row {
    Row {
        label: label.to_owned(),
        method: label.to_owned(),
        layers,
        seeds: vec![0, 1],
        scores: vec![mean - 0.01, mean + 0.01],
        mean,
        spread: Some(0.0141),
        untouched: None,
        kept: Some(mean / 0.925),
        metrics: BTreeMap::from([("macro_f1".to_owned(), Spread { mean: mean - 0.02, spread: None })]),
        parameters: 11_000_000,
        megabytes: 44.0,
        milliseconds_per_text: Some(3.0 * layers as f64),
        texts_per_second: None,
        cost: None,
        at_equal_cost: None,
        against,
        settings: BTreeMap::new(),
        runs: vec![format!("{label}-{layers}l-s0"), format!("{label}-{layers}l-s1")],
    }
}

fn against(difference: f64, p_holm: f64) -> Option<Against> {
    let (low, high) = (difference - 0.008, difference + 0.008);
    Some(Against { label: "finetune".to_owned(), difference, low, high, p: p_holm / 2.0, p_holm })
}

fn comparison() -> Comparison {
    let settings = |lr: &str| BTreeMap::from([("train.lr".to_owned(), lr.to_owned())]);
    Comparison {
        name: "which pays".to_owned(),
        task: "topic".to_owned(),
        metric: "accuracy".to_owned(),
        baseline: "finetune".to_owned(),
        teacher: Some(TeacherRow {
            score: 0.925,
            layers: 6,
            parameters: 66_362_880,
            milliseconds_per_text: Some(18.0),
            texts_per_second: None,
        }),
        untouched: None,
        rows: vec![
            row("finetune", 1, 0.8625, None),
            row("kd", 1, 0.875, against(0.0125, 0.012)),
            row("finetune", 2, 0.8875, None),
            row("kd", 2, 0.891, against(0.002, 0.8)),
        ],
        sweeps: vec![Sweep {
            label: "kd".to_owned(),
            layers: 1,
            tries: vec![
                Try { settings: settings("1e-4"), score: 0.85, chosen: false },
                Try { settings: settings("3e-4"), score: 0.8705, chosen: true },
            ],
        }],
        rows_compared: 1000,
        notes: vec!["Times are of one machine.".to_owned()],
    }
}

fn page(comparison: &Comparison, runs: &[RunRecord]) -> scraper::Html {
    checked(&comparison_report(comparison, runs).unwrap())
}

#[test]
fn the_page_shows_the_table_the_plots_and_the_tries() {
    let mut run = full(40, &["a", "b"]);
    run.folder = "runs/which/kd-1l-s1".into();
    let html = page(&comparison(), &[run]);
    assert_eq!(texts(&html, "h1"), ["which pays"]);
    assert_eq!(texts(&html, ".value"), ["0.925", "0.891", "0.875"]);
    assert!(texts(&html, ".remark")[2].contains("keeps 94.6 %, 6.00 × as fast"));
    let rows = texts(&html, ".rows tbody tr");
    assert_eq!(rows.len(), 5 + 2);
    assert!(rows[0].starts_with("teacher"), "{rows:?}");
    for what in ["kd", "0.8750 ± 0.0141 ★", "94.6 %", "+0.0125 [+0.0045, +0.0205]", "0.012", "0.8550", "3.00", "11.0 M"]
    {
        assert!(rows[2].contains(what), "{what} is missing in {}", rows[2]);
    }
    let alts = alts(&html);
    // Each plot twice, for wide and narrow pages; then loss and accuracy of the single run.
    assert_eq!(alts.len(), 6, "{alts:?}");
    assert_eq!((&alts[0], &alts[2]), (&alts[1], &alts[3]));
    assert!(
        alts[0].contains("kd 1L: 0.8750 ± 0.0141 at 3.00") && alts[0].contains("teacher 6L: 0.9250 at 18.0"),
        "{}",
        alts[0]
    );
    assert!(alts[2].contains("kd 2L: +0.0020, interval −0.0060 to +0.0100, p = 0.800"), "{}", alts[2]);
    let summaries = texts(&html, "summary");
    assert_eq!(summaries, ["kd, 1 layer: train.lr = 3e-4", "kd, 1 layer (2 runs)"]);
    assert_eq!(texts(&html, "h4"), ["kd-1l-s1 · 0.8850"]);
    assert_eq!(texts(&html, ".note li"), ["Times are of one machine."]);
}

/// Returns the comparison with an untouched teacher, untouched students and the cost of the training.
fn costing() -> Comparison {
    let mut comparison = comparison();
    comparison.untouched = comparison.teacher.clone().map(|teacher| TeacherRow { score: 0.5125, ..teacher });
    for (row, seconds) in comparison.rows.iter_mut().zip([40.0, 250.0, 60.0, 12_500.0]) {
        row.untouched = Some(row.mean / 2.0);
        row.cost = Some(TotalCost { seconds: Some(seconds / 2.0), processor_seconds: Some(seconds) });
    }
    comparison.rows[0].at_equal_cost = Some(0.8475);
    comparison
}

#[test]
fn the_page_shows_untouched_models_and_the_cost_of_training() {
    let html = page(&costing(), &[]);
    let titles = texts(&html, "section > .scroll thead th");
    assert_eq!(titles[..5], ["method", "layers", "accuracy", "before", "kept"]);
    let size = titles.iter().position(|title| title == "MB").unwrap();
    assert_eq!(titles[size + 1..], ["seconds", "processor seconds", "at equal cost"]);
    let row = |at: usize| texts(&html, &format!("section > .scroll tbody tr:nth-child({at}) > *"));
    assert!((1..=6).all(|at| row(at).len() == titles.len()));
    assert_eq!(row(1)[..5], ["untouched teacher", "6", "0.5125", "–", "–"]);
    assert_eq!(row(2)[..5], ["teacher", "6", "0.9250", "–", "100.0 %"]);
    assert_eq!(row(3)[2..5], ["0.8625 ± 0.0141", "0.4313", "93.2 %"]);
    assert_eq!(row(3)[size + 1..], ["20.0", "40.0", "0.8475"]);
    assert_eq!(row(6)[size + 1..], ["6250", "12.5 k", "–"]);
    assert!(texts(&html, "section > h2").contains(&"Cost of training".to_owned()));
    let alts = alts(&html);
    let across = "accuracy against processor seconds of the training, log scale →.";
    let drawn: Vec<&String> = alts.iter().filter(|alt| alt.starts_with(across)).collect();
    assert_eq!(drawn.len(), 2, "{alts:?}");
    assert!(drawn[0].contains("kd 1L: 0.8750 ± 0.0141 at 250;") && !drawn[0].contains("teacher"), "{}", drawn[0]);
    assert!(texts(&html, "svg.plot text").iter().any(|text| text == "teacher 0.9250"));
}

#[test]
fn only_known_costs_have_columns() {
    let mut comparison = costing();
    for row in &mut comparison.rows {
        row.untouched = None;
        row.cost = Some(TotalCost { seconds: Some(1.0), processor_seconds: None });
    }
    let html = page(&comparison, &[]);
    let titles = texts(&html, ".rows thead th");
    let is_shown = |title: &str| titles.iter().any(|other| other == title);
    assert!(is_shown("seconds") && !["before", "processor seconds", "at equal cost"].into_iter().any(is_shown));
    assert!(!texts(&html, "section > h2").contains(&"Cost of training".to_owned()));
}

#[test]
fn hostile_costs_do_no_harm() {
    for value in [f64::NAN, f64::INFINITY, -1.0, 0.0, 5e-324, 1e-300, 1e300, f64::MAX] {
        let mut evil = costing();
        evil.untouched.as_mut().unwrap().score = value;
        for row in evil.rows.iter_mut().skip(1) {
            (row.untouched, row.at_equal_cost) = (Some(value), Some(value));
            row.cost = Some(TotalCost { seconds: Some(value), processor_seconds: Some(value) });
        }
        page(&evil, &[]);
        evil.rows[0].cost = evil.rows[1].cost;
        page(&evil, &[]);
        assert!(!evil.text().is_empty() && !evil.csv().is_empty() && !evil.json().is_empty());
    }
}

#[test]
fn values_that_were_not_measured_are_omitted() {
    let mut bare = comparison();
    (bare.teacher, bare.sweeps, bare.notes) = (None, vec![], vec![]);
    for row in &mut bare.rows {
        (row.milliseconds_per_text, row.against, row.spread, row.kept) = (None, None, None, None);
        row.layers = 1;
        row.metrics.clear();
    }
    let html = page(&bare, &[]);
    assert_eq!((found(&html, "svg"), texts(&html, "section > h2")), (0, vec!["All rows".to_owned()]));
    assert_eq!(texts(&html, ".rows tbody th"), ["finetune", "kd", "finetune", "kd"]);
    bare.rows.clear();
    page(&bare, &[]);
}

#[test]
fn hostile_names_and_numbers_do_no_harm() {
    const EVIL: &str = "<script>alert(1)</script>\"'&";
    let mut evil = comparison();
    (evil.name, evil.metric, evil.baseline) = (EVIL.to_owned(), EVIL.to_owned(), EVIL.to_owned());
    evil.notes = vec![EVIL.to_owned()];
    for row in &mut evil.rows {
        row.label = format!("{EVIL}{}", "long ".repeat(40));
        row.runs = vec![EVIL.to_owned()];
    }
    evil.sweeps[0].label = EVIL.to_owned();
    evil.sweeps[0].tries[0].settings.insert(EVIL.to_owned(), EVIL.to_owned());
    (evil.rows[0].mean, evil.rows[1].milliseconds_per_text) = (f64::NAN, Some(0.0));
    evil.rows[2].spread = Some(f64::INFINITY);
    evil.rows[3].against = against(f64::NAN, f64::NAN);
    evil.sweeps[0].tries[0].score = f64::NAN;
    let html = page(&evil, &[]);
    assert_eq!(texts(&html, "h1"), [EVIL]);
    assert!(texts(&html, "svg.plot text").iter().any(|text| text.contains("<script>alert(1)")));
}
