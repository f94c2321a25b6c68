//! The plots of a comparison as one self-contained picture, for a README or a paper.

use maud::{Markup, PreEscaped, html};

use super::figures::{FOREST_NOTE, SCATTER_TITLE, SPREAD_NOTE};
use super::plots::{Across, ForestPlot, ScatterPlot, depths};
use crate::format::plural;
use crate::html::page::colours;
use crate::plot::Drawing;
use crate::{Comparison, ReportError};

/// Widths of the plots, the margin around them and the gap between them, in CSS pixels.
const SCATTER: i32 = 520;
const FOREST: i32 = 440;
const MARGIN: i32 = 16;
const GAP: i32 = 28;
/// Height of the two lines of text above a plot.
const CAPTION: i32 = 48;

/// A plot with the two lines above it.
struct Panel {
    title: String,
    note: String,
    plot: Drawing,
}

/// Returns the plots in the report of a comparison as an SVG file: score against time if times were measured, and the
/// differences from the baseline if there is one. The same comparison gives the same bytes.
///
/// The picture needs no other file and follows the reader's light or dark setting. It works in an `img` element and as
/// a Markdown image.
///
/// # Errors
/// If a plot cannot be drawn.
///
/// ```no_run
/// use std::path::Path;
///
/// let comparison = nb_report::Comparison::read(Path::new("runs/compare-clicks/compare.json"))?;
/// std::fs::write("docs/compare.svg", nb_report::comparison_picture(&comparison)?)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn comparison_picture(comparison: &Comparison) -> Result<String, ReportError> {
    let panels: Vec<Panel> = [scatter(comparison)?, forest(comparison)?].into_iter().flatten().collect();
    let plots: i32 = panels.iter().map(|panel| panel.plot.width + GAP).sum();
    let width = plots.max(FOREST + GAP) - GAP + 2 * MARGIN;
    let height = panels.iter().map(|panel| panel.plot.height).max().unwrap_or(0) + CAPTION + 2 * MARGIN;
    let alt: Vec<&str> = panels.iter().map(|panel| panel.plot.alt.as_str()).collect();
    let mut x = MARGIN;
    let mut placed = Vec::new();
    for panel in &panels {
        placed.push(panel.at(x, MARGIN));
        x += panel.plot.width + GAP;
    }
    let picture = html! {
        svg xmlns="http://www.w3.org/2000/svg" width=(width) height=(height) viewBox=(format!("0 0 {width} {height}"))
            role="img" aria-label=(alt.join(" ")) font-family="system-ui, sans-serif" {
            style { (PreEscaped(colours())) }
            rect width="100%" height="100%" fill="var(--page)" {}
            @for panel in &placed { (panel) }
        }
    };
    Ok(picture.into_string() + "\n")
}

fn scatter(comparison: &Comparison) -> Result<Option<Panel>, ReportError> {
    let Some(plot) = ScatterPlot::of(comparison, Across::Time) else { return Ok(None) };
    let marks = depths(comparison).into_iter().map(|(shape, layers)| format!("{shape} {}", plural(layers, "layer")));
    let spread = plot.has_spread().then(|| SPREAD_NOTE.to_owned());
    let note = marks.chain(spread).collect::<Vec<_>>().join("   ");
    Ok(Some(Panel { title: SCATTER_TITLE.to_owned(), note, plot: plot.draw(SCATTER)? }))
}

fn forest(comparison: &Comparison) -> Result<Option<Panel>, ReportError> {
    let Some(plot) = ForestPlot::of(comparison) else { return Ok(None) };
    let drawn = plot.draw(FOREST)?;
    Ok(Some(Panel { title: plot.title, note: FOREST_NOTE.to_owned(), plot: drawn }))
}

impl Panel {
    fn at(&self, x: i32, y: i32) -> Markup {
        html! {
            text x=(x) y=(y + 14) font-size="15" font-weight="650" fill="var(--ink)" { (self.title) }
            text x=(x) y=(y + 33) font-size="12" fill="var(--muted)" xml:space="preserve" { (self.note) }
            (self.plot.nested(x, y + CAPTION))
        }
    }
}
