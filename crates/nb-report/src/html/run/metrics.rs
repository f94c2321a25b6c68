//! Metrics: curves over the evaluations of a run, and tables of the final scores, on all data and on parts of the data.

use maud::{Markup, html};

use crate::format::{NONE, count, integer, name, number, percent, score};
use crate::html::page::{curves, grid, table};
use crate::html::series::{metrics, rows, series};
use crate::plot::{Bar, Bounds, Curve, Curves, Ink, Look};
use crate::record::{Cost, EvalLine, Evaluation, ModelSummary, RunCost, Scores, Untouched};
use crate::{ReportError, RunRecord};

/// Returns curves and tables; `None` if nothing was evaluated.
pub(super) fn results(record: &RunRecord) -> Result<Option<Markup>, ReportError> {
    let evaluations = record.evaluations.iter().flat_map(|line| line.student.iter().chain(&line.teacher));
    let metrics = metrics(evaluations.map(|evaluation| &evaluation.scores));
    let drawn = metrics.into_iter().map(|metric| curves(&curve(record, metric))).collect::<Result<Vec<_>, _>>()?;
    let (models, untouched) = (models(record), untouched(record));
    let tables = [
        scores("Test data, measured once", &untouched, &models, |model| model.test.as_ref().map(|test| &test.scores)),
        scores("Development data, best state", &untouched, &models, |model| Some(&model.dev.scores)),
        best(&models),
        record.summary.cost.and_then(cost),
    ];
    let parts = models.iter().map(parts);
    let tables: Vec<Markup> = tables.into_iter().chain(parts).flatten().collect();
    let plots = grid(drawn);
    if plots.is_none() && tables.is_empty() {
        return Ok(None);
    }
    Ok(Some(html! {
        @if let Some(plots) = plots {
            (plots)
            p.about { "One point per evaluation, with its 95 % interval if one was computed." }
        }
        div.tables { @for table in &tables { (table) } }
    }))
}

/// A model of the run with its name.
struct Model<'a> {
    name: &'static str,
    summary: &'a ModelSummary,
}

/// Returns the models of a run, the student first.
fn models(record: &RunRecord) -> Vec<Model<'_>> {
    let student = record.summary.student.iter().map(|summary| Model { name: "student", summary });
    student.chain(record.summary.teacher.iter().map(|summary| Model { name: "teacher", summary })).collect()
}

/// Returns the models of a run before any training, the teacher first.
fn untouched(record: &RunRecord) -> Vec<Model<'_>> {
    let Some(Untouched { teacher, student }) = &record.summary.untouched else { return vec![] };
    let teacher = teacher.iter().map(|summary| Model { name: "untouched teacher", summary });
    teacher.chain(student.iter().map(|summary| Model { name: "untouched student", summary })).collect()
}

/// Returns the curves of one metric over the evaluations, for both models.
pub(crate) fn curve(record: &RunRecord, metric: &str) -> Curves {
    let student = of_model(record, metric, |line| line.student.as_ref());
    let teacher = of_model(record, metric, |line| line.teacher.as_ref());
    let curves = [
        Curve { name: "student".to_owned(), ink: Ink::Student, ..student },
        Curve { name: "teacher".to_owned(), ink: Ink::Teacher, ..teacher },
    ];
    let curves = curves.into_iter().filter(|curve| !curve.series.is_empty()).collect();
    Curves { title: metric.to_owned(), curves, bounds: Bounds::NONE, breaks: vec![] }
}

fn of_model(record: &RunRecord, metric: &str, model: impl Fn(&EvalLine) -> Option<&Evaluation>) -> Curve {
    let bar = |line: &EvalLine| {
        let interval = model(line)?.scores.interval(metric)?;
        Some(Bar { step: line.step? as f64, low: interval.low, high: interval.high })
    };
    Curve {
        name: metric.to_owned(),
        ink: Ink::Text,
        series: series(&record.evaluations, |line| model(line)?.scores.metric(metric)),
        look: Look::Dots(record.evaluations.iter().filter_map(bar).collect()),
    }
}

/// Returns a table with a row for each metric, before training and of the final state, on the split that `of` selects.
fn scores(
    caption: &str,
    untouched: &[Model<'_>],
    models: &[Model<'_>],
    of: impl Fn(&ModelSummary) -> Option<&Scores>,
) -> Option<Markup> {
    let measured = |model: &&Model<'_>| of(model.summary).is_some_and(|scores| !scores.metrics.is_empty());
    let before: Vec<&Model<'_>> = untouched.iter().filter(measured).collect();
    let after: Vec<&Model<'_>> = models.iter().filter(measured).collect();
    let all: Vec<&Scores> = before.iter().chain(&after).filter_map(|model| of(model.summary)).collect();
    let rows = all.first().and_then(|scores| rows(scores)).map(|rows| format!(" ({rows})")).unwrap_or_default();
    let mut head = vec!["metric".to_owned()];
    head.extend(before.iter().chain(&after).map(|model| model.name.to_owned()));
    head.extend((after.len() == 2).then(|| "kept".to_owned()));
    let row = |metric: &&str| {
        let mut cells = vec![html! { (name(metric)) }];
        cells.extend(all.iter().map(|scores| with_interval(scores, metric)));
        if let [student, teacher] = all[before.len()..] {
            let share = student.metric(metric).zip(teacher.metric(metric)).filter(|(_, theirs)| *theirs > 0.0);
            cells.push(html! { (share.map_or_else(|| NONE.to_owned(), |(mine, theirs)| percent(mine / theirs))) });
        }
        cells
    };
    let names = metrics(all.iter().copied());
    (!names.is_empty()).then(|| table(&format!("{caption}{rows}"), &head, &names.iter().map(row).collect::<Vec<_>>()))
}

/// Returns a table of size, speed and the step of the best state.
fn best(models: &[Model<'_>]) -> Option<Markup> {
    let mut rows = Vec::new();
    let mut row = |key: &str, text: &dyn Fn(&ModelSummary) -> Option<String>| {
        let cells: Vec<Option<String>> = models.iter().map(|model| text(model.summary)).collect();
        if cells.iter().any(Option::is_some) {
            let cells = cells.iter().map(|cell| html! { (cell.as_deref().unwrap_or(NONE)) });
            rows.push([html! { (name(key)) }].into_iter().chain(cells).collect::<Vec<_>>());
        }
    };
    row("layers", &|model| model.layers.map(integer));
    row("parameters", &|model| model.parameters.map(integer));
    row("best_step", &|model| model.best_step.map(integer));
    row("milliseconds_per_text", &|model| model.milliseconds_per_text.map(number));
    row("texts_per_second", &|model| model.texts_per_second.map(number));
    let head: Vec<String> =
        ["model"].into_iter().chain(models.iter().map(|model| model.name)).map(str::to_owned).collect();
    (!rows.is_empty()).then(|| table("Size and speed", &head, &rows))
}

/// Returns a table of the cost of the training; `None` if no time is known.
fn cost(cost: RunCost) -> Option<Markup> {
    let parts = [("this run", cost.run), ("its teacher, before", cost.teacher)];
    let row = |(part, cost): (&str, Option<Cost>)| {
        let Cost { seconds, processor_seconds } = cost?.checked();
        let time = |time: Option<f64>| html! { (time.map_or_else(|| NONE.to_owned(), number)) };
        seconds.or(processor_seconds)?;
        Some(vec![html! { (part) }, time(seconds), time(processor_seconds)])
    };
    let rows: Vec<Vec<Markup>> = parts.into_iter().filter_map(row).collect();
    let head = ["training of", "seconds", "processor seconds"].map(str::to_owned);
    (!rows.is_empty()).then(|| table("Cost of the training", &head, &rows))
}

/// Returns a table of the metrics over parts of the test data or, if none were measured, of the development data.
fn parts(model: &Model<'_>) -> Option<Markup> {
    let test = model.summary.test.as_ref().map(|test| &test.parts).filter(|parts| !parts.is_empty());
    let parts = test.unwrap_or(&model.summary.dev.parts);
    let names = metrics(parts.iter().map(|(_, scores)| scores));
    let head: Vec<String> =
        ["part", "rows"].map(str::to_owned).into_iter().chain(names.iter().map(|m| name(m))).collect();
    let row = |(part, scores): (&str, &Scores)| {
        let n = rows(scores).unwrap_or_else(|| NONE.to_owned());
        let mut cells = vec![html! { (part) }, html! { (n) }];
        cells.extend(names.iter().map(|metric| with_interval(scores, metric)));
        cells
    };
    let rows: Vec<Vec<Markup>> = parts.iter().map(row).collect();
    (!names.is_empty()).then(|| table(&format!("Parts of the data, {}", model.name), &head, &rows))
}

fn with_interval(scores: &Scores, metric: &str) -> Markup {
    let value = scores.metric(metric).map_or_else(|| NONE.to_owned(), number_or_count);
    html! {
        (value)
        @if let Some(interval) = scores.interval(metric) {
            " " small { "[" (number_or_count(interval.low)) ", " (number_or_count(interval.high)) "]" }
        }
    }
}

fn number_or_count(value: f64) -> String {
    if value.abs() <= 1.0 { score(value) } else { count(value) }
}
