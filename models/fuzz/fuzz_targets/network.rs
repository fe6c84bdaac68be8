//! Arbitrary bytes as the file of an image classifier: what is loaded classifies, and is saved as it was. Bytes that are
//! no such file are taken for the configuration in one.

#![no_main]

use burn::tensor::{Device, Tensor};
use fire_assay_models::parameters::Parameters;
use fire_assay_models::vision::{Classifier, Mode, Network, NetworkConfig, Topology};
use libfuzzer_sys::fuzz_target;

/// Networks of more multiplications, or of larger images, are loaded and not run: it would only take time.
const MOST_WORK: u64 = 1 << 20;

fuzz_target!(|bytes: &[u8]| {
    let file = fire_assay_models_fuzz::file(bytes);
    let device = Device::flex();
    let Ok(network) = Network::load(file.path(), &device) else {
        if let Ok(config) = serde_json::from_slice::<NetworkConfig>(bytes) {
            let _ = config.topology();
        }
        return;
    };
    let [channels, height, width] = network.input_shape();
    let pixels = (channels * height * width) as u64;
    if pixels.max(multiplications(network.topology())) <= MOST_WORK {
        let images = Tensor::zeros([1, channels, height, width], &device);
        let logits = network.logits(images, Mode::Eval).expect("a loaded network takes images of its shape");
        assert_eq!(logits.dims(), [1, network.classes()]);
    }
    let copy = tempfile::NamedTempFile::new().expect("a temporary file");
    network.save(copy.path()).expect("a loaded network can be saved");
    let again = Network::load(copy.path(), &device).expect("a saved network can be loaded");
    assert_eq!(again.config(), network.config());
    let tensors = |network: &Network| Parameters::all_of(network).to_host().expect("finite tensors");
    assert_eq!(tensors(&again), tensors(&network));
});

fn multiplications(topology: &Topology) -> u64 {
    let nodes = 0..topology.nodes().len();
    nodes.map(|node| topology.multiplications(node)).fold(0, u64::saturating_add)
}
