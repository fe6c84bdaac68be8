//! Plots as SVG files: bars with error bars, lines on linear or logarithmic axes, and pictures of a plane.
//!
//! Series are told apart by colours that people with any kind of colour vision can tell apart (Okabe and Ito's
//! palette), and lines by their markers as well. Texts are real text, drawn with the viewer's sans-serif font.

mod axis;
mod bars;
mod lines;
mod plane;

use std::path::{Path, PathBuf};

use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

pub use axis::{Axis, Scale};
pub use bars::{BarChart, BarSeries};
pub use lines::{LineChart, LineSeries, LineStyle};
pub use plane::{Arrow, PlaneCurve, PlanePicture};

/// A value and, if known, the interval around it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Value {
    /// The value: the length of a bar, the height of a point.
    pub value: f64,
    /// Lower and upper end of its interval, drawn as an error bar.
    pub interval: Option<(f64, f64)>,
}

impl Value {
    /// A value with an interval.
    pub fn with_interval(value: f64, low: f64, high: f64) -> Self {
        Self {
            value,
            interval: Some((low, high)),
        }
    }

    fn numbers(self) -> impl Iterator<Item = f64> {
        let (low, high) = self.interval.unwrap_or((self.value, self.value));
        [self.value, low, high].into_iter()
    }
}

impl From<f64> for Value {
    fn from(value: f64) -> Self {
        Self {
            value,
            interval: None,
        }
    }
}

/// Why a plot was not written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PlotError {
    /// There is nothing to draw: no category, no series, or no point at all.
    #[error("the plot `{title}` has nothing to draw")]
    Empty {
        /// Title of the plot.
        title: String,
    },
    /// A series has another number of values than there are categories.
    #[error("series `{series}` has {found} values for {expected} categories")]
    Shape {
        /// Name of the series.
        series: String,
        /// Categories of the chart.
        expected: usize,
        /// Values of the series.
        found: usize,
    },
    /// A number is NaN or infinite, or not positive on a logarithmic axis.
    #[error("series `{series}` holds {value}, which a {scale} axis cannot show")]
    Value {
        /// Name of the series.
        series: String,
        /// The number.
        value: f64,
        /// `linear` or `logarithmic`.
        scale: &'static str,
    },
    /// The file could not be written.
    #[error("cannot write the plot {path}: {reason}")]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
}

/// Width of all plots in pixels.
const WIDTH: u32 = 860;
/// Size of texts; the SVG backend of `plotters` writes a font of this size divided by 1.24.
const TEXT: i32 = 17;
/// Size of the title.
const TITLE: i32 = 21;
const FONT: &str = "sans-serif";
const INK: RGBColor = RGBColor(40, 40, 40);
const GRID: RGBColor = RGBColor(225, 225, 225);

/// Okabe and Ito's colours without the yellow, which is too faint on white.
const PALETTE: [RGBColor; 7] = [
    RGBColor(0, 114, 178),
    RGBColor(230, 159, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(213, 94, 0),
    RGBColor(86, 180, 233),
    RGBColor(0, 0, 0),
];

/// How the marks of a line look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Marker {
    Circle,
    Square,
    Triangle,
    Diamond,
}

const MARKERS: [Marker; 4] = [
    Marker::Circle,
    Marker::Square,
    Marker::Triangle,
    Marker::Diamond,
];

fn colour(series: usize) -> RGBColor {
    PALETTE[series % PALETTE.len()]
}

/// As 4 and 7 have no common factor, 28 series pass before a colour meets the same marker again.
fn marker(series: usize) -> Marker {
    MARKERS[series % MARKERS.len()]
}

/// Width in pixels that `text` takes at most, in an ordinary sans-serif font of size [`TEXT`].
fn text_width(text: &str) -> u32 {
    // Wide characters (Chinese, Japanese, Korean) take a whole em, others a little over half of one on average.
    let em = f64::from(TEXT) / 1.24;
    let ems: f64 = text
        .chars()
        .map(|c| if c >= '\u{1100}' { 1.0 } else { 0.6 })
        .sum();
    (em * ems).ceil() as u32
}

fn text_style(size: i32, horizontal: HPos) -> TextStyle<'static> {
    (FONT, size)
        .into_font()
        .color(&INK)
        .pos(Pos::new(horizontal, VPos::Center))
}

type Canvas<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// Draws into a string and writes it in one go, so that no half-written file stays behind.
fn write_svg(
    path: &Path,
    height: u32,
    draw: impl FnOnce(&Canvas<'_>) -> Result<(), String>,
) -> Result<(), PlotError> {
    let mut svg = String::new();
    {
        let canvas = SVGBackend::with_string(&mut svg, (WIDTH, height)).into_drawing_area();
        canvas
            .fill(&WHITE)
            .map_err(|error| error.to_string())
            .and_then(|()| draw(&canvas))
            .and_then(|()| canvas.present().map_err(|error| error.to_string()))
            .map_err(|reason| PlotError::Write {
                path: path.to_owned(),
                reason,
            })?;
    }
    std::fs::write(path, svg).map_err(|error| PlotError::Write {
        path: path.to_owned(),
        reason: error.to_string(),
    })
}

#[cfg(test)]
mod tests;
