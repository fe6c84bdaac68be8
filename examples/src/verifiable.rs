//! Classifiers as the verifier takes them: from ONNX files, and from the networks of `fire-assay-models`.

use std::path::Path;

use anyhow::{Context as _, Result, bail};
use burn::tensor::Device;
use fire_assay_datasets::images::ChannelStatistics;
use fire_assay_models::tensors::{HostTensor, Safetensors};
use fire_assay_models::vision::{self, NetworkConfig};
use zonotope_verify::network::{Affine, Enclosure, Layer, Network, Scale};

/// A network from a file.
#[derive(Debug)]
pub struct Loaded {
    /// The network.
    pub network: Network,
    /// Whether the file says how pixels are normalised. The network then takes pixels from 0 to 1.
    pub normalised: bool,
}

/// Reads a network: an ONNX file, or the `network.safetensors` of the program `train`, which must be an `mlp`.
///
/// # Errors
/// What the readers bring, with the file; networks of the latter kind that are no chain of layers and ReLUs.
pub fn load(path: &Path, device: &Device) -> Result<Loaded> {
    if path
        .extension()
        .is_none_or(|ending| ending != "safetensors")
    {
        let network = Network::from_onnx(path);
        let network = network.with_context(|| format!("reading the network {}", path.display()))?;
        return Ok(Loaded {
            network,
            normalised: false,
        });
    }
    let network = from_classifier(&vision::Network::load(path, device)?)
        .with_context(|| format!("the network {}", path.display()))?;
    let Some(statistics) = statistics(path)? else {
        return Ok(Loaded {
            network,
            normalised: false,
        });
    };
    Ok(Loaded {
        network: normalise(&network, &statistics)?,
        normalised: true,
    })
}

/// The classifier with the same weights, for the inputs that the classifier itself takes.
///
/// # Errors
/// If the classifier is not fully connected.
pub fn from_classifier(classifier: &vision::Network) -> Result<Network> {
    let NetworkConfig::Mlp(config) = classifier.config() else {
        bail!(
            "only the network `mlp` can be turned into affine layers and ReLUs; export others to ONNX"
        );
    };
    let tensors = classifier.parameters().to_host()?;
    let take = |name: String| {
        let found = tensors.iter().find(|(other, _)| *other == name);
        found
            .map(|(_, tensor)| tensor)
            .with_context(|| format!("the tensor `{name}` is missing"))
    };
    let mut layers = Vec::new();
    for number in 1..=config.hidden.len() + 1 {
        if number > 1 {
            layers.push(Layer::Relu);
        }
        let weight: &HostTensor = take(format!("fc{number}.weight"))?;
        let bias = take(format!("fc{number}.bias"))?;
        let &[outputs, inputs] = weight.shape() else {
            bail!("the tensor `fc{number}.weight` is no matrix");
        };
        layers.push(Layer::Affine(Affine {
            outputs,
            inputs,
            weight: weight.values().to_vec(),
            bias: bias.values().to_vec(),
        }));
    }
    Ok(Network::new(config.input.to_vec(), layers)?)
}

/// The network with `(x - mean) / deviation` before it, channel by channel: for pixels from 0 to 1.
///
/// # Errors
/// If the input does not consist of so many channels of one size.
pub fn normalise(network: &Network, statistics: &ChannelStatistics) -> Result<Network> {
    let channels = statistics.mean.len();
    let inputs = network.inputs();
    if channels == 0 || !inputs.is_multiple_of(channels) || statistics.deviation.len() != channels {
        bail!(
            "{channels} means and {} deviations do not fit a network of {inputs} inputs",
            statistics.deviation.len()
        );
    }
    let area = inputs / channels;
    let by_channel = |number: &dyn Fn(usize) -> f64| {
        let number = |channel| rounded(number(channel));
        (0..channels)
            .flat_map(|channel| std::iter::repeat_n(number(channel), area))
            .collect()
    };
    let scale = Scale {
        scale: by_channel(&|channel| 1.0 / statistics.divisor(channel)),
        shift: by_channel(&|channel| -statistics.mean[channel] / statistics.divisor(channel)),
    };
    let mut layers = vec![Layer::Scale(scale)];
    layers.extend_from_slice(network.layers());
    Ok(Network::new(network.input_shape().to_vec(), layers)?)
}

/// A quotient of which the rounding is not known: within an ulp, or the least normal number.
fn rounded(value: f64) -> Enclosure {
    Enclosure {
        value,
        radius: value.abs() * f64::EPSILON + f64::MIN_POSITIVE,
    }
}

/// What a file says about how its network's input is made from bytes.
fn statistics(path: &Path) -> Result<Option<ChannelStatistics>> {
    let file = Safetensors::open(path)?;
    let numbers = |key: &str| -> Result<Option<Vec<f64>>> {
        let parse = |text| serde_json::from_str(text);
        let parsed = file.metadata(key).map(parse).transpose();
        parsed.with_context(|| format!("{}: the entry `{key}`", path.display()))
    };
    Ok(match (numbers("mean")?, numbers("deviation")?) {
        (Some(mean), Some(deviation)) => Some(ChannelStatistics { mean, deviation }),
        _ => None,
    })
}

#[cfg(all(test, feature = "flex"))]
mod tests {
    use burn::tensor::{Tensor, TensorData};
    use fire_assay_models::vision::{Classifier as _, CnnConfig, MlpConfig, Mode};

    use super::*;

    #[test]
    fn a_converted_classifier_computes_the_same() {
        let device = Device::flex();
        let config = MlpConfig::new([2, 3, 3], 4).with_hidden(vec![7, 5]);
        let classifier = vision::Network::new(config, 3, &device).unwrap();
        let pixels: Vec<f64> = (0..18).map(|i| f64::from(i * 7 % 18) / 17.0).collect();
        let statistics = ChannelStatistics {
            mean: vec![0.25, 0.5],
            deviation: vec![0.5, 0.0],
        };
        let normal = |(i, x): (usize, &f64)| {
            // A deviation of 0 counts as 1.
            let (mean, deviation) = if i < 9 { (0.25, 0.5) } else { (0.5, 1.0) };
            ((x - mean) / deviation) as f32
        };
        let values: Vec<f32> = pixels.iter().enumerate().map(normal).collect();
        let images = Tensor::from_data(TensorData::new(values, [1, 2, 3, 3]), &device);
        let logits = classifier.logits(images, Mode::Eval).unwrap();
        let logits: Vec<f32> = logits.to_data().try_to_vec().unwrap();

        let network = normalise(&from_classifier(&classifier).unwrap(), &statistics).unwrap();
        assert_eq!(network.hidden(), [7, 5]);
        let outputs = network.evaluate(&pixels).unwrap();
        for (output, logit) in outputs.iter().zip(&logits) {
            assert!((output.value - f64::from(*logit)).abs() < 1e-5);
        }
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let device = Device::flex();
        let convolutional = CnnConfig::new([1, 8, 8], 2).with_widths(vec![2, 2]);
        let classifier = vision::Network::new(convolutional, 0, &device).unwrap();
        assert!(from_classifier(&classifier).is_err());

        let classifier = vision::Network::new(MlpConfig::new([1, 2, 5], 2), 0, &device).unwrap();
        let network = from_classifier(&classifier).unwrap();
        assert!(normalise(&network, &ChannelStatistics::unit(3)).is_err());
        assert!(normalise(&network, &ChannelStatistics::unit(1)).is_ok());
    }
}
