//! The plots of a comparison: score against time and against the cost of training, and differences from the baseline.

use super::rows::{ink, row_name};
use crate::format::{name, p_value};
use crate::plot::{Dot, Drawing, Forest, Ink, Level, SHAPES, Scatter, Span};
use crate::record::{Against, Row, TeacherRow};
use crate::{Comparison, ReportError};

/// The horizontal axis of a scatter plot.
#[derive(Clone, Copy)]
pub(super) enum Across {
    /// The time for a single text.
    Time,
    /// The processor time of the training.
    Cost,
}

impl Across {
    fn title(self) -> &'static str {
        match self {
            Self::Time => "ms per text, log scale →",
            Self::Cost => "processor seconds of the training, log scale →",
        }
    }

    fn of_row(self, row: &Row) -> Option<f64> {
        match self {
            Self::Time => row.milliseconds_per_text,
            Self::Cost => row.processor_seconds().filter(|seconds| seconds.is_finite() && *seconds > 0.0),
        }
    }

    fn of_teacher(self, teacher: &TeacherRow) -> Option<f64> {
        match self {
            Self::Time => teacher.milliseconds_per_text,
            Self::Cost => None, // a part of the cost of its students
        }
    }
}

/// The plot of the metric against time.
pub(super) struct ScatterPlot {
    across: Across,
    dots: Vec<Dot>,
    metric: String,
    /// The teacher's score.
    teacher: Option<f64>,
    teacher_is_a_dot: bool,
    /// Height in CSS pixels on a wide page.
    height: i32,
}

impl ScatterPlot {
    /// Returns the plot; `None` if no time was measured.
    pub(super) fn of(comparison: &Comparison, across: Across) -> Option<Self> {
        let dots = dots(comparison, across);
        let teacher = comparison.teacher.as_ref();
        // About as high as the forest plot beside it, within limits.
        let tested = comparison.rows.iter().filter(|row| row.against.is_some()).count();
        (!dots.is_empty()).then(|| Self {
            across,
            dots,
            metric: name(&comparison.metric),
            teacher: teacher.map(|teacher| teacher.score),
            teacher_is_a_dot: teacher.is_some_and(|teacher| across.of_teacher(teacher).is_some()),
            height: i32::try_from(tested * 33 + 30).unwrap_or(i32::MAX).clamp(400, 560),
        })
    }

    /// Draws the plot `width` CSS pixels wide.
    pub(super) fn draw(&self, width: i32) -> Result<Drawing, ReportError> {
        let name = if self.teacher_is_a_dot { "" } else { "teacher" };
        Scatter {
            x_name: self.across.title(),
            y_name: &self.metric,
            dots: &self.dots,
            level: self.teacher.map(|score| Level { name, score }),
            width,
            height: self.height.min(width * 5 / 4),
        }
        .draw()
    }

    /// Returns whether a point has an error bar.
    pub(super) fn has_spread(&self) -> bool {
        self.dots.iter().any(|dot| dot.spread.is_some())
    }
}

fn dots(comparison: &Comparison, across: Across) -> Vec<Dot> {
    let depths = depths(comparison);
    let shape = |layers: u64| depths.iter().position(|(_, other)| *other == layers).unwrap_or(0);
    let students = comparison.rows.iter().filter_map(|row| {
        Some(Dot {
            label: row_name(comparison, &row.label, row.layers),
            x: across.of_row(row)?,
            y: row.mean,
            spread: row.spread,
            ink: ink(comparison, &row.label),
            shape: shape(row.layers),
        })
    });
    let teacher = comparison.teacher.iter().filter_map(|teacher| {
        Some(Dot {
            label: format!("teacher {}L", teacher.layers),
            x: across.of_teacher(teacher)?,
            y: teacher.score,
            spread: None,
            ink: Ink::Teacher,
            shape: shape(teacher.layers),
        })
    });
    students.chain(teacher).collect()
}

/// Returns each depth with its mark, in ascending order.
pub(super) fn depths(comparison: &Comparison) -> Vec<(&'static str, u64)> {
    let mut depths: Vec<u64> = comparison.rows.iter().map(|row| row.layers).collect();
    depths.extend(comparison.teacher.as_ref().map(|teacher| teacher.layers));
    depths.sort_unstable();
    depths.dedup();
    SHAPES.iter().copied().cycle().zip(depths).collect()
}

/// The plot of the differences from the baseline.
pub(super) struct ForestPlot {
    /// The title.
    pub(super) title: String,
    spans: Vec<Span>,
}

/// A row that was tested against the baseline.
struct Tested<'a> {
    row: &'a Row,
    test: &'a Against,
}

impl ForestPlot {
    /// Returns the plot; `None` if no row was tested.
    pub(super) fn of(comparison: &Comparison) -> Option<Self> {
        let tested = comparison.rows.iter().filter_map(|row| Some(Tested { row, test: row.against.as_ref()? }));
        let is_finite = |test: &Against| [test.difference, test.low, test.high].iter().all(|value| value.is_finite());
        let mut tested: Vec<Tested<'_>> = tested.filter(|tested| is_finite(tested.test)).collect();
        // By depth, best first within a depth.
        tested.sort_by(|a, b| {
            let best_first = b.test.difference.total_cmp(&a.test.difference);
            a.row.layers.cmp(&b.row.layers).then(best_first)
        });
        let span = |Tested { row, test }: &Tested<'_>| Span {
            label: row_name(comparison, &row.label, row.layers),
            group: row.layers,
            difference: test.difference,
            low: test.low,
            high: test.high,
            remark: format!("p {}", with_equals(&p_value(test.p_holm))),
        };
        let title = format!("Difference in {} to {}", name(&comparison.metric), comparison.baseline);
        (!tested.is_empty()).then(|| Self { title, spans: tested.iter().map(span).collect() })
    }

    /// Draws the plot `width` CSS pixels wide.
    pub(super) fn draw(&self, width: i32) -> Result<Drawing, ReportError> {
        Forest { title: &self.title, spans: &self.spans, width }.draw()
    }
}

fn with_equals(p: &str) -> String {
    if p.starts_with('<') { p.to_owned() } else { format!("= {p}") }
}
