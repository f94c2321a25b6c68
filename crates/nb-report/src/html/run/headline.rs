//! The main numbers of a run, for the top of the page.

use maud::Markup;

use crate::RunRecord;
use crate::format::{count, headline, name, number as written, percent};
use crate::html::page::Tile;
use crate::html::series::{metrics, rows};
use crate::plot::Ink;
use crate::record::{ModelSummary, Scores};

/// Returns the metric by which models are chosen: the primary metric of the summary or of the outcomes, otherwise the
/// first metric that was measured.
pub(super) fn primary(record: &RunRecord) -> Option<&str> {
    let summary = &record.summary;
    let named = summary.primary.as_deref();
    named.or_else(|| record.outcomes.as_ref()?.primary.as_deref()).or_else(|| {
        let models = summary.student.iter().chain(&summary.teacher);
        metrics(models.map(|model| &model.dev.scores)).first().copied()
    })
}

/// A split whose scores are reported.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Split {
    Test,
    Development,
}

impl Split {
    fn name(self) -> &'static str {
        match self {
            Self::Test => "test",
            Self::Development => "development",
        }
    }

    /// Returns the split to report: the test data if `metric` was measured on them, otherwise the development data.
    fn last(model: &ModelSummary, metric: &str) -> Self {
        let test = model.test.as_ref().and_then(|test| test.scores.metric(metric));
        if test.is_some() { Self::Test } else { Self::Development }
    }

    fn scores(self, model: &ModelSummary) -> Option<&Scores> {
        match self {
            Self::Test => model.test.as_ref().map(|test| &test.scores),
            Self::Development => Some(&model.dev.scores),
        }
    }
}

/// Returns a tile for each known value: metrics, share of the teacher's score, size and speed.
pub(super) fn tiles(record: &RunRecord) -> Markup {
    let primary = primary(record).unwrap_or("accuracy");
    let (student, teacher) = (record.summary.student.as_ref(), record.summary.teacher.as_ref());
    let tiles = [
        student.and_then(|model| metric(model, "Student", primary, Ink::Student)),
        teacher.and_then(|model| metric(model, "Teacher", primary, Ink::Teacher)),
        student.and_then(|student| kept(student, teacher?, primary)),
        student.and_then(|student| size(student, teacher)),
        student.and_then(|student| time(student, teacher)),
        student.and_then(|student| speed(student, teacher)),
    ];
    crate::html::page::tiles(&tiles.into_iter().flatten().collect::<Vec<_>>())
}

fn metric(model: &ModelSummary, who: &str, primary: &str, ink: Ink) -> Option<Tile> {
    let split = Split::last(model, primary);
    let scores = split.scores(model)?;
    let value = scores.metric(primary)?;
    let interval = scores
        .interval(primary)
        .map(|interval| format!("95 % interval {} to {}, ", headline(interval.low), headline(interval.high)))
        .unwrap_or_default();
    let rows = rows(scores).map(|rows| format!(", {rows}")).unwrap_or_default();
    Some(Tile {
        what: format!("{who} {}", name(primary)),
        value: headline(value),
        remark: format!("{interval}{} data{rows}", split.name()),
        ink: Some(ink),
    })
}

fn kept(student: &ModelSummary, teacher: &ModelSummary, primary: &str) -> Option<Tile> {
    // Both scores must be from the same data; otherwise the share is meaningless.
    let split = Split::last(student, primary);
    let (mine, theirs) = (split.scores(student)?.metric(primary)?, split.scores(teacher)?.metric(primary)?);
    (theirs > 0.0).then(|| Tile {
        what: "Kept".to_owned(),
        value: percent(mine / theirs),
        remark: format!("of the teacher's {}", name(primary)),
        ink: None,
    })
}

fn size(student: &ModelSummary, teacher: Option<&ModelSummary>) -> Option<Tile> {
    let mine = student.parameters? as f64;
    let theirs = teacher.and_then(|teacher| teacher.parameters).map(|theirs| theirs as f64).filter(|_| mine > 0.0);
    let remark =
        theirs.map(|theirs| format!("teacher {}, {}\u{a0}×\u{a0}as many", count(theirs), written(theirs / mine)));
    Some(Tile {
        what: "Parameters".to_owned(),
        value: count(mine),
        remark: remark.unwrap_or_else(|| format!("{} MB in f32", count(mine * 4.0 / 1e6))),
        ink: None,
    })
}

fn time(student: &ModelSummary, teacher: Option<&ModelSummary>) -> Option<Tile> {
    let mine = student.milliseconds_per_text?;
    let theirs = teacher.and_then(|teacher| teacher.milliseconds_per_text).filter(|_| mine > 0.0);
    let remark = theirs.map(|theirs| {
        format!("one text alone; teacher {} ms, {}\u{a0}×\u{a0}as long", written(theirs), written(theirs / mine))
    });
    let remark = remark.unwrap_or_else(|| "one text alone".to_owned());
    Some(Tile { what: "Time per text".to_owned(), value: format!("{} ms", written(mine)), remark, ink: None })
}

fn speed(student: &ModelSummary, teacher: Option<&ModelSummary>) -> Option<Tile> {
    let mine = student.texts_per_second?;
    let theirs = teacher.and_then(|teacher| teacher.texts_per_second).filter(|theirs| *theirs > 0.0);
    let remark = theirs
        .map(|theirs| format!("in batches; teacher {}, {}\u{a0}×\u{a0}as fast", count(theirs), written(mine / theirs)));
    let remark = remark.unwrap_or_else(|| "in batches".to_owned());
    Some(Tile { what: "Texts per second".to_owned(), value: count(mine), remark, ink: None })
}
