//! Curves over steps.

use plotters::prelude::*;

use super::axis::{Axis, Bounds, extent};
use super::{Chart, Drawing, Drawn, Ink, Series, UNIT, mesh, stroke};
use crate::ReportError;
use crate::format::number;

const WIDTH: i32 = 384;
const HEIGHT: i32 = 216;

/// The look of a curve.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Look {
    /// A line.
    Plain,
    /// A faint line with a smoothed one on top.
    Noisy,
    /// A line with a dot at each point, and with the given intervals.
    Dots(Vec<Bar>),
}

/// The interval of a point.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Bar {
    /// The step of the point.
    pub(crate) step: f64,
    /// Lower end.
    pub(crate) low: f64,
    /// Upper end.
    pub(crate) high: f64,
}

/// One curve.
#[derive(Debug, Clone)]
pub(crate) struct Curve {
    /// Its name.
    pub(crate) name: String,
    /// Its colour.
    pub(crate) ink: Ink,
    /// Its points.
    pub(crate) series: Series,
    /// Its look.
    pub(crate) look: Look,
}

/// Curves over the same steps on one scale.
#[derive(Debug, Clone)]
pub(crate) struct Curves {
    /// The subject, for readers who cannot see the plot.
    pub(crate) title: String,
    /// The curves; curves without numbers are skipped.
    pub(crate) curves: Vec<Curve>,
    /// The range of possible values.
    pub(crate) bounds: Bounds,
    /// Steps that start a stage, drawn as vertical lines.
    pub(crate) breaks: Vec<f64>,
}

impl Curves {
    /// Returns whether no curve has a number.
    pub(crate) fn is_empty(&self) -> bool {
        self.curves.iter().all(|curve| curve.series.is_empty())
    }

    /// Returns whether the scale is logarithmic: all values are positive and cover a wide range.
    pub(crate) fn is_log(&self) -> bool {
        let smooth = self.curves.iter().flat_map(|curve| curve.series.smoothed().values().collect::<Vec<_>>());
        let least = extent(self.curves.iter().flat_map(|curve| curve.series.values()));
        extent(smooth).is_some_and(|(low, high)| low > 0.0 && high / low > 60.0)
            && least.is_some_and(|(low, _)| low > 0.0)
    }

    /// Returns whether points are skipped.
    pub(crate) fn is_thinned(&self) -> bool {
        self.curves.iter().any(|curve| curve.series.is_long())
    }

    /// Draws the plot.
    pub(crate) fn draw(&self) -> Result<Drawing, ReportError> {
        Drawing::new(WIDTH, HEIGHT, self.alt(), |area| {
            let mut chart = ChartBuilder::on(area)
                .margin_top(8 * UNIT)
                .margin_right(14 * UNIT)
                .x_label_area_size(22 * UNIT)
                .y_label_area_size(44 * UNIT)
                .build_cartesian_2d(self.steps(), self.scale())?;
            mesh(&mut chart, None)?;
            let range = chart.y_range();
            for at in &self.breaks {
                let line = vec![(*at, range.start), (*at, range.end)];
                chart.draw_series([PathElement::new(line, stroke(Ink::Muted.colour().mix(0.6), 4))])?;
            }
            self.curves.iter().try_for_each(|curve| curve.draw(&mut chart))
        })
    }

    fn steps(&self) -> Axis {
        let steps = self.curves.iter().flat_map(|curve| curve.series.0.iter().map(|(step, _)| *step));
        let (low, high) = extent(steps).unwrap_or((0.0, 1.0));
        Axis::linear(if low < 0.25 * high { 0.0 } else { low }, high, 4)
    }

    fn scale(&self) -> Axis {
        let intervals = |curve: &Curve| match &curve.look {
            Look::Dots(bars) => bars.iter().flat_map(|bar| [bar.low, bar.high]).collect(),
            _ => Vec::new(),
        };
        let values = self.curves.iter().flat_map(|curve| curve.series.values().chain(intervals(curve)));
        let values: Vec<f64> = values.collect();
        match extent(values.iter().copied()) {
            Some((low, high)) if self.is_log() => Axis::log(low, high, 4),
            _ => Axis::around(values.into_iter(), self.bounds, 4),
        }
    }

    /// Describes each curve by its first, last, lowest and highest value.
    fn alt(&self) -> String {
        let describe = |curve: &Curve| {
            let (low, high) = extent(curve.series.values())?;
            let (first, last) = (curve.series.values().next()?, curve.series.last()?);
            let [first, low, high, last] = [first, low, high, last].map(number);
            Some(format!("{}: begins at {first}, ends at {last}, lowest {low}, highest {high}", curve.name))
        };
        let each: Vec<String> = self.curves.iter().filter_map(describe).collect();
        format!("Line chart of {} over steps. {}.", self.title, each.join("; "))
    }
}

impl Curve {
    fn draw(&self, chart: &mut Chart<'_, '_>) -> Drawn {
        match &self.look {
            Look::Plain => self.lines(chart, &self.series.thinned(), stroke(self.ink.line(), 8)),
            Look::Noisy => {
                self.lines(chart, &self.series.thinned(), stroke(self.ink.colour().mix(0.3), 4))?;
                self.lines(chart, &self.series.smoothed().sampled(), stroke(self.ink.line(), 9))
            }
            Look::Dots(bars) => self.dots(chart, bars),
        }
    }

    fn dots(&self, chart: &mut Chart<'_, '_>, bars: &[Bar]) -> Drawn {
        let style = stroke(self.ink.colour().mix(0.35), 8);
        let upright = |bar: &Bar| PathElement::new(vec![(bar.step, bar.low), (bar.step, bar.high)], style);
        chart.draw_series(bars.iter().map(upright))?;
        self.lines(chart, &self.series.thinned(), stroke(self.ink.line(), 8))?;
        let points: Vec<(f64, f64)> = self.series.thinned().pieces().concat();
        let size = if points.len() > 40 { 2 * UNIT } else { 4 * UNIT };
        chart.draw_series(points.iter().map(|at| Circle::new(*at, size, self.ink.colour().filled())))?;
        // The student has filled dots, the teacher rings.
        if self.ink == Ink::Teacher {
            let hole = Ink::Surface.colour().filled();
            chart.draw_series(points.iter().map(|at| Circle::new(*at, size / 2, hole)))?;
        }
        Ok(())
    }

    fn lines(&self, chart: &mut Chart<'_, '_>, series: &Series, style: ShapeStyle) -> Drawn {
        for piece in series.pieces() {
            match piece.as_slice() {
                [only] => chart.draw_series([Circle::new(*only, 2 * UNIT, style.color.filled())])?,
                _ => chart.draw_series([PathElement::new(piece, style)])?,
            };
        }
        Ok(())
    }
}
