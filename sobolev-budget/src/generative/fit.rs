//! Fitting a generator to data without an adversary: nearest latents and weights in turn, as a curve and its closest points.

use std::path::{Path, PathBuf};

use burn::config::Config;
use burn::tensor::{Device, Tensor};
use faer::{Mat, MatRef};
use rand::Rng;
use rand::seq::index;
use serde::{Deserialize, Serialize};

use super::adam::Adam;
use super::checkpoint::{self, Identity, Saved};
use super::generator::Generator;
use super::mlp::{Mlp, MlpConfig, Output};
use super::penalty::{SobolevPenalty, powers};
use super::{host, projection, weights};
use crate::{Error, Result};

/// Adam's usual discounts.
const BETAS: [f64; 2] = [0.9, 0.999];
/// Steps between two rows of the history.
const ROW_EVERY: usize = 100;
/// Points whose latents are brought up to date together.
const TOGETHER: usize = 512;

/// Settings of a [`NeuralFit`]. Distances, rates and the weight of the penalty go with data of about the scale of pixels from 0 to 1: scale others.
#[derive(Config, Debug, PartialEq)]
pub struct NeuralFitConfig {
    /// Dimensions of the latents, m.
    pub latents: usize,
    /// Widths of the hidden layers.
    #[config(default = "vec![128, 128]")]
    pub widths: Vec<usize>,
    /// What stands behind the last layer.
    #[config(default = "Output::Sigmoid")]
    pub output: Output,
    /// The penalty; none for no penalty.
    #[config(default = "None")]
    pub penalty: Option<SobolevPenalty>,
    /// The factor lambda of the penalty.
    #[config(default = 1e-3)]
    pub weight: f64,
    /// The exponent p of the distance.
    #[config(default = 2.0)]
    pub exponent: f64,
    /// Steps of the weights.
    #[config(default = 4_000)]
    pub steps: usize,
    /// Points in a step; all of them if there are fewer.
    #[config(default = 128)]
    pub batch: usize,
    /// Fresh latents in a step, among which every point looks for one that is nearer than its own.
    #[config(default = 2_048)]
    pub pool: usize,
    /// Gradient steps of a point's latent on the squared distance, whatever the exponent p: the nearest latent is the same.
    #[config(default = 3)]
    pub inner_steps: usize,
    /// Their size.
    #[config(default = 0.05)]
    pub inner_rate: f64,
    /// Gradient steps of every point's latent after the last step of the weights, from the better of its own and the best of a fresh pool; 0 leaves
    /// latents as the last batches left them.
    #[config(default = 20)]
    pub final_steps: usize,
    /// The learning rate of the weights (Adam).
    #[config(default = 1e-3)]
    pub learning_rate: f64,
    /// The seed of weights, latents, batches and directions.
    #[config(default = 0)]
    pub seed: u64,
}

/// Fits a generator to points: each keeps a latent, which a pool of fresh ones and a few gradient steps bring nearer, and the weights follow.
///
/// A step takes a batch of points `x_j`; moves the latent `z_j` of each to the best of a uniform pool if that is nearer in data space; takes
/// gradient steps of `z_j` on `|x_j - G(z_j)|^2`, kept in the cube `[-1, 1]^m`; and then one Adam step of the weights on
/// `mean |x_j - G(z_j)|^p + lambda C(G)`, with the [`SobolevPenalty`] at uniform latents.
///
/// The latent of a point dates from the last batch that had it, and the weights have moved since, at a constant rate to the end: a density of such
/// latents makes points that are off as a whole. So all latents are brought up to date with the final weights, by a pool and
/// [`final_steps`](NeuralFitConfig::final_steps) gradient steps.
///
/// With a checkpoint's path, a run that finds a checkpoint there resumes from it. On the processor's device it ends with the same numbers, bit by
/// bit, as if it had never stopped.
pub struct NeuralFit<'a> {
    config: NeuralFitConfig,
    checkpoint: Option<(PathBuf, usize)>,
    should_stop: Option<Box<dyn Fn() -> bool + 'a>>,
}

/// A fitted generator.
#[derive(Clone, Debug)]
pub struct NeuralFitted<G> {
    /// The generator, off autodiff.
    pub generator: G,
    /// The latent of every point, `[points, m]`.
    pub latents: Mat<f64>,
    /// What a step measured, every hundredth step.
    pub history: Vec<FitRow>,
    /// Why it ended.
    pub end: End,
    /// Steps that were done.
    pub steps: usize,
}

/// What a step measured on its batch, before its weights moved.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct FitRow {
    /// The step, from 0.
    pub step: usize,
    /// The mean of `|x - G(z)|^p`.
    pub distance: f64,
    /// The penalty, without its factor; 0 without a penalty.
    pub penalty: f64,
}

/// Why a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum End {
    /// All steps were done.
    Completed,
    /// It was told to stop.
    Stopped,
}

impl NeuralFitConfig {
    /// Checks the settings.
    ///
    /// # Errors
    /// [`Error::Parameter`].
    pub fn validate(&self) -> Result<()> {
        host::at_least_one("the number of latents", self.latents)?;
        host::at_least_one("the number of steps", self.steps)?;
        host::at_least_one("the batch", self.batch)?;
        host::at_least_one("the pool", self.pool)?;
        host::exponent("the exponent p", self.exponent)?;
        host::not_negative("the weight of the penalty", self.weight)?;
        host::positive("the inner rate", self.inner_rate)?;
        host::positive("the learning rate", self.learning_rate)?;
        self.penalty
            .as_ref()
            .map_or(Ok(()), SobolevPenalty::validate)
    }
}

impl<'a> NeuralFit<'a> {
    /// A fit with these settings.
    ///
    /// # Errors
    /// [`Error::Parameter`].
    pub fn new(config: NeuralFitConfig) -> Result<Self> {
        config.validate()?;
        Ok(Self {
            config,
            checkpoint: None,
            should_stop: None,
        })
    }

    /// Writes a checkpoint to this file after every so many steps (0: never on the way), at the end and when stopped; resumes from it if it is
    /// there. A run that had completed returns at once.
    pub fn with_checkpoint(mut self, path: impl Into<PathBuf>, every: usize) -> Self {
        self.checkpoint = Some((path.into(), every));
        self
    }

    /// Asks before every step whether to stop; what there is by then is returned as [`End::Stopped`].
    pub fn with_should_stop(mut self, should_stop: impl Fn() -> bool + 'a) -> Self {
        self.should_stop = Some(Box::new(should_stop));
        self
    }

    /// Fits an [`Mlp`] to points, a row each.
    ///
    /// # Errors
    /// Those of [`fit_from`](Self::fit_from).
    pub fn fit(&self, points: MatRef<'_, f64>, device: &Device) -> Result<NeuralFitted<Mlp>> {
        host::check_points(points)?;
        let config = &self.config;
        let network = MlpConfig::new(config.latents, points.ncols())
            .with_widths(config.widths.clone())
            .with_output(config.output)
            .init(config.seed, device)?;
        self.fit_from(network, points, device)
    }

    /// Fits a generator of the caller's to points, a row each; widths and output of the settings are not used.
    ///
    /// # Errors
    /// [`Error::EmptyMeasure`], [`Error::NonFinite`], [`Error::Parameter`]; [`Error::Size`] if the generator's dimensions are not those of the
    /// points and settings; [`Error::Diverged`]; for the checkpoint [`Error::Io`], [`Error::Read`] and [`Error::Checkpoint`].
    pub fn fit_from<G: Generator>(
        &self,
        generator: G,
        points: MatRef<'_, f64>,
        device: &Device,
    ) -> Result<NeuralFitted<G>> {
        host::check_columns("columns of the points", points, generator.outputs())?;
        if generator.latents() != self.config.latents {
            return Err(Error::Size {
                what: "latents of the generator",
                expected: self.config.latents,
                found: generator.latents(),
            });
        }
        let mut run = Run::new(&self.config, generator, points, device);
        let identity = Identity::new(&self.config, &run.points);
        if let Some((path, _)) = &self.checkpoint
            && let Some(saved) = checkpoint::load(path, &identity, &run.shape())?
        {
            run.restore(saved);
        }
        let end = self.advance(&mut run, &identity)?;
        if !weights::finite(&run.generator) {
            return Err(diverged(run.step, "a weight"));
        }
        // A checkpoint holds the latents as they were before.
        run.update_latents();
        Ok(NeuralFitted {
            generator: run.generator.valid(),
            latents: host::matrix(&run.latents, self.config.latents),
            history: run.history,
            end,
            steps: run.step,
        })
    }

    /// Does the steps that are left.
    fn advance<G: Generator>(&self, run: &mut Run<'_, G>, identity: &Identity) -> Result<End> {
        let length = self.config.steps;
        let span = tracing::info_span!("neural_fit", position = run.step, length);
        let _entered = span.enter();
        let mut unsaved = false;
        let save = |path: &Path, run: &Run<'_, G>| checkpoint::save(path, identity, run.save());
        let mut end = End::Completed;
        while run.step < length {
            if self.should_stop.as_ref().is_some_and(|stop| stop()) {
                end = End::Stopped;
                break;
            }
            run.advance()?;
            unsaved = true;
            span.record("position", run.step);
            if let Some((path, every)) = &self.checkpoint
                && *every > 0
                && run.step.is_multiple_of(*every)
            {
                save(path, run)?;
                unsaved = false;
            }
        }
        if let Some((path, _)) = &self.checkpoint
            && unsaved
        {
            save(path, run)?;
        }
        Ok(end)
    }
}

/// The state of a fit.
struct Run<'a, G> {
    config: &'a NeuralFitConfig,
    device: &'a Device,
    /// The points row by row, and their dimension.
    points: Vec<f32>,
    width: usize,
    generator: G,
    adam: Adam,
    /// The latents of the points, row by row.
    latents: Vec<f32>,
    history: Vec<FitRow>,
    step: usize,
}

impl<'a, G: Generator> Run<'a, G> {
    fn new(
        config: &'a NeuralFitConfig,
        generator: G,
        points: MatRef<'_, f64>,
        device: &'a Device,
    ) -> Self {
        let generator = generator.train();
        let mut rng = host::start_rng(config.seed);
        Self {
            config,
            device,
            points: host::singles(points),
            width: points.ncols(),
            adam: Adam::new(&generator, config.learning_rate, BETAS, 0.0),
            generator,
            latents: host::uniform(points.nrows() * config.latents, &mut rng),
            history: Vec::new(),
            step: 0,
        }
    }

    /// One step of latents and weights.
    fn advance(&mut self) -> Result<()> {
        let mut rng = host::step_rng(self.config.seed, self.step);
        let count = self.points.len() / self.width;
        let batch = index::sample(&mut rng, count, self.config.batch.min(count)).into_vec();
        let points = host::gather(&self.points, self.width, &batch);
        let points = host::rows(points, self.width, self.device);
        let inner_steps = self.config.inner_steps;
        let latents = self.nearer_latents(&batch, &points, inner_steps, &mut rng);
        self.store(&batch, latents.clone());
        let row = self.step_weights(points, latents, &mut rng)?;
        if self.step.is_multiple_of(ROW_EVERY) {
            self.history.push(row);
        }
        self.step += 1;
        Ok(())
    }

    /// Latents of a batch that are nearer than the stored ones: the best of a pool, then some gradient steps.
    fn nearer_latents(
        &self,
        batch: &[usize],
        points: &Tensor<2>,
        steps: usize,
        rng: &mut impl Rng,
    ) -> Tensor<2> {
        let config = self.config;
        let m = config.latents;
        let generator = self.generator.valid();
        let stored = host::rows(host::gather(&self.latents, m, batch), m, self.device);
        let pool = host::rows(host::uniform(config.pool * m, rng), m, self.device);
        let values = generator.forward(pool.clone());
        let best = projection::nearest(points, &values);
        let old = projection::square_distances(points, generator.forward(stored.clone()));
        let new = projection::square_distances(points, values.select(0, best.clone()));
        let better = new.lower(old).expand(stored.dims());
        let start = stored.mask_where(better, pool.select(0, best));
        (0..steps).fold(start, |z, _| {
            projection::descend(&generator, points, z, config.inner_rate).1
        })
    }

    /// Brings the latents of all points up to date with the weights.
    fn update_latents(&mut self) {
        if self.config.final_steps == 0 {
            return;
        }
        let mut rng = host::end_rng(self.config.seed);
        let all: Vec<usize> = (0..self.points.len() / self.width).collect();
        for part in all.chunks(TOGETHER) {
            let points = host::gather(&self.points, self.width, part);
            let points = host::rows(points, self.width, self.device);
            let latents = self.nearer_latents(part, &points, self.config.final_steps, &mut rng);
            self.store(part, latents);
        }
    }

    fn store(&mut self, batch: &[usize], latents: Tensor<2>) {
        let m = self.config.latents;
        let new = host::numbers(latents);
        for (&row, latent) in batch.iter().zip(new.chunks_exact(m)) {
            self.latents[row * m..(row + 1) * m].copy_from_slice(latent);
        }
    }

    /// One Adam step on the mean distance and the penalty.
    fn step_weights(
        &mut self,
        points: Tensor<2>,
        latents: Tensor<2>,
        rng: &mut impl Rng,
    ) -> Result<FitRow> {
        let config = self.config;
        let values = self.generator.forward(latents.autodiff());
        let distance = powers(points.autodiff() - values, config.exponent).mean();
        let mut row = FitRow {
            step: self.step,
            distance: host::scalar(distance.clone()),
            penalty: 0.0,
        };
        let mut loss = distance;
        if let Some(penalty) = config.penalty.filter(|_| config.weight > 0.0) {
            let m = config.latents;
            let places = host::rows(host::uniform(config.batch * m, rng), m, self.device);
            let value = penalty.estimate(&self.generator, places.autodiff(), rng)?;
            row.penalty = host::scalar(value.clone());
            loss = loss + value * config.weight;
        }
        if !(row.distance.is_finite() && row.penalty.is_finite()) {
            return Err(diverged(self.step, "the loss"));
        }
        self.generator = self.adam.step(self.generator.clone(), &loss);
        Ok(row)
    }

    /// Lengths of the lists of numbers that a checkpoint holds.
    fn shape(&self) -> Vec<usize> {
        self.save().numbers.iter().map(Vec::len).collect()
    }

    fn save(&self) -> Saved {
        let (adam_steps, moments) = self.adam.state();
        let mut numbers = weights::read(&self.generator);
        numbers.extend(moments);
        numbers.push(self.latents.clone());
        Saved {
            step: self.step,
            adam_steps,
            history: self.history.clone(),
            numbers,
        }
    }

    fn restore(&mut self, mut saved: Saved) {
        self.latents = saved.numbers.pop().unwrap_or_default();
        let moments = saved.numbers.split_off(saved.numbers.len() / 3);
        self.generator = weights::write(self.generator.clone(), saved.numbers);
        self.adam.restore(saved.adam_steps, moments);
        self.history = saved.history;
        self.step = saved.step;
    }
}

fn diverged(step: usize, what: &'static str) -> Error {
    Error::Diverged { step, what }
}
