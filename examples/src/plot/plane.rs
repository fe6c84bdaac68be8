//! Pictures of a plane: points, curves and arrows, with the same scale along both axes.

use std::path::Path;

use plotters::prelude::*;
use plotters::style::text_anchor::HPos;
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use rand::seq::index;

use super::axis::{Coordinate, Scale};
use super::{Canvas, FONT, GRID, INK, PlotError, TEXT, TITLE, WIDTH};
use super::{colour, text_style, text_width, write_svg};

/// Points with curves over them; the legend is on the right.
#[derive(Clone, Debug, PartialEq)]
pub struct PlanePicture {
    /// Stands above the picture.
    pub title: String,
    /// What the axis from left to right is.
    pub x: String,
    /// What the axis from bottom to top is.
    pub y: String,
    /// Points, drawn small and grey; of more than 4,000 that many chosen at random.
    pub points: Vec<(f64, f64)>,
    /// The curves, the last on top.
    pub curves: Vec<PlaneCurve>,
}

/// What one colour of a [`PlanePicture`] stands for.
#[derive(Clone, Debug, PartialEq)]
pub struct PlaneCurve {
    /// Its name in the legend.
    pub name: String,
    /// Its points, joined in their order: one list for a curve, several for the lines of a net. A list whose points fall together is a dot.
    pub lines: Vec<Vec<(f64, f64)>>,
    /// Arrows that belong to it.
    pub arrows: Vec<Arrow>,
}

/// An arrow.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Arrow {
    /// Where it begins.
    pub from: (f64, f64),
    /// Where its head is.
    pub to: (f64, f64),
}

/// Points that are drawn at most: each takes about 100 bytes of a file.
const SHOWN: usize = 4_000;
const POINTS: RGBColor = RGBColor(190, 190, 190);
/// The least and the largest height of what the axes enclose, in pixels.
const HEIGHTS: [f64; 2] = [160.0, 640.0];
/// Height of a legend line in pixels.
const LEGEND_LINE: u32 = 22;
/// Space around the axes in pixels: above, below with the labels, and to the right.
const ABOVE: u32 = 44;
const BELOW: u32 = 60;
const MARGIN: u32 = 16;

type DrawError = DrawingAreaErrorKind<<SVGBackend<'static> as DrawingBackend>::ErrorType>;

/// The axes and how many pixels they take.
struct Frame {
    x: Coordinate,
    y: Coordinate,
    /// Pixels for the legend, the labels on the left, and to the right of the axes.
    legend: u32,
    left: u32,
    right: u32,
    height: u32,
}

impl PlanePicture {
    /// Writes the picture as an SVG file, 860 pixels wide and as high as it must be.
    ///
    /// # Errors
    /// [`PlotError::Empty`] without a point or curve, [`PlotError::Value`] for a coordinate that is no finite number, [`PlotError::Write`] if
    /// the file cannot be written.
    pub fn write(&self, path: impl AsRef<Path>) -> Result<(), PlotError> {
        self.check()?;
        let frame = self.frame();
        let legend = LEGEND_LINE * self.curves.len() as u32 + 80;
        write_svg(path.as_ref(), frame.height.max(legend), |canvas| {
            self.draw(canvas, frame).map_err(|error| error.to_string())
        })
    }

    fn check(&self) -> Result<(), PlotError> {
        let refuse = |series: &str, points: &mut dyn Iterator<Item = (f64, f64)>| {
            let value = points.flat_map(|(x, y)| [x, y]).find(|v| !v.is_finite());
            value.map_or(Ok(()), |value| {
                Err(PlotError::Value {
                    series: series.to_owned(),
                    value,
                    scale: Scale::Linear.name(),
                })
            })
        };
        refuse("points", &mut self.points.iter().copied())?;
        for curve in &self.curves {
            refuse(&curve.name, &mut curve.places())?;
        }
        if self.places().next().is_none() {
            return Err(PlotError::Empty {
                title: self.title.clone(),
            });
        }
        Ok(())
    }

    fn places(&self) -> impl Iterator<Item = (f64, f64)> {
        let curves = self.curves.iter().flat_map(PlaneCurve::places);
        self.points.iter().copied().chain(curves)
    }

    /// Axes on which a unit is as many pixels one way as the other.
    fn frame(&self) -> Frame {
        let names = self.curves.iter().map(|curve| text_width(&curve.name));
        let legend = (names.max().unwrap_or(0) + 60).min(WIDTH / 3);
        let mut x = Scale::Linear.span(self.places().map(|place| place.0));
        let mut y = Scale::Linear.span(self.places().map(|place| place.1));
        // Room for the labels of the ticks, which depend on the height and hardly change with it.
        let ticks = Scale::Linear.ticks(&y, 7);
        let labels = ticks.iter().map(|tick| Scale::Linear.tick_label(*tick));
        let left = labels.map(|label| text_width(&label)).max().unwrap_or(0) + 44;
        let width = f64::from(WIDTH - legend - left - MARGIN);
        let ratio = |x: &std::ops::Range<f64>, y: &std::ops::Range<f64>| {
            (y.end - y.start) / (x.end - x.start)
        };
        let height = (width * ratio(&x, &y)).clamp(HEIGHTS[0], HEIGHTS[1]);
        // A flat picture gets room above and below, a high one is narrower.
        let widen = |span: &mut std::ops::Range<f64>, by: f64| {
            let (middle, half) = (
                0.5 * (span.start + span.end),
                0.5 * (span.end - span.start) * by,
            );
            *span = middle - half..middle + half;
        };
        let used = (height / ratio(&x, &y)).min(width).max(0.25 * width);
        let found = ratio(&x, &y);
        let wanted = height / used;
        if wanted > found {
            widen(&mut y, wanted / found);
        } else {
            widen(&mut x, found / wanted);
        }
        let coordinate = |span: std::ops::Range<f64>, pixels: f64| Coordinate {
            scale: Scale::Linear,
            ticks: Scale::Linear.ticks(&span, (pixels / 80.0).round().max(2.0) as usize),
            span,
        };
        Frame {
            x: coordinate(x, used),
            y: coordinate(y, height),
            legend,
            left,
            right: MARGIN + (width - used).round() as u32,
            height: ABOVE + BELOW + MARGIN + height.round() as u32,
        }
    }

    fn draw(&self, canvas: &Canvas<'_>, frame: Frame) -> Result<(), DrawError> {
        canvas.draw_text(&self.title, &text_style(TITLE, HPos::Left), (14, 20))?;
        let unused = frame.right - MARGIN;
        let (area, legend) = canvas.split_horizontally(WIDTH - frame.legend - unused);
        // The legend may need more height than the picture.
        let (area, _) = area.split_vertically(frame.height);
        let mut chart = ChartBuilder::on(&area)
            .margin_right(MARGIN)
            .margin_top(ABOVE)
            .margin_bottom(MARGIN)
            .set_label_area_size(LabelAreaPosition::Left, frame.left)
            .set_label_area_size(LabelAreaPosition::Bottom, BELOW)
            .build_cartesian_2d(frame.x, frame.y)?;
        chart
            .configure_mesh()
            .bold_line_style(GRID)
            .axis_style(INK)
            .x_desc(&self.x)
            .y_desc(&self.y)
            .label_style((FONT, TEXT).into_font().color(&INK))
            .axis_desc_style((FONT, TEXT).into_font().color(&INK))
            .draw()?;

        let pixel = |place: &(f64, f64)| chart.plotting_area().map_coordinate(place);
        let shown = index::sample(
            &mut StdRng::seed_from_u64(0),
            self.points.len(),
            SHOWN.min(self.points.len()),
        );
        for place in shown {
            let place = pixel(&self.points[place]);
            canvas.draw(&Circle::new(place, 1, POINTS.filled()))?;
        }
        for (k, curve) in self.curves.iter().enumerate() {
            let width = if curve.lines.len() > 1 { 1 } else { 3 };
            for line in &curve.lines {
                let line: Vec<(i32, i32)> = line.iter().map(pixel).collect();
                match line.first() {
                    Some(first) if line.iter().all(|place| place == first) => {
                        canvas.draw(&Circle::new(*first, 4, colour(k).filled()))?;
                    }
                    _ => canvas.draw(&PathElement::new(line, colour(k).stroke_width(width)))?,
                }
            }
        }
        // Arrows lie above all curves.
        for (k, curve) in self.curves.iter().enumerate() {
            for arrow in &curve.arrows {
                draw_arrow(canvas, k, pixel(&arrow.from), pixel(&arrow.to))?;
            }
        }
        for (k, curve) in self.curves.iter().enumerate() {
            let y = 54 + (k as u32 * LEGEND_LINE) as i32;
            let style = colour(k).stroke_width(3);
            legend.draw(&PathElement::new(vec![(0, y), (26, y)], style))?;
            legend.draw_text(&curve.name, &text_style(TEXT, HPos::Left), (34, y))?;
        }
        Ok(())
    }
}

impl PlaneCurve {
    fn places(&self) -> impl Iterator<Item = (f64, f64)> {
        let lines = self.lines.iter().flatten().copied();
        lines.chain(self.arrows.iter().flat_map(|arrow| [arrow.from, arrow.to]))
    }
}

/// An arrow with a head of a few pixels; one shorter than three is left out.
fn draw_arrow(
    canvas: &Canvas<'_>,
    k: usize,
    from: (i32, i32),
    to: (i32, i32),
) -> Result<(), DrawError> {
    let (x, y) = (f64::from(to.0 - from.0), f64::from(to.1 - from.1));
    let length = x.hypot(y);
    if length < 3.0 {
        return Ok(());
    }
    let (along, across) = ((x / length, y / length), (-y / length, x / length));
    let size = (0.5 * length).min(7.0);
    let corner = |side: f64| {
        let place = |head: i32, along: f64, across: f64| {
            (f64::from(head) - size * along + side * 0.45 * size * across).round() as i32
        };
        (
            place(to.0, along.0, across.0),
            place(to.1, along.1, across.1),
        )
    };
    canvas.draw(&PathElement::new(vec![from, to], colour(k).stroke_width(1)))?;
    canvas.draw(&Polygon::new(
        vec![to, corner(1.0), corner(-1.0)],
        colour(k).filled(),
    ))
}
