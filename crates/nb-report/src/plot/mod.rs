//! Plots as inline SVG that takes its colours from the page, so that one drawing serves light and dark.
//!
//! `plotters` draws with fixed colours; here each [`Ink`] draws with a reserved one, which [`drawing`] replaces by the
//! style sheet's variable. Coordinates are whole numbers, so the canvas is [`UNIT`] times as fine as a CSS pixel.

mod axis;
mod curves;
mod forest;
mod reliability;
mod scatter;
mod series;

use axis::Axis;
use maud::{Markup, PreEscaped, html};
use plotters::chart::ChartContext;
use plotters::coord::Shift;
use plotters::coord::cartesian::Cartesian2d;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

pub(crate) use axis::Bounds;
pub(crate) use curves::{Bar, Curve, Curves, Look};
pub(crate) use forest::{Forest, Span};
pub(crate) use reliability::Reliability;
pub(crate) use scatter::{Dot, SHAPES, Scatter};
pub(crate) use series::Series;

use crate::ReportError;

/// Canvas units in a CSS pixel.
const UNIT: i32 = 4;

/// Height of ordinary text in a plot, in CSS pixels.
const TEXT: f64 = 12.0;

/// plotters divides the size of a font by this before it writes it.
const FONT_SCALE: f64 = 1.24;

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Chart<'a, 'b> = ChartContext<'a, SVGBackend<'b>, Cartesian2d<Axis, Axis>>;
type Drawn = Result<(), DrawingAreaErrorKind<std::io::Error>>;

/// A colour of the page by what it stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ink {
    /// The student.
    Student,
    /// The teacher.
    Teacher,
    /// Ordinary text.
    Text,
    /// What stands back.
    Muted,
    /// Lines of the grid.
    Grid,
    /// What lies behind the plot.
    Surface,
    /// One of several equals.
    Series(usize),
}

impl Ink {
    const SERIES: usize = 8;
    /// Dashes and gaps of lines that must be told apart without colour, in CSS pixels; the first is a full line.
    const DASHES: [&'static [i32]; 4] = [&[], &[5, 4], &[1, 4], &[8, 4, 1, 4]];

    /// The name of its variable in the style sheet.
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

    /// The pattern that its lines have: the teacher's and every second series' are dashed.
    fn pattern(self) -> usize {
        match self {
            Self::Teacher => 1,
            Self::Series(n) => n % Self::DASHES.len(),
            _ => 0,
        }
    }

    /// Dashes and gaps of its lines in CSS pixels; empty for a full line.
    pub(crate) fn dashes(self) -> String {
        let lengths = Self::DASHES[self.pattern()].iter();
        lengths.map(i32::to_string).collect::<Vec<_>>().join(" ")
    }

    /// The colour of a line that can be told apart without colour.
    fn line(self) -> RGBColor {
        RGBColor(1, u8::try_from(self.pattern()).unwrap_or(0), self.number())
    }
}

/// Draws `width` × `height` CSS pixels; `alt` says in words what is to be seen.
fn drawing(width: i32, height: i32, alt: &str, paint: impl FnOnce(&Area<'_>) -> Drawn) -> Result<Markup, ReportError> {
    let (w, h) = (width * UNIT, height * UNIT);
    let mut svg = String::new();
    {
        let size = (w.unsigned_abs(), h.unsigned_abs());
        let area = SVGBackend::with_string(&mut svg, size).into_drawing_area();
        let drawn = paint(&area).and_then(|()| area.present());
        drawn.map_err(|e| ReportError::Drawing(e.to_string()))?;
    }
    Ok(html! {
        svg.plot viewBox=(format!("0 0 {w} {h}")) role="img" aria-label=(alt) { (PreEscaped(themed(&svg))) }
    })
}

/// What is inside the `svg` element, its reserved colours replaced and what says nothing left out.
///
/// Text cannot be taken for a colour: the backend has escaped its quotation marks.
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

/// Draws the axes of `chart` and lines across at the ticks of the upright one; `names` of the axes, where they have any.
fn mesh(chart: &mut Chart<'_, '_>, names: Option<(&str, &str)>) -> Drawn {
    let label = |across, down| font(Ink::Muted, TEXT, across, down);
    let mut mesh = chart.configure_mesh();
    mesh.disable_x_mesh()
        .set_all_tick_mark_size(2 * UNIT)
        .light_line_style(TRANSPARENT)
        .bold_line_style(stroke(Ink::Grid.colour(), 4))
        .axis_style(stroke(Ink::Grid.colour(), 4))
        .x_label_style(label(HPos::Center, VPos::Top))
        .y_label_style(label(HPos::Right, VPos::Center))
        .axis_desc_style(label(HPos::Center, VPos::Center));
    if let Some((across, up)) = names {
        mesh.x_desc(across).y_desc(up);
    }
    mesh.draw()
}

/// Text of `size` CSS pixels, standing at its point as `across` and `down` say.
fn font(ink: Ink, size: f64, across: HPos, down: VPos) -> TextStyle<'static> {
    let font = ("sans-serif", size * FONT_SCALE * f64::from(UNIT)).into_font();
    TextStyle { font, color: ink.colour().to_backend_color(), pos: Pos::new(across, down) }
}

/// A line of `width` quarter pixels.
fn stroke(colour: impl Color, width: u32) -> ShapeStyle {
    ShapeStyle { color: colour.to_rgba(), filled: false, stroke_width: width }
}

/// About how wide `text` is at `size` CSS pixels, in canvas units.
fn text_width(text: &str, size: f64) -> i32 {
    (text.chars().count() as f64 * size * 0.56 * f64::from(UNIT)).ceil() as i32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_become_variables_and_text_that_looks_like_one_stays() {
        let svg = drawing(10, 10, "a \"dot\"", |area| {
            area.draw(&Circle::new((1, 1), 3, Ink::Teacher.colour().filled()))?;
            area.draw(&PathElement::new(vec![(0, 0), (9, 9)], stroke(Ink::Series(9).line(), 2)))?;
            let style = font(Ink::Text, 10.0, HPos::Left, VPos::Top);
            area.draw(&Text::new("fill=\"#010001\" <b>", (0, 0), style))
        });
        let svg = svg.unwrap().into_string();
        assert!(svg.contains("fill=\"var(--teacher)\""), "{svg}");
        assert!(svg.contains("stroke=\"var(--s1)\" stroke-dasharray=\"20 16\""), "{svg}");
        assert!(svg.contains("fill=&quot;#010001&quot; &lt;b&gt;"), "{svg}");
        assert!(svg.contains("aria-label=\"a &quot;dot&quot;\"") && svg.ends_with("</svg>"), "{svg}");
        assert!(!svg.contains("xmlns") && svg.matches("<svg").count() == 1, "{svg}");
    }

    #[test]
    fn every_ink_comes_back_from_its_number() {
        for number in 0..14 {
            assert_eq!(usize::from(Ink::numbered(number).number()), number);
        }
    }
}
