//! The frame and the style of a page, and the parts of its sections.

use maud::{DOCTYPE, Markup, PreEscaped, html};

use crate::ReportError;
use crate::format::{name, number};
use crate::plot::{Curves, Ink};

const STYLE: &str = include_str!("style.css");

/// The rule of the style sheet that follows the colours.
const COLOURS_END: &str = "*{";

/// Returns the part of the style sheet that defines the colours for light and dark mode.
pub(super) fn colours() -> &'static str {
    STYLE.split_once(COLOURS_END).map_or(STYLE, |(colours, _)| colours).trim_end()
}

/// Returns a document; `kind` is the small text above the title.
pub(super) fn page(title: &str, kind: &str, lead: &Markup, body: &Markup) -> String {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (title) " · " (kind) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                header {
                    p.kind { span.brand { "NewsBERT" } " " (kind) }
                    h1 { (title) }
                    (lead)
                }
                main { (body) }
                footer { "Written by NewsBERT from the files of the run folder. The page loads nothing from elsewhere." }
            }
        }
    };
    page.into_string()
}

/// Returns a section with a title; empty without content.
pub(super) fn section(title: &str, about: &str, content: Option<Markup>) -> Markup {
    html! {
        @if let Some(content) = content {
            section {
                h2 { (title) }
                @if !about.is_empty() { p.about { (about) } }
                (content)
            }
        }
    }
}

/// A large number with its name and a remark.
pub(super) struct Tile {
    pub(super) what: String,
    pub(super) value: String,
    pub(super) remark: String,
    pub(super) ink: Option<Ink>,
}

/// Returns tiles in a row.
pub(super) fn tiles(tiles: &[Tile]) -> Markup {
    html! {
        @if !tiles.is_empty() {
            dl.tiles {
                @for tile in tiles {
                    div style=[tile.ink.map(|ink| format!("--mark:var(--{})", ink.name()))] {
                        dt { (tile.what) }
                        dd { span.value { (tile.value) } span.remark { (tile.remark) } }
                    }
                }
            }
        }
    }
}

/// Returns a box with a heading and a list of lines.
pub(super) fn notes(title: &str, class: &str, lines: &[String]) -> Markup {
    html! {
        @if !lines.is_empty() {
            aside class={ "box " (class) } aria-label=(title) {
                p { strong { (title) } }
                ul { @for line in lines { li { (line) } } }
            }
        }
    }
}

/// Returns a table that scrolls in its own frame; the first cell of each row is its heading.
pub(super) fn table(caption: &str, head: &[String], rows: &[Vec<Markup>]) -> Markup {
    html! {
        div.scroll tabindex="0" role="region" aria-label=(caption) {
            table {
                caption { span { (caption) } }
                thead { tr { @for cell in head { th scope="col" { (cell) } } } }
                tbody {
                    @for row in rows {
                        tr {
                            @for (i, cell) in row.iter().enumerate() {
                                @if i == 0 { th scope="row" { (cell) } } @else { td { (cell) } }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// Returns a plot with its title and, for a single curve, its last value, otherwise a legend; `None` if the plot is
/// empty.
pub(super) fn curves(plot: &Curves) -> Result<Option<Markup>, ReportError> {
    if plot.is_empty() {
        return Ok(None);
    }
    let last = plot.curves.iter().find_map(|curve| curve.series.last().filter(|_| plot.curves.len() == 1));
    let drawn = plot.draw()?;
    Ok(Some(html! {
        figure {
            figcaption {
                span.title { (name(&plot.title)) @if plot.is_log() { " " small { "log scale" } } }
                @if let Some(last) = last { span.last { "last " (number(last)) } }
                @if plot.curves.len() > 1 {
                    span.legend {
                        @for curve in &plot.curves {
                            span { (swatch(curve.ink)) (curve.name) }
                        }
                    }
                }
            }
            (drawn)
        }
    }))
}

/// Returns figures side by side, as many per line as the page is wide enough for.
pub(super) fn grid(figures: Vec<Option<Markup>>) -> Option<Markup> {
    let figures: Vec<Markup> = figures.into_iter().flatten().collect();
    (!figures.is_empty()).then(|| html! { div.grid { @for figure in &figures { (figure) } } })
}

/// Returns a short line in the style of a curve.
pub(super) fn swatch(ink: Ink) -> Markup {
    let dashes = ink.dashes();
    html! {
        svg.swatch viewBox="0 0 26 8" aria-hidden="true" {
            line x1="1" y1="4" x2="25" y2="4" stroke=(format!("var(--{})", ink.name())) stroke-width="2.5"
                stroke-dasharray=[(!dashes.is_empty()).then_some(dashes)] {}
        }
    }
}

/// Returns a collapsible section: the reader sees the summary and can open the content.
pub(super) fn folded(summary: &str, content: &Markup) -> Markup {
    html! { details { summary { (summary) } (content) } }
}
