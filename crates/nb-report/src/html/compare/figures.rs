//! The plots of a comparison on its page. Each is drawn twice, for wide and for narrow pages, so that its text stays readable.

use maud::{Markup, html};

use super::plots::{Across, ForestPlot, ScatterPlot, depths};
use crate::format::plural;
use crate::plot::Drawing;
use crate::{Comparison, ReportError};

/// Width of the scatter plot in CSS pixels, on a wide and on a narrow page.
const SCATTER: [i32; 2] = [680, 350];
/// Width of the forest plot in CSS pixels, on a wide and on a narrow page.
const FOREST: [i32; 2] = [460, 350];

/// Caption below the title of the forest plot.
pub(super) const FOREST_NOTE: &str = "95 % intervals, Holm-adjusted p; rings include 0";
/// Title of the scatter plot.
pub(super) const SCATTER_TITLE: &str = "Up and to the left is better";
/// Explanation of the error bars in the scatter plot.
pub(super) const SPREAD_NOTE: &str = "bars: ± one standard deviation over seeds";

/// Returns a scatter plot; `None` if no time was measured.
pub(super) fn scatter(comparison: &Comparison, across: Across) -> Result<Option<Markup>, ReportError> {
    let Some(plot) = ScatterPlot::of(comparison, across) else { return Ok(None) };
    let [wide, narrow] = SCATTER.map(|width| plot.draw(width));
    let marks = depths(comparison);
    Ok(Some(html! {
        figure.lead-plot {
            figcaption {
                span.title { (SCATTER_TITLE) }
                span.legend { @for (shape, layers) in marks { span { span.shape { (shape) } (plural(layers, "layer")) } } }
                @if plot.has_spread() { span.last { (SPREAD_NOTE) } }
            }
            (pair(&wide?, &narrow?))
        }
    }))
}

/// Returns the forest plot; empty if no row was tested.
pub(super) fn forest(comparison: &Comparison) -> Result<Markup, ReportError> {
    let Some(plot) = ForestPlot::of(comparison) else { return Ok(html! {}) };
    let [wide, narrow] = FOREST.map(|width| plot.draw(width));
    Ok(html! {
        figure.side-plot {
            figcaption {
                span.title { (plot.title) }
                span.last { (FOREST_NOTE) }
            }
            (pair(&wide?, &narrow?))
        }
    })
}

fn pair(wide: &Drawing, narrow: &Drawing) -> Markup {
    html! { div.wide { (wide) } div.narrow { (narrow) } }
}
