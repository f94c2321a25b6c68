//! Synthetic records, and the conditions that every page must meet.

use std::path::PathBuf;

use nb_report::RunRecord;
use nb_report::record::{Classes, Outcomes, OutcomesFile};
use scraper::{Html, Selector};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

/// Parses a page. Panics if it violates the HTML standard or a condition that every page must meet.
pub(crate) fn checked(page: &str) -> Html {
    let html = Html::parse_document(page);
    assert!(html.errors.is_empty(), "{:?}", html.errors);
    for part in ["script", "link", "img", "iframe", "object", "base", "[src]", "[href]", "[srcset]"] {
        assert_eq!(found(&html, part), 0, "{part}");
    }
    let style = texts(&html, "style").concat();
    assert!(!style.contains("url(") && !style.contains("@import"));
    for element in html.root_element().descendent_elements() {
        for (name, value) in element.value().attrs() {
            assert!(!name.starts_with("on"), "{name}={value}");
            assert!(!value.contains("NaN") && !value.contains("inf "), "{name}={value}");
        }
    }
    for plot in html.select(&selector("svg.plot")) {
        assert_eq!(plot.attr("role"), Some("img"));
        assert!(plot.attr("aria-label").is_some_and(|alt| alt.len() > 20));
        assert!(plot.child_elements().count() > 3, "an empty plot: {:?}", plot.attr("aria-label"));
    }
    for table in html.select(&selector("table")) {
        let parent = table.parent().and_then(scraper::ElementRef::wrap).unwrap();
        assert_eq!(parent.attr("class"), Some("scroll"));
    }
    html
}

pub(crate) fn selector(css: &str) -> Selector {
    Selector::parse(css).unwrap()
}

/// Returns the number of selected elements.
pub(crate) fn found(html: &Html, css: &str) -> usize {
    html.select(&selector(css)).count()
}

/// Returns the text of each selected element, with white space collapsed.
pub(crate) fn texts(html: &Html, css: &str) -> Vec<String> {
    let text = |element: scraper::ElementRef<'_>| element.text().collect::<String>();
    html.select(&selector(css)).map(|e| text(e).split_whitespace().collect::<Vec<_>>().join(" ")).collect()
}

/// Returns the text alternatives of the plots.
pub(crate) fn alts(html: &Html) -> Vec<String> {
    html.select(&selector("svg.plot")).filter_map(|plot| plot.attr("aria-label").map(str::to_owned)).collect()
}

/// Returns a topic run with a student and a trained teacher, with everything that a run folder can contain.
pub(crate) fn full(steps: u64, labels: &[&str]) -> RunRecord {
    RunRecord {
        folder: PathBuf::from("runs/full"),
        config: "name: full\nmethod: {name: newsbert}\n".to_owned(),
        summary: typed(summary()),
        steps: (1..=steps).map(|n| typed(step(n))).collect(),
        evaluations: (1..=4).map(|n| typed(evaluation(n * steps.max(4) / 4))).collect(),
        outcomes: Some(outcomes(labels)),
    }
}

/// Returns a run with a name and nothing else.
pub(crate) fn bare() -> RunRecord {
    RunRecord { folder: PathBuf::from("runs/bare"), ..RunRecord::default() }
}

/// Reads a part of a record from its JSON.
pub(crate) fn typed<T: DeserializeOwned>(json: Value) -> T {
    serde_json::from_value(json).unwrap()
}

/// Changes the JSON of a part of a record.
pub(crate) fn edit<T: Serialize + DeserializeOwned>(part: &mut T, change: impl FnOnce(&mut Value)) {
    let mut json = serde_json::to_value(&part).unwrap();
    change(&mut json);
    *part = typed(json);
}

fn summary() -> Value {
    let model = |accuracy: f64, parameters: u64, ms: f64| {
        json!({"layers": 2, "parameters": parameters, "accuracy": accuracy, "macro_f1": accuracy - 0.01, "texts": 500,
            "intervals": {"accuracy": [accuracy - 0.02, accuracy + 0.02]}, "best_step": 75,
            "milliseconds_per_text": ms, "texts_per_second": 1000.0 / ms,
            "parts": {"title only": {"texts": 200, "accuracy": 0.8125}},
            "test": {"texts": 1000, "accuracy": accuracy - 0.005, "intervals": {"accuracy": [0.8, 0.95]}}})
    };
    json!({
        "task": "topic", "method": "newsbert", "seed": 3, "name": "full", "primary": "accuracy",
        "train": {"steps": 300, "seconds": 75.0, "tokens_per_second": 1834.5},
        "student": model(0.9, 13_700_000, 3.0), "teacher": model(0.925, 66_362_880, 18.0),
        "data": {"train": {"path": "data/train.csv", "blake3": "c0ffee", "rows": 5000}},
        "versions": {"libtorch": "2.11.0"}, "machine": {"cpu": "a cpu", "cores": 2},
        "warnings": ["12 texts stand in both"], "terms_without_unit": {"hard": 3}
    })
}

fn step(step: u64) -> Value {
    let wave = (step as f64 * 0.7).sin();
    let falling = 1.0 + 100.0 / (step as f64 + 50.0) + 0.1 * wave;
    json!({"event": "step", "step": step, "epoch": 0, "stage": step / 60, "loss": falling,
        "terms": {"soft": 0.5 * falling, "hard": 0.4 * falling, "idle": 0.0}, "weights": {"soft": 1, "hard": 1, "idle": 0},
        "temperature": 2.0 + step as f64 / 100.0, "beta": 0.15, "gradient_norm": 2.0 + wave,
        "gradient_norms": {"teacher": 1.5 + wave, "student": 1.2 + wave}, "momentum_cosine": [0.3, 0.1 * wave],
        "agreement": {"equal": 0.9, "kl": 0.1 * falling}, "lr": 1e-4, "head_lr": 3e-4, "teacher_lr": 5e-5,
        "tokens_per_second": 1800.0 + 50.0 * wave})
}

fn evaluation(step: u64) -> Value {
    let of = |accuracy: f64| json!({"texts": 500, "accuracy": accuracy, "intervals": {"accuracy": [accuracy - 0.02, accuracy + 0.02]}});
    json!({"event": "eval", "step": step, "student": of(0.6 + step as f64 * 1e-6), "teacher": of(0.7)})
}

/// Returns outcomes with four rows per class. For the last row of each class, the student predicts the next class.
fn outcomes(labels: &[&str]) -> OutcomesFile {
    let n = u32::try_from(labels.len()).unwrap();
    let truth: Vec<u32> = (0..4 * n).map(|row| row / 4).collect();
    let student: Vec<u32> = truth.iter().enumerate().map(|(i, t)| if i % 4 == 3 { (t + 1) % n } else { *t }).collect();
    let right = |list: &[u32]| truth.iter().zip(list).map(|(t, p)| f64::from(u8::from(t == p))).collect::<Vec<_>>();
    let model = |predicted: &[u32]| Outcomes {
        rows: (0..4 * n).collect(),
        values: vec![("accuracy".into(), right(predicted))],
        classes: Some(Classes {
            names: labels.iter().map(|label| (*label).to_owned()).collect(),
            truth: truth.clone(),
            predicted: predicted.to_vec(),
            probability: vec![0.875; truth.len()],
        }),
    };
    OutcomesFile {
        split: Some("test".to_owned()),
        student: Some(model(&student)),
        teacher: Some(model(&truth)),
        ..OutcomesFile::default()
    }
}
