//! Maps drawn in a plane, and charts of what budgets buy.

use anyhow::Result;
use sobolev_budget::{GridMap, Measure};

use crate::plot::{
    Arrow, Axis, LineChart, LineSeries, LineStyle, PlaneCurve, PlanePicture, Scale, Value,
};

/// How points of many coordinates are seen in a plane: two as they are, more along their first two principal axes.
#[derive(Clone, Debug)]
pub struct View {
    origin: Vec<f64>,
    axes: [Vec<f64>; 2],
    labels: [&'static str; 2],
}

/// The J of several budgets, and what it cannot be below.
#[derive(Clone, Debug, Default)]
pub struct Tradeoff {
    /// What was fitted.
    pub name: String,
    /// Budgets and the J of each.
    pub points: Vec<(f64, f64)>,
    /// Budgets and lower bounds, if any are known.
    pub bound: Vec<(f64, f64)>,
}

/// Turns of the iteration that finds principal axes; a picture needs no more precision.
const TURNS: usize = 300;
/// Places of a line of lower bounds.
const BOUND_PLACES: usize = 40;

impl View {
    /// The view of a measure.
    pub fn new(measure: &Measure) -> Self {
        let n = measure.dimension();
        let unit = |axis: usize| -> Vec<f64> {
            (0..n).map(|i| if i == axis { 1.0 } else { 0.0 }).collect()
        };
        if n <= 2 {
            return Self {
                origin: vec![0.0; n],
                axes: [unit(0), unit(1)],
                labels: ["x", "y"],
            };
        }
        let covariance = measure.covariance();
        let times = |vector: &[f64]| -> Vec<f64> {
            let rows = covariance.chunks_exact(n);
            rows.map(|row| dot(row, vector)).collect()
        };
        // Near the widest coordinates, and in no plane in which the points could be symmetric.
        let mut widest: Vec<usize> = (0..n).collect();
        widest.sort_by(|a, b| covariance[b * n + b].total_cmp(&covariance[a * n + a]));
        let start = |axis: usize| -> Vec<f64> {
            let mut start = unit(widest[axis]);
            let small = start.iter_mut().enumerate();
            small.for_each(|(i, x)| *x += 1e-2 * ((axis + 1) as f64 * (i + 1) as f64).cos());
            start
        };
        let mut axes = [start(0), start(1)];
        for _ in 0..TURNS {
            for axis in &mut axes {
                let next = times(axis);
                // A measure on a line, or on a point, has fewer axes than two: the start is as good as any.
                if dot(&next, &next) > 0.0 {
                    *axis = next;
                }
                normalise(axis);
            }
            let [first, second] = &mut axes;
            let along = dot(first, second);
            second
                .iter_mut()
                .zip(first.iter())
                .for_each(|(s, f)| *s -= along * f);
            normalise(second);
        }
        Self {
            origin: measure.mean(),
            axes,
            labels: ["first principal axis", "second principal axis"],
        }
    }

    /// Where a point is seen.
    pub fn place(&self, point: &[f64]) -> (f64, f64) {
        let from_origin: Vec<f64> = point.iter().zip(&self.origin).map(|(x, o)| x - o).collect();
        (
            dot(&from_origin, &self.axes[0]),
            dot(&from_origin, &self.axes[1]),
        )
    }

    /// A measure with curves over it.
    pub fn picture(
        &self,
        title: impl Into<String>,
        measure: &Measure,
        curves: Vec<PlaneCurve>,
    ) -> PlanePicture {
        let points = measure.points().chunks_exact(measure.dimension());
        PlanePicture {
            title: title.into(),
            x: self.labels[0].to_owned(),
            y: self.labels[1].to_owned(),
            points: points.map(|point| self.place(point)).collect(),
            curves,
        }
    }
}

/// A map as a view shows it: a curve as a curve, a surface as the lines of its grid, a cube as its nodes. With a measure and an exponent p, an
/// arrow at every so many nodes goes along the barycentre field; with p = 2 it ends in the mean of what is projected to the node.
///
/// # Errors
/// If the measure has another number of coordinates.
pub fn map_curve(
    view: &View,
    name: impl Into<String>,
    map: &GridMap,
    arrows: Option<(usize, &Measure, f64)>,
) -> Result<PlaneCurve> {
    let grid = map.grid();
    let (side, m) = (grid.side(), grid.domain().dimension());
    let place = |node: usize| view.place(map.value(node));
    // The nodes along an axis from one on its edge, around to the first where the axis is a circle.
    let line = |first: usize, stride: usize, closed: bool| -> Vec<(f64, f64)> {
        let end = if closed { side + 1 } else { side };
        (0..end).map(|i| place(first + i % side * stride)).collect()
    };
    let periodic = grid.domain().periodic();
    let lines = match m {
        1 => vec![line(0, 1, periodic[0])],
        2 => {
            let down = (0..side).map(|j| line(j, side, periodic[0]));
            let across = (0..side).map(|i| line(i * side, 1, periodic[1]));
            down.chain(across).collect()
        }
        _ => (0..grid.len()).map(|node| vec![place(node)]).collect(),
    };
    let arrows = match arrows {
        Some((every, measure, exponent)) => {
            let n = map.dimension();
            let field = map.barycenter_field(measure, exponent)?.field;
            let arrow = |node: usize| {
                let value = map.value(node);
                let pulls = &field[node * n..(node + 1) * n];
                let target = value.iter().zip(pulls).map(|(x, f)| x + f / exponent);
                Arrow {
                    from: place(node),
                    to: view.place(&target.collect::<Vec<_>>()),
                }
            };
            (0..grid.len()).step_by(every.max(1)).map(arrow).collect()
        }
        None => Vec::new(),
    };
    Ok(PlaneCurve {
        name: name.into(),
        lines,
        arrows,
    })
}

/// Lower bounds between two budgets, evenly by their logarithm; those of 0 are left out.
///
/// # Errors
/// What the bound's function brings.
pub fn bound_line(
    [first, last]: [f64; 2],
    bound: impl Fn(f64) -> Result<Option<f64>>,
) -> Result<Vec<(f64, f64)>> {
    if !(first > 0.0 && last > first) {
        return Ok(Vec::new());
    }
    let mut line = Vec::new();
    for place in 0..=BOUND_PLACES {
        let budget = first * (last / first).powf(place as f64 / BOUND_PLACES as f64);
        if let Some(bound) = bound(budget)?.filter(|bound| *bound > 0.0) {
            line.push((budget, bound));
        }
    }
    Ok(line)
}

/// J by the budget on logarithmic axes, lower bounds dashed. What a logarithm cannot show is left out.
pub fn tradeoff_chart(title: &str, x: &str, tradeoffs: &[Tradeoff]) -> LineChart {
    let series = |name: String, style: LineStyle, points: &[(f64, f64)]| {
        let shown = points.iter().filter(|(x, y)| *x > 0.0 && *y > 0.0);
        LineSeries {
            name,
            style,
            points: shown.map(|&(x, y)| (x, Value::from(y))).collect(),
        }
    };
    let mut all = Vec::new();
    for tradeoff in tradeoffs {
        all.push(series(
            tradeoff.name.clone(),
            LineStyle::Line,
            &tradeoff.points,
        ));
        if !tradeoff.bound.is_empty() {
            let name = format!("{}: lower bound", tradeoff.name);
            all.push(series(name, LineStyle::Dashed, &tradeoff.bound));
        }
    }
    LineChart {
        title: title.to_owned(),
        x: Axis::new(x, Scale::Logarithmic),
        y: Axis::new("J, mean distance to the power p", Scale::Logarithmic),
        series: all,
    }
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn normalise(vector: &mut [f64]) {
    let length = dot(vector, vector).sqrt();
    if length > 0.0 {
        vector.iter_mut().for_each(|x| *x /= length);
    }
}

#[cfg(test)]
mod tests {
    use sobolev_budget::{Domain, Grid, Interpolation};

    use super::*;

    #[test]
    fn a_view_finds_the_plane_that_points_lie_in() {
        // A lattice three times as long as wide, in a tilted plane of R^4, far from the origin.
        let (a, b) = ([0.5, 0.5, 0.5, 0.5], [0.5, -0.5, 0.5, -0.5]);
        let points: Vec<f64> = (0..400)
            .flat_map(|i| {
                let (s, t) = (f64::from(i / 20) / 20.0, f64::from(i % 20) / 20.0);
                (0..4).map(move |c| 7.0 + 3.0 * s * a[c] + t * b[c])
            })
            .collect();
        let measure = Measure::from_points(4, points).unwrap();
        let view = View::new(&measure);
        assert!((dot(&view.axes[0], &a).abs() - 1.0).abs() < 1e-9);
        assert!((dot(&view.axes[1], &b).abs() - 1.0).abs() < 1e-9);
        let (x, y) = view.place(&measure.mean());
        assert!(x.abs() < 1e-9 && y.abs() < 1e-9);
        // One point, and points of one coordinate, can be seen, too.
        for (dimension, point) in [(3, vec![1.0, 2.0, 3.0]), (1, vec![5.0])] {
            let measure = Measure::from_points(dimension, point.clone()).unwrap();
            let (x, y) = View::new(&measure).place(&point);
            assert!(x.is_finite() && y.is_finite());
        }
    }

    #[test]
    fn closed_curves_are_closed_and_arrows_end_in_barycentres() {
        let grid = Grid::new(Domain::Circle, 4).unwrap();
        let corners = vec![1.0, 0.0, 0.0, 1.0, -1.0, 0.0, 0.0, -1.0];
        let map = GridMap::new(grid, Interpolation::Nodes, 2, corners).unwrap();
        let measure = Measure::from_points(2, vec![3.0, 0.0, 2.0, 0.0]).unwrap();
        let view = View::new(&measure);
        let curve = map_curve(&view, "circle", &map, Some((1, &measure, 2.0))).unwrap();
        assert_eq!(curve.lines.len(), 1);
        assert_eq!(curve.lines[0].len(), 5);
        assert_eq!(curve.lines[0][0], curve.lines[0][4]);
        assert_eq!(curve.arrows[0].to, (2.5, 0.0));
        assert_eq!(curve.arrows[1].to, curve.arrows[1].from);

        let grid = Grid::new(Domain::Cylinder, 3).unwrap();
        let values = (0..18).map(f64::from).collect();
        let map = GridMap::new(grid, Interpolation::Linear, 2, values).unwrap();
        let net = map_curve(&view, "tube", &map, None).unwrap();
        let lengths: Vec<usize> = net.lines.iter().map(Vec::len).collect();
        assert_eq!(lengths, [3, 3, 3, 4, 4, 4]);
    }
}
