//! The course of training: losses, learning rates, gradients, agreement and speed over steps.

use maud::{Markup, html};

use crate::format::plural;
use crate::html::page::{curves as figure, grid};
use crate::html::series::{distinct, series};
use crate::plot::{Bounds, Curve, Curves, Ink, Look, Series};
use crate::record::StepLine;
use crate::{ReportError, RunRecord};

/// Returns the explanation above the curves.
pub(super) fn about(record: &RunRecord) -> String {
    let long = loss(record).is_thinned();
    let mut about = format!(
        "Over {}: faint lines as logged, strong lines smoothed.",
        plural(record.steps.len() as u64, "logged step")
    );
    if long {
        about
            .push_str(" Long series show the lowest and the highest value of each of 150 equal stretches, so every peak is visible.");
    }
    if !breaks(record).is_empty() {
        about.push_str(" Vertical lines mark the start of a stage.");
    }
    about
}

/// Returns all groups of curves for which the log has numbers; `None` if there are no such groups.
pub(super) fn curves(record: &RunRecord) -> Result<Option<Markup>, ReportError> {
    let groups = [
        Group { title: "Loss and its terms, unweighted", plots: losses(record) },
        Group { title: "Gradients and agreement", plots: [gradients(record), agreement(record)].concat() },
        Group { title: "Schedules and speed", plots: [schedules(record), vec![speed(record)]].concat() },
    ];
    let mut drawn = Vec::new();
    for group in groups {
        let figures = group.plots.iter().map(figure).collect::<Result<Vec<_>, _>>()?;
        drawn.extend(grid(figures).map(|grid| html! { h3 { (group.title) } (grid) }));
    }
    Ok((!drawn.is_empty()).then(|| html! { @for group in &drawn { (group) } }))
}

/// Plots under one heading.
struct Group {
    title: &'static str,
    plots: Vec<Curves>,
}

/// Returns the curve of the loss, which is the weighted sum of the terms.
pub(crate) fn loss(record: &RunRecord) -> Curves {
    plot(record, "loss", vec![noisy("loss", Ink::Text, logged(record, |line| line.loss))], Bounds::NONE)
}

fn losses(record: &RunRecord) -> Vec<Curves> {
    let mut plots = vec![loss(record)];
    for term in distinct(record.steps.iter().flat_map(|line| line.terms.names())) {
        // A term whose weight was always 0 has no curve.
        let weight = logged(record, |line| line.weights.get(term).copied());
        let idle = !weight.is_empty() && weight.values().all(|weight| weight == 0.0);
        let ink = if term == "teacher" { Ink::Teacher } else { Ink::Student };
        let curve = noisy(term, ink, logged(record, |line| line.terms.get(term).copied()));
        if !idle {
            plots.push(plot(record, term, vec![curve], Bounds::NONE));
        }
    }
    plots
}

fn gradients(record: &RunRecord) -> Vec<Curves> {
    let norm = |model: &str, ink| noisy(model, ink, logged(record, |line| line.gradient_norms.get(model).copied()));
    let norm_of_all = noisy("all parameters", Ink::Text, logged(record, |line| line.gradient_norm));
    let encoders = vec![norm("student", Ink::Student), norm("teacher", Ink::Teacher)];
    let layers = record.steps.iter().filter_map(|line| line.momentum_cosine.as_ref()).map(Vec::len).max().unwrap_or(0);
    let cosine = |layer: usize| {
        let cosines = logged(record, |line| *line.momentum_cosine.as_ref()?.get(layer)?);
        noisy(&format!("student layer {}", layer + 1), Ink::Series(layer), cosines)
    };
    let cosines = (0..layers.min(24)).map(cosine).collect();
    vec![
        plot(record, "gradient norm, all parameters", vec![norm_of_all], Bounds::NONE),
        plot(record, "gradient norm, encoders", encoders, Bounds::NONE),
        plot(record, "cosine of the student's and the teacher's gradient", cosines, Bounds { low: -1.0, high: 1.0 }),
    ]
}

fn agreement(record: &RunRecord) -> Vec<Curves> {
    let equal = noisy("equal predictions", Ink::Series(0), logged(record, |line| line.agreement?.equal));
    let kl = noisy("KL divergence", Ink::Series(0), logged(record, |line| line.agreement?.kl));
    vec![
        plot(record, "share of equal predictions", vec![equal], Bounds { low: 0.0, high: 1.0 }),
        plot(record, "KL of teacher to student", vec![kl], Bounds::POSITIVE),
    ]
}

fn schedules(record: &RunRecord) -> Vec<Curves> {
    let rates = vec![
        plain("encoder", Ink::Student, logged(record, |line| line.lr)),
        plain("head", Ink::Series(2), logged(record, |line| line.head_lr)),
        plain("teacher", Ink::Teacher, logged(record, |line| line.teacher_lr)),
    ];
    let mut plots = vec![plot(record, "learning rate", rates, Bounds::NONE)];
    // A constant needs no curve; the configuration contains it.
    let factors =
        [("temperature", logged(record, |line| line.temperature)), ("beta", logged(record, |line| line.beta))];
    for (key, series) in factors.into_iter().filter(|(_, series)| !series.is_constant()) {
        plots.push(plot(record, key, vec![plain(key, Ink::Text, series)], Bounds::NONE));
    }
    let terms = distinct(record.steps.iter().flat_map(|line| line.weights.names())).into_iter().enumerate();
    let weights =
        terms.map(|(n, term)| plain(term, Ink::Series(n), logged(record, |line| line.weights.get(term).copied())));
    let moving = weights.filter(|curve| !curve.series.is_constant()).collect();
    plots.push(plot(record, "weights of the terms", moving, Bounds::NONE));
    plots
}

fn speed(record: &RunRecord) -> Curves {
    let speed = noisy("tokens per second", Ink::Text, logged(record, |line| line.tokens_per_second));
    plot(record, "tokens per second", vec![speed], Bounds::POSITIVE)
}

/// Returns `value` over all logged steps.
fn logged(record: &RunRecord, value: impl Fn(&StepLine) -> Option<f64>) -> Series {
    series(&record.steps, value)
}

fn plot(record: &RunRecord, title: &str, curves: Vec<Curve>, bounds: Bounds) -> Curves {
    let curves = curves.into_iter().filter(|curve| !curve.series.is_empty()).collect();
    Curves { title: title.to_owned(), curves, bounds, breaks: breaks(record) }
}

fn plain(name: &str, ink: Ink, series: Series) -> Curve {
    Curve { name: name.to_owned(), ink, series, look: Look::Plain }
}

fn noisy(name: &str, ink: Ink, series: Series) -> Curve {
    Curve { name: name.to_owned(), ink, series, look: Look::Noisy }
}

/// Returns the first logged step of each stage after the first; at most 20 steps.
fn breaks(record: &RunRecord) -> Vec<f64> {
    let is_new = |pair: &&[StepLine]| pair[0].stage.zip(pair[1].stage).is_some_and(|(before, after)| before != after);
    let new = record.steps.windows(2).filter(is_new);
    new.filter_map(|pair| Some(pair[1].step? as f64)).take(20).collect()
}
