//! Trains an image classifier.

use std::cell::RefCell;
use std::path::Path;
use std::time::Instant;

use anyhow::Result;
use burn::module::Module as _;
use burn::tensor::{Device, Tensor, TensorData};
use fire_assay_datasets::images::{ChannelStatistics, ImageSet, ImageShape, TrainTest};
use fire_assay_examples::interrupt::interrupted;
use fire_assay_examples::{CommonArgs, Report};
use fire_assay_models::Result as ModelResult;
use fire_assay_models::train::{
    Adam, Batch, Crop, Decay, DecayScope, EpochEnd, Evaluation, Labels, Length, Method, Schedule,
    Sgd, TrainConfig, Trained, Trainer, evaluate,
};
use fire_assay_models::vision::{Classifier as _, Mode, Network, NetworkConfig};
use serde::Serialize;

use crate::data::{ImageSource, Images};
use crate::settings::Settings;
use crate::show::{self, Row, evaluation};

/// What to train, and on what.
pub(crate) struct Task<'a> {
    pub(crate) net: &'a str,
    pub(crate) width: f64,
    pub(crate) data: &'a ImageSource,
    pub(crate) per_class: Option<usize>,
    pub(crate) augment: Option<Augmentation>,
}

/// What happens to training images, drawn anew in every epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Augmentation {
    /// Moved by up to 4 pixels
    Crop,
    /// Moved by up to 4 pixels, and mirrored one time in two (not for digits)
    CropFlip,
}

/// The result of a training.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Outcome {
    net: String,
    width: f64,
    parameters: usize,
    training_images: usize,
    test_images: usize,
    classes: usize,
    /// Of the training and the evaluations, without reading data; of a resumed run, what it took this time.
    seconds: f64,
    test_loss: f64,
    accuracy: f64,
    results: Vec<Row>,
}

/// Images of a batch in evaluation.
const EVALUATION_BATCH: usize = 250;
/// Images of a batch in training.
const BATCH: usize = 128;

/// Trains, shows how it went, and saves the network.
pub(crate) fn run(
    task: &Task<'_>,
    settings: &Settings,
    device: &Device,
    common: &CommonArgs,
    report: &Report,
) -> Result<Outcome> {
    let images = task.data.read(task.per_class, common.seed)?;
    let fingerprint = images.fingerprint();
    let Images { data, notes } = images;
    for note in notes {
        report.say(note);
    }
    let ImageShape {
        channels,
        height,
        width,
    } = data.train.shape();
    let input = [channels, height, width];
    let classes = data.train.classes().len();
    let network = NetworkConfig::by_name(task.net, input, classes, task.width)?;
    let network = Network::new(network, common.seed, &device.clone().autodiff())?;
    let parameters = network.num_params();
    report.say(format!(
        "{} of width {}, {parameters} parameters; {} training and {} test images of {channels}x{height}x{width} in \
         {classes} classes",
        task.net,
        task.width,
        data.train.len(),
        data.test.len(),
    ));
    let mut config = usual(task.net);
    config.seed = common.seed;
    config.label = format!(
        "{} of width {}, augmentation {:?}, on {} images with the hash {fingerprint}",
        task.net,
        task.width,
        task.augment,
        data.train.len(),
    );
    settings.apply(&mut config);
    let start = Instant::now();
    let pixels = Pixels::new(&data.train, task.augment);
    let trained = train(network, config, settings, &data, &pixels, device)?;
    let seconds = start.elapsed().as_secs_f64();
    let history = trained.history;
    let network = trained.model.valid();
    let found = pixels.evaluate(&data.test, &network, device)?;
    let rows = show::rows(&history, found);
    let title = format!("{} on {}", task.net, task.data);
    show::show(&title, &rows, &history, common, report)?;
    if let Some(path) = common.out_file("network.safetensors")? {
        save(&network, &path, &pixels, &data)?;
        report.say(format!("wrote {}", path.display()));
    }
    report.say(format!(
        "test loss {:.4}, accuracy {:.2} %; {seconds:.1} s",
        found.loss,
        100.0 * found.accuracy
    ));
    Ok(Outcome {
        net: task.net.to_owned(),
        width: task.width,
        parameters,
        training_images: data.train.len(),
        test_images: data.test.len(),
        classes,
        seconds,
        test_loss: found.loss,
        accuracy: found.accuracy,
        results: rows,
    })
}

/// Writes the network with what it takes to use it: how bytes become its input, and what its classes are called.
fn save(network: &Network, path: &Path, pixels: &Pixels, data: &TrainTest) -> Result<()> {
    let statistics = &pixels.statistics;
    let channels = 0..statistics.mean.len();
    let deviation: Vec<f64> = channels.map(|c| statistics.divisor(c)).collect();
    let entries = [
        ("mean", serde_json::to_string(&statistics.mean)?),
        ("deviation", serde_json::to_string(&deviation)?),
        ("classes", serde_json::to_string(data.train.classes())?),
    ];
    let entries: Vec<(&str, &str)> = entries.iter().map(|(key, v)| (*key, v.as_str())).collect();
    network.save_with(path, &entries)?;
    Ok(())
}

/// How a network is usually trained.
fn usual(net: &str) -> TrainConfig {
    let adamw = |weight_decay| {
        Method::AdamW(Adam {
            weight_decay,
            ..Adam::default()
        })
    };
    let (method, rate, warm_up, clip_norm) = match net {
        "mlp" | "cnn" => (adamw(1e-2), 1e-3, 0, None),
        "vit" => (adamw(5e-2), 1e-3, 100, Some(1.0)),
        // Residual networks and VGG.
        _ => {
            let sgd = Sgd {
                momentum: 0.9,
                nesterov: true,
                weight_decay: 5e-4,
                ..Sgd::default()
            };
            (Method::Sgd(sgd), 0.1, 20, None)
        }
    };
    TrainConfig {
        schedule: Schedule {
            warm_up,
            decay: Decay::Cosine { floor: 0.0 },
        },
        decay_scope: DecayScope::Matrices,
        clip_norm,
        ..TrainConfig::new(method, rate, Length::Epochs(10), BATCH)
    }
}

/// Trains a network, and evaluates it on the test images after every epoch.
fn train(
    network: Network,
    config: TrainConfig,
    settings: &Settings,
    data: &TrainTest,
    pixels: &Pixels,
    device: &Device,
) -> Result<Trained<Network>> {
    let autodiff = device.clone().autodiff();
    // Batch normalisation's statistics of a step, on their way from the forward pass into the network.
    let statistics = RefCell::new(None);
    let mut trainer = Trainer::new(config)?
        .with_cancel(interrupted())
        .after_step(|network: Network, _| match statistics.take() {
            Some(statistics) => network.with_running_update(&statistics),
            None => Ok(network),
        })
        .on_epoch(|progress| {
            let found = pixels.evaluate(&data.test, progress.model, device)?;
            show::log_epoch(progress.history, found);
            Ok(EpochEnd {
                evaluation: evaluation(found),
                stop: false,
            })
        });
    if let Some((file, every)) = settings.checkpoint()? {
        trainer = trainer.with_checkpoint(file, every);
    }
    let trained = trainer.run(network, data.train.len(), |network, batch| {
        let images = pixels.of_batch(&data.train, batch, &autodiff)?;
        let (logits, batch_statistics) = network.logits_with_statistics(images)?;
        statistics.replace(Some(batch_statistics));
        labels(&data.train, &batch.indices)?.cross_entropy(logits, 0.0)
    })?;
    Ok(trained)
}

/// How bytes become what a network takes: normalised by the training images' statistics, augmented in training.
struct Pixels {
    statistics: ChannelStatistics,
    augment: Option<Augmentation>,
}

impl Pixels {
    fn new(train: &ImageSet, augment: Option<Augmentation>) -> Self {
        Self {
            statistics: train.channel_statistics(),
            augment,
        }
    }

    fn of_batch(&self, set: &ImageSet, batch: &Batch, device: &Device) -> ModelResult<Tensor<4>> {
        let mut values = set.normalised(&batch.indices, &self.statistics);
        if let Some(augment) = self.augment {
            let ImageShape { height, width, .. } = set.shape();
            let images = values.chunks_exact_mut(set.shape().values());
            for (position, image) in images.enumerate() {
                // One seed for all channels of an image: they stay together.
                let seed = batch.sample_seed(position);
                for (channel, plane) in image.chunks_exact_mut(height * width).enumerate() {
                    let crop = Crop {
                        fill: self.black(channel),
                        flip: augment == Augmentation::CropFlip,
                        ..Crop::default()
                    };
                    plane.copy_from_slice(&crop.apply(plane, [1, height, width], seed)?);
                }
            }
        }
        Ok(tensor(values, batch.indices.len(), set.shape(), device))
    }

    /// What a byte of 0 becomes.
    fn black(&self, channel: usize) -> f32 {
        (-self.statistics.mean[channel] / self.statistics.divisor(channel)) as f32
    }

    fn evaluate(
        &self,
        set: &ImageSet,
        network: &Network,
        device: &Device,
    ) -> ModelResult<Evaluation> {
        evaluate(network, set.len(), EVALUATION_BATCH, |network, indices| {
            let values = set.normalised(indices, &self.statistics);
            let images = tensor(values, indices.len(), set.shape(), device);
            Ok((network.logits(images, Mode::Eval)?, labels(set, indices)?))
        })
    }
}

fn tensor(values: Vec<f32>, count: usize, shape: ImageShape, device: &Device) -> Tensor<4> {
    let shape = [count, shape.channels, shape.height, shape.width];
    Tensor::from_data(TensorData::new(values, shape), device)
}

fn labels(set: &ImageSet, indices: &[usize]) -> ModelResult<Labels> {
    let labels: Vec<i64> = indices
        .iter()
        .map(|&index| set.labels()[index].into())
        .collect();
    Labels::new(&labels, set.classes().len())
}

#[cfg(all(test, feature = "flex"))]
mod tests {
    use fire_assay_models::vision::MlpConfig;

    use super::*;

    const SHAPE: ImageShape = ImageShape {
        channels: 2,
        height: 12,
        width: 12,
    };

    /// Four images of a bright patch on grey, the same in both channels.
    fn patches() -> ImageSet {
        let plane = (0..144).map(|i| {
            let (y, x) = (i / 12, i % 12);
            let patch = (5..7).contains(&y) && (5..8).contains(&x);
            if patch { 200 } else { 0 }
        });
        let plane: Vec<u8> = plane.collect();
        let classes = vec!["a".to_owned(), "b".to_owned()];
        ImageSet::new(SHAPE, plane.repeat(8), vec![0, 1, 0, 1], classes).unwrap()
    }

    /// The images that a network gets in a step.
    fn seen(augment: Option<Augmentation>) -> Vec<f32> {
        let device = Device::flex().autodiff();
        let set = patches();
        let pixels = Pixels::new(&set, augment);
        let config = TrainConfig::new(Method::Sgd(Sgd::default()), 0.1, Length::Steps(1), 4);
        let network = Network::new(MlpConfig::new([2, 12, 12], 2), 1, &device).unwrap();
        let mut seen = Vec::new();
        Trainer::new(config)
            .unwrap()
            .run(network, 4, |network, batch| {
                let images = pixels.of_batch(&set, batch, &device)?;
                seen = images.to_data().try_to_vec().unwrap();
                let logits = network.logits(images, Mode::Train)?;
                labels(&set, &batch.indices)?.cross_entropy(logits, 0.0)
            })
            .unwrap();
        seen
    }

    fn sorted(values: &[f32]) -> Vec<f32> {
        let mut values = values.to_vec();
        values.sort_by(f32::total_cmp);
        values
    }

    #[test]
    fn augmentation_moves_all_channels_of_an_image_together() {
        let plain = seen(None);
        for augment in [Augmentation::Crop, Augmentation::CropFlip] {
            let moved = seen(Some(augment));
            assert_eq!(moved, seen(Some(augment)), "drawn from the seed");
            assert_ne!(moved, plain);
            for (moved, plain) in moved.chunks(288).zip(plain.chunks(288)) {
                assert_eq!(moved[..144], moved[144..]);
                // The patch never leaves the image, and what comes in is black as its ground is.
                assert_eq!(sorted(moved), sorted(plain));
            }
        }
    }

    #[test]
    fn every_network_is_trained_with_valid_settings() {
        for net in fire_assay_models::vision::NETWORKS {
            usual(net).validate().unwrap();
        }
    }
}
