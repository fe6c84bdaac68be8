//! Axes: how values become positions, where the ticks are and what they say.

use std::ops::Range;

use plotters::coord::ranged1d::{KeyPointHint, NoDefaultFormatting, Ranged, ValueFormatter};

/// An axis: what it shows and how.
#[derive(Clone, Debug, PartialEq)]
pub struct Axis {
    pub(super) label: String,
    pub(super) scale: Scale,
}

/// How values are spread along an axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scale {
    /// Evenly.
    Linear,
    /// Evenly, with shares between 0 and 1 written in percent.
    Percent,
    /// By their logarithm; values must be positive.
    Logarithmic,
}

impl Axis {
    /// An axis with this label, which should name the unit.
    pub fn new(label: impl Into<String>, scale: Scale) -> Self {
        Self {
            label: label.into(),
            scale,
        }
    }
}

impl Scale {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Linear | Self::Percent => "linear",
            Self::Logarithmic => "logarithmic",
        }
    }

    pub(super) fn can_show(self, value: f64) -> bool {
        value.is_finite() && (self != Self::Logarithmic || value > 0.0)
    }

    /// Where a value lies, in units that are even along the axis.
    pub(super) fn position(self, value: f64) -> f64 {
        match self {
            Self::Linear | Self::Percent => value,
            Self::Logarithmic => value.log10(),
        }
    }

    /// The positions that an axis must span to show these positions, with a little room at both ends.
    pub(super) fn span(self, positions: impl Iterator<Item = f64>) -> Range<f64> {
        let (low, high) = positions.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), p| {
            (low.min(p), high.max(p))
        });
        let room = if high > low {
            0.04 * (high - low)
        } else {
            // One value alone: half a decade, or half of it, to either side.
            match self {
                Self::Logarithmic => 0.5,
                Self::Linear | Self::Percent if low == 0.0 => 0.5,
                Self::Linear | Self::Percent => 0.5 * low.abs(),
            }
        };
        low - room..high + room
    }

    /// Positions of the ticks in a span, about `wanted` of them.
    pub(super) fn ticks(self, span: &Range<f64>, wanted: usize) -> Vec<f64> {
        let decades = span.end - span.start;
        if self == Self::Logarithmic && decades > 0.6 {
            // Whole decades, every second or third one if there are many; 2 and 5 in between if there are few.
            let step = (decades / wanted as f64).round().max(1.0);
            let between: &[f64] = if decades < 2.5 {
                &[1.0, 2.0, 5.0]
            } else {
                &[1.0]
            };
            let first = (span.start / step).floor() as i32;
            let last = (span.end / step).ceil() as i32;
            return (first..=last)
                .flat_map(|k| between.iter().map(move |m| f64::from(k) * step + m.log10()))
                .filter(|tick| span.contains(tick))
                .collect();
        }
        let evenly = match self {
            Self::Logarithmic => 10_f64.powf(span.start)..10_f64.powf(span.end),
            Self::Linear | Self::Percent => span.clone(),
        };
        let step = round_step((evenly.end - evenly.start) / wanted as f64);
        let first = (evenly.start / step).ceil() as i64;
        let last = (evenly.end / step).floor() as i64;
        (first..=last)
            .map(|k| self.position(k as f64 * step))
            .collect()
    }

    /// What a tick says.
    pub(super) fn tick_label(self, position: f64) -> String {
        match self {
            Self::Linear => plain(position),
            Self::Percent => format!("{} %", plain(100.0 * position)),
            Self::Logarithmic => plain(10_f64.powf(position)),
        }
    }
}

/// A span of positions with its ticks: what `plotters` needs to know of an axis.
pub(super) struct Coordinate {
    pub(super) scale: Scale,
    pub(super) span: Range<f64>,
    pub(super) ticks: Vec<f64>,
}

impl Ranged for Coordinate {
    type FormatOption = NoDefaultFormatting;
    type ValueType = f64;

    fn map(&self, position: &f64, (first, last): (i32, i32)) -> i32 {
        let part = (position - self.span.start) / (self.span.end - self.span.start);
        first + (part * f64::from(last - first)).round() as i32
    }

    fn key_points<Hint: KeyPointHint>(&self, _: Hint) -> Vec<f64> {
        self.ticks.clone()
    }

    fn range(&self) -> Range<f64> {
        self.span.clone()
    }
}

impl ValueFormatter<f64> for Coordinate {
    fn format(position: &f64) -> String {
        position.to_string()
    }

    fn format_ext(&self, position: &f64) -> String {
        self.scale.tick_label(*position)
    }
}

/// The smallest of 1, 2, 5, 10, ... times a power of ten that is not below `step`.
fn round_step(step: f64) -> f64 {
    let power = 10_f64.powf(step.log10().floor());
    let factor = [1.0, 2.0, 5.0]
        .into_iter()
        .find(|factor| factor * power >= step * (1.0 - 1e-9))
        .unwrap_or(10.0);
    factor * power
}

/// At most four significant digits: `0.05`, `300`, `30,000`; with an exponent where that is shorter: `1e-7`.
fn plain(value: f64) -> String {
    let rounded: f64 = format!("{value:.3e}").parse().unwrap_or(value);
    let size = rounded.abs();
    if size < 1e-12 {
        "0".to_owned()
    } else if (1e-3..1e6).contains(&size) {
        let text = rounded.to_string();
        match text.strip_suffix("000") {
            Some(thousands) if !thousands.contains('.') => format!("{thousands},000"),
            _ => text,
        }
    } else {
        format!("{rounded:e}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(scale: Scale, low: f64, high: f64) -> Vec<String> {
        let span = scale.position(low)..scale.position(high);
        let ticks = scale.ticks(&span, 6);
        ticks
            .into_iter()
            .map(|tick| scale.tick_label(tick))
            .collect()
    }

    #[test]
    fn ticks_are_round_numbers() {
        assert_eq!(
            labels(Scale::Linear, 0.0, 1.0),
            ["0", "0.2", "0.4", "0.6", "0.8", "1"]
        );
        assert_eq!(
            labels(Scale::Percent, -0.01, 0.31),
            ["0 %", "10 %", "20 %", "30 %"]
        );
        assert_eq!(
            labels(Scale::Logarithmic, 90.0, 40_000.0),
            ["100", "1,000", "10,000"]
        );
        assert_eq!(
            labels(Scale::Logarithmic, 90.0, 700.0),
            ["100", "200", "500"]
        );
        assert_eq!(
            labels(Scale::Logarithmic, 0.9e-9, 1.1e-3),
            ["1e-9", "1e-8", "1e-7", "1e-6", "1e-5", "1e-4", "0.001"]
        );
    }

    #[test]
    fn there_are_some_ticks_but_not_many_on_any_axis_and_all_lie_within() {
        for scale in [Scale::Linear, Scale::Percent, Scale::Logarithmic] {
            for low in [1e-12, 0.003, 1.0, 77.0, 1e9] {
                for factor in [1.01, 1.5, 3.0, 10.0, 1e3, 1e12] {
                    let span =
                        scale.span([low, low * factor].map(|v| scale.position(v)).into_iter());
                    let ticks = scale.ticks(&span, 6);
                    assert!(
                        (2..=13).contains(&ticks.len()),
                        "{scale:?} {low} {factor} {ticks:?}"
                    );
                    assert!(ticks.iter().all(|t| *t >= span.start && *t <= span.end));
                }
            }
        }
    }

    #[test]
    fn a_single_value_has_room_on_both_sides() {
        for (scale, value) in [
            (Scale::Linear, 0.0),
            (Scale::Linear, -3.0),
            (Scale::Logarithmic, 1e-7),
        ] {
            let position = scale.position(value);
            let span = scale.span([position].into_iter());
            assert!(span.start < position && position < span.end);
        }
    }

    #[test]
    fn logarithms_need_positive_numbers() {
        for bad in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            assert!(!Scale::Logarithmic.can_show(bad));
        }
        assert!(Scale::Linear.can_show(-1.0) && !Scale::Linear.can_show(f64::NAN));
    }
}
