//! Metrics: over the evaluations of a run as curves, at its end as tables, and over parts of the data.

use maud::{Markup, html};
use serde_json::Value;

use crate::html::format::{NONE, count, name, percent, plain, score};
use crate::html::page::{curves, grid, table};
use crate::html::read::{at, interval, metrics, number, rows, series};
use crate::plot::{Curve, Curves, Ink, Look};
use crate::{ReportError, RunRecord};

const MODELS: [(&str, Ink); 2] = [("student", Ink::Student), ("teacher", Ink::Teacher)];

/// Curves and tables; none where nothing was ever evaluated.
pub(super) fn results(record: &RunRecord) -> Result<Option<Markup>, ReportError> {
    let models = MODELS.map(|(model, _)| model);
    let said = record.evaluations.iter().flat_map(|line| models.map(|model| at(line, &[model])));
    let drawn =
        metrics(said).into_iter().map(|metric| curves(&curve(record, metric))).collect::<Result<Vec<_>, _>>()?;
    let tables = [
        scores("Test data, measured once", record, &["test"]),
        scores("Development data, best state", record, &[]),
        best(record),
    ];
    let parts = MODELS.map(|(model, _)| parts(record, model));
    let tables: Vec<Markup> = tables.into_iter().chain(parts).flatten().collect();
    let plots = grid(drawn);
    if plots.is_none() && tables.is_empty() {
        return Ok(None);
    }
    Ok(Some(html! {
        @if let Some(plots) = plots {
            (plots)
            p.about { "One point for each evaluation, with its 95 % interval where one was computed." }
        }
        div.tables { @for table in &tables { (table) } }
    }))
}

/// One metric of both models over the evaluations.
pub(crate) fn curve(record: &RunRecord, metric: &str) -> Curves {
    let curve = |(model, ink): (&str, Ink)| {
        let ends = |line: &Value| Some((number(line, &["step"])?, interval(at(line, &[model]), metric)?));
        Curve {
            name: model.to_owned(),
            ink,
            series: series(&record.evaluations, &[model, metric]),
            look: Look::Dots(record.evaluations.iter().filter_map(ends).collect()),
        }
    };
    let curves = MODELS.map(curve).into_iter().filter(|curve| !curve.series.is_empty()).collect();
    Curves { title: metric.to_owned(), curves, bounds: (f64::MIN, f64::MAX), breaks: vec![] }
}

/// A row for each metric of the final state, on the data that stand at `path` of each model.
fn scores(caption: &str, record: &RunRecord, path: &[&str]) -> Option<Markup> {
    let models: Vec<(&str, &Value)> = MODELS
        .iter()
        .map(|(model, _)| (*model, at(at(&record.summary, &[model]), path)))
        .filter(|(_, value)| !metrics([*value]).is_empty())
        .collect();
    let of = models.first().and_then(|(_, value)| rows(value)).map(|rows| format!(" ({rows})")).unwrap_or_default();
    let mut head = vec!["metric".to_owned()];
    head.extend(models.iter().map(|(model, _)| (*model).to_owned()));
    head.extend((models.len() == 2).then(|| "kept".to_owned()));
    let row = |metric: &&str| {
        let mut cells = vec![html! { (name(metric)) }];
        cells.extend(models.iter().map(|(_, value)| with_interval(value, metric)));
        if let [(_, student), (_, teacher)] = models.as_slice() {
            let share = number(student, &[metric]).zip(number(teacher, &[metric])).filter(|(_, theirs)| *theirs > 0.0);
            cells.push(html! { (share.map_or_else(|| NONE.to_owned(), |(mine, theirs)| percent(mine / theirs))) });
        }
        cells
    };
    let names = metrics(models.iter().map(|(_, value)| *value));
    (!names.is_empty()).then(|| table(&format!("{caption}{of}"), &head, &names.iter().map(row).collect::<Vec<_>>()))
}

/// Size, speed and the state that was kept.
fn best(record: &RunRecord) -> Option<Markup> {
    let keys = ["layers", "parameters", "best_step", "milliseconds_per_text", "texts_per_second"];
    let models: Vec<(&str, &Value)> = MODELS
        .iter()
        .map(|(model, _)| (*model, at(&record.summary, &[model])))
        .filter(|(_, v)| v.is_object())
        .collect();
    let known = keys.into_iter().filter(|key| models.iter().any(|(_, value)| value[*key].is_number()));
    let rows: Vec<Vec<Markup>> = known
        .map(|key| {
            let cells = models.iter().map(|(_, value)| html! { (plain(&value[key])) });
            [html! { (name(key)) }].into_iter().chain(cells).collect()
        })
        .collect();
    let head: Vec<String> =
        ["model"].into_iter().chain(models.iter().map(|(model, _)| *model)).map(str::to_owned).collect();
    (!rows.is_empty()).then(|| table("Size and speed", &head, &rows))
}

/// The metrics over parts of the data.
fn parts(record: &RunRecord, model: &str) -> Option<Markup> {
    let value = at(&record.summary, &[model]);
    // Those of the test data stand before those of the development data, as everywhere.
    let parts = at(value, &["test", "parts"]).as_object().or_else(|| at(value, &["parts"]).as_object())?;
    let names = metrics(parts.values());
    let head: Vec<String> =
        ["part", "rows"].map(str::to_owned).into_iter().chain(names.iter().map(|m| name(m))).collect();
    let row = |(part, value): (&String, &Value)| {
        let n = rows(value).unwrap_or_else(|| NONE.to_owned());
        let mut cells = vec![html! { (part) }, html! { (n) }];
        cells.extend(names.iter().map(|metric| with_interval(value, metric)));
        cells
    };
    let rows: Vec<Vec<Markup>> = parts.iter().map(row).collect();
    (!names.is_empty()).then(|| table(&format!("Parts of the data, {model}"), &head, &rows))
}

fn with_interval(evaluation: &Value, metric: &str) -> Markup {
    let value = number(evaluation, &[metric]).map_or_else(|| NONE.to_owned(), shown);
    html! {
        (value)
        @if let Some((low, high)) = interval(evaluation, metric) {
            " " small { "[" (shown(low)) ", " (shown(high)) "]" }
        }
    }
}

fn shown(value: f64) -> String {
    if value.abs() <= 1.0 { score(value) } else { count(value) }
}
