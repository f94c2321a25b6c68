//! The page of a run.

use nb_report::record::{Cost, RunCost, StepLine};
use nb_report::{RunRecord, run_report};
use serde_json::{Value, json};

use crate::support::{alts, bare, checked, edit, found, full, texts, typed};

fn page(record: &RunRecord) -> scraper::Html {
    checked(&run_report(record).unwrap())
}

fn sections(html: &scraper::Html) -> Vec<String> {
    texts(html, "section > h2")
}

#[test]
fn a_full_run_shows_everything() {
    let html = page(&full(120, &["World", "Sports", "Business"]));
    assert_eq!(sections(&html), ["Results", "Training", "Errors by class", "Calibration", "Sources"]);
    assert_eq!(
        texts(&html, ".lead"),
        ["task topic · method newsbert · 2 layers, from a teacher with 2 · seed 3 · 300 steps · 1 min 15 s"]
    );
    let tiles = texts(&html, ".value");
    assert_eq!(tiles, ["0.895", "0.920", "97.3 %", "13.7 M", "3.00 ms", "333"]);
    assert!(texts(&html, ".remark")[0].contains("95 % interval 0.800 to 0.950, test data, 1 000 texts"));
    assert!(texts(&html, ".remark")[4].contains("teacher 18.0 ms, 6.00 × as long"));
    assert_eq!(texts(&html, ".warning li").len(), 2);
    let alts = alts(&html).join("\n");
    for what in [
        "of accuracy over",
        "of loss over",
        "of soft over",
        "of hard over",
        "of learning rate over",
        "of gradient norm, all parameters",
        "student: begins at",
        "student layer 2: begins",
        "of share of equal predictions",
        "of KL of teacher to student",
        "of tokens per second",
        "of temperature over",
        "Reliability of the student",
        "Reliability of the teacher",
    ] {
        assert!(alts.contains(what), "{what} is missing in {alts}");
    }
    // A term with weight 0 and a constant β have no curves.
    assert!(!alts.contains("of idle") && !alts.contains("of beta"), "{alts}");
    let tables = texts(&html, "table").join("\n");
    for what in ["0.8950 [0.8000, 0.9500]", "title only", "0.8125", "data/train.csv", "c0ffee", "2.11.0", "a cpu"] {
        assert!(tables.contains(what), "{what} is missing in {tables}");
    }
    assert!(texts(&html, "pre").concat().contains("method: {name: newsbert}"));

    // A split of several files, none with a row count.
    let mut record = full(1, &["a", "b"]);
    edit(&mut record.summary, |summary| {
        summary["data"] = json!({"train": [{"path": "a.tsv", "blake3": "01"}, {"path": "b.tsv", "blake3": "02"}]});
    });
    let tables = texts(&page(&record), "table").join("\n");
    assert!(tables.contains("split path BLAKE3") || tables.contains("splitpathBLAKE3"), "{tables}");
    assert!(tables.contains("a.tsv") && tables.contains("b.tsv"), "{tables}");
}

#[test]
fn confusion_matrix_and_calibration_match_the_outcomes() {
    for classes in [2, 20] {
        let labels: Vec<String> = (0..classes).map(|n| format!("label {n}")).collect();
        let html = page(&full(3, &labels.iter().map(String::as_str).collect::<Vec<_>>()));
        assert_eq!(found(&html, "section > .tables .heat td"), classes * classes);
        assert_eq!(texts(&html, "section > .tables .heat .right"), vec!["3"; classes]);
        let wrong = texts(&html, "section > .tables .heat .wrong");
        assert_eq!(wrong.iter().filter(|cell| *cell == "1").count(), classes);
        // At confidence 0.875, 3 of 4 predictions of the student and all predictions of the teacher are right.
        assert_eq!(texts(&html, "figcaption .last strong"), ["0.1250", "0.1250"]);
        let alts = alts(&html).join("\n");
        assert!(
            alts.contains(&format!("student. {} predictions of confidence 0.8750: 0.7500 right", 4 * classes)),
            "{alts}"
        );
        assert!(texts(&html, "caption").iter().any(|caption| caption == "Classes of the student, weakest first"));
    }
}

#[test]
fn many_classes_are_shown_by_their_most_frequent_errors() {
    let labels: Vec<String> = (0..60).map(|n| format!("label {n}")).collect();
    let html = page(&full(3, &labels.iter().map(String::as_str).collect::<Vec<_>>()));
    assert_eq!(found(&html, ".heat"), 0);
    assert!(
        texts(&html, "caption")[..]
            .iter()
            .any(|text| text == "The 20 most frequent errors of the student among 60 classes")
    );
}

#[test]
fn missing_parts_are_omitted() {
    let html = page(&bare());
    assert_eq!((texts(&html, "h1"), sections(&html)), (vec!["bare".to_owned()], vec!["Sources".to_owned()]));
    assert_eq!(
        (found(&html, "svg"), found(&html, ".tiles"), found(&html, ".box"), found(&html, "table")),
        (0, 0, 0, 0)
    );

    let mut alone = full(50, &["a", "b"]);
    alone.summary.teacher = None;
    alone.outcomes.as_mut().unwrap().teacher = None;
    for line in &mut alone.evaluations {
        line.teacher = None;
    }
    for line in &mut alone.steps {
        *line = StepLine { step: line.step, loss: line.loss, lr: line.lr, ..StepLine::default() };
    }
    let html = page(&alone);
    assert_eq!(texts(&html, ".value"), ["0.895", "13.7 M", "3.00 ms", "333"]);
    let alts = alts(&html);
    assert_eq!(alts.len(), 4, "{alts:?}"); // accuracy, loss, learning rate, reliability
    assert!(alts.iter().all(|alt| !alt.contains("teacher")), "{alts:?}");
}

#[test]
fn ranking_tasks_show_their_metrics() {
    let metrics = json!({"impressions": 40, "auc": 0.6712, "ndcg@5": 0.3333, "intervals": {"auc": [0.65, 0.69]}});
    let mut record = bare();
    record.summary =
        typed(json!({"task": "recommend", "name": "readers", "student": metrics.clone(), "primary": "auc"}));
    record.evaluations = vec![typed(json!({"event": "eval", "step": 5, "student": metrics}))];
    let html = page(&record);
    assert!(texts(&html, ".lead")[0].starts_with("task recommend"));
    assert_eq!(texts(&html, ".value"), ["0.671"]);
    assert_eq!(texts(&html, "figcaption .title"), ["AUC", "nDCG@5"]);
    assert!(texts(&html, "table").concat().contains("0.6712 [0.6500, 0.6900]"));

    let metrics = json!({"queries": 1, "mrr@10": 0.5, "recall@100": 1.0});
    record.summary = typed(json!({"task": "retrieve", "teacher": metrics}));
    let html = page(&record);
    assert_eq!(texts(&html, "h1"), ["bare"]);
    let tables = texts(&html, "table").concat();
    assert!(tables.contains("MRR@10") && tables.contains("1.0000"), "{tables}");
    assert!(texts(&html, "caption")[0].contains("(1 query)"));
}

#[test]
fn untouched_models_come_first_in_the_tables_of_metrics() {
    let model =
        |dev: f64, test: f64| json!({"layers": 2, "queries": 5, "mrr": dev, "test": {"queries": 8, "mrr": test}});
    let mut record = bare();
    record.summary = typed(json!({
        "task": "retrieve", "teacher": model(0.75, 0.8), "student": model(0.5, 0.6),
        "untouched": {"teacher": model(0.25, 0.3), "student": model(0.125, 0.2)},
    }));
    let table = |html: &scraper::Html| {
        let cells = |css: &str| texts(html, css);
        [cells(".tables > .scroll:first-child thead th"), cells(".tables > .scroll:first-child tbody tr > *")]
    };
    let [head, row] = table(&page(&record));
    assert_eq!(head, ["metric", "untouched teacher", "untouched student", "student", "teacher", "kept"]);
    assert_eq!(row, ["MRR", "0.3000", "0.2000", "0.6000", "0.8000", "75.0 %"]);
    let captions = texts(&page(&record), "caption");
    assert_eq!(captions[..2], ["Test data, measured once (8 queries)", "Development data, best state (5 queries)"]);

    // Only the student, and test data that only the trained model was measured on.
    edit(&mut record.summary, |summary| {
        summary["teacher"].take();
        summary["untouched"] = json!({"student": {"queries": 5, "mrr": 0.125}});
    });
    let [head, row] = table(&page(&record));
    assert_eq!((head, row), (vec!["metric".to_owned(), "student".to_owned()], vec!["MRR".into(), "0.6000".into()]));
    let dev = texts(&page(&record), ".tables > .scroll:nth-child(2) tbody td");
    assert_eq!(dev, ["0.1250", "0.5000"]);
}

#[test]
fn the_cost_of_the_training_is_a_table() {
    let mut record = bare();
    let cost = |seconds, processor_seconds| Some(Cost { seconds, processor_seconds });
    record.summary.cost = Some(RunCost { run: cost(Some(25.0), Some(40.0)), teacher: cost(None, Some(250.0)) });
    let html = page(&record);
    assert_eq!(texts(&html, "caption")[0], "Cost of the training");
    assert_eq!(texts(&html, "thead th")[..3], ["training of", "seconds", "processor seconds"]);
    let cells = texts(&html, ".tables tbody tr > *");
    assert_eq!(cells[..6], ["this run", "25.0", "40.0", "its teacher, before", "–", "250"]);

    for odd in [f64::NAN, -1.0, f64::INFINITY] {
        record.summary.cost = Some(RunCost { run: cost(Some(odd), Some(odd)), teacher: None });
        assert!(texts(&page(&record), "caption").iter().all(|caption| caption != "Cost of the training"));
    }
}

#[test]
fn missing_numbers_leave_gaps() {
    let mut record = full(90, &["a", "b"]);
    for line in &mut record.steps[30..60] {
        edit(line, |line| {
            line["loss"] = Value::Null;
            line["terms"] = json!("not an object");
            line["momentum_cosine"] = json!([null, "text"]);
        });
    }
    let gaps = |record: &RunRecord| {
        let html = page(record);
        let css = "svg[aria-label*='of loss over'] polyline[stroke='var(--ink)']";
        found(&html, css)
    };
    let without = gaps(&full(90, &["a", "b"]));
    assert_eq!(gaps(&record), without + 2); // the faint and the strong line are in two pieces each
    for line in &mut record.steps {
        edit(line, |line| line["loss"] = Value::Null);
    }
    assert!(alts(&page(&record)).iter().all(|alt| !alt.contains("of loss over")));
    let student = record.outcomes.as_mut().unwrap().student.as_mut().unwrap();
    student.classes.as_mut().unwrap().probability = vec![f32::NAN; 8];
    assert!(alts(&page(&record)).iter().all(|alt| !alt.contains("Reliability of the student")));
}

#[test]
fn hostile_text_stays_text() {
    const EVIL: &str = "</style></title><script src=http://evil>alert(1)</script>\"' onload=x &amp; \u{202e}";
    let mut record = full(10, &[EVIL, "b"]);
    record.config = EVIL.to_owned();
    edit(&mut record.summary, |summary| {
        summary["name"] = json!(EVIL);
        summary["method"] = json!(EVIL);
        summary["warnings"] = json!([EVIL, {"not": EVIL}, 7]);
        summary["data"][EVIL] = json!({"path": EVIL, "blake3": EVIL, "rows": EVIL});
        summary["student"]["parts"][EVIL] = json!({"texts": 3, EVIL: 0.5});
        summary["machine"][EVIL] = json!([EVIL]);
        summary["terms_without_unit"] = json!({EVIL: 2});
    });
    edit(&mut record.steps[3], |line| line["terms"][EVIL] = json!(0.5));
    edit(&mut record.evaluations[0], |line| line["student"][EVIL] = json!(0.5));
    let html = page(&record);
    assert_eq!(texts(&html, "h1")[0], EVIL.split_whitespace().collect::<Vec<_>>().join(" "));
    assert!(texts(&html, "pre")[0].contains("<script src=http://evil>"));
    assert!(texts(&html, ".heat th").iter().any(|name| name.contains("alert(1)")));
}

#[test]
fn json_of_another_shape_is_ignored() {
    for odd in [json!(null), json!(7), json!("text"), json!([1, [2]]), json!({"accuracy": "high", "test": 3})] {
        let mut record = full(5, &["a", "b"]);
        let set = |json: &mut Value, keys: &[&str]| keys.iter().for_each(|key| json[*key] = odd.clone());
        let keys = [
            "student",
            "teacher",
            "train",
            "data",
            "models",
            "warnings",
            "versions",
            "machine",
            "terms_without_unit",
            "untouched",
            "cost",
            "task",
            "name",
            "seed",
        ];
        edit(&mut record.summary, |summary| set(summary, &keys));
        for line in &mut record.steps {
            let keys = ["step", "terms", "weights", "agreement", "stage", "momentum_cosine", "gradient_norms", "lr"];
            edit(line, |line| set(line, &keys));
        }
        for line in &mut record.evaluations {
            edit(line, |line| set(line, &["step", "student", "cost"]));
        }
        page(&record);
    }
}

#[test]
fn extreme_numbers_are_drawn() {
    for value in [0.0, 1e300, -1e300, 1e-300, 5e-324, f64::MAX] {
        let mut record = full(4, &["a", "b"]);
        for (n, line) in record.steps.iter_mut().enumerate() {
            line.loss = Some(if n == 0 { 0.5 } else { value });
            line.gradient_norm = Some(value);
            line.step = Some(if n == 3 { u64::MAX } else { n as u64 });
        }
        let student = record.summary.student.as_mut().unwrap();
        student.dev.scores.metrics.insert("accuracy", value);
        student.milliseconds_per_text = Some(value);
        student.parameters = Some(value as u64);
        page(&record);
    }
}

#[test]
fn the_page_of_a_long_run_is_small_and_mentions_thinning() {
    let text = run_report(&full(10_000, &["a", "b"])).unwrap();
    assert!(text.len() < 400_000, "{} bytes", text.len());
    let html = checked(&text);
    assert!(texts(&html, ".about").iter().any(|about| about.contains("150 equal stretches")));
    assert!(texts(&page(&full(100, &["a", "b"])), ".about").iter().all(|about| !about.contains("stretches")));
}
