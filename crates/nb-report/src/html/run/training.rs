//! How training went: losses, learning rates, gradients, agreement and speed, over steps.

use maud::{Markup, html};
use serde_json::Value;

use crate::html::format::plural;
use crate::html::page::{curves as figure, grid};
use crate::html::read::{at, keys, number, series, series_by};
use crate::plot::{Curve, Curves, Ink, Look, Series};
use crate::{ReportError, RunRecord};

type Figures = Result<Vec<Option<Markup>>, ReportError>;

const FREE: (f64, f64) = (f64::MIN, f64::MAX);
const SHARE: (f64, f64) = (0.0, 1.0);

/// What the reader of the curves must know.
pub(super) fn about(record: &RunRecord) -> String {
    let long = loss(record).is_thinned();
    let mut about =
        format!("Over {}: faint as logged, strong smoothed.", plural(record.steps.len() as u64, "logged step"));
    if long {
        about
            .push_str(" Long series are thinned to the lowest and highest of 150 equal stretches, so no peak is lost.");
    }
    if !breaks(record).is_empty() {
        about.push_str(" Upright lines: a new stage begins.");
    }
    about
}

/// All groups of curves that the log has something for; none where it has nothing.
pub(super) fn curves(record: &RunRecord) -> Result<Option<Markup>, ReportError> {
    let mut dynamics = gradients(record)?;
    dynamics.extend(agreement(record)?);
    let mut schedules = schedules(record)?;
    schedules.extend(draw(record, [("tokens per second", speed(record), (0.0, f64::MAX))])?);
    let groups = [
        ("Loss and its terms, unweighted", losses(record)?),
        ("Gradients and agreement", dynamics),
        ("Schedules and speed", schedules),
    ];
    let groups = groups.map(|(title, figures)| grid(figures).map(|grid| html! { h3 { (title) } (grid) }));
    let groups: Vec<Markup> = groups.into_iter().flatten().collect();
    Ok((!groups.is_empty()).then(|| html! { @for group in &groups { (group) } }))
}

/// The whole loss.
pub(crate) fn loss(record: &RunRecord) -> Curves {
    plot(record, "loss", vec![noisy("loss", Ink::Text, series(&record.steps, &["loss"]))], FREE)
}

fn losses(record: &RunRecord) -> Figures {
    let mut figures = vec![figure(&loss(record))?];
    for term in keys(&record.steps, &["terms"]) {
        // Only a term that had a weight somewhere took part.
        let weight = series(&record.steps, &["weights", term]);
        let idle = !weight.is_empty() && weight.values().all(|weight| weight == 0.0);
        let ink = if term == "teacher" { Ink::Teacher } else { Ink::Student };
        let curve = noisy(term, ink, series(&record.steps, &["terms", term]));
        if !idle {
            figures.push(figure(&plot(record, term, vec![curve], FREE))?);
        }
    }
    Ok(figures)
}

fn gradients(record: &RunRecord) -> Figures {
    let steps = &record.steps;
    let norm = |model: &str, ink| noisy(model, ink, series(steps, &["gradient_norms", model]));
    let layers = steps.iter().filter_map(|line| line["momentum_cosine"].as_array()).map(Vec::len).max().unwrap_or(0);
    let cosine = |layer: usize| {
        let of = |line: &Value| line["momentum_cosine"].get(layer)?.as_f64();
        noisy(&format!("student layer {}", layer + 1), Ink::Series(layer), series_by(steps, of))
    };
    draw(
        record,
        [
            ("gradient norm, whole", vec![noisy("whole", Ink::Text, series(steps, &["gradient_norm"]))], FREE),
            ("gradient norm, encoders", vec![norm("student", Ink::Student), norm("teacher", Ink::Teacher)], FREE),
            ("cosine of own and teacher's gradient", (0..layers.min(24)).map(cosine).collect(), (-1.0, 1.0)),
        ],
    )
}

fn agreement(record: &RunRecord) -> Figures {
    let of = |name: &str, key| vec![noisy(name, Ink::Series(0), series(&record.steps, &["agreement", key]))];
    draw(
        record,
        [
            ("share of equal predictions", of("equal predictions", "equal"), SHARE),
            ("KL of teacher to student", of("KL divergence", "kl"), (0.0, f64::MAX)),
        ],
    )
}

fn schedules(record: &RunRecord) -> Figures {
    let plain = |name: &str, ink, path: &[&str]| Curve {
        name: name.to_owned(),
        ink,
        series: series(&record.steps, path),
        look: Look::Plain,
    };
    let rates =
        [("encoder", Ink::Student, "lr"), ("head", Ink::Series(2), "head_lr"), ("teacher", Ink::Teacher, "teacher_lr")];
    let mut figures =
        draw(record, [("learning rate", rates.map(|(name, ink, key)| plain(name, ink, &[key])).into(), FREE)])?;
    // What never changes stands in the configuration.
    for key in ["temperature", "beta"] {
        let curve = plain(key, Ink::Text, &[key]);
        if !curve.series.is_constant() {
            figures.push(figure(&plot(record, key, vec![curve], FREE))?);
        }
    }
    let weights = keys(&record.steps, &["weights"]).into_iter().enumerate();
    let weights = weights.map(|(n, term)| plain(term, Ink::Series(n), &["weights", term]));
    let moving: Vec<Curve> = weights.filter(|curve| !curve.series.is_constant()).collect();
    figures.push(figure(&plot(record, "weights of the terms", moving, FREE))?);
    Ok(figures)
}

fn speed(record: &RunRecord) -> Vec<Curve> {
    vec![noisy("tokens per second", Ink::Text, series(&record.steps, &["tokens_per_second"]))]
}

fn draw<const N: usize>(record: &RunRecord, plots: [(&str, Vec<Curve>, (f64, f64)); N]) -> Figures {
    plots.into_iter().map(|(title, curves, bounds)| figure(&plot(record, title, curves, bounds))).collect()
}

fn plot(record: &RunRecord, title: &str, curves: Vec<Curve>, bounds: (f64, f64)) -> Curves {
    let curves = curves.into_iter().filter(|curve| !curve.series.is_empty()).collect();
    Curves { title: title.to_owned(), curves, bounds, breaks: breaks(record) }
}

fn noisy(name: &str, ink: Ink, series: Series) -> Curve {
    Curve { name: name.to_owned(), ink, series, look: Look::Noisy }
}

/// The first logged step of every stage but the first.
fn breaks(record: &RunRecord) -> Vec<f64> {
    let new = record.steps.windows(2).filter(|pair| {
        let [before, after] = [&pair[0], &pair[1]].map(|line| at(line, &["stage"]).as_u64());
        before.zip(after).is_some_and(|(before, after)| before != after)
    });
    new.filter_map(|pair| number(&pair[1], &["step"])).take(20).collect()
}
