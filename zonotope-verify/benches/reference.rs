//! Our bounds beside stored ones of auto_LiRPA and of the prototype, and the time they take.
//!
//! `FIRE_ASSAY_VERIFY=FOLDER cargo bench -p zonotope-verify --bench reference [-- NAME ...]`, where the folder holds `reference_bounds.json` and the networks
//! that it names. Prints a table a network: the proven bound after each stage, the share of the gap between alpha-CROWN and the attack that is
//! closed, and processor seconds.

mod support;

use std::io::Read;
use std::path::Path;

use burn::tensor::Device;
use serde_json::Value;
use support::{folder, timed, wanted};
use zonotope_verify::attack::{AttackConfig, attack};
use zonotope_verify::dual::{Bound, ZonoDualConfig};
use zonotope_verify::network::Network;
use zonotope_verify::objective::Objective;
use zonotope_verify::spec::{HalfSpace, InputBox, UnsafeCase};

fn main() {
    let Some(folder) = folder() else {
        return;
    };
    let folder = folder.as_path();
    let wants = wanted();
    let reference: Value =
        serde_json::from_slice(&std::fs::read(folder.join("reference_bounds.json")).unwrap())
            .unwrap();
    let entries = reference.as_object().unwrap();
    let find = |part: &str| {
        entries
            .iter()
            .find(|(name, _)| name.contains(part))
            .map(|(_, value)| value)
    };
    if wants("mnist_6_100") {
        let network = Network::from_onnx(folder.join("paper_nets/mnist_6_100_nat.onnx")).unwrap();
        let images = Images::mnist(folder);
        let mut table = Table::new("mnist_6_100_nat, eps 0.02", true);
        for entry in find("mnist_6_100").and_then(Value::as_array).unwrap() {
            let index = entry["idx"].as_u64().unwrap() as usize;
            let input = InputBox::linf(&images.pixels(index), 0.02)
                .unwrap()
                .clip(0.0, 1.0)
                .unwrap();
            table.row(
                &network,
                &input,
                images.labels[index],
                &entry["al_a20"],
                &entry["pgd"],
                &entry["final"],
                index,
            );
        }
        table.finish();
    }
    // The specifications that lie beside the networks are of another draw than the stored bounds.
    let test_set = Images::test_set(folder);
    for net in ["256x2", "256x4"] {
        if !wants(&format!("mnist_fc_{net}")) {
            continue;
        }
        let network =
            Network::from_onnx(folder.join(format!("mnist_fc/mnist-net_{net}.onnx"))).unwrap();
        let mut table = Table::new(&format!("mnist_fc {net}, worst target"), true);
        for entry in find("mnist_fc")
            .and_then(Value::as_array)
            .unwrap()
            .iter()
            .filter(|entry| entry["net"] == net)
        {
            let (prop, eps) = (
                entry["prop"].as_u64().unwrap(),
                entry["eps"].as_str().unwrap(),
            );
            let Some((_, index)) = FC_IMAGES.iter().find(|(known, _)| *known == prop) else {
                continue;
            };
            let radius: f64 = eps.parse().unwrap();
            let input = InputBox::linf(&test_set.pixels(*index), radius)
                .unwrap()
                .clip(0.0, 1.0)
                .unwrap();
            let (label, target) = (
                entry["y"].as_u64().unwrap() as usize,
                entry["tgt"].as_u64().unwrap() as usize,
            );
            let objective = Objective::margin(label, target, network.outputs()).unwrap();
            let name = format!("prop_{prop}_{eps}");
            let (alpha, attacked) = (
                &entry["tgtb"]["alpha20"],
                entry["pgd_upper_for_tgt"].as_f64(),
            );
            table.bound(
                &network,
                &input,
                &objective,
                alpha,
                attacked,
                &entry["proto"]["final"],
                &name,
            );
        }
        table.finish();
    }
    if wants("cifar_sgd") {
        let network = Network::from_onnx(folder.join("paper_nets/cifar_sgd_8px.onnx")).unwrap();
        let images = Images::cifar(folder);
        let mut table = Table::new("cifar_sgd_8px, eps 5/255 in normalised units", false);
        for entry in find("cifar_sgd").and_then(Value::as_array).unwrap() {
            let index = entry["idx"].as_u64().unwrap() as usize;
            let input = InputBox::linf(&images.normalised(index), 5.0 / 255.0).unwrap();
            table.row(
                &network,
                &input,
                images.labels[index],
                &entry["alpha20"],
                &entry["pgd_upper"],
                &Value::Null,
                index,
            );
        }
        table.finish();
    }
}

/// The images of MNIST's test set behind the stored `mnist_fc` entries, by number of the property. They are not named there and were found by their
/// CROWN bounds; no image fits those of property 0.
const FC_IMAGES: [(u64, usize); 4] = [(1, 8797), (2, 3479), (3, 3436), (4, 631)];

/// Images with their labels.
struct Images {
    bytes: Vec<u8>,
    size: usize,
    labels: Vec<usize>,
}

impl Images {
    fn mnist(folder: &Path) -> Self {
        Self::read(
            folder,
            "mnist_test_first1000_u8.npy",
            "mnist_test_first1000_labels_u8.npy",
            784,
        )
    }

    fn cifar(folder: &Path) -> Self {
        Self::read(
            folder,
            "cifar10_test_first100_chw_u8.npy",
            "cifar10_test_first100_labels_u8.npy",
            3072,
        )
    }

    /// MNIST's test set, from the folder beside.
    fn test_set(folder: &Path) -> Self {
        let mut bytes = Vec::new();
        let file = std::fs::File::open(folder.join("../mnist/t10k-images-idx3-ubyte.gz")).unwrap();
        flate2::read::GzDecoder::new(file)
            .read_to_end(&mut bytes)
            .unwrap();
        Self {
            bytes: bytes.split_off(16),
            size: 784,
            labels: Vec::new(),
        }
    }

    fn read(folder: &Path, images: &str, labels: &str, size: usize) -> Self {
        // A header of 128 bytes, then the numbers.
        let body = |name: &str| {
            std::fs::read(folder.join("images").join(name))
                .unwrap()
                .split_off(128)
        };
        Self {
            bytes: body(images),
            size,
            labels: body(labels).into_iter().map(usize::from).collect(),
        }
    }

    fn pixels(&self, index: usize) -> Vec<f64> {
        // As the frameworks do it, in 32 bits.
        let image = &self.bytes[index * self.size..(index + 1) * self.size];
        image
            .iter()
            .map(|&x| f64::from(f32::from(x) / 255.0))
            .collect()
    }

    fn normalised(&self, index: usize) -> Vec<f64> {
        let means = [0.485, 0.456, 0.406];
        self.pixels(index)
            .iter()
            .enumerate()
            .map(|(i, x)| (x - means[i / 1024]) / 0.225)
            .collect()
    }
}

struct Table {
    device: Device,
    /// Whether the mean is over those instances for which the prototype's bound is stored.
    only_prototyped: bool,
    closed: Vec<f64>,
}

impl Table {
    fn new(title: &str, only_prototyped: bool) -> Self {
        println!(
            "\n{title}\n| instance | alpha-CROWN(20) theirs | start | pairs | groups | joint | prototype | attack | gap closed | seconds by stage | processor seconds |"
        );
        println!("| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |");
        Self {
            device: Device::flex(),
            only_prototyped,
            closed: Vec::new(),
        }
    }

    #[allow(clippy::too_many_arguments)]
    fn row(
        &mut self,
        network: &Network,
        input: &InputBox,
        label: usize,
        alpha: &Value,
        pgd: &Value,
        prototype: &Value,
        index: usize,
    ) {
        let objective =
            Objective::margin(label, (label + 1) % network.outputs(), network.outputs()).unwrap();
        self.bound(
            network,
            input,
            &objective,
            alpha,
            pgd.as_f64(),
            prototype,
            &index.to_string(),
        );
    }

    #[allow(clippy::too_many_arguments)]
    fn bound(
        &mut self,
        network: &Network,
        input: &InputBox,
        objective: &Objective,
        alpha: &Value,
        attacked: Option<f64>,
        prototype: &Value,
        name: &str,
    ) {
        let upper = attacked.unwrap_or_else(|| {
            let outputs = vec![HalfSpace {
                coefficients: objective.row(0).to_vec(),
                bound: 0.0,
            }];
            attack(
                network,
                &UnsafeCase {
                    input: input.clone(),
                    outputs,
                },
                &AttackConfig::default(),
                &[],
                &self.device,
            )
            .unwrap()
            .value
        });
        let (Bound { lower, stages, .. }, spent) = timed(|| {
            ZonoDualConfig::new()
                .init()
                .lower_bounds(network, input, objective, &self.device)
                .unwrap()
        });
        let alpha = alpha.as_f64().unwrap_or(f64::NAN);
        let closed = (lower[0] - alpha) / (upper - alpha);
        if prototype.is_number() || !self.only_prototyped {
            self.closed.push(closed);
        }
        let stage = |name: &str| {
            stages
                .iter()
                .find(|stage| stage.name == name)
                .map_or(f64::NAN, |stage| stage.bounds[0])
        };
        let seconds: Vec<String> = stages
            .iter()
            .map(|stage| format!("{:.2}", stage.seconds))
            .collect();
        println!(
            "| {name} | {alpha:.3} | {:.3} | {:.3} | {:.3} | {:.3} | {} | {upper:.3} | {:.1} % | {} | {spent:.2} |",
            stage("start"),
            stage("pairs"),
            stage("groups"),
            stage("joint"),
            prototype
                .as_f64()
                .map_or_else(|| "-".to_owned(), |x| format!("{x:.3}")),
            100.0 * closed,
            seconds.join(" "),
        );
    }

    fn finish(self) {
        println!(
            "mean gap closed: {:.1} %",
            100.0 * self.closed.iter().sum::<f64>() / self.closed.len() as f64
        );
    }
}
