//! Score against time: every point named, each name where it covers neither a point nor another name.

use maud::Markup;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, VPos};

use super::axis::{Axis, Bounds, extent};
use super::{Area, Drawn, Ink, TEXT, UNIT, drawing, font, stroke, text_width};
use crate::ReportError;
use crate::format::{number, score};

/// The marks of points by group, as they are written in a legend; more groups than marks begin anew.
pub(crate) const SHAPES: [&str; 4] = ["●", "▲", "■", "◆"];

/// One point.
#[derive(Debug, Clone)]
pub(crate) struct Dot {
    /// What it is called.
    pub(crate) label: String,
    /// Across.
    pub(crate) x: f64,
    /// Up.
    pub(crate) y: f64,
    /// How far `y` spreads to either side.
    pub(crate) spread: Option<f64>,
    /// Its colour.
    pub(crate) ink: Ink,
    /// Its mark, of [`SHAPES`].
    pub(crate) shape: usize,
}

/// Points with names.
#[derive(Debug, Clone)]
pub(crate) struct Scatter<'a> {
    /// What stands below.
    pub(crate) across: &'a str,
    /// What stands above.
    pub(crate) up: &'a str,
    /// The points; those without finite numbers are left out.
    pub(crate) dots: &'a [Dot],
    /// A score that all are held against, with its name; none where a point says it.
    pub(crate) level: Option<(&'a str, f64)>,
    /// CSS pixels.
    pub(crate) size: (i32, i32),
}

/// Left, top, right and bottom in canvas units.
type Block = (i32, i32, i32, i32);

struct Plane {
    x: Axis,
    y: Axis,
    inside: Block,
}

impl Scatter<'_> {
    /// The plot.
    pub(crate) fn draw(&self) -> Result<Markup, ReportError> {
        let (width, height) = self.size;
        drawing(width, height, &self.alt(), |area| {
            let plane = self.plane();
            plane.grid(area, self)?;
            if let Some((name, level)) = self.level {
                plane.level(area, name, level)?;
            }
            let dots: Vec<(&Dot, (i32, i32))> = self.dots().map(|dot| (dot, plane.place(dot.x, dot.y))).collect();
            let level = self.level.map(|(_, level)| plane.place(1.0, level).1);
            let line = level.map(|y| (plane.inside.0, y - UNIT, plane.inside.2, y + UNIT));
            let bars = dots.iter().filter_map(|(dot, _)| plane.bar(dot));
            let labels = labels(&dots, plane.inside, &bars.chain(line).collect::<Vec<_>>());
            for ((dot, at), label) in dots.iter().zip(&labels) {
                plane.spread(area, dot)?;
                leader(area, *at, *label)?;
            }
            for (dot, at) in &dots {
                mark(area, dot, *at)?;
            }
            for ((dot, _), label) in dots.iter().zip(&labels) {
                let at = (label.0, (label.1 + label.3) / 2);
                area.draw(&Text::new(dot.label.clone(), at, font(dot.ink, TEXT, HPos::Left, VPos::Center)))?;
            }
            Ok(())
        })
    }

    fn dots(&self) -> impl Iterator<Item = &Dot> {
        self.dots.iter().filter(|dot| dot.x.is_finite() && dot.x > 0.0 && dot.y.is_finite())
    }

    fn plane(&self) -> Plane {
        let ends = |dot: &Dot| [dot.y - dot.spread.unwrap_or(0.0), dot.y + dot.spread.unwrap_or(0.0)];
        let (low, high) = extent(self.dots().map(|dot| dot.x)).unwrap_or((1.0, 1.0));
        let y = Axis::around(self.dots().flat_map(ends).chain(self.level.map(|(_, y)| y)), Bounds::NONE, 5);
        let (width, height) = (self.size.0 * UNIT, self.size.1 * UNIT);
        let inside = (46 * UNIT, 26 * UNIT, width - 12 * UNIT, height - 42 * UNIT);
        Plane { x: Axis::log(low / 1.2, high * 1.2, 5), y, inside }
    }

    fn alt(&self) -> String {
        let each = self.dots().map(|dot| {
            let spread = dot.spread.map(|s| format!(" ± {}", score(s))).unwrap_or_default();
            format!("{}: {}{spread} at {}", dot.label, score(dot.y), number(dot.x))
        });
        format!("{} against {}. {}.", self.up, self.across, each.collect::<Vec<_>>().join("; "))
    }
}

impl Plane {
    fn place(&self, x: f64, y: f64) -> (i32, i32) {
        let (left, top, right, bottom) = self.inside;
        let along = |share: f64, from: i32, to: i32| from + (share * f64::from(to - from)).round() as i32;
        (along(self.x.share(x), left, right), along(self.y.share(y), bottom, top))
    }

    fn grid(&self, area: &Area<'_>, names: &Scatter<'_>) -> Drawn {
        let (left, top, right, bottom) = self.inside;
        let line = stroke(Ink::Grid.colour(), 4);
        for tick in self.y.ticks() {
            let y = self.place(1.0, *tick).1;
            area.draw(&PathElement::new(vec![(left, y), (right, y)], line))?;
            let style = font(Ink::Muted, TEXT, HPos::Right, VPos::Center);
            area.draw(&Text::new(self.y.written(*tick), (left - 6 * UNIT, y), style))?;
        }
        for tick in self.x.ticks() {
            let x = self.place(*tick, 0.0).0;
            area.draw(&PathElement::new(vec![(x, bottom), (x, bottom + 4 * UNIT)], line))?;
            let style = font(Ink::Muted, TEXT, HPos::Center, VPos::Top);
            area.draw(&Text::new(self.x.written(*tick), (x, bottom + 7 * UNIT), style))?;
        }
        area.draw(&PathElement::new(vec![(left, bottom), (right, bottom)], line))?;
        let below = font(Ink::Muted, TEXT, HPos::Right, VPos::Bottom);
        area.draw(&Text::new(names.across.to_owned(), (right, bottom + 39 * UNIT), below))?;
        let above = font(Ink::Muted, TEXT, HPos::Left, VPos::Top);
        area.draw(&Text::new(format!("↑ {}", names.up), (2 * UNIT, top - 24 * UNIT), above))
    }

    fn level(&self, area: &Area<'_>, name: &str, level: f64) -> Drawn {
        let (left, y, right) = (self.inside.0, self.place(1.0, level).1, self.inside.2);
        area.draw(&PathElement::new(vec![(left, y), (right, y)], stroke(Ink::Teacher.line(), 5)))?;
        if name.is_empty() {
            return Ok(());
        }
        let style = font(Ink::Teacher, TEXT, HPos::Left, VPos::Bottom);
        area.draw(&Text::new(format!("{name} {}", score(level)), (left + 4 * UNIT, y - 3 * UNIT), style))
    }

    /// What the error bar of a point covers.
    fn bar(&self, dot: &Dot) -> Option<Block> {
        let spread = dot.spread.filter(|spread| spread.is_finite())?;
        let ((x, top), (_, bottom)) = (self.place(dot.x, dot.y + spread), self.place(dot.x, dot.y - spread));
        Some((x - 4 * UNIT, top, x + 4 * UNIT, bottom))
    }

    fn spread(&self, area: &Area<'_>, dot: &Dot) -> Drawn {
        let Some((left, high, right, low)) = self.bar(dot) else { return Ok(()) };
        let x = (left + right) / 2;
        for path in [[(x, low), (x, high)], [(left, low), (right, low)], [(left, high), (right, high)]] {
            area.draw(&PathElement::new(path.to_vec(), stroke(dot.ink.colour().mix(0.55), 6)))?;
        }
        Ok(())
    }
}

/// A thin line from a point to a name that does not stand beside it.
fn leader(area: &Area<'_>, (x, y): (i32, i32), (left, top, right, bottom): Block) -> Drawn {
    let middle = (top + bottom) / 2;
    if (middle - y).abs() < 8 * UNIT {
        return Ok(());
    }
    let end = if left > x { left - 2 * UNIT } else { right + 2 * UNIT };
    area.draw(&PathElement::new(vec![(x, y), (end, middle)], stroke(Ink::Muted.colour().mix(0.5), 3)))
}

fn mark(area: &Area<'_>, dot: &Dot, (x, y): (i32, i32)) -> Drawn {
    // A rim in the colour of the page keeps marks apart that overlap.
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

/// Where each name stands, in the order of the points: beside its point if it can, else the nearest free place, and
/// never on what is `taken`.
fn labels(dots: &[(&Dot, (i32, i32))], inside: Block, taken: &[Block]) -> Vec<Block> {
    let (half, gap, mark) = (8 * UNIT, 11 * UNIT, 7 * UNIT);
    let marks: Vec<Block> = dots.iter().map(|(_, (x, y))| (x - mark, y - mark, x + mark, y + mark)).collect();
    let mut order: Vec<usize> = (0..dots.len()).collect();
    order.sort_by_key(|i| dots[*i].1.1);
    let mut placed: Vec<(usize, Block)> = Vec::with_capacity(dots.len());
    for i in order {
        let (dot, (x, y)) = dots[i];
        let width = text_width(&dot.label, TEXT);
        let right = |shift: i32| (x + gap, y + shift - half, x + gap + width, y + shift + half);
        let left = |shift: i32| (x - gap - width, y + shift - half, x - gap, y + shift + half);
        let shifts = (0..60).flat_map(|n| [n * 3 * UNIT, -n * 3 * UNIT]);
        let free = shifts.flat_map(|shift| [right(shift), left(shift)]).find(|block| {
            within(*block, inside)
                && !placed.iter().any(|(_, other)| overlap(*block, *other))
                && !marks.iter().chain(taken).any(|other| overlap(*block, *other))
        });
        placed.push((i, free.unwrap_or_else(|| right(0))));
    }
    placed.sort_by_key(|(i, _)| *i);
    placed.into_iter().map(|(_, block)| block).collect()
}

fn within(block: Block, outer: Block) -> bool {
    block.0 >= outer.0 && block.1 >= outer.1 - 8 * UNIT && block.2 <= outer.2 && block.3 <= outer.3
}

fn overlap(a: Block, b: Block) -> bool {
    a.0 < b.2 && b.0 < a.2 && a.1 < b.3 && b.1 < a.3
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_points_in_a_heap_do_not_cover_each_other() {
        let dot = |i: usize| Dot {
            label: format!("method {i}"),
            x: 2.0,
            y: 0.9 + 1e-4 * i as f64,
            spread: None,
            ink: Ink::Series(i),
            shape: i,
        };
        let dots: Vec<Dot> = (0..12).map(dot).collect();
        let at: Vec<(&Dot, (i32, i32))> = dots.iter().map(|dot| (dot, (1200, 800))).collect();
        let inside = (0, 0, 2800, 1600);
        let blocks = labels(&at, inside, &[(0, 699, 2800, 701)]);
        for (i, a) in blocks.iter().enumerate() {
            assert!(within(*a, inside));
            assert!(blocks.iter().skip(i + 1).all(|b| !overlap(*a, *b)), "{blocks:?}");
        }
    }
}
