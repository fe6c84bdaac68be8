//! Generators on handwritten digits: what the penalty does, how well a fit without an adversary reaches, and what adversaries reach.
//!
//! `cargo bench -p sobolev-budget --bench generative -- [penalty|fit|gan]... [--seeds N] [--steps N] [--m M] [--weight LAMBDA] [--mnist FOLDER]`
//!
//! `--m` and `--weight` leave only the rows of the fit with that dimension and that weight. `--mnist` lets the adversaries play on MNIST, or on
//! other IDX files with the same names: on the first 4,000 training images, with the next 1,000 held out and pixels divided by 255.
//!
//! The 1,797 digits are cut into 1,437 to train on and 360 held out, after a permutation by ChaCha8 with seed 0; pixels are divided by 16. All
//! settings are looked at on the same held-out digits, so the best of a table is a little better than it would be on fresh ones.

use std::path::{Path, PathBuf};
use std::time::Instant;

use burn::tensor::{Device, Tensor, TensorData};
use faer::Mat;
use fire_assay_datasets::embedded;
use fire_assay_datasets::images::idx;
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use sobolev_budget::Result;
use sobolev_budget::generative::{
    GanConfig, GanTrainer, HeldOutConfig, LatentDensity, NeuralFit, NeuralFitConfig, Regulariser,
    SobolevPenalty, generate, held_out_error, jacobian_norms, metrics, second_norms,
    uniform_latents,
};

/// Digits that are held out.
const HELD_OUT: usize = 360;
/// Samples of every generator that are compared with the held-out digits.
const SAMPLES: usize = 2_000;
/// Latents at which derivatives are taken.
const PLACES: usize = 1_000;

/// Images of MNIST that the adversaries train on, and those that are held out.
const MNIST: [usize; 2] = [4_000, 1_000];

fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    let request = Request::parse();
    let digits = Digits::new();
    println!("# yardsticks: {}", digits.yardsticks()?);
    if request.wants("penalty") {
        penalty(&request, &digits)?;
    }
    if request.wants("fit") {
        fit(&request, &digits)?;
    }
    if request.wants("gan") {
        match &request.mnist {
            Some(folder) => {
                let images = Digits::mnist(folder)?;
                println!("\n# MNIST: {}", images.yardsticks()?);
                gan(&request, &images)?;
            }
            None => gan(&request, &digits)?,
        }
    }
    Ok(())
}

/// Both orders of the penalty, at weights from nothing on: what it is meant to lower is lower with every weight.
fn penalty(request: &Request, digits: &Digits) -> Result<()> {
    let seeds = request.seeds.unwrap_or(3);
    println!("\n# penalty: m = 8, {seeds} seeds");
    println!("order  weight  |DG|_F         E |D^2 G|^2      training distance");
    for order in [1, 2] {
        for weight in [0.0, 1e-3, 1e-2, 3e-2] {
            let mut columns = [const { Vec::new() }; 3];
            for seed in 0..seeds {
                let config = NeuralFitConfig::new(8)
                    .with_penalty(Some(SobolevPenalty::new(order)))
                    .with_weight(weight)
                    .with_steps(request.steps.unwrap_or(1_500))
                    .with_seed(seed);
                let fitted = NeuralFit::new(config)?.fit(digits.train.as_ref(), &digits.device)?;
                let z = tensor(&latents(8), &digits.device);
                let jacobian = mean(jacobian_norms(&fitted.generator, z.clone()));
                columns[0].push(jacobian.sqrt());
                columns[1].push(mean(second_norms(&fitted.generator, z).frobenius));
                columns[2].push(fitted.history.last().map_or(f64::NAN, |row| row.distance));
            }
            let [first, second, distance] = columns.map(|column| spread(&column));
            println!("{order:<6} {weight:<7} {first:<14} {second:<16} {distance}");
        }
    }
    Ok(())
}

/// A fit without an adversary, and samples from the density of its latents.
fn fit(request: &Request, digits: &Digits) -> Result<()> {
    let seeds = request.seeds.unwrap_or(3);
    println!("\n# fit: order 1, {seeds} seeds");
    println!(
        "m  weight  held-out J_2    FD              sliced W2       nearest train   rms DG v        energy          seconds"
    );
    for (m, weights) in [(8, &[0.0, 1e-3, 3e-3, 1e-2][..]), (2, &[0.0, 1e-3, 1e-2])] {
        for &weight in weights {
            let wanted = request.m.is_none_or(|wanted| wanted == m)
                && request.weight.is_none_or(|wanted| wanted == weight);
            if !wanted {
                continue;
            }
            let mut columns = [const { Vec::new() }; 7];
            for seed in 0..seeds {
                let row = fit_once(request, digits, m, weight, seed)?;
                columns.iter_mut().zip(row).for_each(|(c, x)| c.push(x));
            }
            let columns = columns.map(|column| format!("{:<15}", spread(&column)));
            println!("{m:<2} {weight:<7} {}", columns.join(" "));
        }
    }
    Ok(())
}

fn fit_once(
    request: &Request,
    digits: &Digits,
    m: usize,
    weight: f64,
    seed: u64,
) -> Result<[f64; 7]> {
    let start = Instant::now();
    let device = &digits.device;
    let config = NeuralFitConfig::new(m)
        .with_penalty(Some(SobolevPenalty::new(1)))
        .with_weight(weight)
        .with_steps(request.steps.unwrap_or(4_000))
        .with_seed(seed);
    let fitted = NeuralFit::new(config)?.fit(digits.train.as_ref(), device)?;
    let seconds = start.elapsed().as_secs_f64();
    let generator = &fitted.generator;
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let config = HeldOutConfig::new();
    let error = held_out_error(generator, digits.test.as_ref(), &config, device, &mut rng)?.error;
    let drawn = LatentDensity::fit(fitted.latents.as_ref())?.sample(SAMPLES, &mut rng);
    let samples = generate(generator, drawn.as_ref(), device)?;
    let (samples, test, train) = (
        samples.as_ref(),
        digits.test.as_ref(),
        digits.train.as_ref(),
    );
    let (starts, ends) = (drawn.subrows(0, 200), drawn.subrows(200, 200));
    Ok([
        error,
        metrics::frechet_distance(samples, test)?,
        metrics::sliced_wasserstein(samples, test, 200, &mut rng)?,
        metrics::mean_nearest_distance(samples, train)?,
        metrics::rms_derivative(generator, latents(m).as_ref(), device, &mut rng)?,
        metrics::interpolation_energy(generator, starts, ends, 20, device)?,
        seconds,
    ])
}

/// Adversarial training under every regulariser, on grids of the same size.
fn gan(request: &Request, digits: &Digits) -> Result<()> {
    let seeds = request.seeds.unwrap_or(5);
    let steps = request.steps.unwrap_or(12_000);
    println!("\n# gan: m = 8, non-saturating, {seeds} seeds, {steps} steps");
    println!(
        "regulariser          FD at the end   best FD of log  rms DG v        failed  seconds"
    );
    let sobolev = |order, weight| Regulariser::Sobolev {
        penalty: SobolevPenalty::new(order),
        weight,
    };
    let mut regularisers = vec![("none".to_owned(), Regulariser::None)];
    for rate in [1e-2, 1e-1, 3e-1] {
        let name = format!("weight decay {rate}");
        regularisers.push((name, Regulariser::WeightDecay { rate }));
    }
    for order in [1, 2] {
        for weight in [1e-4, 1e-3, 1e-2] {
            let name = format!("sobolev k={order} {weight}");
            regularisers.push((name, sobolev(order, weight)));
        }
    }
    for (name, regulariser) in regularisers {
        let mut columns = [const { Vec::new() }; 3];
        let mut failed = 0;
        let start = Instant::now();
        for seed in 0..seeds {
            let config = GanConfig::new(8)
                .with_regulariser(regulariser)
                .with_steps(steps)
                .with_seed(seed);
            let held_out = Some(digits.test.as_ref());
            let trainer = GanTrainer::new(config)?;
            let Ok(gan) = trainer.train(digits.train.as_ref(), held_out, &digits.device) else {
                failed += 1;
                continue;
            };
            let distances = gan.rows.iter().filter_map(|row| row.frechet);
            columns[1].push(distances.fold(f64::INFINITY, f64::min));
            if let Some(last) = gan.rows.last() {
                columns[0].push(last.frechet.unwrap_or(f64::NAN));
                columns[2].push(last.rms_derivative);
            }
        }
        let columns = columns.map(|column| format!("{:<15}", spread(&column)));
        let seconds = start.elapsed().as_secs();
        println!("{name:<20} {} {failed:<7} {seconds}", columns.join(" "));
    }
    Ok(())
}

/// What the command line asks for.
struct Request {
    parts: Vec<String>,
    seeds: Option<u64>,
    steps: Option<usize>,
    m: Option<usize>,
    weight: Option<f64>,
    mnist: Option<PathBuf>,
}

impl Request {
    fn parse() -> Self {
        let mut request = Self {
            parts: Vec::new(),
            seeds: None,
            steps: None,
            m: None,
            weight: None,
            mnist: None,
        };
        let mut arguments = std::env::args().skip(1);
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                "--seeds" => request.seeds = arguments.next().and_then(|n| n.parse().ok()),
                "--steps" => request.steps = arguments.next().and_then(|n| n.parse().ok()),
                "--m" => request.m = arguments.next().and_then(|n| n.parse().ok()),
                "--weight" => request.weight = arguments.next().and_then(|n| n.parse().ok()),
                "--mnist" => request.mnist = arguments.next().map(PathBuf::from),
                // Cargo's own.
                option if option.starts_with("--") => {}
                part => request.parts.push(part.to_owned()),
            }
        }
        request
    }

    /// Whether a part is asked for; all are if none is named.
    fn wants(&self, part: &str) -> bool {
        self.parts.is_empty() || self.parts.iter().any(|wanted| wanted == part)
    }
}

/// Images, cut in two.
struct Digits {
    train: Mat<f64>,
    test: Mat<f64>,
    device: Device,
}

impl Digits {
    fn new() -> Self {
        let digits = embedded::digits();
        let mut order: Vec<usize> = (0..digits.len()).collect();
        order.shuffle(&mut ChaCha8Rng::seed_from_u64(0));
        let (test, train) = order.split_at(HELD_OUT);
        let matrix = |rows: &[usize]| {
            Mat::from_fn(rows.len(), digits.shape().values(), |i, j| {
                f64::from(digits.image(rows[i])[j]) / 16.0
            })
        };
        Self {
            train: matrix(train),
            test: matrix(test),
            device: Device::flex(),
        }
    }

    fn mnist(folder: &Path) -> std::result::Result<Self, Box<dyn std::error::Error>> {
        let images = idx::read_folder(folder, None)?.train;
        let [train, test] = MNIST;
        if images.len() < train + test {
            return Err(format!(
                "{} has fewer than {} images",
                folder.display(),
                train + test
            )
            .into());
        }
        let matrix = |start: usize, count: usize| {
            Mat::from_fn(count, images.shape().values(), |i, j| {
                f64::from(images.image(start + i)[j]) / 255.0
            })
        };
        Ok(Self {
            train: matrix(0, train),
            test: matrix(train, test),
            device: Device::flex(),
        })
    }

    /// Errors that need no network.
    fn yardsticks(&self) -> Result<String> {
        let (train, test) = (self.train.as_ref(), self.test.as_ref());
        Ok(format!(
            "PCA-2 {:.3}, PCA-8 {:.3}, nearest training digit {:.3} (squared), {:.3} (distance); FD of the two parts {:.3}",
            metrics::pca_error(train, test, 2)?,
            metrics::pca_error(train, test, 8)?,
            metrics::nearest_error(test, train)?,
            metrics::mean_nearest_distance(test, train)?,
            metrics::frechet_distance(train, test)?,
        ))
    }
}

/// The places at which every generator's derivatives are taken.
fn latents(m: usize) -> Mat<f64> {
    uniform_latents(PLACES, m, &mut ChaCha8Rng::seed_from_u64(1))
}

fn tensor(matrix: &Mat<f64>, device: &Device) -> Tensor<2> {
    let (count, width) = (matrix.nrows(), matrix.ncols());
    let entries = (0..count).flat_map(|i| (0..width).map(move |j| matrix[(i, j)] as f32));
    let data = TensorData::new(entries.collect::<Vec<f32>>(), [count, width]);
    Tensor::from_data(data, device)
}

fn mean(tensor: Tensor<1>) -> f64 {
    let data = tensor.into_data();
    let numbers: Vec<f64> = data.iter::<f64>().collect();
    numbers.iter().sum::<f64>() / numbers.len() as f64
}

/// Mean and standard deviation over seeds.
fn spread(numbers: &[f64]) -> String {
    let count = numbers.len() as f64;
    let mean = numbers.iter().sum::<f64>() / count;
    let squares: f64 = numbers.iter().map(|x| (x - mean).powi(2)).sum();
    let deviation = (squares / (count - 1.0).max(1.0)).sqrt();
    format!("{mean:.4} +- {deviation:.4}")
}
