//! The default run: a small network, trained here on embedded images, and how far each method can prove it robust.

use std::time::Instant;

use anyhow::{Context as _, Result, bail};
use burn::module::Module as _;
use burn::tensor::{Device, Tensor, TensorData};
use fire_assay_datasets::embedded;
use fire_assay_datasets::images::{ChannelStatistics, ImageSet, ImageShape};
use fire_assay_models::train::{
    Adam, Decay, Labels, Length, Method as Optimizer, Schedule, TrainConfig, Trainer,
};
use fire_assay_models::vision::{Classifier as _, MlpConfig, Mode, Network as Classifier};
use serde_json::{Value as Json, json};
use zonotope_verify::attack::AttackConfig;
use zonotope_verify::branch::BranchConfig;
use zonotope_verify::limits::{CancelToken, RunOptions};
use zonotope_verify::method::Method;
use zonotope_verify::network::Network;
use zonotope_verify::report::Report as Proof;
use zonotope_verify::spec::{InputBox, Spec};
use zonotope_verify::verify::{Verifier, VerifierConfig};

use crate::args::CommonArgs;
use crate::device::DeviceName;
use crate::interrupt::{Limit, interrupted};
use crate::report::Report;
use crate::robustness::{self, Answer, Comparison, Examined, Margins, Query, Row, pixels, predict};
use crate::verifiable;

/// Widths of the network's hidden layers.
const HIDDEN: [usize; 2] = [32, 32];
const EPOCHS: u64 = 20;
const BATCH: usize = 64;
/// The name of the complete method, which branches where bounds alone leave the question open.
const COMPLETE: &str = "branch-and-bound";

/// What the default run does.
#[derive(Clone, Debug)]
pub struct Options {
    /// Images to examine: the first of the test images that the network classifies rightly. Default 4.
    pub images: usize,
    /// How far every pixel, of 0 to 1, may move. Default 0.075.
    pub eps: f64,
    /// Nodes that branch and bound may use for each of the nine margins of an image. Default 200.
    pub nodes: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            images: 4,
            eps: 0.075,
            nodes: 200,
        }
    }
}

/// Trains the network, and bounds its margins around some test images by every method. Returns what `--json` prints;
/// with `--out`, draws the bounds.
///
/// # Errors
/// Whatever the libraries or the file system bring.
pub fn run(options: &Options, common: &CommonArgs, report: &Report) -> Result<Json> {
    let start = Instant::now();
    let device = common.device.or_else(DeviceName::default_of_build);
    let device = device.context("this build has no device")?.open();
    let cancel = CancelToken::new();
    let limit = {
        let cancel = cancel.clone();
        Limit::calling(None, move || cancel.cancel())
    };
    let data = embedded::fashion_mnist();
    let (train_images, test_images) = (halved(&data.train)?, halved(&data.test)?);
    let trained = train(&train_images, common.seed, &device)?;
    let network = verifiable::from_classifier(&trained)?;
    let (accuracy, right) = classify(&network, &test_images)?;
    let train_seconds = start.elapsed().as_secs_f64();
    report.say(format!(
        "A network of {} inputs, hidden layers of {HIDDEN:?} and {} classes, trained in {train_seconds:.1} s on the {} embedded \
         images of\nFashion-MNIST, halved to 14 by 14 pixels; it classifies {:.1} % of the {} test images rightly. For the first {} of those: does the class \
         stay the same if\nevery pixel, of 0 to 1, moves by up to {}? Proven lower bounds of the least margin; a positive one is a \
         proof.",
        network.inputs(),
        network.outputs(),
        train_images.len(),
        100.0 * accuracy,
        test_images.len(),
        options.images,
        options.eps,
    ));

    let attack = AttackConfig {
        seed: common.seed,
        ..AttackConfig::default()
    };
    let comparison = Comparison {
        network: &network,
        methods: &Method::ALL,
        margins: Margins::All,
        attack: attack.clone(),
        device: &device,
        options: RunOptions::new()
            .with_seed(common.seed)
            .with_cancel(cancel.clone()),
    };
    let branch = BranchConfig {
        nodes: options.nodes,
        ..BranchConfig::default()
    };
    let complete = VerifierConfig {
        attack,
        branch,
        ..VerifierConfig::default()
    };
    let complete = complete.init().with_cancel(cancel);
    let examined = examine(
        &comparison,
        &complete,
        &test_images,
        &right,
        options,
        &limit,
    )?;
    if examined.is_empty() {
        bail!("stopped before the first image was examined");
    }

    let methods: Vec<&str> = Method::ALL
        .iter()
        .map(|method| method.name())
        .chain([COMPLETE])
        .collect();
    report.table(&robustness::by_image(&examined, &methods));
    let summaries = robustness::summaries(&examined, &methods);
    report.table(&robustness::summary_table(&summaries));
    if let Some(path) = common.out_file("bounds.svg")? {
        let title = format!("Bounds of the least margin, eps = {}", options.eps);
        robustness::bars(title, &examined, &methods).write(&path)?;
        report.say(format!("wrote {}", path.display()));
    }
    if let Some(path) = common.out_file("network.onnx")? {
        network.to_onnx(&path)?;
        report.say(format!("wrote {}", path.display()));
    }
    let stopped = limit.reason();
    if let Some(reason) = &stopped {
        report.say(format!("stopped early: {reason}"));
    }
    let seconds = start.elapsed().as_secs_f64();
    report.say(format!("{seconds:.1} s"));
    let images: Vec<Json> = examined
        .iter()
        .map(|one| json!({"instance": one.instance, "class": test_images.classes()[one.label], "upper": one.upper}))
        .collect();
    let results: Vec<&Row> = examined.iter().flat_map(|one| &one.rows).collect();
    Ok(json!({
        "eps": options.eps,
        "hidden": network.hidden(),
        "accuracy": accuracy,
        "train-seconds": train_seconds,
        "images": images,
        "summary": summaries,
        "stopped": stopped,
        "seconds": seconds,
        "results": results,
    }))
}

/// Every method, and branch and bound, on the first images of `right`.
fn examine(
    comparison: &Comparison<'_>,
    complete: &Verifier,
    test: &ImageSet,
    right: &[usize],
    options: &Options,
    limit: &Limit,
) -> Result<Vec<Examined>> {
    let chosen = &right[..options.images.min(right.len())];
    let span = tracing::info_span!("images", position = 0_u64, length = chosen.len() as u64);
    let _inside = span.enter();
    let mut examined = Vec::new();
    for (position, &index) in chosen.iter().enumerate() {
        if limit.reason().is_some() {
            break;
        }
        let label = test.labels()[index] as usize;
        let query = Query {
            instance: format!("image {index}"),
            label,
            input: InputBox::linf(&pixels(test, index), options.eps)?.clip(0.0, 1.0)?,
        };
        let mut one = comparison.examine(&query, limit)?;
        if limit.reason().is_none() {
            let spec = Spec::robustness(&query.input, label, comparison.network.outputs())?;
            let Proof {
                verdict, seconds, ..
            } = complete.verify(comparison.network, &spec, comparison.device)?;
            let answer = Answer::from(&verdict);
            one.rows.push(Row::new(
                COMPLETE,
                &query.instance,
                answer,
                verdict.bound(),
                seconds,
            ));
        }
        examined.push(one);
        span.record("position", position as u64 + 1);
    }
    Ok(examined)
}

/// The images with half as many rows and columns: means of two by two pixels. A quarter of the inputs is a quarter of the
/// generators, and this run is for a first look.
fn halved(images: &ImageSet) -> Result<ImageSet> {
    let shape = images.shape();
    let (height, width) = (shape.height / 2, shape.width / 2);
    let planes = images.pixels().chunks_exact(shape.height * shape.width);
    let pixels = planes.flat_map(|plane| {
        let at = move |y: usize, x: usize| u32::from(plane[y * shape.width + x]);
        (0..height * width).map(move |place| {
            let (y, x) = (2 * (place / width), 2 * (place % width));
            let sum = at(y, x) + at(y, x + 1) + at(y + 1, x) + at(y + 1, x + 1);
            // Four bytes: the mean is one as well.
            ((sum + 2) / 4) as u8
        })
    });
    let shape = ImageShape {
        height,
        width,
        ..shape
    };
    let (labels, classes) = (images.labels().to_vec(), images.classes().to_vec());
    Ok(ImageSet::new(shape, pixels.collect(), labels, classes)?)
}

/// Trains the network on pixels from 0 to 1.
fn train(images: &ImageSet, seed: u64, device: &Device) -> Result<Classifier> {
    let device = device.clone().autodiff();
    let shape = images.shape();
    let input = [shape.channels, shape.height, shape.width];
    let classes = images.classes().len();
    let config = MlpConfig::new(input, classes).with_hidden(HIDDEN.to_vec());
    let network = Classifier::new(config, seed, &device)?;
    let adam = Adam {
        weight_decay: 1e-2,
        ..Adam::default()
    };
    let config = TrainConfig {
        schedule: Schedule {
            warm_up: 0,
            decay: Decay::Cosine { floor: 0.0 },
        },
        seed,
        ..TrainConfig::new(Optimizer::AdamW(adam), 2e-3, Length::Epochs(EPOCHS), BATCH)
    };
    let unit = ChannelStatistics::unit(shape.channels);
    let trained = Trainer::new(config)?.with_cancel(interrupted()).run(
        network,
        images.len(),
        |network, batch| {
            let values = images.normalised(&batch.indices, &unit);
            let [channels, height, width] = input;
            let data = TensorData::new(values, [batch.indices.len(), channels, height, width]);
            let logits = network.logits(Tensor::from_data(data, &device), Mode::Train)?;
            let labels: Vec<i64> = batch
                .indices
                .iter()
                .map(|&index| images.labels()[index].into())
                .collect();
            Labels::new(&labels, classes)?.cross_entropy(logits, 0.0)
        },
    )?;
    Ok(trained.model.valid())
}

/// The share of images that are classified rightly, and which.
fn classify(network: &Network, images: &ImageSet) -> Result<(f64, Vec<usize>)> {
    let mut right = Vec::new();
    for (index, &label) in images.labels().iter().enumerate() {
        if predict(network, &pixels(images, index))? == label as usize {
            right.push(index);
        }
    }
    Ok((right.len() as f64 / images.len() as f64, right))
}
