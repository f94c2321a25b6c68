//! The numbers that are looked for first.

use maud::Markup;
use serde_json::Value;

use crate::RunRecord;
use crate::html::format::{count, headline, name, number as written, percent};
use crate::html::page::Tile;
use crate::html::read::{at, interval, metrics, number, rows, text};
use crate::plot::Ink;

/// The metric by which models are chosen: the one the summary names, else the first it has.
pub(super) fn primary(record: &RunRecord) -> Option<&str> {
    let said = text(&record.summary, &["primary"]);
    said.or_else(|| record.outcomes.as_ref()?.metadata.get("primary").map(String::as_str)).or_else(|| {
        let models = ["student", "teacher"].map(|model| at(&record.summary, &[model]));
        metrics(models).first().copied()
    })
}

/// The evaluation that counts: that on untouched data where there is one, else the development data's.
pub(super) fn final_evaluation<'a>(model: &'a Value, metric: &str) -> (&'a Value, &'static str) {
    match number(model, &["test", metric]) {
        Some(_) => (at(model, &["test"]), "test"),
        None => (model, "development"),
    }
}

/// Metrics, what was kept of the teacher's, size and speed, each only where it is known.
pub(super) fn tiles(record: &RunRecord) -> Markup {
    let summary = &record.summary;
    let primary = primary(record).unwrap_or("accuracy");
    let (student, teacher) = (at(summary, &["student"]), at(summary, &["teacher"]));
    let tiles = [
        metric(student, "Student", primary, Ink::Student),
        metric(teacher, "Teacher", primary, Ink::Teacher),
        kept(student, teacher, primary),
        size(student, teacher),
        time(student, teacher),
        speed(student, teacher),
    ];
    crate::html::page::tiles(&tiles.into_iter().flatten().collect::<Vec<_>>())
}

fn metric(model: &Value, who: &str, primary: &str, ink: Ink) -> Option<Tile> {
    let (evaluation, split) = final_evaluation(model, primary);
    let value = number(evaluation, &[primary])?;
    let interval = interval(evaluation, primary)
        .map(|(low, high)| format!("95 % interval {} to {}, ", headline(low), headline(high)))
        .unwrap_or_default();
    let rows = rows(evaluation).map(|rows| format!(", {rows}")).unwrap_or_default();
    Some(Tile {
        what: format!("{who} {}", name(primary)),
        value: headline(value),
        remark: format!("{interval}{split} data{rows}"),
        ink: Some(ink),
    })
}

fn kept(student: &Value, teacher: &Value, primary: &str) -> Option<Tile> {
    let (evaluation, split) = final_evaluation(student, primary);
    // Both of the same data, or the share means nothing.
    let other = if split == "test" { at(teacher, &["test"]) } else { teacher };
    let (mine, theirs) = (number(evaluation, &[primary])?, number(other, &[primary])?);
    (theirs > 0.0).then(|| Tile {
        what: "Kept".to_owned(),
        value: percent(mine / theirs),
        remark: format!("of the teacher's {}", name(primary)),
        ink: None,
    })
}

fn size(student: &Value, teacher: &Value) -> Option<Tile> {
    let mine = number(student, &["parameters"])?;
    let theirs = number(teacher, &["parameters"]).filter(|_| mine > 0.0);
    let remark = theirs.map(|theirs| format!("teacher {}, {} × as many", count(theirs), written(theirs / mine)));
    Some(Tile {
        what: "Parameters".to_owned(),
        value: count(mine),
        remark: remark.unwrap_or_else(|| format!("{} MB in f32", count(mine * 4.0 / 1e6))),
        ink: None,
    })
}

fn time(student: &Value, teacher: &Value) -> Option<Tile> {
    let path = ["milliseconds_per_text"];
    let mine = number(student, &path)?;
    let theirs = number(teacher, &path).filter(|_| mine > 0.0);
    let remark = theirs
        .map(|theirs| format!("one text alone; teacher {} ms, {} × as long", written(theirs), written(theirs / mine)));
    let remark = remark.unwrap_or_else(|| "one text alone".to_owned());
    Some(Tile { what: "Time per text".to_owned(), value: format!("{} ms", written(mine)), remark, ink: None })
}

fn speed(student: &Value, teacher: &Value) -> Option<Tile> {
    let path = ["texts_per_second"];
    let mine = number(student, &path)?;
    let theirs = number(teacher, &path).filter(|theirs| *theirs > 0.0);
    let remark =
        theirs.map(|theirs| format!("in batches; teacher {}, {} × as fast", count(theirs), written(mine / theirs)));
    let remark = remark.unwrap_or_else(|| "in batches".to_owned());
    Some(Tile { what: "Texts per second".to_owned(), value: count(mine), remark, ink: None })
}
