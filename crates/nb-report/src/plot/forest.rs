//! Forest plot: differences from a baseline with their intervals, one per line.

use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, VPos};

use super::axis::{Axis, Bounds};
use super::{Area, Drawing, Drawn, Ink, TEXT, UNIT, font, stroke, text_width};
use crate::ReportError;
use crate::format::signed;

/// Height of a line in CSS pixels.
const LINE: i32 = 34;

/// One line.
#[derive(Debug, Clone)]
pub(crate) struct Span {
    /// Its label.
    pub(crate) label: String,
    /// Its group; a rule separates lines of different groups.
    pub(crate) group: u64,
    /// The difference.
    pub(crate) difference: f64,
    /// Lower end of its interval.
    pub(crate) low: f64,
    /// Upper end of its interval.
    pub(crate) high: f64,
    /// The text at the end of the line.
    pub(crate) remark: String,
}

/// Differences, one per line.
#[derive(Debug, Clone)]
pub(crate) struct Forest<'a> {
    /// The title, for readers who cannot see the plot.
    pub(crate) title: &'a str,
    /// The lines.
    pub(crate) spans: &'a [Span],
    /// Width in CSS pixels.
    pub(crate) width: i32,
}

impl Span {
    /// Returns the colour for an interval above 0, below 0 or around 0.
    fn ink(&self) -> Ink {
        match (self.low > 0.0, self.high < 0.0) {
            (true, _) => Ink::Student,
            (_, true) => Ink::Teacher,
            _ => Ink::Muted,
        }
    }
}

/// The position of a line on the canvas: its interval on the horizontal axis, and its vertical position.
struct Place {
    low: i32,
    middle: i32,
    high: i32,
    y: i32,
}

impl Forest<'_> {
    /// Draws the plot.
    pub(crate) fn draw(&self) -> Result<Drawing, ReportError> {
        let longest = |text: &dyn Fn(&Span) -> &str| {
            let widths = self.spans.iter().map(|span| text_width(text(span), TEXT));
            widths.max().unwrap_or(0) + 14 * UNIT
        };
        let width = self.width * UNIT;
        // A label gets at most four tenths of the width, a remark at most three tenths.
        let left = longest(&|span| span.label.as_str()).min(width * 4 / 10);
        let right = width - longest(&|span| span.remark.as_str()).min(width * 3 / 10);
        let rows = i32::try_from(self.spans.len()).unwrap_or(i32::MAX / LINE);
        let ends = self.spans.iter().flat_map(|span| [span.low, span.high]).chain([0.0]);
        let axis = Axis::around(ends, Bounds::NONE, 4);
        Drawing::new(self.width, rows.saturating_mul(LINE) + 52, self.alt(), |area| {
            let across = |value: f64| left + (axis.share(value) * f64::from(right - left)).round() as i32;
            let bottom = (rows * LINE + 6) * UNIT;
            for tick in axis.ticks() {
                let x = across(*tick);
                area.draw(&PathElement::new(vec![(x, 0), (x, bottom)], stroke(Ink::Grid.colour(), 4)))?;
                let style = font(Ink::Muted, TEXT, HPos::Center, VPos::Top);
                area.draw(&Text::new(axis.written(*tick), (x, bottom + 4 * UNIT), style))?;
            }
            for (row, pair) in (1..).zip(self.spans.windows(2)) {
                if pair[0].group != pair[1].group {
                    let y = (row * LINE + 3) * UNIT;
                    area.draw(&PathElement::new(vec![(0, y), (width, y)], stroke(Ink::Grid.colour(), 4)))?;
                }
            }
            let zero = across(0.0);
            area.draw(&PathElement::new(vec![(zero, 0), (zero, bottom)], stroke(Ink::Text.colour(), 5)))?;
            let under = bottom + 40 * UNIT;
            let style = |at| font(Ink::Muted, TEXT, at, VPos::Bottom);
            area.draw(&Text::new("← worse", (left, under), style(HPos::Left)))?;
            area.draw(&Text::new("better →", (right, under), style(HPos::Right)))?;
            for (row, span) in (0..).zip(self.spans) {
                let y = (row * LINE + LINE / 2 + 3) * UNIT;
                let at = Place { low: across(span.low), middle: across(span.difference), high: across(span.high), y };
                self.line(area, span, at)?;
            }
            Ok(())
        })
    }

    fn line(&self, area: &Area<'_>, span: &Span, at: Place) -> Drawn {
        let Place { low, middle, high, y } = at;
        let ink = span.ink();
        area.draw(&PathElement::new(vec![(low, y), (high, y)], stroke(ink.colour(), 10)))?;
        for end in [low, high] {
            area.draw(&PathElement::new(vec![(end, y - 4 * UNIT), (end, y + 4 * UNIT)], stroke(ink.colour(), 6)))?;
        }
        area.draw(&Circle::new((middle, y), 6 * UNIT, ink.colour().filled()))?;
        if ink == Ink::Muted {
            // A ring marks an interval that contains 0.
            area.draw(&Circle::new((middle, y), 15, Ink::Surface.colour().filled()))?;
        }
        let name = font(Ink::Text, TEXT, HPos::Left, VPos::Center);
        area.draw(&Text::new(span.label.clone(), (0, y), name))?;
        let remark = font(Ink::Muted, TEXT, HPos::Right, VPos::Center);
        area.draw(&Text::new(span.remark.clone(), (self.width * UNIT, y), remark))
    }

    fn alt(&self) -> String {
        let each = self.spans.iter().map(|span| {
            let [difference, low, high] = [span.difference, span.low, span.high].map(signed);
            format!("{}: {difference}, interval {low} to {high}, {}", span.label, span.remark)
        });
        format!("{}. {}.", self.title, each.collect::<Vec<_>>().join("; "))
    }
}
