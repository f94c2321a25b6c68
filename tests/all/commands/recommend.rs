//! `task: recommend` from MIND folders to rankings: `nb train`, `nb eval` and `nb rank`.

use nb_eval::{Impression, ranking};
use serde_json::Value;

use super::corpora::{CLICKS, DEV_READERS, READERS};
use super::place::{Ended, FINETUNE, Place, STUDENT, assert_same_metrics, assert_within_interval};
use super::train::{assert_model, assert_run, assert_same_model};

const METRICS: [&str; 4] = ["auc", "mrr", "ndcg@5", "ndcg@10"];

fn eval(place: &Place, model: &str, rest: &[&str]) -> Value {
    let ended = place.nb(&[&["eval", "--model", model, "--input", "mind/dev"], rest].concat()).done();
    serde_json::from_str(&ended.out).unwrap()
}

/// Fails unless two evaluations agree in each metric, and in each part that the first one has.
#[track_caller]
fn assert_same_evaluation(found: &Value, expected: &Value) {
    assert_same_metrics(found, expected, "impressions", &METRICS);
    for (name, part) in found["parts"].as_object().into_iter().flatten() {
        assert_same_evaluation(part, &expected["parts"][name]);
    }
}

/// Fails unless an evaluation has all metrics, each within its interval.
#[track_caller]
fn assert_evaluated(evaluation: &Value, impressions: usize) {
    assert_eq!(evaluation["impressions"], impressions);
    METRICS.iter().for_each(|metric| assert_within_interval(evaluation, metric));
}

/// Returns the term `hard` of each step.
fn hard_losses(place: &Place, run: &str) -> Vec<f64> {
    let text = place.text(&format!("{run}/metrics.jsonl"));
    let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    lines.filter_map(|line| line["terms"]["hard"].as_f64()).collect()
}

#[test]
fn a_run_writes_metrics_and_models() {
    let place = Place::readers();
    place.train(&["train.epochs=2"]).done();
    assert_run(&place, "runs/tiny", &["student", "teacher"]);
    let summary = place.summary("runs/tiny");
    assert_eq!([&summary["task"], &summary["method"]], ["recommend", "newsbert"]);
    assert_eq!((&summary["seed"], &summary["train"]["samples"]), (&0.into(), &(2 * CLICKS).into()));
    assert_eq!(summary["train"]["steps"], 2 * CLICKS.div_ceil(8));
    for role in ["student", "teacher"] {
        let evaluation = &summary[role];
        assert_evaluated(evaluation, DEV_READERS);
        let part = |name: &str| &evaluation["parts"][name];
        let readers = |name: &str| part(name)["impressions"].as_u64().unwrap() as usize;
        // Every eighth reader has no history, and every sixth of the others has one of six articles.
        for (name, expected) in [("history 0", 3), ("history 1-5", 18), ("history 6-20", 3), ("with a history", 21)] {
            assert_evaluated(part(name), expected);
        }
        let (seen, new) = (readers("all clicked news seen in training"), readers("some clicked news new"));
        assert!(seen > 0 && new > 0 && seen + new == DEV_READERS, "{seen} and {new}");
        assert!(part("history 21+").is_null());

        assert_model(&place, &format!("runs/tiny/{role}"));
        let description = place.json(&format!("runs/tiny/{role}/newsbert.json"));
        assert_eq!((&description["task"], &description["history"]), (&"recommend".into(), &50.into()));
        assert!(description.get("self_attention").is_none() && description.get("labels").is_none(), "{description}");
    }
}

#[test]
fn plan_counts_readers_and_does_not_train() {
    let place = Place::readers();
    let plan = place.nb(&["plan", "--config", "tiny.yaml", "--set", "train.epochs=3"]).done().out;
    let line =
        |key: &str| plan.lines().find_map(|line| line.strip_prefix(key)).unwrap_or_else(|| panic!("{key}: {plan}"));
    let readers =
        format!("{CLICKS} clicks of {READERS} impressions for training, {DEV_READERS} impressions for development");
    assert!(
        line("readers").ends_with(&readers) && line("news").contains("36 for training, 48 for development"),
        "{plan}"
    );
    assert!(line("distinct").contains("of a batch only once saves"), "{plan}");
    assert_eq!(line("steps").trim(), (3 * CLICKS.div_ceil(8)).to_string());
    assert!(!place.exists("runs"));
}

/// Each usable click is one sample per epoch.
#[test]
fn every_usable_click_is_a_sample_for_any_batch_size() {
    let place = Place::readers();
    // No click; only clicks; a click on an unknown article; two clicks, one of which is listed twice.
    place.append(
        "mind/train/behaviors.tsv",
        "61\tU\tt\tN1\tN2-0 N3-0\n62\tU\tt\tN1\tN2-1 N3-1\n63\tU\tt\tN1\tN999-1 N3-0\n\
         64\tU\tt\tN4 N4 N5\tN4-1 N3-0 N4-1 N5-1\n",
    );
    let clicks = CLICKS + 2;
    let cases: [(&[&str], usize); 5] = [
        (&["train.batch=7"], clicks.div_ceil(7)),
        (&["train.batch=7", "train.accumulate=3"], clicks.div_ceil(7).div_ceil(3)),
        // A batch contains at least one reader.
        (&["train.tokens=1"], clicks),
        (&["train.tokens=1000000"], 1),
        (&["train.tokens=300", "data.clicked_before=leave_out"], 0),
    ];
    for (sets, steps) in cases {
        let ended =
            place.train(&[&["train.epochs=2", "method.name=teacher", "data.negatives=3"], sets].concat()).done();
        assert!(
            ended.err.contains("2 impressions are skipped in training: none of their articles was clicked"),
            "{ended:?}"
        );
        assert!(ended.err.contains("1 impressions are skipped in training: none of their articles was not clicked"));
        assert!(ended.err.contains("unknown candidates: 1"), "{}", ended.err);
        let run = ended.out.lines().find_map(|line| line.strip_prefix("run      ")).unwrap();
        let train = &place.summary(run)["train"];
        assert_eq!(train["samples"], 2 * clicks, "{sets:?}");
        if steps > 0 {
            assert_eq!(train["steps"], 2 * steps, "{sets:?}");
        } else {
            let steps = train["steps"].as_u64().unwrap() as usize;
            assert!((6..clicks).contains(&steps), "{sets:?}: {steps}");
        }
    }
}

/// Readers click articles on the topic of their history. Chance level is an AUC of 0.5.
#[test]
fn a_student_learns_what_readers_click() {
    let place = Place::readers();
    let finetune = |sets: &[&str]| place.train(&[&[FINETUNE], sets].concat()).done();
    finetune(&["train.lr=0", "output=runs/untrained"]);
    finetune(&["train.epochs=10", "output=runs/trained"]);
    let auc = |run: &str| {
        let evaluation = &place.summary(&format!("runs/{run}"))["student"];
        evaluation["parts"]["with a history"]["auc"].as_f64().unwrap()
    };
    assert!(auc("trained") > 0.95 && auc("trained") > auc("untrained"), "{} from {}", auc("trained"), auc("untrained"));
    let losses = hard_losses(&place, "runs/trained");
    let mean = |part: &[f64]| part.iter().sum::<f64>() / part.len() as f64;
    let (epoch, chance) = (CLICKS.div_ceil(8), 5.0_f64.ln()); // one click among five candidates
    let (first, last) = (mean(&losses[..epoch]), mean(&losses[losses.len() - epoch..]));
    assert!(first < 1.5 * chance && last < 0.5 * first && last < 0.25 * chance, "{first} to {last}");
}

#[test]
fn eval_reproduces_the_metrics_of_every_method_and_sharing() {
    let place = Place::readers();
    let variants: [(&str, &[&str]); 6] = [
        ("finetune", &[FINETUNE]),
        ("teacher", &["method.name=teacher", "data.fields=[title]", "data.history=2"]),
        ("default", &[]),
        ("both", &["method.share=[pooling, reader]"]),
        ("pooling", &["method.share=[pooling]", "method.beta=0.5"]),
        ("attention", &["reader.self_attention=2"]),
    ];
    for (name, sets) in variants {
        let run = format!("runs/{name}");
        place.train(&[sets, &[&format!("output={run}")]].concat()).done();
        let role = if name == "teacher" { "teacher" } else { "student" };
        let expected = &place.summary(&run)[role];
        let evaluation = eval(&place, &format!("{run}/{role}"), &["--seen-in", "mind/train"]);
        assert_same_evaluation(&evaluation, expected);
        assert_eq!(evaluation["parts"].as_object().unwrap().len(), expected["parts"].as_object().unwrap().len());
    }
    let seen = |parts: &Value| parts.as_object().unwrap().keys().any(|name| name.contains("clicked news"));
    assert!(!seen(&eval(&place, "runs/default/student", &[])["parts"]), "the training impressions are unknown");

    // `reader` is the layer above the pooled vectors, and by default both are shared.
    assert_same_model(&place, "runs/default/student", "runs/both/student");
    let head = |run: &str, role: &str| place.read(&format!("runs/{run}/{role}/head.safetensors"));
    assert!(head("default", "student") == head("default", "teacher"), "pooling and reader are shared");
    assert!(head("pooling", "student") != head("pooling", "teacher"), "each has its own reader");
    let description = place.json("runs/attention/student/newsbert.json");
    assert_eq!(description["self_attention"], 2);
    assert_eq!(place.json("runs/teacher/teacher/newsbert.json")["history"], 2);
}

/// A file of impressions can be given instead of its folder. Without development impressions, some of it is held out.
#[test]
fn held_out_impressions_depend_only_on_the_seed() {
    let place = Place::readers();
    let (train, held_out) = nb_data::read::split(READERS, 0.25, 0);
    let clicks: usize = train.iter().map(|i| 1 + usize::from(i % 10 == 9)).sum();
    let sets = ["data.train=mind/train/behaviors.tsv", "data.dev=null", "data.dev_fraction=0.25"];
    let train = |seed: &str, run: &str| {
        let (seed, output) = (format!("seed={seed}"), format!("output=runs/{run}"));
        place.train(&[&sets[..], &[&seed, &output]].concat()).done();
        let summary = place.summary(&format!("runs/{run}"));
        assert_eq!(summary["train"]["samples"], clicks);
        assert_eq!(summary["student"]["impressions"], held_out.len());
        let evaluations = ["student", "teacher"].map(|role| {
            let evaluation = &summary[role];
            (
                METRICS.map(|metric| evaluation[metric].clone()),
                evaluation["intervals"].clone(),
                evaluation["parts"].clone(),
            )
        });
        serde_json::to_string(&evaluations).unwrap()
    };
    let first = train("0", "first");
    assert_eq!(first, train("0", "again"), "the same seed");
    assert_same_model(&place, "runs/first/student", "runs/again/student");
    assert_ne!(first, train("1", "other"), "a different seed");
}

/// Parses a line of `prediction.txt` into the id and the ranks.
fn prediction(line: &str) -> (&str, Vec<usize>) {
    let (id, ranks) = line.split_once(' ').unwrap();
    let ranks = ranks.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap();
    (id, ranks.split(',').map(|rank| rank.parse().unwrap()).collect())
}

/// Parses a line of impressions into the id and the candidates.
fn columns(line: &str) -> (&str, Vec<&str>) {
    let columns: Vec<&str> = line.split('\t').collect();
    (columns[0], columns[4].split(' ').collect())
}

fn rank(place: &Place, behaviors: &str, output: &str) -> Ended {
    let news = ["rank", "--model", STUDENT, "--news", "mind/dev/news.tsv"];
    place.nb(&[&news[..], &["--behaviors", behaviors, "--output", output]].concat())
}

#[test]
fn the_ranks_of_rank_give_the_metrics_of_eval() {
    let place = Place::readers();
    place.train(&[FINETUNE]).done();
    rank(&place, "mind/dev/behaviors.tsv", "prediction.txt").done();
    let (behaviors, predictions) = (place.text("mind/dev/behaviors.tsv"), place.text("prediction.txt"));
    assert_eq!(predictions.lines().count(), DEV_READERS);
    let mut rows: Vec<(Vec<u8>, Vec<f64>)> = Vec::new();
    for (line, predicted) in behaviors.lines().zip(predictions.lines()) {
        let (id, candidates) = columns(line);
        let (predicted_id, ranks) = prediction(predicted);
        assert_eq!(id, predicted_id);
        let mut sorted = ranks.clone();
        sorted.sort_unstable();
        assert!(sorted.into_iter().eq(1..=candidates.len()), "{predicted}");
        let labels = candidates.iter().map(|candidate| u8::from(candidate.ends_with("-1"))).collect();
        rows.push((labels, ranks.iter().map(|&rank| -(rank as f64)).collect()));
    }
    let impressions: Vec<_> = rows.iter().map(|(labels, scores)| Impression { labels, scores }).collect();
    let (found, expected) = (ranking(&impressions).unwrap(), eval(&place, STUDENT, &[]));
    for (metric, found) in METRICS.iter().zip([found.auc, found.mrr, found.ndcg5, found.ndcg10]) {
        let off = found - expected[metric].as_f64().unwrap();
        assert!(off.abs() < 1e-9, "{metric}: {found} against {expected}");
    }

    // MIND's test set has no clicks.
    place.write("test.tsv", behaviors.replace("-0", "").replace("-1", ""));
    rank(&place, "test.tsv", "test.txt").done();
    assert_eq!(place.text("test.txt"), predictions);
}

#[test]
fn rank_writes_every_line_and_puts_unknown_articles_last() {
    let place = Place::readers();
    place.train(&[FINETUNE]).done();
    let odd = "\u{feff}7\tU\tt\tN1 N4\tN1 N2 N3\r\n7\tU\tt\tN1 N4\tN998 N1 N999 N2 N3\r\nx-3\tU\tt\t\tN5\n\n4\tU\tt\tN998\tN997\n\
               5\tU\tt\tN1 N4\tN2 N1 N1 N3\n";
    place.write("odd.tsv", odd);
    let ended = rank(&place, "odd.tsv", "prediction.txt").done();
    for part in ["unknown articles in histories: 1", "unknown candidates: 3", "impressions with a repeated id: 1"] {
        assert!(ended.err.contains(part), "{part}: {}", ended.err);
    }
    assert!(ended.err.contains("candidates repeated in their impression: 1"), "{}", ended.err);
    let text = place.text("prediction.txt");
    let lines: Vec<_> = text.lines().map(prediction).collect();
    assert_eq!(lines.iter().map(|(id, _)| *id).collect::<Vec<_>>(), ["7", "7", "x-3", "4", "5"]);
    let known = &lines[0].1;
    assert_eq!(lines[1].1, [4, known[0], 5, known[1], known[2]], "unknown articles last, in their order");
    assert_eq!([&lines[2].1[..], &lines[3].1], [[1], [1]]);
    let mut last = lines[4].1.clone();
    assert_eq!(last[2], last[1] + 1, "the same article twice");
    last.sort_unstable();
    assert_eq!(last, [1, 2, 3, 4]);
}

#[test]
fn a_failed_rank_does_not_change_the_output_file() {
    let place = Place::readers();
    place.train(&[FINETUNE]).done();
    place.write("prediction.txt", "good");
    place.write("empty.tsv", "");
    place.write("few.tsv", "1\tU\tt\tN1\n2\tU\tt\t\tN1 N2\n");
    place.write("strange.tsv", "1\tU\tt\tN1\tM1 M2\n");
    let before = place.names("");
    let failures: [(&str, &[&str]); 3] = [
        ("empty.tsv", &["empty.tsv", "no usable row"]),
        ("few.tsv", &["few.tsv", "1 of 2 rows", "1 with too few columns, first on line 1"]),
        ("strange.tsv", &["strange.tsv", "none of the 1 impressions shows any of the 48 known articles"]),
    ];
    for (behaviors, parts) in failures {
        rank(&place, behaviors, "prediction.txt").failed(parts);
    }
    let news = ["rank", "--model", STUDENT, "--behaviors", "mind/dev/behaviors.tsv", "--output", "prediction.txt"];
    place.nb(&[&news[..], &["--news", "nowhere.tsv"]].concat()).failed(&["nowhere.tsv"]);
    rank(&place, "empty.tsv", "mind").failed(&["--output is mind", "a folder"]);
    // This is an error before anything is ranked.
    rank(&place, "empty.tsv", "nowhere/prediction.txt").failed(&["cannot write nowhere/prediction.txt"]);
    assert_eq!(place.text("prediction.txt"), "good");
    assert_eq!(place.names(""), before, "no temporary file remains");
}
