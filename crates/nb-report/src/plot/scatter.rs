//! Scatter plot of score against time. Labels cover neither points nor other labels.

use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, VPos};

use super::axis::{Axis, Bounds, extent};
use super::labels::{Block, Label, place_labels};
use super::{Area, Drawing, Drawn, Ink, TEXT, UNIT, font, stroke, text_width};
use crate::ReportError;
use crate::format::{number, score};

/// The marks of points by group, as legends show them. They repeat if there are more groups than marks.
pub(crate) const SHAPES: [&str; 4] = ["●", "▲", "■", "◆"];

/// The factor by which the horizontal axis exceeds the points on either side.
const MARGIN: f64 = 1.2;

/// One point.
#[derive(Debug, Clone)]
pub(crate) struct Dot {
    /// Its label.
    pub(crate) label: String,
    /// Its position on the horizontal axis.
    pub(crate) x: f64,
    /// Its position on the vertical axis.
    pub(crate) y: f64,
    /// Half the length of its error bar, if it has one.
    pub(crate) spread: Option<f64>,
    /// Its colour.
    pub(crate) ink: Ink,
    /// Its mark: an index into [`SHAPES`].
    pub(crate) shape: usize,
}

/// A horizontal line at the score with which all points are compared.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Level<'a> {
    /// The name; empty if the label of a point already shows it.
    pub(crate) name: &'a str,
    /// The score.
    pub(crate) score: f64,
}

/// Labelled points.
#[derive(Debug, Clone)]
pub(crate) struct Scatter<'a> {
    /// The name of the horizontal axis.
    pub(crate) x_name: &'a str,
    /// The name of the vertical axis.
    pub(crate) y_name: &'a str,
    /// The points; points without finite numbers are skipped.
    pub(crate) dots: &'a [Dot],
    /// The score with which all points are compared, if there is one.
    pub(crate) level: Option<Level<'a>>,
    /// Width in CSS pixels.
    pub(crate) width: i32,
    /// Height in CSS pixels.
    pub(crate) height: i32,
}

/// Both axes, and the part of the canvas that they span.
struct Plane {
    x: Axis,
    y: Axis,
    inside: Block,
}

/// A point with its position on the canvas.
struct Placed<'a> {
    dot: &'a Dot,
    x: i32,
    y: i32,
}

impl Scatter<'_> {
    /// Draws the plot.
    pub(crate) fn draw(&self) -> Result<Drawing, ReportError> {
        Drawing::new(self.width, self.height, self.alt(), |area| {
            let plane = self.plane();
            plane.grid(area, self)?;
            if let Some(level) = self.level {
                plane.level(area, level)?;
            }
            let dots: Vec<Placed<'_>> = self.dots().map(|dot| plane.placed(dot)).collect();
            let labels = self.labels(&plane, &dots);
            for (dot, label) in dots.iter().zip(&labels) {
                plane.spread(area, dot.dot)?;
                leader(area, dot, *label)?;
            }
            for dot in &dots {
                mark(area, dot)?;
            }
            for (Placed { dot, .. }, label) in dots.iter().zip(&labels) {
                let at = (label.left, (label.top + label.bottom) / 2);
                area.draw(&Text::new(dot.label.clone(), at, font(dot.ink, TEXT, HPos::Left, VPos::Center)))?;
            }
            Ok(())
        })
    }

    fn dots(&self) -> impl Iterator<Item = &Dot> {
        // The axis ends beyond the last point, and its end must be finite too.
        self.dots.iter().filter(|dot| dot.x > 0.0 && (dot.x * MARGIN).is_finite() && dot.y.is_finite())
    }

    fn plane(&self) -> Plane {
        let ends = |dot: &Dot| [dot.y - dot.spread.unwrap_or(0.0), dot.y + dot.spread.unwrap_or(0.0)];
        let (low, high) = extent(self.dots().map(|dot| dot.x)).unwrap_or((1.0, 1.0));
        let level = self.level.map(|level| level.score);
        let y = Axis::around(self.dots().flat_map(ends).chain(level), Bounds::NONE, 5);
        let (right, bottom) = ((self.width - 12) * UNIT, (self.height - 42) * UNIT);
        let inside = Block { left: 46 * UNIT, top: 26 * UNIT, right, bottom };
        Plane { x: Axis::log(low / MARGIN, high * MARGIN, 5), y, inside }
    }

    /// Returns the position of each point's label. Labels avoid error bars and the horizontal line.
    fn labels(&self, plane: &Plane, dots: &[Placed<'_>]) -> Vec<Block> {
        let mut taken: Vec<Block> = dots.iter().filter_map(|dot| plane.bar(dot.dot)).collect();
        taken.extend(self.level.map(|level| {
            let y = plane.y_of(level.score);
            Block { top: y - UNIT, bottom: y + UNIT, ..plane.inside }
        }));
        let label = |dot: &Placed<'_>| Label { x: dot.x, y: dot.y, width: text_width(&dot.dot.label, TEXT) };
        place_labels(&dots.iter().map(label).collect::<Vec<_>>(), plane.inside, &taken)
    }

    fn alt(&self) -> String {
        let each = self.dots().map(|dot| {
            let spread = dot.spread.map(|s| format!(" ± {}", score(s))).unwrap_or_default();
            format!("{}: {}{spread} at {}", dot.label, score(dot.y), number(dot.x))
        });
        format!("{} against {}. {}.", self.y_name, self.x_name, each.collect::<Vec<_>>().join("; "))
    }
}

/// Returns the coordinate at the fraction `share` of the way from `from` to `to`.
fn interpolate(share: f64, from: i32, to: i32) -> i32 {
    from + (share * f64::from(to - from)).round() as i32
}

impl Plane {
    fn x_of(&self, value: f64) -> i32 {
        interpolate(self.x.share(value), self.inside.left, self.inside.right)
    }

    fn y_of(&self, value: f64) -> i32 {
        interpolate(self.y.share(value), self.inside.bottom, self.inside.top)
    }

    fn placed<'a>(&self, dot: &'a Dot) -> Placed<'a> {
        Placed { dot, x: self.x_of(dot.x), y: self.y_of(dot.y) }
    }

    fn grid(&self, area: &Area<'_>, names: &Scatter<'_>) -> Drawn {
        let Block { left, top, right, bottom } = self.inside;
        let line = stroke(Ink::Grid.colour(), 4);
        for tick in self.y.ticks() {
            let y = self.y_of(*tick);
            area.draw(&PathElement::new(vec![(left, y), (right, y)], line))?;
            let style = font(Ink::Muted, TEXT, HPos::Right, VPos::Center);
            area.draw(&Text::new(self.y.written(*tick), (left - 6 * UNIT, y), style))?;
        }
        for tick in self.x.ticks() {
            let x = self.x_of(*tick);
            area.draw(&PathElement::new(vec![(x, bottom), (x, bottom + 4 * UNIT)], line))?;
            let style = font(Ink::Muted, TEXT, HPos::Center, VPos::Top);
            area.draw(&Text::new(self.x.written(*tick), (x, bottom + 7 * UNIT), style))?;
        }
        area.draw(&PathElement::new(vec![(left, bottom), (right, bottom)], line))?;
        let below = font(Ink::Muted, TEXT, HPos::Right, VPos::Bottom);
        area.draw(&Text::new(names.x_name.to_owned(), (right, bottom + 39 * UNIT), below))?;
        let above = font(Ink::Muted, TEXT, HPos::Left, VPos::Top);
        area.draw(&Text::new(format!("↑ {}", names.y_name), (2 * UNIT, top - 24 * UNIT), above))
    }

    fn level(&self, area: &Area<'_>, level: Level<'_>) -> Drawn {
        let (left, y, right) = (self.inside.left, self.y_of(level.score), self.inside.right);
        area.draw(&PathElement::new(vec![(left, y), (right, y)], stroke(Ink::Teacher.line(), 5)))?;
        if level.name.is_empty() {
            return Ok(());
        }
        let style = font(Ink::Teacher, TEXT, HPos::Left, VPos::Bottom);
        let text = format!("{} {}", level.name, score(level.score));
        area.draw(&Text::new(text, (left + 4 * UNIT, y - 3 * UNIT), style))
    }

    /// Returns the area that the error bar of a point covers.
    fn bar(&self, dot: &Dot) -> Option<Block> {
        let spread = dot.spread.filter(|spread| spread.is_finite())?;
        let (x, top, bottom) = (self.x_of(dot.x), self.y_of(dot.y + spread), self.y_of(dot.y - spread));
        Some(Block { left: x - 4 * UNIT, top, right: x + 4 * UNIT, bottom })
    }

    fn spread(&self, area: &Area<'_>, dot: &Dot) -> Drawn {
        let Some(Block { left, top, right, bottom }) = self.bar(dot) else { return Ok(()) };
        let x = (left + right) / 2;
        for path in [[(x, bottom), (x, top)], [(left, bottom), (right, bottom)], [(left, top), (right, top)]] {
            area.draw(&PathElement::new(path.to_vec(), stroke(dot.ink.colour().mix(0.55), 6)))?;
        }
        Ok(())
    }
}

/// Draws a thin line from a point to a label that is not beside it.
fn leader(area: &Area<'_>, dot: &Placed<'_>, label: Block) -> Drawn {
    let middle = (label.top + label.bottom) / 2;
    if (middle - dot.y).abs() < 8 * UNIT {
        return Ok(());
    }
    let end = if label.left > dot.x { label.left - 2 * UNIT } else { label.right + 2 * UNIT };
    area.draw(&PathElement::new(vec![(dot.x, dot.y), (end, middle)], stroke(Ink::Muted.colour().mix(0.5), 3)))
}

fn mark(area: &Area<'_>, placed: &Placed<'_>) -> Drawn {
    let Placed { dot, x, y } = *placed;
    // A rim in the colour of the background separates marks that overlap.
    for (size, ink) in [(7 * UNIT, Ink::Surface), (11 * UNIT / 2, dot.ink)] {
        let style = ink.colour().filled();
        let wide = size * 9 / 8;
        let corners = match dot.shape % SHAPES.len() {
            0 => {
                area.draw(&Circle::new((x, y), size, style))?;
                continue;
            }
            1 => vec![(x, y - wide), (x + wide, y + size * 4 / 5), (x - wide, y + size * 4 / 5)],
            2 => {
                let half = size * 9 / 10;
                vec![(x - half, y - half), (x + half, y - half), (x + half, y + half), (x - half, y + half)]
            }
            _ => vec![(x, y - wide), (x + wide, y), (x, y + wide), (x - wide, y)],
        };
        area.draw(&Polygon::new(corners, style))?;
    }
    Ok(())
}
