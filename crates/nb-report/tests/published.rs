//! The published comparison: `docs/compare-clicks.json` contains its numbers. The picture is drawn from them, and the
//! table in `docs/results.md` must agree with them.
#![allow(clippy::unwrap_used)] // allowed in test helpers, as in tests

use std::fs;
use std::path::{Path, PathBuf};

use nb_report::{Comparison, Row, comparison_picture};

fn docs(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs").join(name)
}

fn published() -> Comparison {
    Comparison::read(&docs("compare-clicks.json")).unwrap()
}

/// Formats a signed number as in the table.
fn signed(value: f64) -> String {
    format!("{value:+.3}")
}

/// Formats the cells of a row that both the table and the picture show.
fn cells(row: &Row) -> String {
    let spread = row.spread.map(|spread| format!(" ± {spread:.3}")).unwrap_or_default();
    let kept = row.kept.map(|kept| format!("{:.1} %", 100.0 * kept)).unwrap_or_default();
    let against = row.against.as_ref().map_or_else(
        || "– | –".to_owned(),
        |test| format!("{} [{:.3}, {:.3}] | < 0.001", signed(test.difference), test.low, test.high),
    );
    format!("| {:.3}{spread} | {kept} | {against} | {:.3} |", row.mean, row.metrics["mrr"].mean)
}

#[test]
fn the_table_has_the_numbers_of_the_picture() {
    let results = fs::read_to_string(docs("results.md")).unwrap();
    for row in published().rows {
        let (label, cells) = (&row.label, cells(&row));
        // The table shortens the labels of variants.
        let name = label.rsplit("newsbert ").next().unwrap_or(label);
        let found = results.lines().any(|line| line.contains(name) && line.contains(&cells));
        assert!(found, "docs/results.md has no line for {label} with {cells}");
        assert!(row.against.is_none_or(|test| test.p_holm < 0.001));
    }
}

#[test]
fn a_comparison_of_an_earlier_version_is_written_as_it_was_read() {
    let parsed = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
    assert_eq!(parsed(&published().json()), parsed(&fs::read_to_string(docs("compare-clicks.json")).unwrap()));
}

#[test]
fn the_picture_is_drawn_from_the_numbers() {
    let picture = comparison_picture(&published()).unwrap();
    let expected = fs::read_to_string(docs("compare.svg")).unwrap();
    assert!(
        picture == expected,
        "docs/compare.svg is not the picture of docs/compare-clicks.json; draw it with `cargo run -p nb-report --example \
         picture -- docs/compare-clicks.json docs/compare.svg`"
    );
}

#[test]
fn the_picture_is_self_contained_in_light_and_dark_mode() {
    let picture = comparison_picture(&published()).unwrap();
    assert!(picture.starts_with("<svg xmlns=\"http://www.w3.org/2000/svg\" ") && picture.ends_with("</svg>\n"));
    assert!(picture.contains("@media (prefers-color-scheme:dark)"));
    for variable in picture.split("var(--").skip(1).filter_map(|rest| rest.split(')').next()) {
        assert!(picture.contains(&format!("--{variable}:")), "{variable} has no colour");
    }
    assert!(picture.contains("kd: +0.0270, interval +0.0210 to +0.0340"));
    assert!(!picture.contains("<script") && !picture.contains("href"));
}
