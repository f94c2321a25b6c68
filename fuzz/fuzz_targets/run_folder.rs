//! The files of a report: `summary.json`, `metrics.jsonl`, `config.yaml`, `compare.json` and `outcomes.safetensors`, in
//! this order, the last one only if it is not empty. Pages and tables are made from everything that can be read.
#![no_main]

use std::collections::BTreeMap;

use libfuzzer_sys::fuzz_target;
use nb_fuzz::{folder, parts};
use nb_report::{Comparison, Entry, Header, RunRecord, compare, comparison_report, run_report};

fuzz_target!(|data: &[u8]| {
    let [summary, metrics, config, comparison, outcomes] = parts(data);
    let files = [
        ("summary.json", summary),
        ("metrics.jsonl", metrics),
        ("config.yaml", config),
        ("compare.json", comparison),
        ("outcomes.safetensors", outcomes),
    ];
    let folder = folder(if outcomes.is_empty() { &files[..4] } else { &files });
    let Ok(record) = RunRecord::read(folder.path()) else { return };
    let _ = run_report(&record);

    let header = Header { name: "fuzz".to_owned(), baseline: "one".to_owned() };
    let entry = |label: &str| Entry { label: label.to_owned(), settings: BTreeMap::new(), runs: vec![&record] };
    let compared = compare(header, &[entry("one"), entry("two")], Some(&record), vec![]).ok();
    for comparison in Comparison::read(&folder.path().join("compare.json")).ok().into_iter().chain(compared) {
        let _ = (comparison.text(), comparison.csv(), comparison.json());
        let _ = comparison_report(&comparison, std::slice::from_ref(&record));
    }
});
