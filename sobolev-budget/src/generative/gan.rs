//! Adversarial training, to compare with: three losses, and four ways to keep the generator smooth.
//!
//! It is as large as an example needs: it writes no checkpoints.

use burn::config::Config;
use burn::tensor::{Device, Tensor};
use faer::MatRef;
use rand::{Rng, RngExt};
use serde::{Deserialize, Serialize};

use super::activation::softplus;
use super::adam::Adam;
use super::fit::End;
use super::generator::{Generator, generate};
use super::mlp::{Activation, Mlp, MlpConfig, Output};
use super::penalty::SobolevPenalty;
use super::{host, metrics, weights};
use crate::{Error, Result};

/// Samples behind the metrics of a row.
const SAMPLES: usize = 2_000;
/// Keeps two points that are the same from having a direction of 0 / 0 between them.
const TINY: f64 = 1e-12;

/// Settings of a [`GanTrainer`].
#[derive(Config, Debug, PartialEq)]
pub struct GanConfig {
    /// Dimensions of the latents, which are uniform in the cube `[-1, 1]^m`.
    pub latents: usize,
    /// Widths of the hidden layers of both networks.
    #[config(default = "vec![128, 128]")]
    pub widths: Vec<usize>,
    /// What stands behind the hidden layers of both networks.
    #[config(default = "Activation::LeakyRelu")]
    pub activation: Activation,
    /// What stands behind the last layer of the generator.
    #[config(default = "Output::Sigmoid")]
    pub output: Output,
    /// What the networks play for.
    #[config(default = "Loss::NonSaturating")]
    pub loss: Loss,
    /// What keeps the generator smooth.
    #[config(default = "Regulariser::None")]
    pub regulariser: Regulariser,
    /// Steps of the generator.
    #[config(default = 12_000)]
    pub steps: usize,
    /// Steps of the discriminator for each of the generator; 5 is usual with the losses of Wasserstein.
    #[config(default = 1)]
    pub discriminator_steps: usize,
    /// Points in a step.
    #[config(default = 64)]
    pub batch: usize,
    /// The learning rate of both networks (Adam).
    #[config(default = 2e-4)]
    pub learning_rate: f64,
    /// Adam's discounts.
    #[config(default = "[0.5, 0.999]")]
    pub betas: [f64; 2],
    /// Steps between two rows of the log.
    #[config(default = 500)]
    pub log_every: usize,
    /// The seed of weights, batches, latents and directions.
    #[config(default = 0)]
    pub seed: u64,
}

/// What the networks play for. `D` is the discriminator's number for a point.
#[derive(Config, Debug, Copy, PartialEq)]
pub enum Loss {
    /// The original game with the generator's gradient that does not vanish (Goodfellow et al. 2014): the discriminator lowers
    /// `softplus(-D(x)) + softplus(D(G(z)))`, the generator `softplus(-D(G(z)))`.
    NonSaturating,
    /// The dual of the Wasserstein distance of order 1 with every weight of the discriminator clipped (Arjovsky et al. 2017).
    Clipped {
        /// The bound on a weight; usual is 0.01.
        bound: f64,
    },
    /// The same dual with a penalty on the discriminator's slope between a real and a generated point, which at the optimum is 1 along the line
    /// that joins them. The penalty of Gulrajani et al. (2017) takes the norm of the gradient, which needs autodiff of the second order; this one
    /// takes the slope along the line by a finite difference.
    SlopePenalty {
        /// The factor of the penalty; usual is 10.
        weight: f64,
        /// The step of the difference.
        step: f64,
    },
}

/// What keeps the generator smooth.
#[derive(Config, Debug, Copy, PartialEq)]
pub enum Regulariser {
    /// Nothing.
    None,
    /// Decoupled weight decay of the generator: a step takes the learning rate times this part of each weight away.
    WeightDecay {
        /// The factor.
        rate: f64,
    },
    /// A Sobolev penalty of the generator, by finite differences: of the second order of a generator with leaky ReLU it sees the kinks within a step,
    /// and the more the smaller the step.
    Sobolev {
        /// The penalty.
        penalty: SobolevPenalty,
        /// Its factor.
        weight: f64,
    },
}

/// A row of the log.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct GanRow {
    /// Steps done.
    pub step: usize,
    /// The discriminator's loss on its last batch.
    pub discriminator_loss: f64,
    /// The generator's loss on its last batch, without the penalty.
    pub generator_loss: f64,
    /// The penalty, without its factor; 0 without one.
    pub penalty: f64,
    /// The root mean square of the generator's directional derivative.
    pub rms_derivative: f64,
    /// The Frechet distance of 2,000 samples to the held-out points, if there are any.
    pub frechet: Option<f64>,
}

/// The networks after the game, off autodiff.
#[derive(Clone, Debug)]
pub struct Gan<G, D> {
    /// The generator.
    pub generator: G,
    /// The discriminator.
    pub discriminator: D,
    /// The log.
    pub rows: Vec<GanRow>,
    /// Why it ended.
    pub end: End,
}

/// Trains a generator against a discriminator.
pub struct GanTrainer<'a> {
    config: GanConfig,
    should_stop: Option<Box<dyn Fn() -> bool + 'a>>,
}

impl GanConfig {
    /// Checks the settings.
    ///
    /// # Errors
    /// [`Error::Parameter`].
    pub fn validate(&self) -> Result<()> {
        host::at_least_one("the number of latents", self.latents)?;
        host::at_least_one("the number of steps", self.steps)?;
        host::at_least_one("the steps of the discriminator", self.discriminator_steps)?;
        host::at_least_one("the batch", self.batch)?;
        host::at_least_one("the steps between rows", self.log_every)?;
        host::positive("the learning rate", self.learning_rate)?;
        for beta in self.betas {
            let fits = (0.0..1.0).contains(&beta);
            host::require("a discount", "from 0 up to but not including 1", beta, fits)?;
        }
        match self.loss {
            Loss::NonSaturating => {}
            Loss::Clipped { bound } => host::positive("the bound on weights", bound)?,
            Loss::SlopePenalty { weight, step } => {
                host::not_negative("the factor of the slope's penalty", weight)?;
                host::positive("the step of the slope", step)?;
            }
        }
        match &self.regulariser {
            Regulariser::None => Ok(()),
            Regulariser::WeightDecay { rate } => host::not_negative("the weight decay", *rate),
            Regulariser::Sobolev { penalty, weight } => {
                host::not_negative("the weight of the penalty", *weight)?;
                penalty.validate()
            }
        }
    }
}

impl<'a> GanTrainer<'a> {
    /// A trainer with these settings.
    ///
    /// # Errors
    /// [`Error::Parameter`].
    pub fn new(config: GanConfig) -> Result<Self> {
        config.validate()?;
        Ok(Self {
            config,
            should_stop: None,
        })
    }

    /// Asks before every step whether to stop; what there is by then is returned as [`End::Stopped`].
    pub fn with_should_stop(mut self, should_stop: impl Fn() -> bool + 'a) -> Self {
        self.should_stop = Some(Box::new(should_stop));
        self
    }

    /// Trains two [`Mlp`]s on points, a row each; the log compares with held-out points, if there are any.
    ///
    /// # Errors
    /// As [`train_from`](Self::train_from).
    pub fn train(
        &self,
        points: MatRef<'_, f64>,
        held_out: Option<MatRef<'_, f64>>,
        device: &Device,
    ) -> Result<Gan<Mlp, Mlp>> {
        host::check_points(points)?;
        let config = &self.config;
        let generator = MlpConfig::new(config.latents, points.ncols())
            .with_widths(config.widths.clone())
            .with_activation(config.activation)
            .with_output(config.output)
            .init(config.seed, device)?;
        let discriminator = MlpConfig::new(points.ncols(), 1)
            .with_widths(config.widths.clone())
            .with_activation(config.activation)
            .init(config.seed.wrapping_add(1), device)?;
        self.train_from(generator, discriminator, points, held_out, device)
    }

    /// Trains networks of the caller's; a discriminator maps points to one number. Widths, activation and output of the
    /// settings are not used.
    ///
    /// # Errors
    /// [`Error::EmptyMeasure`], [`Error::NonFinite`], [`Error::Size`] if the networks do not fit each other or the points, [`Error::Parameter`],
    /// [`Error::Diverged`].
    pub fn train_from<G: Generator, D: Generator>(
        &self,
        generator: G,
        discriminator: D,
        points: MatRef<'_, f64>,
        held_out: Option<MatRef<'_, f64>>,
        device: &Device,
    ) -> Result<Gan<G, D>> {
        let config = &self.config;
        let n = generator.outputs();
        host::check_columns("columns of the points", points, n)?;
        if let Some(held_out) = held_out {
            host::check_columns("columns of the held-out points", held_out, n)?;
        }
        for (what, expected, found) in [
            (
                "latents of the generator",
                config.latents,
                generator.latents(),
            ),
            ("inputs of the discriminator", n, discriminator.latents()),
            ("outputs of the discriminator", 1, discriminator.outputs()),
        ] {
            if expected != found {
                return Err(Error::Size {
                    what,
                    expected,
                    found,
                });
            }
        }
        let mut game = Game::new(config, generator, discriminator, points, device);
        let length = config.steps;
        let span = tracing::info_span!("gan", position = 0, length);
        let _entered = span.enter();
        let mut rows = Vec::new();
        let mut end = End::Completed;
        for step in 0..length {
            if self.should_stop.as_ref().is_some_and(|stop| stop()) {
                end = End::Stopped;
                break;
            }
            let losses = game.advance(step)?;
            span.record("position", step + 1);
            if (step + 1).is_multiple_of(config.log_every) || step + 1 == length {
                rows.push(game.row(step + 1, losses, held_out)?);
            }
        }
        Ok(Gan {
            generator: game.generator.valid(),
            discriminator: game.discriminator.valid(),
            rows,
            end,
        })
    }
}

/// The state of a game.
struct Game<'a, G, D> {
    config: &'a GanConfig,
    device: &'a Device,
    points: Vec<f32>,
    width: usize,
    generator: G,
    discriminator: D,
    generator_adam: Adam,
    discriminator_adam: Adam,
}

/// What a step measured.
#[derive(Clone, Copy)]
struct Losses {
    discriminator: f64,
    generator: f64,
    penalty: f64,
}

impl<'a, G: Generator, D: Generator> Game<'a, G, D> {
    fn new(
        config: &'a GanConfig,
        generator: G,
        discriminator: D,
        points: MatRef<'_, f64>,
        device: &'a Device,
    ) -> Self {
        let decay = match config.regulariser {
            Regulariser::WeightDecay { rate } => rate,
            _ => 0.0,
        };
        let (generator, discriminator) = (generator.train(), discriminator.train());
        let (rate, betas) = (config.learning_rate, config.betas);
        Self {
            config,
            device,
            points: host::singles(points),
            width: points.ncols(),
            generator_adam: Adam::new(&generator, rate, betas, decay),
            discriminator_adam: Adam::new(&discriminator, rate, betas, 0.0),
            generator,
            discriminator,
        }
    }

    /// The steps of the discriminator and the one of the generator.
    fn advance(&mut self, step: usize) -> Result<Losses> {
        let mut rng = host::step_rng(self.config.seed, step);
        let mut discriminator = 0.0;
        for _ in 0..self.config.discriminator_steps {
            discriminator = self.step_discriminator(&mut rng);
        }
        let (generator, penalty) = self.step_generator(&mut rng)?;
        let finite = [
            (discriminator, "the discriminator's loss"),
            (generator, "the generator's loss"),
            (penalty, "the penalty"),
        ];
        match finite.into_iter().find(|(value, _)| !value.is_finite()) {
            Some((_, what)) => Err(Error::Diverged { step, what }),
            None => Ok(Losses {
                discriminator,
                generator,
                penalty,
            }),
        }
    }

    fn step_discriminator(&mut self, rng: &mut impl Rng) -> f64 {
        let real = self.real(rng).autodiff();
        let fake = self.generator.valid().forward(self.latents(rng)).autodiff();
        let on = |points: &Tensor<2>| self.discriminator.forward(points.clone());
        let loss = match self.config.loss {
            Loss::NonSaturating => (softplus(on(&real).neg()) + softplus(on(&fake))).mean(),
            Loss::Clipped { .. } => (on(&fake) - on(&real)).mean(),
            Loss::SlopePenalty { weight, step } => {
                let penalty = self.slope_penalty(&real, &fake, step, rng);
                (on(&fake) - on(&real)).mean() + penalty * weight
            }
        };
        let value = host::scalar(loss.clone());
        self.discriminator = self
            .discriminator_adam
            .step(self.discriminator.clone(), &loss);
        if let Loss::Clipped { bound } = self.config.loss {
            self.discriminator = weights::clamp(self.discriminator.clone(), bound);
        }
        value
    }

    /// How far the discriminator's slope is from 1 at random places between pairs of points, along the line between them.
    fn slope_penalty(
        &self,
        real: &Tensor<2>,
        fake: &Tensor<2>,
        step: f64,
        rng: &mut impl Rng,
    ) -> Tensor<1> {
        let [count, _] = real.dims();
        let shares: Vec<f32> = (0..count).map(|_| rng.random()).collect();
        let shares = host::rows(shares, 1, self.device).autodiff();
        let line = real.clone() - fake.clone();
        let length = (line.clone().square().sum_dim(1) + TINY).sqrt();
        let place = fake.clone() + line.clone() * shares;
        let shift = line / length * step;
        let ends = Tensor::cat(vec![place.clone() + shift.clone(), place - shift], 0);
        let values = self.discriminator.forward(ends);
        let part = |i: usize| values.clone().slice_dim(0, i * count..(i + 1) * count);
        let slope = (part(0) - part(1)) / (2.0 * step);
        (slope.abs() - 1.0).square().mean()
    }

    fn step_generator(&mut self, rng: &mut impl Rng) -> Result<(f64, f64)> {
        let fake = self.generator.forward(self.latents(rng).autodiff());
        let judged = self.discriminator.valid().forward(fake);
        let loss = match self.config.loss {
            Loss::NonSaturating => softplus(judged.neg()).mean(),
            Loss::Clipped { .. } | Loss::SlopePenalty { .. } => judged.mean().neg(),
        };
        let value = host::scalar(loss.clone());
        let mut penalised = (loss, 0.0);
        if let Regulariser::Sobolev { penalty, weight } = &self.config.regulariser {
            let latents = self.latents(rng).autodiff();
            let bend = penalty.estimate(&self.generator, latents, rng)?;
            penalised.1 = host::scalar(bend.clone());
            penalised.0 = penalised.0 + bend * *weight;
        }
        self.generator = self
            .generator_adam
            .step(self.generator.clone(), &penalised.0);
        Ok((value, penalised.1))
    }

    fn real(&self, rng: &mut impl Rng) -> Tensor<2> {
        let count = self.points.len() / self.width;
        let rows: Vec<usize> = (0..self.config.batch)
            .map(|_| rng.random_range(0..count))
            .collect();
        let rows = host::gather(&self.points, self.width, &rows);
        host::rows(rows, self.width, self.device)
    }

    fn latents(&self, rng: &mut impl Rng) -> Tensor<2> {
        let m = self.config.latents;
        host::rows(host::uniform(self.config.batch * m, rng), m, self.device)
    }

    fn row(
        &self,
        step: usize,
        losses: Losses,
        held_out: Option<MatRef<'_, f64>>,
    ) -> Result<GanRow> {
        if !(weights::finite(&self.generator) && weights::finite(&self.discriminator)) {
            return Err(Error::Diverged {
                step,
                what: "a weight",
            });
        }
        // The same latents in every row, and in every run of a seed.
        let mut rng = host::start_rng(self.config.seed);
        let latents = host::uniform_latents(SAMPLES, self.config.latents, &mut rng);
        let frechet = |held_out| {
            let samples = generate(&self.generator, latents.as_ref(), self.device)?;
            metrics::frechet_distance(samples.as_ref(), held_out)
        };
        Ok(GanRow {
            step,
            discriminator_loss: losses.discriminator,
            generator_loss: losses.generator,
            penalty: losses.penalty,
            rms_derivative: metrics::rms_derivative(
                &self.generator,
                latents.as_ref(),
                self.device,
                &mut rng,
            )?,
            frechet: held_out.map(frechet).transpose()?,
        })
    }
}
