//! Reliability diagram: accuracy and number of predictions by confidence.

use nb_eval::CalibrationBin;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, VPos};

use super::axis::Axis;
use super::{AxisNames, Drawing, Ink, UNIT, font, mesh, stroke};
use crate::ReportError;
use crate::format::{count, score};

const SIZE: i32 = 340;

/// The diagram of one model.
#[derive(Debug, Clone)]
pub(crate) struct Reliability<'a> {
    /// The name of the model.
    pub(crate) name: &'a str,
    /// The colour of the model.
    pub(crate) ink: Ink,
    /// The bins; empty ones are skipped.
    pub(crate) bins: &'a [CalibrationBin],
}

impl Reliability<'_> {
    /// Draws the plot.
    pub(crate) fn draw(&self) -> Result<Drawing, ReportError> {
        Drawing::new(SIZE, SIZE, self.alt(), |area| {
            let mut chart = ChartBuilder::on(area)
                .margin_top(8 * UNIT)
                .margin_right(14 * UNIT)
                .x_label_area_size(40 * UNIT)
                .y_label_area_size(50 * UNIT)
                .build_cartesian_2d(Axis::linear(0.0, 1.0, 5), Axis::linear(0.0, 1.0, 5))?;
            mesh(&mut chart, Some(AxisNames { x: "confidence", y: "accuracy" }))?;
            let most = self.bins.iter().map(|bin| bin.count).max().unwrap_or(1) as f64;
            // Bars in the lowest fifth show the counts; the number on each bar gives the scale.
            let bars = self.filled().map(|bin| {
                let top = 0.2 * bin.count as f64 / most;
                let ends = [(bin.low + 0.008, 0.0), (bin.high - 0.008, top)];
                Rectangle::new(ends, Ink::Muted.colour().mix(0.25).filled())
            });
            chart.draw_series(bars)?;
            chart.draw_series(self.filled().map(|bin| {
                let at = ((bin.low + bin.high) / 2.0, 0.2 * bin.count as f64 / most + 0.005);
                Text::new(count(bin.count as f64), at, font(Ink::Muted, 9.5, HPos::Center, VPos::Bottom))
            }))?;
            chart.draw_series([PathElement::new(vec![(0.0, 0.0), (1.0, 1.0)], stroke(Ink::Muted.colour(), 4))])?;
            let line: Vec<(f64, f64)> = self.points().collect();
            chart.draw_series([PathElement::new(line.clone(), stroke(self.ink.line(), 8))])?;
            chart.draw_series(line.iter().map(|at| Circle::new(*at, 4 * UNIT, self.ink.colour().filled())))?;
            Ok(())
        })
    }

    fn filled(&self) -> impl Iterator<Item = &CalibrationBin> {
        self.bins.iter().filter(|bin| bin.count > 0)
    }

    /// Returns confidence and accuracy of each bin that is not empty.
    fn points(&self) -> impl Iterator<Item = (f64, f64)> {
        self.filled().filter_map(|bin| Some((bin.confidence?, bin.accuracy?)))
    }

    fn alt(&self) -> String {
        let each = self.filled().zip(self.points()).map(|(bin, (confidence, accuracy))| {
            format!("{} predictions of confidence {}: {} right", bin.count, score(confidence), score(accuracy))
        });
        format!("Reliability of the {}. {}.", self.name, each.collect::<Vec<_>>().join("; "))
    }
}
