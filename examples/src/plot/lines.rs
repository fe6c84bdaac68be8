//! Lines with markers and error bars on linear or logarithmic axes.

use std::path::Path;

use plotters::coord::Shift;
use plotters::element::DashedPathElement;
use plotters::prelude::*;
use plotters::style::text_anchor::HPos;

use super::axis::Coordinate;
use super::{Axis, Canvas, FONT, GRID, INK, Marker, PlotError, TEXT, TITLE, Value, WIDTH};
use super::{colour, marker, text_style, text_width, write_svg};

/// A chart of lines, with the legend on its right.
#[derive(Clone, Debug, PartialEq)]
pub struct LineChart {
    /// Stands above the lines.
    pub title: String,
    /// The axis from left to right.
    pub x: Axis,
    /// The axis from bottom to top.
    pub y: Axis,
    /// The lines.
    pub series: Vec<LineSeries>,
}

/// One line of a [`LineChart`].
#[derive(Clone, Debug, PartialEq)]
pub struct LineSeries {
    /// Its name in the legend.
    pub name: String,
    /// How it is drawn.
    pub style: LineStyle,
    /// Its points, in the order in which they are joined.
    pub points: Vec<(f64, Value)>,
}

/// How the points of a [`LineSeries`] are drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum LineStyle {
    /// A line with a marker at each point.
    #[default]
    Line,
    /// A dashed line without markers, in the colour of the series before it: a bound or a forecast of that series.
    Dashed,
    /// Markers alone: points that no line joins.
    Markers,
}

/// Height of the chart in pixels, unless the legend needs more.
const HEIGHT: u32 = 480;
/// Height of a legend line in pixels.
const LEGEND_LINE: u32 = 22;

type DrawError = DrawingAreaErrorKind<<SVGBackend<'static> as DrawingBackend>::ErrorType>;

impl LineChart {
    /// Writes the chart as an SVG file of 860 by 480 pixels, higher if the legend is long.
    ///
    /// # Errors
    /// [`PlotError::Empty`] without a point, [`PlotError::Value`] for a point that an axis cannot show,
    /// [`PlotError::Write`] if the file cannot be written.
    pub fn write(&self, path: impl AsRef<Path>) -> Result<(), PlotError> {
        self.check()?;
        let height = HEIGHT.max(LEGEND_LINE * self.series.len() as u32 + 80);
        write_svg(path.as_ref(), height, |canvas| {
            self.draw(canvas).map_err(|error| error.to_string())
        })
    }

    fn check(&self) -> Result<(), PlotError> {
        for series in &self.series {
            for (x, y) in &series.points {
                let on_x = [(*x, self.x.scale)].into_iter();
                let mut numbers = on_x.chain(y.numbers().map(|number| (number, self.y.scale)));
                if let Some((value, scale)) = numbers.find(|(v, scale)| !scale.can_show(*v)) {
                    return Err(PlotError::Value {
                        series: series.name.clone(),
                        value,
                        scale: scale.name(),
                    });
                }
            }
        }
        if self.points().next().is_none() {
            return Err(PlotError::Empty {
                title: self.title.clone(),
            });
        }
        Ok(())
    }

    fn points(&self) -> impl Iterator<Item = &(f64, Value)> {
        self.series.iter().flat_map(|series| series.points.iter())
    }

    fn coordinates(&self) -> (Coordinate, Coordinate) {
        let xs = self.points().map(|(x, _)| *x).collect();
        let ys = self.points().flat_map(|(_, y)| y.numbers()).collect();
        (coordinate(&self.x, xs, 6), coordinate(&self.y, ys, 7))
    }

    fn draw(&self, canvas: &Canvas<'_>) -> Result<(), DrawError> {
        canvas.draw_text(&self.title, &text_style(TITLE, HPos::Left), (14, 20))?;
        let names = self
            .series
            .iter()
            .map(|series| text_width(&series.name))
            .max();
        let legend = (names.unwrap_or(0) + 60).min(WIDTH / 3);
        let (left, right) = canvas.split_horizontally(WIDTH - legend);

        let (x, y) = self.coordinates();
        let tick_labels = y
            .ticks
            .iter()
            .map(|tick| text_width(&self.y.scale.tick_label(*tick)));
        let tick_labels = tick_labels.max().unwrap_or(0);
        let mut chart = ChartBuilder::on(&left)
            .margin_left(10)
            .margin_right(16)
            .margin_top(44)
            .margin_bottom(10)
            .set_label_area_size(LabelAreaPosition::Left, tick_labels + 44)
            .set_label_area_size(LabelAreaPosition::Bottom, 60)
            .build_cartesian_2d(x, y)?;
        chart
            .configure_mesh()
            .bold_line_style(GRID)
            .axis_style(INK)
            .x_desc(&self.x.label)
            .y_desc(&self.y.label)
            .label_style((FONT, TEXT).into_font().color(&INK))
            .axis_desc_style((FONT, TEXT).into_font().color(&INK))
            .draw()?;

        // Markers and error bars are drawn in pixels: their size has nothing to do with the axes.
        let pixel = |x: f64, y: f64| {
            let place = (self.x.scale.position(x), self.y.scale.position(y));
            chart.plotting_area().map_coordinate(&place)
        };
        for (k, series) in self.numbered() {
            let line = series.points.iter().map(|(x, y)| pixel(*x, y.value));
            draw_line(canvas, k, series.style, line.clone().collect())?;
            for (x, y) in &series.points {
                let Some((low, high)) = y.interval else {
                    continue;
                };
                let (bottom, top) = (pixel(*x, low), pixel(*x, high));
                let cap = |(x, y): (i32, i32)| vec![(x - 4, y), (x + 4, y)];
                for stroke in [vec![bottom, top], cap(bottom), cap(top)] {
                    canvas.draw(&PathElement::new(stroke, colour(k)))?;
                }
            }
            for place in line.filter(|_| series.style != LineStyle::Dashed) {
                draw_marker(canvas, k, place)?;
            }
        }
        self.draw_legend(&right)
    }

    /// The series with the numbers of their colours and markers, which a dashed one takes from the series before it.
    fn numbered(&self) -> impl Iterator<Item = (usize, &LineSeries)> {
        self.series.iter().scan(0, |next, series| {
            if series.style != LineStyle::Dashed || *next == 0 {
                *next += 1;
            }
            Some((*next - 1, series))
        })
    }

    fn draw_legend(&self, area: &DrawingArea<SVGBackend<'_>, Shift>) -> Result<(), DrawError> {
        for (place, (k, series)) in self.numbered().enumerate() {
            let y = 54 + (place as u32 * LEGEND_LINE) as i32;
            draw_line(area, k, series.style, vec![(0, y), (26, y)])?;
            if series.style != LineStyle::Dashed {
                draw_marker(area, k, (13, y))?;
            }
            area.draw_text(&series.name, &text_style(TEXT, HPos::Left), (34, y))?;
        }
        Ok(())
    }
}

fn coordinate(axis: &Axis, values: Vec<f64>, ticks: usize) -> Coordinate {
    let scale = axis.scale;
    let span = scale.span(values.into_iter().map(|value| scale.position(value)));
    let ticks = scale.ticks(&span, ticks);
    Coordinate { scale, span, ticks }
}

fn draw_line(
    area: &DrawingArea<SVGBackend<'_>, Shift>,
    k: usize,
    style: LineStyle,
    line: Vec<(i32, i32)>,
) -> Result<(), DrawError> {
    let ink = colour(k).stroke_width(2);
    match style {
        LineStyle::Line => area.draw(&PathElement::new(line, ink)),
        LineStyle::Dashed => area.draw(&DashedPathElement::new(line, 7, 5, ink)),
        LineStyle::Markers => Ok(()),
    }
}

fn draw_marker(
    area: &DrawingArea<SVGBackend<'_>, Shift>,
    k: usize,
    (x, y): (i32, i32),
) -> Result<(), DrawError> {
    let style = colour(k).filled();
    match marker(k) {
        Marker::Circle => area.draw(&Circle::new((x, y), 4, style)),
        Marker::Square => area.draw(&Rectangle::new([(x - 4, y - 4), (x + 4, y + 4)], style)),
        Marker::Triangle => {
            let corners = vec![(x, y - 5), (x - 5, y + 4), (x + 5, y + 4)];
            area.draw(&Polygon::new(corners, style))
        }
        Marker::Diamond => {
            let corners = vec![(x, y - 6), (x + 6, y), (x, y + 6), (x - 6, y)];
            area.draw(&Polygon::new(corners, style))
        }
    }
}
