//! The page of a comparison: scores of the methods, their cost in time, and tests of their differences.

mod figures;
mod picture;
mod plots;
mod rows;
mod runs;
mod sweep;
mod table;

pub use picture::comparison_picture;

use maud::{Markup, html};

use self::plots::Across;
use super::page::{Tile, notes, page, section, tiles};
use crate::format::{count, headline, name, number, percent, plural, singular};
use crate::plot::Ink;
use crate::{Comparison, ReportError, Row, RunRecord};

/// Returns the report of a comparison as a self-contained HTML document. The learning curves come from `runs`, the
/// available records of its runs.
///
/// # Errors
/// If a plot cannot be drawn.
///
/// ```
/// let comparison: nb_report::Comparison = serde_json::from_str(r#"{
///     "name": "depths", "task": "topic", "metric": "accuracy", "baseline": "finetune", "teacher": null,
///     "rows": [{"label": "finetune", "method": "finetune", "layers": 1, "seeds": [0], "scores": [0.875], "mean": 0.875,
///               "spread": null, "kept": null, "metrics": {}, "parameters": 4000000, "megabytes": 16.0,
///               "milliseconds_per_text": 3.5, "texts_per_second": null, "against": null, "settings": {}, "runs": []}],
///     "sweeps": [], "rows_compared": 1000, "notes": []}"#)?;
/// let page = nb_report::comparison_report(&comparison, &[])?;
/// assert!(page.contains("<h1>depths</h1>") && page.contains("0.8750"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn comparison_report(comparison: &Comparison, runs: &[RunRecord]) -> Result<String, ReportError> {
    let time = figures::scatter(comparison, Across::Time)?;
    let cost = figures::scatter(comparison, Across::Cost)?.map(|figure| html! { div.hero { (figure) } });
    let body = html! {
        (headline_tiles(comparison))
        div.hero { @if let Some(time) = time { (time) } (figures::forest(comparison)?) }
        (section("All rows", &about(comparison), Some(table::rows(comparison))))
        (section("Cost of training", COST, cost))
        (notes("Notes", "note", &comparison.notes))
        (section("How settings were chosen", sweep::ABOUT, sweep::tries(comparison)?))
        (section("Learning curves", "", runs::curves(comparison, runs)?))
    };
    Ok(page(&comparison.name, "comparison", &lead(comparison, runs), &body))
}

const COST: &str = "Processor time of the training, the teacher's included; mean over the seeds.";

/// Returns the line below the title: task, methods, depths, seeds, runs and rows.
fn lead(comparison: &Comparison, records: &[RunRecord]) -> Markup {
    let mut labels: Vec<&str> = comparison.rows.iter().map(|row| row.label.as_str()).collect();
    labels.sort_unstable();
    labels.dedup();
    let mut depths: Vec<u64> = comparison.rows.iter().map(|row| row.layers).collect();
    depths.sort_unstable();
    depths.dedup();
    let seeds = comparison.rows.iter().map(|row| row.seeds.len()).max().unwrap_or(0);
    let runs: usize = comparison.rows.iter().map(|row| row.seeds.len()).sum();
    let depths = depths.iter().map(u64::to_string).collect::<Vec<_>>().join(", ");
    let evaluations = records.iter().filter_map(|record| record.summary.student.as_ref());
    let unit =
        evaluations.filter_map(|model| model.last().scores.rows.as_ref()).map(|rows| singular(&rows.unit)).next();
    html! {
        p.lead {
            "task " (comparison.task) " · " (plural(labels.len() as u64, "method")) " · layers " (depths) " · "
            (plural(seeds as u64, "seed")) " · " (plural(runs as u64, "run")) " · measured on "
            (plural(comparison.rows_compared, unit.as_deref().unwrap_or("row")))
        }
    }
}

fn about(comparison: &Comparison) -> String {
    let tests = if comparison.rows.iter().any(|row| row.against.is_some()) {
        format!(
            " Differences are from {} at the same depth, with 95 % intervals; p is adjusted for all tests (Holm).",
            comparison.baseline
        )
    } else {
        String::new()
    };
    format!("{} is the mean over seeds ± their standard deviation.{tests}", capitalised(&name(&comparison.metric)))
}

/// Returns tiles for the teacher and for the best row at each depth, with score, share of the teacher's score and
/// speed.
fn headline_tiles(comparison: &Comparison) -> Markup {
    let metric = name(&comparison.metric);
    let teacher = comparison.teacher.as_ref().map(|teacher| {
        let time = teacher.milliseconds_per_text.map(|ms| format!(", {} ms per text", number(ms)));
        Tile {
            what: format!("Teacher, {}", plural(teacher.layers, "layer")),
            value: headline(teacher.score),
            remark: format!("{metric}, {} parameters{}", count(teacher.parameters as f64), time.unwrap_or_default()),
            ink: Some(Ink::Teacher),
        }
    });
    let mut depths: Vec<u64> = comparison.rows.iter().map(|row| row.layers).collect();
    depths.sort_unstable();
    depths.dedup();
    let best = depths.into_iter().rev().filter_map(|layers| best(&comparison.rows, layers)).map(|row| {
        let kept = row.kept.map(|kept| format!("keeps {}", percent(kept)));
        let theirs = comparison.teacher.as_ref().and_then(|teacher| teacher.milliseconds_per_text);
        let times = row.milliseconds_per_text.zip(theirs).filter(|(mine, _)| *mine > 0.0);
        let faster = times.map(|(mine, theirs)| format!("{}\u{a0}×\u{a0}as fast", number(theirs / mine)));
        let spread = row.spread.map(|spread| format!("± {}", headline(spread)));
        Tile {
            what: format!("Best of {}: {}", plural(row.layers, "layer"), row.label),
            value: headline(row.mean),
            remark: [spread, kept, faster].into_iter().flatten().collect::<Vec<_>>().join(", "),
            ink: Some(Ink::Student),
        }
    });
    tiles(&teacher.into_iter().chain(best).collect::<Vec<_>>())
}

/// Returns the row with the highest mean at a depth; the first if several are equal.
fn best(rows: &[Row], layers: u64) -> Option<&Row> {
    let better = |best: Option<&Row>, row: &Row| best.is_none_or(|best| row.mean > best.mean);
    let finite = rows.iter().filter(|row| row.layers == layers && row.mean.is_finite());
    finite.fold(None, |best, row| if better(best, row) { Some(row) } else { best })
}

fn capitalised(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map(|first| first.to_uppercase().chain(chars).collect()).unwrap_or_default()
}
