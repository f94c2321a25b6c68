//! What every page has: its frame, its style, and the parts that sections are made of.

use maud::{DOCTYPE, Markup, PreEscaped, html};

use crate::ReportError;
use crate::format::{name, number};
use crate::plot::{Curves, Ink};

const STYLE: &str = include_str!("style.css");

/// The rule of the style that follows the colours.
const COLOURS_END: &str = "*{";

/// Returns the part of the style that defines the colours, light and dark.
pub(super) fn colours() -> &'static str {
    STYLE.split_once(COLOURS_END).map_or(STYLE, |(colours, _)| colours).trim_end()
}

/// A document; `kind` is the small text above the title.
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
                footer { "Written by NewsBERT in Rust from the files of the run folder; nothing here is loaded from elsewhere." }
            }
        }
    };
    page.into_string()
}

/// A section with a title; nothing if it has no content.
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

/// A big number with what it is and a remark.
pub(super) struct Tile {
    pub(super) what: String,
    pub(super) value: String,
    pub(super) remark: String,
    pub(super) ink: Option<Ink>,
}

/// Tiles in a row.
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

/// A box with a heading and one line each.
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

/// A table that scrolls in its own frame; the first cell of each row names it.
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

/// A plot with its title, its last value, and a legend where there is more than one curve; nothing if it is empty.
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

/// Figures side by side as the page is wide.
pub(super) fn grid(figures: Vec<Option<Markup>>) -> Option<Markup> {
    let figures: Vec<Markup> = figures.into_iter().flatten().collect();
    (!figures.is_empty()).then(|| html! { div.grid { @for figure in &figures { (figure) } } })
}

/// A short line as it is drawn in the plots.
pub(super) fn swatch(ink: Ink) -> Markup {
    let dashes = ink.dashes();
    html! {
        svg.swatch viewBox="0 0 26 8" aria-hidden="true" {
            line x1="1" y1="4" x2="25" y2="4" stroke=(format!("var(--{})", ink.name())) stroke-width="2.5"
                stroke-dasharray=[(!dashes.is_empty()).then_some(dashes)] {}
        }
    }
}

/// Folded away until it is asked for.
pub(super) fn folded(summary: &str, content: &Markup) -> Markup {
    html! { details { summary { (summary) } (content) } }
}
