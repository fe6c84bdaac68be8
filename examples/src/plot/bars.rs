//! Groups of horizontal bars with error bars: one group a category, one bar a series.

use std::path::Path;

use plotters::prelude::*;
use plotters::style::text_anchor::HPos;

use super::axis::{Coordinate, Scale};
use super::{Axis, Canvas, FONT, GRID, INK, PlotError, TEXT, TITLE, Value, WIDTH};
use super::{colour, text_style, text_width, write_svg};

/// A bar chart. Categories run from top to bottom, so that long names stay legible.
#[derive(Clone, Debug, PartialEq)]
pub struct BarChart {
    /// Stands above the bars.
    pub title: String,
    /// The axis of the values. A linear one starts at 0.
    pub axis: Axis,
    /// Names of the groups, from top to bottom.
    pub categories: Vec<String>,
    /// The bars of a group, from top to bottom.
    pub series: Vec<BarSeries>,
}

/// What one colour of a [`BarChart`] stands for.
#[derive(Clone, Debug, PartialEq)]
pub struct BarSeries {
    /// Its name in the legend.
    pub name: String,
    /// One value a category; `None` leaves the bar out.
    pub values: Vec<Option<Value>>,
}

/// Height of one bar in pixels.
const BAR: u32 = 13;
/// Space between two groups in bars.
const GAP: f64 = 0.8;

impl BarChart {
    /// Writes the chart as an SVG file, 860 pixels wide and as high as it must be.
    ///
    /// # Errors
    /// [`PlotError::Empty`] without a value, [`PlotError::Shape`] or [`PlotError::Value`] for a series that does not
    /// fit, [`PlotError::Write`] if the file cannot be written.
    pub fn write(&self, path: impl AsRef<Path>) -> Result<(), PlotError> {
        self.check()?;
        let groups = (self.categories.len() as f64 * self.group() * f64::from(BAR)).ceil() as u32;
        let height = groups + 130 + 20;
        write_svg(path.as_ref(), height, |canvas| {
            self.draw(canvas).map_err(|error| error.to_string())
        })
    }

    fn check(&self) -> Result<(), PlotError> {
        for series in &self.series {
            if series.values.len() != self.categories.len() {
                return Err(PlotError::Shape {
                    series: series.name.clone(),
                    expected: self.categories.len(),
                    found: series.values.len(),
                });
            }
            let mut numbers = series.values.iter().flatten().flat_map(|v| v.numbers());
            if let Some(value) = numbers.find(|v| !self.axis.scale.can_show(*v)) {
                return Err(PlotError::Value {
                    series: series.name.clone(),
                    value,
                    scale: self.axis.scale.name(),
                });
            }
        }
        if self.numbers().next().is_none() {
            return Err(PlotError::Empty {
                title: self.title.clone(),
            });
        }
        Ok(())
    }

    fn numbers(&self) -> impl Iterator<Item = f64> {
        let values = self.series.iter().flat_map(|series| series.values.iter());
        values.flatten().flat_map(|value| value.numbers())
    }

    /// Height of a group in bars.
    fn group(&self) -> f64 {
        self.series.len() as f64 + GAP
    }

    fn draw(
        &self,
        canvas: &Canvas<'_>,
    ) -> Result<(), DrawingAreaErrorKind<<SVGBackend<'static> as DrawingBackend>::ErrorType>> {
        let scale = self.axis.scale;
        let positions = self.numbers().map(|value| scale.position(value));
        // Bars of a linear axis mean nothing unless they start at 0.
        let zero = (scale.name() == "linear").then_some(0.0);
        let mut span = scale.span(positions.chain(zero));
        let base = zero.unwrap_or(span.start);
        if zero.is_some() && self.numbers().all(|value| value >= 0.0) {
            span.start = 0.0;
        }
        let ticks = scale.ticks(&span, 6);
        let names = self.categories.iter().map(|name| text_width(name)).max();
        let names = names.unwrap_or(0).min(WIDTH / 3);

        self.draw_legend(canvas)?;
        let groups = self.categories.len() as f64;
        let mut chart = ChartBuilder::on(canvas)
            .margin_left(10)
            .margin_right(30)
            .margin_top(70)
            .margin_bottom(10)
            .set_label_area_size(LabelAreaPosition::Left, names + 16)
            .set_label_area_size(LabelAreaPosition::Bottom, 60)
            .build_cartesian_2d(
                Coordinate { scale, span, ticks },
                Coordinate {
                    scale: Scale::Linear,
                    span: groups..0.0,
                    ticks: Vec::new(),
                },
            )?;
        chart
            .configure_mesh()
            .disable_y_mesh()
            .bold_line_style(GRID)
            .axis_style(INK)
            .x_desc(&self.axis.label)
            .label_style((FONT, TEXT).into_font().color(&INK))
            .axis_desc_style((FONT, TEXT).into_font().color(&INK))
            .draw()?;

        let bar = 1.0 / self.group();
        for (k, series) in self.series.iter().enumerate() {
            for (group, value) in series.values.iter().enumerate() {
                let Some(value) = value else { continue };
                let top = group as f64 + bar * (0.5 * GAP + k as f64);
                let (middle, bottom) = (top + 0.5 * bar, top + 0.92 * bar);
                let end = scale.position(value.value);
                chart.draw_series([Rectangle::new(
                    [(base, top), (end, bottom)],
                    colour(k).filled(),
                )])?;
                if let Some((low, high)) = value.interval {
                    let (low, high) = (scale.position(low), scale.position(high));
                    let cap = 0.25 * bar;
                    let whisker = [
                        vec![(low, middle), (high, middle)],
                        vec![(low, middle - cap), (low, middle + cap)],
                        vec![(high, middle - cap), (high, middle + cap)],
                    ];
                    // White beneath, so that it shows on a bar of any colour.
                    for (ink, width) in [(WHITE, 4), (INK, 2)] {
                        let style = ink.stroke_width(width);
                        chart.draw_series(
                            whisker
                                .iter()
                                .map(|line| PathElement::new(line.clone(), style)),
                        )?;
                    }
                }
            }
        }

        let area = chart.plotting_area();
        for (group, name) in self.categories.iter().enumerate() {
            let (_, y) = area.map_coordinate(&(base, group as f64 + 0.5));
            let x = 10 + names as i32 + 8;
            canvas.draw_text(name, &text_style(TEXT, HPos::Right), (x, y))?;
        }
        Ok(())
    }

    fn draw_legend(
        &self,
        canvas: &Canvas<'_>,
    ) -> Result<(), DrawingAreaErrorKind<<SVGBackend<'static> as DrawingBackend>::ErrorType>> {
        canvas.draw_text(&self.title, &text_style(TITLE, HPos::Left), (14, 20))?;
        let mut x = 14;
        for (k, series) in self.series.iter().enumerate() {
            canvas.draw(&Rectangle::new([(x, 40), (x + 14, 54)], colour(k).filled()))?;
            canvas.draw_text(&series.name, &text_style(TEXT, HPos::Left), (x + 20, 47))?;
            x += 20 + text_width(&series.name) as i32 + 24;
        }
        Ok(())
    }
}
