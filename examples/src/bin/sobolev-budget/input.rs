//! What the program reads: points, maps to start from, and curves of other programs.

use std::f64::consts::PI;
use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::path::Path;

use anyhow::{Context as _, Result, bail, ensure};
use clap::ValueEnum;
use sobolev_budget::{Domain, FitConfig, Grid, GridMap, Interpolation, Measure};

use super::Args;

/// Points that are generated if nothing is said.
const COUNT: usize = 10_000;
/// The inner radius of the annulus.
const INNER: f64 = 0.5;
/// The deviation of the noise around the spiral.
const NOISE: f64 = 0.05;
/// Into how many parts a piece of a curve is cut before its nodes are placed at equal distances.
const PIECES: usize = 8;

/// Points that a formula makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Shape {
    /// The unit square, as a lattice
    Square,
    /// The unit disk
    Disk,
    /// The ring between the radii 0.5 and 1
    Annulus,
    /// The unit circle
    Circle,
    /// The segment from (-1, 0) to (1, 0)
    Segment,
    /// The unit sphere in space
    Sphere,
    /// A rolled sheet in space
    SwissRoll,
    /// A spiral with noise, which depends on --seed
    Spiral,
}

/// The points to fit to.
pub(super) struct Points {
    pub(super) name: String,
    pub(super) measure: Measure,
    /// The volume of the set on which they are uniform, if that is known.
    pub(super) volume: Option<f64>,
}

/// A curve of another program.
pub(super) struct Peer {
    pub(super) name: String,
    pub(super) j: f64,
    pub(super) length: f64,
}

impl Points {
    /// The points that the options name, if they name any.
    pub(super) fn read(args: &Args) -> Result<Option<Self>> {
        if let Some(path) = &args.csv {
            return Ok(Some(Self {
                name: name(path),
                measure: Measure::from_file(path, args.weight_column)?,
                volume: None,
            }));
        }
        let Some(shape) = args.measure else {
            return Ok(None);
        };
        let count = args.count.unwrap_or(COUNT);
        let side = (count as f64).sqrt().round() as usize;
        let (measure, volume) = match shape {
            Shape::Square => (Measure::square_lattice(side), Some(1.0)),
            Shape::Disk => (Measure::disk_sunflower(count), Some(PI)),
            Shape::Annulus => (
                Measure::annulus_sunflower(count, INNER),
                Some(PI * (1.0 - INNER * INNER)),
            ),
            Shape::Circle => (Measure::circle(count), None),
            Shape::Segment => (Measure::segment(count, &[1.0, 0.0]), None),
            Shape::Sphere => (Measure::sphere(count), None),
            Shape::SwissRoll => (Measure::swiss_roll(side, side), None),
            Shape::Spiral => (Measure::spiral(count, 2, NOISE, args.common.seed), None),
        };
        let name = shape.to_possible_value();
        Ok(Some(Self {
            name: name.map_or_else(String::new, |value| value.get_name().to_owned()),
            measure: measure.context("--count")?,
            volume,
        }))
    }
}

/// A map to start from. Curves that pay for their length get nodes at equal distances, at which they cost least.
pub(super) fn start(path: &Path, config: &FitConfig, points: &Points) -> Result<GridMap> {
    let map = read_map(path, config.domain, config.interpolation, points)?;
    let curve = config.domain.dimension() == 1;
    if !curve || config.smoothness.order > 1 {
        return Ok(map);
    }
    let side = map.grid().side().saturating_mul(PIECES).max(config.nodes);
    Ok(map.resample(side, false)?.respaced())
}

/// A curve of another program, as good as it is: nothing about it is changed. On a circle its last point is joined to its first.
pub(super) fn peer(path: &Path, config: &FitConfig, points: &Points) -> Result<Peer> {
    let domain = match config.domain {
        Domain::Circle => Domain::Circle,
        Domain::Interval => Domain::Interval,
        other => bail!("--compare: takes curves, and this is a fit of a {other}"),
    };
    let map = read_map(path, domain, Interpolation::Linear, points)?;
    Ok(Peer {
        name: name(path),
        j: map.distance(&points.measure, config.exponent)?,
        length: map.length().unwrap_or(0.0),
    })
}

/// A map from a file of its nodes. Of a file with columns `f1`, `f2`, ... those are its coordinates, of others all columns.
fn read_map(
    path: &Path,
    domain: Domain,
    interpolation: Interpolation,
    points: &Points,
) -> Result<GridMap> {
    let table = Measure::from_file(path, None)?;
    let width = table.dimension();
    let columns = named_columns(path)?.unwrap_or_else(|| (0..width).collect());
    let expected = points.measure.dimension();
    ensure!(
        columns.len() == expected,
        "{}: its points have {} coordinates, and the points to fit to have {expected}",
        path.display(),
        columns.len()
    );
    let rows = table.len();
    let m = domain.dimension() as u32;
    let side = (rows as f64).powf(1.0 / f64::from(m)).round() as usize;
    ensure!(
        side.checked_pow(m) == Some(rows),
        "{}: its {rows} nodes are no grid of a {domain}, which has the same number along each of its {m} axes",
        path.display()
    );
    let values = (0..rows)
        .flat_map(|row| columns.iter().map(move |&column| (row, column)))
        .map(|(row, column)| table.point(row)[column])
        .collect();
    let grid = Grid::new(domain, side).with_context(|| path.display().to_string())?;
    Ok(GridMap::new(grid, interpolation, expected, values)?)
}

/// The places of the columns `f1`, `f2`, ... in the line of names of a file, if it has one and they are there.
fn named_columns(path: &Path) -> Result<Option<Vec<usize>>> {
    if path
        .extension()
        .is_some_and(|kind| kind.eq_ignore_ascii_case("npy"))
    {
        return Ok(None);
    }
    let file = File::open(path).with_context(|| path.display().to_string())?;
    for line in BufReader::new(file).lines() {
        let line = line.with_context(|| path.display().to_string())?;
        if line.starts_with('#') || line.trim().is_empty() {
            continue;
        }
        let names: Vec<&str> = line
            .split(',')
            .map(|name| name.trim().trim_matches('"'))
            .collect();
        let columns: Vec<usize> = (1..=names.len())
            .map_while(|i| names.iter().position(|name| *name == format!("f{i}")))
            .collect();
        return Ok((!columns.is_empty()).then_some(columns));
    }
    Ok(None)
}

fn name(path: &Path) -> String {
    path.file_name().map_or_else(
        || path.display().to_string(),
        |name| name.to_string_lossy().into_owned(),
    )
}
