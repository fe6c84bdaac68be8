//! Generators of handwritten digits under a Sobolev penalty: fitted without an adversary, and for comparison with one.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::time::Instant;

use anyhow::{Context as _, Result};
use burn::tensor::Device;
use faer::{Mat, MatRef};
use fire_assay_datasets::embedded;
use fire_assay_examples::table::{self, Table};
use fire_assay_examples::{CommonArgs, DeviceName, Limit, Report};
use image::GrayImage;
use rand::seq::SliceRandom as _;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng as _;
use serde::Serialize;
use serde_json::{Value, json};
use sobolev_budget::generative::{
    End, GanConfig, GanTrainer, HeldOutConfig, LatentDensity, NeuralFit, NeuralFitConfig,
    Regulariser, SobolevPenalty, generate, held_out_error, metrics, uniform_latents,
};

/// Digits that are held out, of 1,797.
const HELD_OUT: usize = 360;
/// Samples that are compared with the held-out digits.
const SAMPLES: usize = 2_000;
/// Latents at which derivatives are taken.
const PLACES: usize = 1_000;
/// Directions of the sliced distance.
const DIRECTIONS: usize = 200;
/// Paths whose energy is measured, and the steps of each.
const PATHS: usize = 200;
const PATH_STEPS: usize = 20;
/// Samples along and down a sheet, and the paths and steps of a sheet of paths.
const SHEET: [usize; 2] = [12, 10];
const STRIP: [usize; 2] = [12, 6];
/// Pixels along an edge of a digit, of one of its pixels in a sheet, and between digits.
const EDGE: usize = 8;
const ZOOM: usize = 5;
const GAP: usize = 4;
/// Steps between two checkpoints.
const SAVE_EVERY: usize = 500;

/// Options of the generators.
#[derive(clap::Args)]
#[command(next_help_heading = "Generators")]
pub(super) struct Options {
    /// Fit generators to 8 x 8 handwritten digits without an adversary, one for each of --weights: minutes
    #[arg(long, conflicts_with = "points")]
    pub(super) generative: bool,

    /// Dimensions of the latents
    #[arg(long, value_name = "M", default_value_t = 8, requires = "generative")]
    latents: usize,

    /// Factors of the Sobolev penalty
    #[arg(
        long,
        value_name = "LAMBDA,...",
        value_delimiter = ',',
        default_values_t = [0.0, 1e-3, 3e-3],
        requires = "generative"
    )]
    weights: Vec<f64>,

    /// The order of the penalty, 1 or 2
    #[arg(long, value_name = "K", default_value_t = 1, requires = "generative")]
    penalty_order: usize,

    /// Steps of each fit
    #[arg(
        long,
        value_name = "N",
        default_value_t = 4_000,
        requires = "generative"
    )]
    steps: usize,

    /// Save the fits in this folder as they go on, and go on from there if they are there
    #[arg(long, value_name = "DIR", requires = "generative")]
    checkpoints: Option<PathBuf>,

    /// Train with an adversary, too: without a penalty, with weight decay, and with penalties of order 1 and 2
    #[arg(long, requires = "generative")]
    gan: bool,

    /// Steps of the generator against the adversary
    #[arg(long, value_name = "N", default_value_t = 12_000, requires = "gan")]
    gan_steps: usize,
}

/// The digits, cut in two.
struct Digits {
    train: Mat<f64>,
    test: Mat<f64>,
    device: Device,
}

/// A generator fitted without an adversary.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct FitRow {
    latents: usize,
    weight: f64,
    steps: usize,
    held_out_error: f64,
    frechet: f64,
    sliced_wasserstein: f64,
    nearest_train: f64,
    rms_derivative: f64,
    interpolation_energy: f64,
    seconds: f64,
}

/// A generator trained against an adversary.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct GanRow {
    regulariser: &'static str,
    weight: f64,
    frechet: Option<f64>,
    best_frechet: Option<f64>,
    rms_derivative: f64,
    seconds: f64,
}

/// Fits, compares and draws; returns what `--json` prints.
pub(super) fn run(options: &Options, common: &CommonArgs, report: &Report) -> Result<Value> {
    let start = Instant::now();
    let limit = Limit::start(None);
    let name = common.device.or_else(DeviceName::default_of_build);
    let digits = Digits::new(name.context("this build has no device")?.open());
    let yardsticks = digits.yardsticks(options.latents)?;
    report.say(format!(
        "{} handwritten digits to fit to and {HELD_OUT} held out, pixels from 0 to 1. Held-out errors (mean squared distance) without a network:\n\
         the plane of {} principal axes {:.3}, the nearest digit {:.3}. Frechet distance (FD) of the two parts: {:.3}.",
        digits.train.nrows(),
        options.latents,
        yardsticks[0],
        yardsticks[1],
        yardsticks[2],
    ));
    let mut fits = Vec::new();
    for &weight in &options.weights {
        if limit.reason().is_some() {
            break;
        }
        fits.extend(fit(options, weight, &digits, common, &limit, report)?);
    }
    show_fits(&fits, report);
    let mut gans = Vec::new();
    if options.gan {
        gans = adversaries(options, &digits, common.seed, &limit)?;
        show_gans(&gans, report);
    }
    let stopped = limit.reason();
    if let Some(reason) = &stopped {
        report.say(format!("stopped early: {reason}"));
    }
    let seconds = start.elapsed().as_secs_f64();
    report.say(format!("{seconds:.1} s"));
    Ok(json!({
        "principal-error": yardsticks[0],
        "nearest-error": yardsticks[1],
        "frechet-of-parts": yardsticks[2],
        "stopped": stopped,
        "seconds": seconds,
        "results": fits,
        "adversaries": gans,
    }))
}

impl Digits {
    fn new(device: Device) -> Self {
        let digits = embedded::digits();
        let mut order: Vec<usize> = (0..digits.len()).collect();
        // The same parts whatever the seed of the fits.
        order.shuffle(&mut ChaCha8Rng::seed_from_u64(0));
        let (test, train) = order.split_at(HELD_OUT);
        let matrix = |rows: &[usize]| {
            Mat::from_fn(rows.len(), EDGE * EDGE, |i, j| {
                f64::from(digits.image(rows[i])[j]) / 16.0
            })
        };
        Self {
            train: matrix(train),
            test: matrix(test),
            device,
        }
    }

    /// Held-out errors of a plane and of the digits themselves, and the Frechet distance of the parts.
    fn yardsticks(&self, latents: usize) -> Result<[f64; 3]> {
        let (train, test) = (self.train.as_ref(), self.test.as_ref());
        Ok([
            metrics::pca_error(train, test, latents)?,
            metrics::nearest_error(test, train)?,
            metrics::frechet_distance(train, test)?,
        ])
    }
}

/// One fit without an adversary, measured and drawn; nothing if it was stopped.
fn fit(
    options: &Options,
    weight: f64,
    digits: &Digits,
    common: &CommonArgs,
    limit: &Limit,
    report: &Report,
) -> Result<Option<FitRow>> {
    let start = Instant::now();
    let (m, device) = (options.latents, &digits.device);
    let config = NeuralFitConfig::new(m)
        .with_penalty(Some(SobolevPenalty::new(options.penalty_order)))
        .with_weight(weight)
        .with_steps(options.steps)
        .with_seed(common.seed);
    let stop = || limit.flag().load(Ordering::Relaxed);
    let mut run = NeuralFit::new(config)?.with_should_stop(stop);
    if let Some(folder) = &options.checkpoints {
        fs::create_dir_all(folder)
            .with_context(|| format!("cannot make the folder {}", folder.display()))?;
        let name = format!("fit_m{m}_k{}_{weight}.checkpoint", options.penalty_order);
        run = run.with_checkpoint(folder.join(name), SAVE_EVERY);
    }
    let fitted = run.fit(digits.train.as_ref(), device)?;
    if fitted.end == End::Stopped {
        return Ok(None);
    }
    let seconds = start.elapsed().as_secs_f64();
    let generator = &fitted.generator;
    let mut rng = ChaCha8Rng::seed_from_u64(common.seed);
    let held_out = HeldOutConfig::new();
    let error = held_out_error(generator, digits.test.as_ref(), &held_out, device, &mut rng)?;
    let drawn = LatentDensity::fit(fitted.latents.as_ref())?.sample(SAMPLES, &mut rng);
    let samples = generate(generator, drawn.as_ref(), device)?;
    let (starts, ends) = (drawn.subrows(0, PATHS), drawn.subrows(PATHS, PATHS));
    let (test, train) = (digits.test.as_ref(), digits.train.as_ref());
    let places = uniform_latents(PLACES, m, &mut ChaCha8Rng::seed_from_u64(1));

    if let Some(path) = common.out_file(&format!("samples_m{m}_{weight}.png"))? {
        sheet(samples.as_ref(), SHEET, &path, report)?;
    }
    if let Some(path) = common.out_file(&format!("paths_m{m}_{weight}.png"))? {
        let [steps, paths] = STRIP;
        let latents = Mat::from_fn(steps * paths, m, |row, j| {
            let (path, t) = (row / steps, (row % steps) as f64 / (steps - 1) as f64);
            (1.0 - t) * starts[(path, j)] + t * ends[(path, j)]
        });
        let images = generate(generator, latents.as_ref(), device)?;
        sheet(images.as_ref(), STRIP, &path, report)?;
    }
    let samples = samples.as_ref();
    Ok(Some(FitRow {
        latents: m,
        weight,
        steps: fitted.steps,
        held_out_error: error.error,
        frechet: metrics::frechet_distance(samples, test)?,
        sliced_wasserstein: metrics::sliced_wasserstein(samples, test, DIRECTIONS, &mut rng)?,
        nearest_train: metrics::mean_nearest_distance(samples, train)?,
        rms_derivative: metrics::rms_derivative(generator, places.as_ref(), device, &mut rng)?,
        interpolation_energy: metrics::interpolation_energy(
            generator, starts, ends, PATH_STEPS, device,
        )?,
        seconds,
    }))
}

/// Training against an adversary under several regularisers; those that were stopped are left out.
fn adversaries(
    options: &Options,
    digits: &Digits,
    seed: u64,
    limit: &Limit,
) -> Result<Vec<GanRow>> {
    let sobolev = |order: usize, weight: f64| Regulariser::Sobolev {
        penalty: SobolevPenalty::new(order),
        weight,
    };
    let regularisers = [
        ("none", 0.0, Regulariser::None),
        ("weight decay", 0.1, Regulariser::WeightDecay { rate: 0.1 }),
        ("Sobolev, k = 1", 1e-3, sobolev(1, 1e-3)),
        ("Sobolev, k = 2", 1e-3, sobolev(2, 1e-3)),
    ];
    let stop = || limit.flag().load(Ordering::Relaxed);
    let mut rows = Vec::new();
    for (name, weight, regulariser) in regularisers {
        let start = Instant::now();
        let config = GanConfig::new(options.latents)
            .with_regulariser(regulariser)
            .with_steps(options.gan_steps)
            .with_seed(seed);
        let trainer = GanTrainer::new(config)?.with_should_stop(stop);
        let (train, test) = (digits.train.as_ref(), digits.test.as_ref());
        let gan = trainer.train(train, Some(test), &digits.device)?;
        if gan.end == End::Stopped {
            break;
        }
        let best = gan.rows.iter().filter_map(|row| row.frechet);
        rows.push(GanRow {
            regulariser: name,
            weight,
            frechet: gan.rows.last().and_then(|row| row.frechet),
            best_frechet: best.min_by(f64::total_cmp),
            rms_derivative: gan.rows.last().map_or(0.0, |row| row.rms_derivative),
            seconds: start.elapsed().as_secs_f64(),
        });
    }
    Ok(rows)
}

fn show_fits(rows: &[FitRow], report: &Report) {
    report.say(format!(
        "\nWithout an adversary: FD and sliced W2 of {SAMPLES} samples to the held-out digits, their mean distance to the nearest digit that was fitted,\n\
         the root mean square of DG v, and the energy of straight paths between latents."
    ));
    let mut shown = Table::new([
        "m",
        "lambda",
        "held-out J",
        "FD",
        "sliced W2",
        "nearest train",
        "rms DG v",
        "energy",
        "seconds",
    ]);
    for row in rows {
        shown.row([
            table::integer(row.latents as i64),
            table::text(row.weight.to_string()),
            table::decimal(row.held_out_error, 4),
            table::decimal(row.frechet, 4),
            table::decimal(row.sliced_wasserstein, 4),
            table::decimal(row.nearest_train, 4),
            table::decimal(row.rms_derivative, 3),
            table::decimal(row.interpolation_energy, 2),
            table::decimal(row.seconds, 1),
        ]);
    }
    report.table(&shown);
}

fn show_gans(rows: &[GanRow], report: &Report) {
    report.say("\nWith an adversary (non-saturating loss), the same metrics:");
    let mut shown = Table::new([
        "regulariser",
        "factor",
        "FD",
        "best FD on the way",
        "rms DG v",
        "seconds",
    ]);
    let optional = |value: Option<f64>| value.map_or_else(table::missing, |v| table::decimal(v, 4));
    for row in rows {
        shown.row([
            table::text(row.regulariser),
            table::text(row.weight.to_string()),
            optional(row.frechet),
            optional(row.best_frechet),
            table::decimal(row.rms_derivative, 3),
            table::decimal(row.seconds, 1),
        ]);
    }
    report.table(&shown);
}

/// Writes digits, a row of pixels each, as a PNG file of so many columns and rows; ink is black.
fn sheet(
    digits: MatRef<'_, f64>,
    [columns, rows]: [usize; 2],
    path: &Path,
    report: &Report,
) -> Result<()> {
    let tile = EDGE * ZOOM + GAP;
    let size = |tiles: usize| (tiles * tile + GAP) as u32;
    let image = GrayImage::from_fn(size(columns), size(rows), |x, y| {
        let place = |pixel: u32| {
            let within = (pixel as usize + tile - GAP) % tile;
            (pixel as usize >= GAP && within < EDGE * ZOOM)
                .then(|| ((pixel as usize - GAP) / tile, within / ZOOM))
        };
        let ink = match (place(x), place(y)) {
            (Some((column, j)), Some((row, i))) if row * columns + column < digits.nrows() => {
                digits[(row * columns + column, i * EDGE + j)]
            }
            _ => 0.15,
        };
        image::Luma([(255.0 * (1.0 - ink.clamp(0.0, 1.0))).round() as u8])
    });
    image
        .save(path)
        .with_context(|| format!("cannot write {}", path.display()))?;
    report.say(format!("wrote {}", path.display()));
    Ok(())
}
