//! The two pictures of a comparison. Each is drawn twice, for wide and for narrow pages, so that its text stays readable.

use maud::{Markup, html};

use super::{ink, row_name};
use crate::format::{name, p_value, plural};
use crate::plot::{Dot, Forest, Ink, SHAPES, Scatter, Span};
use crate::{Comparison, ReportError};

/// CSS pixels on a wide and on a narrow page.
const SCATTER: [i32; 2] = [680, 350];
const FOREST: [i32; 2] = [460, 350];

/// The metric against the time for one text; nothing where no time was measured.
pub(super) fn scatter(comparison: &Comparison) -> Result<Markup, ReportError> {
    let dots = dots(comparison);
    if dots.is_empty() {
        return Ok(html! {});
    }
    let metric = name(&comparison.metric);
    let level = comparison
        .teacher
        .as_ref()
        .map(|teacher| (if teacher.milliseconds_per_text.is_some() { "" } else { "teacher" }, teacher.score));
    // As tall as the forest beside it, within reason.
    let tested = comparison.rows.iter().filter(|row| row.against.is_some()).count();
    let tall = i32::try_from(tested * 33 + 30).unwrap_or(i32::MAX).clamp(400, 560);
    let draw = |width: i32| {
        Scatter {
            across: "ms per text, log scale →",
            up: &metric,
            dots: &dots,
            level,
            size: (width, tall.min(width * 5 / 4)),
        }
        .draw()
    };
    let [wide, narrow] = SCATTER.map(draw);
    let spread = dots.iter().any(|dot| dot.spread.is_some());
    Ok(html! {
        figure.lead-plot {
            figcaption {
                span.title { "Up and to the left is better" }
                span.legend { @for (shape, layers) in depths(comparison) { span { span.shape { (shape) } (plural(layers, "layer")) } } }
                @if spread { span.last { "bars: ± one standard deviation over seeds" } }
            }
            (pair(&wide?, &narrow?))
        }
    })
}

fn dots(comparison: &Comparison) -> Vec<Dot> {
    let depths = depths(comparison);
    let shape = |layers: u64| depths.iter().position(|(_, other)| *other == layers).unwrap_or(0);
    let students = comparison.rows.iter().filter_map(|row| {
        Some(Dot {
            label: row_name(comparison, &row.label, row.layers),
            x: row.milliseconds_per_text?,
            y: row.mean,
            spread: row.spread,
            ink: ink(comparison, &row.label),
            shape: shape(row.layers),
        })
    });
    let teacher = comparison.teacher.iter().filter_map(|teacher| {
        Some(Dot {
            label: format!("teacher {}L", teacher.layers),
            x: teacher.milliseconds_per_text?,
            y: teacher.score,
            spread: None,
            ink: Ink::Teacher,
            shape: shape(teacher.layers),
        })
    });
    students.chain(teacher).collect()
}

/// The marks of all depths, in ascending order.
fn depths(comparison: &Comparison) -> Vec<(&'static str, u64)> {
    let mut depths: Vec<u64> = comparison.rows.iter().map(|row| row.layers).collect();
    depths.extend(comparison.teacher.as_ref().map(|teacher| teacher.layers));
    depths.sort_unstable();
    depths.dedup();
    SHAPES.iter().copied().cycle().zip(depths).collect()
}

/// The differences to the baseline; nothing where none was tested.
pub(super) fn forest(comparison: &Comparison) -> Result<Markup, ReportError> {
    let mut rows: Vec<_> = comparison.rows.iter().filter_map(|row| Some((row, row.against.as_ref()?))).collect();
    rows.retain(|(_, test)| [test.difference, test.low, test.high].iter().all(|value| value.is_finite()));
    if rows.is_empty() {
        return Ok(html! {});
    }
    // Depth by depth, the best first.
    rows.sort_by(|(a, x), (b, y)| a.layers.cmp(&b.layers).then(y.difference.total_cmp(&x.difference)));
    let span = |(row, test): &(&crate::Row, &crate::Against)| Span {
        label: row_name(comparison, &row.label, row.layers),
        group: row.layers,
        difference: test.difference,
        low: test.low,
        high: test.high,
        remark: format!("p {}", with_equals(&p_value(test.p_holm))),
    };
    let spans: Vec<Span> = rows.iter().map(span).collect();
    let title = format!("Difference in {} to {}", name(&comparison.metric), comparison.baseline);
    let [wide, narrow] = FOREST.map(|width| Forest { title: &title, spans: &spans, width }.draw());
    Ok(html! {
        figure.side-plot {
            figcaption {
                span.title { (title) }
                span.last { "95 % intervals, p after Holm; a ring: nought is inside" }
            }
            (pair(&wide?, &narrow?))
        }
    })
}

fn with_equals(p: &str) -> String {
    if p.starts_with('<') { p.to_owned() } else { format!("= {p}") }
}

fn pair(wide: &Markup, narrow: &Markup) -> Markup {
    html! { div.wide { (wide) } div.narrow { (narrow) } }
}
