//! Plots as inline SVG that takes its colours from the page, so one drawing serves light and dark mode.
//!
//! `plotters` draws with fixed colours. Each [`Ink`] therefore has a reserved colour, which [`Drawing`] replaces with a
//! variable of the style sheet. Coordinates are integers, so the canvas has [`UNIT`] units per CSS pixel.

mod axis;
mod curves;
mod forest;
mod labels;
mod reliability;
mod scatter;
mod series;

use axis::Axis;
use maud::{Markup, PreEscaped, Render, html};
use plotters::chart::ChartContext;
use plotters::coord::Shift;
use plotters::coord::cartesian::Cartesian2d;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

pub(crate) use axis::Bounds;
pub(crate) use curves::{Bar, Curve, Curves, Look};
pub(crate) use forest::{Forest, Span};
pub(crate) use reliability::Reliability;
pub(crate) use scatter::{Dot, Level, SHAPES, Scatter};
pub(crate) use series::Series;

use crate::ReportError;

/// Canvas units per CSS pixel.
const UNIT: i32 = 4;

/// Height of ordinary text in a plot, in CSS pixels.
const TEXT: f64 = 12.0;

/// The divisor that `plotters` applies to a font size before writing it.
const FONT_SCALE: f64 = 1.24;

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Chart<'a, 'b> = ChartContext<'a, SVGBackend<'b>, Cartesian2d<Axis, Axis>>;
type Drawn = Result<(), DrawingAreaErrorKind<std::io::Error>>;

/// A colour of the page by its meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ink {
    /// The student.
    Student,
    /// The teacher.
    Teacher,
    /// Ordinary text.
    Text,
    /// Less prominent text and lines.
    Muted,
    /// Lines of the grid.
    Grid,
    /// The background.
    Surface,
    /// One of several series of equal rank.
    Series(usize),
}

impl Ink {
    const SERIES: usize = 8;
    /// Lengths of dashes and gaps in CSS pixels, by which lines differ in more than their colour. The first pattern is
    /// a solid line.
    const DASHES: [&'static [i32]; 4] = [&[], &[5, 4], &[1, 4], &[8, 4, 1, 4]];

    /// Returns the name of the colour's variable in the style sheet.
    pub(crate) fn name(self) -> String {
        match self {
            Self::Student => "student".to_owned(),
            Self::Teacher => "teacher".to_owned(),
            Self::Text => "ink".to_owned(),
            Self::Muted => "muted".to_owned(),
            Self::Grid => "line".to_owned(),
            Self::Surface => "page".to_owned(),
            Self::Series(n) => format!("s{}", n % Self::SERIES),
        }
    }

    fn number(self) -> u8 {
        match self {
            Self::Student => 0,
            Self::Teacher => 1,
            Self::Text => 2,
            Self::Muted => 3,
            Self::Grid => 4,
            Self::Surface => 5,
            Self::Series(n) => 6 + u8::try_from(n % Self::SERIES).unwrap_or(0),
        }
    }

    fn numbered(number: usize) -> Self {
        let fixed = [Self::Student, Self::Teacher, Self::Text, Self::Muted, Self::Grid, Self::Surface];
        fixed.get(number).copied().unwrap_or_else(|| Self::Series(number.saturating_sub(fixed.len())))
    }

    fn colour(self) -> RGBColor {
        RGBColor(1, 0, self.number())
    }

    /// Returns the line pattern, an index into `DASHES`. Lines of the teacher are dashed, and series take all patterns
    /// in turn.
    fn pattern(self) -> usize {
        match self {
            Self::Teacher => 1,
            Self::Series(n) => n % Self::DASHES.len(),
            _ => 0,
        }
    }

    /// Returns the lengths of dashes and gaps in CSS pixels; empty for a solid line.
    pub(crate) fn dashes(self) -> String {
        let lengths = Self::DASHES[self.pattern()].iter();
        lengths.map(i32::to_string).collect::<Vec<_>>().join(" ")
    }

    /// Returns the reserved colour of lines. It includes the pattern, which [`themed`] turns into dashes.
    fn line(self) -> RGBColor {
        RGBColor(1, u8::try_from(self.pattern()).unwrap_or(0), self.number())
    }
}

/// A finished plot. On a page it fills the width of its container; [`nested`](Self::nested) puts it into another
/// picture.
#[derive(Debug, Clone)]
pub(crate) struct Drawing {
    /// Width in CSS pixels.
    pub(crate) width: i32,
    /// Height in CSS pixels.
    pub(crate) height: i32,
    /// The plot in words.
    pub(crate) alt: String,
    /// The elements inside the `svg` element.
    elements: String,
}

impl Render for Drawing {
    fn render(&self) -> Markup {
        html! {
            svg.plot viewBox=(self.view_box()) role="img" aria-label=(self.alt) { (PreEscaped(&self.elements)) }
        }
    }
}

impl Drawing {
    /// Creates a plot from the drawing operations in `paint`.
    fn new(width: i32, height: i32, alt: String, paint: impl FnOnce(&Area<'_>) -> Drawn) -> Result<Self, ReportError> {
        let mut svg = String::new();
        {
            let size = ((width * UNIT).unsigned_abs(), (height * UNIT).unsigned_abs());
            let area = SVGBackend::with_string(&mut svg, size).into_drawing_area();
            let drawn = paint(&area).and_then(|()| area.present());
            drawn.map_err(|e| ReportError::Drawing(e.to_string()))?;
        }
        Ok(Self { width, height, alt, elements: themed(&svg) })
    }

    /// Returns the plot as an element of another picture, with its upper left corner at (`x`, `y`).
    pub(crate) fn nested(&self, x: i32, y: i32) -> Markup {
        html! {
            svg x=(x) y=(y) width=(self.width) height=(self.height) viewBox=(self.view_box()) {
                (PreEscaped(&self.elements))
            }
        }
    }

    fn view_box(&self) -> String {
        format!("0 0 {} {}", self.width * UNIT, self.height * UNIT)
    }
}

/// Returns the elements inside an `svg` element, with style-sheet variables in place of reserved colours and without
/// redundant attributes.
///
/// Text cannot be mistaken for a colour, because the backend has escaped its quotation marks.
fn themed(svg: &str) -> String {
    let inside = svg.split_once('>').map_or("", |(_, rest)| rest);
    let inside = inside.rsplit_once("</svg>").map_or(inside, |(inside, _)| inside);
    let inside = inside.replace(" opacity=\"1\"", "").replace(" font-family=\"sans-serif\"", "").replace('\n', "");
    let mut parts = inside.split("=\"#01");
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let byte = |at: usize| part.get(at..at + 2).and_then(|hex| usize::from_str_radix(hex, 16).ok()).unwrap_or(0);
        out.push_str(&format!("=\"var(--{})\"", Ink::numbered(byte(2)).name()));
        let dashes = Ink::DASHES.get(byte(0)).copied().unwrap_or_default();
        if !dashes.is_empty() {
            let lengths: Vec<String> = dashes.iter().map(|length| (length * UNIT).to_string()).collect();
            out.push_str(&format!(" stroke-dasharray=\"{}\"", lengths.join(" ")));
        }
        out.push_str(part.get(5..).unwrap_or_default());
    }
    out
}

/// The names of both axes.
#[derive(Debug, Clone, Copy)]
struct AxisNames {
    x: &'static str,
    y: &'static str,
}

/// Draws the axes of `chart`, and horizontal lines at the ticks of the vertical axis.
fn mesh(chart: &mut Chart<'_, '_>, names: Option<AxisNames>) -> Drawn {
    let label = |h, v| font(Ink::Muted, TEXT, h, v);
    let mut mesh = chart.configure_mesh();
    mesh.disable_x_mesh()
        .set_all_tick_mark_size(2 * UNIT)
        .light_line_style(TRANSPARENT)
        .bold_line_style(stroke(Ink::Grid.colour(), 4))
        .axis_style(stroke(Ink::Grid.colour(), 4))
        .x_label_style(label(HPos::Center, VPos::Top))
        .y_label_style(label(HPos::Right, VPos::Center))
        .axis_desc_style(label(HPos::Center, VPos::Center));
    if let Some(names) = names {
        mesh.x_desc(names.x).y_desc(names.y);
    }
    mesh.draw()
}

/// Returns the style of text with its size in CSS pixels and its anchor.
fn font(ink: Ink, size: f64, h: HPos, v: VPos) -> TextStyle<'static> {
    let font = ("sans-serif", size * FONT_SCALE * f64::from(UNIT)).into_font();
    TextStyle { font, color: ink.colour().to_backend_color(), pos: Pos::new(h, v) }
}

/// Returns the style of a line with its `width` in canvas units (quarter CSS pixels).
fn stroke(colour: impl Color, width: u32) -> ShapeStyle {
    ShapeStyle { color: colour.to_rgba(), filled: false, stroke_width: width }
}

/// Returns the approximate width of `text` at `size` CSS pixels, in canvas units.
fn text_width(text: &str, size: f64) -> i32 {
    (text.chars().count() as f64 * size * 0.56 * f64::from(UNIT)).ceil() as i32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reserved_colours_become_variables_but_text_stays_unchanged() {
        let svg = Drawing::new(10, 10, "a \"dot\"".to_owned(), |area| {
            area.draw(&Circle::new((1, 1), 3, Ink::Teacher.colour().filled()))?;
            area.draw(&PathElement::new(vec![(0, 0), (9, 9)], stroke(Ink::Series(9).line(), 2)))?;
            let style = font(Ink::Text, 10.0, HPos::Left, VPos::Top);
            area.draw(&Text::new("fill=\"#010001\" <b>", (0, 0), style))
        });
        let svg = svg.unwrap().render().into_string();
        assert!(svg.contains("fill=\"var(--teacher)\""), "{svg}");
        assert!(svg.contains("stroke=\"var(--s1)\" stroke-dasharray=\"20 16\""), "{svg}");
        assert!(svg.contains("fill=&quot;#010001&quot; &lt;b&gt;"), "{svg}");
        assert!(svg.contains("aria-label=\"a &quot;dot&quot;\"") && svg.ends_with("</svg>"), "{svg}");
        assert!(!svg.contains("xmlns") && svg.matches("<svg").count() == 1, "{svg}");
    }

    #[test]
    fn every_number_round_trips_through_its_ink() {
        for number in 0..14 {
            assert_eq!(usize::from(Ink::numbered(number).number()), number);
        }
    }
}
