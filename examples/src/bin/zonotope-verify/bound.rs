//! Methods side by side: proven lower bounds of the margins around images.

use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Result, bail};
use fire_assay_datasets::images::{ChannelStatistics, ImageSet};
use fire_assay_examples::robustness::{
    Comparison, Examined, Margins, Query, Row, by_image, cumulative, differences, pixels, predict,
    summaries, summary_table,
};
use fire_assay_examples::verifiable::{self, Loaded};
use fire_assay_examples::{CommonArgs, Limit, Report, UsageError};
use serde_json::{Value, json};
use zonotope_verify::attack::AttackConfig;
use zonotope_verify::limits::{CancelToken, RunOptions};
use zonotope_verify::method::Method;
use zonotope_verify::network::Network;
use zonotope_verify::spec::InputBox;

use crate::images::Source;

/// Bounds the margins of images from below, by one method or all of them
///
/// Around every image that the network classifies rightly, each pixel (0 to 1) may move by --eps. The bound is that of the
/// least margin of the image's class over the others; a positive one proves that the class stays on top. Beside the methods
/// stands the attack's least margin, above which no bound can be. With --out: the distribution of the bounds, and the
/// densities of what every method lacks against the last one.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The network: .onnx, .onnx.gz, or the network.safetensors of `train --net mlp`
    #[arg(value_name = "MODEL")]
    model: PathBuf,

    /// Images: a NumPy file of bytes (images first, then channels, rows, columns, or all pixels in one axis), an IDX file,
    /// an image folder or its .tar, or embedded (500 test images of Fashion-MNIST)
    #[arg(long, value_name = "FILE")]
    images: Source,

    /// Their classes: NumPy or text for a NumPy file, IDX for an IDX file
    #[arg(long, value_name = "FILE")]
    labels: Option<PathBuf>,

    /// How far a pixel may move; 8/255 is understood
    #[arg(long, value_name = "E", value_parser = distance, allow_negative_numbers = true)]
    eps: f64,

    /// The methods: interval, deepz, crown, alpha-crown, zonodual-paper, zonodual
    #[arg(long, value_name = "NAME", value_delimiter = ',', default_values_t = Method::ALL)]
    methods: Vec<Method>,

    /// Only the first so many images
    #[arg(long, value_name = "N")]
    first: Option<usize>,

    /// A limit of time for every bound, each method on each image; what is proven by then counts
    #[arg(long, value_name = "SECONDS", value_parser = crate::seconds)]
    timeout: Option<f64>,

    /// Which margins count
    #[arg(long, value_enum, default_value_t)]
    margins: Margins,

    /// What the network wants subtracted from pixels, for all channels or for each [default: 0, or as the file says]
    #[arg(
        long,
        value_name = "X",
        value_delimiter = ',',
        requires = "deviation",
        allow_negative_numbers = true
    )]
    mean: Vec<f64>,

    /// What the network wants pixels divided by after that [default: 1, or as the file says]
    #[arg(long, value_name = "X", value_delimiter = ',', requires = "mean")]
    deviation: Vec<f64>,

    /// Let pixels leave the range of 0 to 1
    #[arg(long)]
    no_clip: bool,

    #[command(flatten)]
    pub(crate) common: CommonArgs,
}

/// A distance, as a number or a fraction.
fn distance(text: &str) -> Result<f64, String> {
    let number = |text: &str| {
        text.trim()
            .parse::<f64>()
            .map_err(|error| error.to_string())
    };
    let value = match text.split_once('/') {
        Some((above, below)) => number(above)? / number(below)?,
        None => number(text)?,
    };
    if value.is_finite() && value >= 0.0 {
        Ok(value)
    } else {
        Err("must be a finite number of at least 0".to_owned())
    }
}

pub(crate) fn run(args: &Args, report: &Report) -> Result<Value> {
    let start = Instant::now();
    let device = crate::device(&args.common)?;
    let loaded = verifiable::load(&args.model, &device)?;
    let shape = loaded.network.input_shape().to_vec();
    let images = args
        .images
        .read(args.labels.as_deref(), &shape, loaded.network.outputs())?;
    let network = normalised(args, loaded, &images)?;
    let cancel = CancelToken::new();
    let limit = {
        let cancel = cancel.clone();
        Limit::calling(None, move || cancel.cancel())
    };
    let mut options = RunOptions::new()
        .with_seed(args.common.seed)
        .with_cancel(cancel);
    options.timeout_seconds = args.timeout;
    let comparison = Comparison {
        network: &network,
        methods: &args.methods,
        margins: args.margins,
        attack: AttackConfig {
            seed: args.common.seed,
            ..AttackConfig::default()
        },
        device: &device,
        options,
    };
    let (examined, wrong) = examine(args, &comparison, &images, &limit)?;
    let stopped = limit.reason();
    if examined.is_empty() {
        match stopped {
            Some(reason) => bail!("stopped before the first image was examined: {reason}"),
            None => bail!("none of the {} images is classified rightly", wrong.len()),
        }
    }
    let methods: Vec<&str> = args.methods.iter().map(|method| method.name()).collect();
    report.table(&by_image(&examined, &methods));
    let summaries = summaries(&examined, &methods);
    report.table(&summary_table(&summaries));
    if !wrong.is_empty() {
        report.say(format!(
            "{} images are classified wrongly and left out",
            wrong.len()
        ));
    }
    draw(args, &examined, &methods, report)?;
    if let Some(reason) = &stopped {
        report.say(format!("stopped early: {reason}"));
    }
    let seconds = start.elapsed().as_secs_f64();
    report.say(format!("{} images; {seconds:.1} s", examined.len()));
    let described: Vec<Value> = examined
        .iter()
        .map(|one| json!({"instance": one.instance, "label": one.label, "upper": one.upper}))
        .collect();
    let results: Vec<&Row> = examined.iter().flat_map(|one| &one.rows).collect();
    Ok(json!({
        "eps": args.eps,
        "margins": args.margins,
        "images": described,
        "misclassified": wrong,
        "summary": summaries,
        "stopped": stopped,
        "seconds": seconds,
        "results": results,
    }))
}

/// The network for pixels from 0 to 1.
fn normalised(args: &Args, loaded: Loaded, images: &ImageSet) -> Result<Network> {
    if args.mean.is_empty() {
        return Ok(loaded.network);
    }
    if loaded.normalised {
        return Err(
            UsageError("--mean: the network's file says how pixels are normalised".into()).into(),
        );
    }
    let bad = |numbers: &[f64], least: f64| numbers.iter().any(|x| !x.is_finite() || *x <= least);
    if bad(&args.mean, f64::NEG_INFINITY) || bad(&args.deviation, 0.0) {
        return Err(UsageError(
            "--mean and --deviation must be finite, and the latter above 0".into(),
        )
        .into());
    }
    let channels = images.shape().channels;
    let for_each = |numbers: &[f64]| match numbers {
        [one] => vec![*one; channels],
        all => all.to_vec(),
    };
    let statistics = ChannelStatistics {
        mean: for_each(&args.mean),
        deviation: for_each(&args.deviation),
    };
    if statistics.mean.len() != channels || statistics.deviation.len() != channels {
        let message =
            format!("--mean and --deviation: one number, or one for each of {channels} channels");
        return Err(UsageError(message).into());
    }
    verifiable::normalise(&loaded.network, &statistics)
}

/// The images that are classified rightly, examined, and the numbers of the others.
fn examine(
    args: &Args,
    comparison: &Comparison<'_>,
    images: &ImageSet,
    limit: &Limit,
) -> Result<(Vec<Examined>, Vec<usize>)> {
    let count = images.len().min(args.first.unwrap_or(usize::MAX));
    let span = tracing::info_span!("images", position = 0_u64, length = count as u64);
    let _inside = span.enter();
    let (mut examined, mut wrong) = (Vec::new(), Vec::new());
    for index in 0..count {
        if limit.reason().is_some() {
            break;
        }
        let pixels = pixels(images, index);
        let label = images.labels()[index] as usize;
        if predict(comparison.network, &pixels)? == label {
            let mut input = InputBox::linf(&pixels, args.eps)?;
            if !args.no_clip {
                input = input.clip(0.0, 1.0)?;
            }
            let query = Query {
                instance: format!("image {index}"),
                label,
                input,
            };
            examined.push(comparison.examine(&query, limit)?);
        } else {
            wrong.push(index);
        }
        span.record("position", index as u64 + 1);
    }
    Ok((examined, wrong))
}

/// Draws all methods but intervals, if there are others: those lie so far below that nothing else could be told apart.
fn draw(args: &Args, examined: &[Examined], methods: &[&str], report: &Report) -> Result<()> {
    let close: Vec<&str> = (methods.iter().copied())
        .filter(|method| *method != Method::Interval.name())
        .collect();
    let methods = if close.is_empty() {
        methods
    } else {
        &close[..]
    };
    let title = |what: &str| format!("{what}, {} images, eps = {}", examined.len(), args.eps);
    let any = examined
        .iter()
        .flat_map(|one| &one.rows)
        .any(|row| row.bound.is_some());
    if let Some(path) = args.common.out_file("bounds.svg")?.filter(|_| any) {
        cumulative(title("Bounds"), examined, methods).write(&path)?;
        report.say(format!("wrote {}", path.display()));
    }
    let Some(reference) = methods.last() else {
        return Ok(());
    };
    let chart = differences(title("Differences of bounds"), examined, methods, reference);
    if let Some(path) = args
        .common
        .out_file("differences.svg")?
        .filter(|_| !chart.series.is_empty())
    {
        chart.write(&path)?;
        report.say(format!("wrote {}", path.display()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_are_numbers_or_fractions() {
        assert_eq!(distance("0.1"), Ok(0.1));
        assert_eq!(distance("8/255"), Ok(8.0 / 255.0));
        assert_eq!(distance("0"), Ok(0.0));
        for bad in ["", "-1", "nan", "1/0", "1/2/3", "inf"] {
            assert!(distance(bad).is_err(), "{bad}");
        }
    }
}
