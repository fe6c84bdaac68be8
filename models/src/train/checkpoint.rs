//! The file from which a run resumes: weights and buffers, the optimiser's state, the position, the history.
//!
//! It is a [`seal`] around an ordinary safetensors file. Its tensors are named `weights/PATH`, `momentum/PATH`,
//! `first/PATH`, `second/PATH` and `history/...`, bit for bit as they were (on little-endian machines), and a JSON
//! object lies under `state` in the metadata. Every number that is not an integer is in a tensor: text would round it.

mod seal;

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use burn::tensor::{DType, TensorData};
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::config::TrainConfig;
use super::history::{EpochRecord, History, StepRecord};
use super::optimizer::ParameterState;
use super::progress::End;
use super::weights::Weights;
use crate::tensors::write_whole;
use crate::{Error, Result};

/// What a checkpoint holds.
pub(crate) struct Saved {
    pub(crate) weights: Weights,
    pub(crate) optimizer: BTreeMap<String, ParameterState>,
    pub(crate) history: History,
    pub(crate) end: Option<End>,
}

/// The part of the contents that is text.
#[derive(Serialize, Deserialize)]
struct State {
    /// Settings of the run, as JSON: compared as text, which is exact.
    config: String,
    samples: usize,
    steps: u64,
    end: Option<End>,
    /// Steps that Adam has done, by parameter.
    times: BTreeMap<String, u64>,
    epochs: Vec<EpochState>,
}

#[derive(Serialize, Deserialize)]
struct EpochState {
    epoch: u64,
    steps: u64,
    evaluation: Vec<String>,
}

/// Writes a checkpoint beside the previous one and moves it into its place.
pub(crate) fn save(path: &Path, config: &TrainConfig, samples: usize, saved: Saved) -> Result<()> {
    let wrong = |reason: String| Error::Checkpoint {
        path: path.to_owned(),
        reason,
    };
    let mut tensors: BTreeMap<String, TensorData> = BTreeMap::new();
    let mut times = BTreeMap::new();
    for (name, data) in saved.weights {
        tensors.insert(format!("weights/{name}"), data);
    }
    for (name, state) in saved.optimizer {
        match state {
            ParameterState::Momentum(buffer) => {
                tensors.insert(format!("momentum/{name}"), buffer);
            }
            ParameterState::Moments {
                time,
                first,
                second,
            } => {
                times.insert(name.clone(), time);
                tensors.insert(format!("first/{name}"), first);
                tensors.insert(format!("second/{name}"), second);
            }
        }
    }
    let History { steps, epochs } = &saved.history;
    let mut column = |name: &str, values: Vec<f64>| {
        let length = values.len();
        tensors.insert(format!("history/{name}"), TensorData::new(values, [length]));
    };
    column("loss", steps.iter().map(|record| record.loss).collect());
    column(
        "gradient-norm",
        steps.iter().map(|record| record.gradient_norm).collect(),
    );
    column("rate", steps.iter().map(|record| record.rate).collect());
    let values = |epoch: &EpochRecord| {
        let evaluation: Vec<f64> = epoch.evaluation.iter().map(|(_, value)| *value).collect();
        [vec![epoch.loss], evaluation].concat()
    };
    column("epochs", epochs.iter().flat_map(values).collect());

    let epochs = epochs.iter().map(|epoch| EpochState {
        epoch: epoch.epoch,
        steps: epoch.steps,
        evaluation: epoch
            .evaluation
            .iter()
            .map(|(name, _)| name.clone())
            .collect(),
    });
    let state = State {
        config: to_json(config).map_err(wrong)?,
        samples,
        steps: steps.len() as u64,
        end: saved.end,
        times,
        epochs: epochs.collect(),
    };
    let mut views = Vec::with_capacity(tensors.len());
    for (name, data) in &tensors {
        let unsupported = || {
            wrong(format!(
                "the tensor `{name}` of type {:?} cannot be saved",
                data.dtype()
            ))
        };
        let dtype = stored_type(data.dtype()).ok_or_else(unsupported)?;
        let view = TensorView::new(dtype, data.shape().as_slice().to_vec(), data.as_bytes())
            .map_err(|error| wrong(format!("the tensor `{name}`: {error}")))?;
        views.push((name, view));
    }
    let metadata = [("state".to_owned(), to_json(&state).map_err(wrong)?)];
    let contents =
        safetensors::serialize(views, Some(metadata.into())).map_err(|e| wrong(e.to_string()))?;
    write_whole(path, seal::close(&contents))
}

/// Reads a checkpoint of a run with these settings, or nothing if there is no file.
pub(crate) fn load(
    path: &Path,
    config: &TrainConfig,
    samples: usize,
    steps_per_epoch: u64,
) -> Result<Option<Saved>> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Error::io(path)(error)),
    };
    let wrong = |reason: String| Error::Checkpoint {
        path: path.to_owned(),
        reason,
    };
    let contents = seal::open(path, &bytes)?;
    let damaged =
        |error: &dyn std::fmt::Display| wrong(format!("its contents are damaged: {error}"));
    let (_, metadata) = SafeTensors::read_metadata(contents).map_err(|e| damaged(&e))?;
    let text = metadata
        .metadata()
        .as_ref()
        .and_then(|entries| entries.get("state"));
    let text = text.ok_or_else(|| damaged(&"no state"))?;
    let state: State = serde_json::from_str(text).map_err(|e| damaged(&e))?;
    if let Some(difference) = difference(&state.config, &to_json(config).map_err(wrong)?) {
        return Err(wrong(difference));
    }
    if state.samples != samples {
        let found = state.samples;
        return Err(wrong(format!(
            "it was trained on {found} samples, not on {samples}"
        )));
    }
    let tensors = SafeTensors::deserialize(contents).map_err(|e| damaged(&e))?;
    unpack(state, &tensors, steps_per_epoch)
        .map(Some)
        .map_err(|e| damaged(&e))
}

/// Takes the tensors apart by the first part of their names.
fn unpack(
    mut state: State,
    tensors: &SafeTensors<'_>,
    steps_per_epoch: u64,
) -> Result<Saved, String> {
    let mut weights = Weights::new();
    let mut optimizer = BTreeMap::new();
    let mut moments: [BTreeMap<String, TensorData>; 2] = Default::default();
    let mut columns: BTreeMap<String, Vec<f64>> = BTreeMap::new();
    for (name, view) in tensors.iter() {
        let dtype = memory_type(view.dtype())
            .ok_or_else(|| format!("`{name}` of type {}", view.dtype()))?;
        let data =
            TensorData::try_from_bytes_vec(view.data().to_vec(), view.shape().to_vec(), dtype)
                .map_err(|error| format!("`{name}`: {error}"))?;
        let (kind, rest) = name.split_once('/').unwrap_or((name, ""));
        let rest = rest.to_owned();
        match kind {
            "weights" => drop(weights.insert(rest, data)),
            "momentum" => drop(optimizer.insert(rest, ParameterState::Momentum(data))),
            "first" => drop(moments[0].insert(rest, data)),
            "second" => drop(moments[1].insert(rest, data)),
            "history" => {
                let values = data
                    .try_to_vec::<f64>()
                    .map_err(|error| format!("`{name}`: {error}"))?;
                columns.insert(rest, values);
            }
            _ => return Err(format!("the tensor `{name}` has no place")),
        }
    }
    let [first, mut second] = moments;
    for (name, first) in first {
        let (Some(second), Some(time)) = (second.remove(&name), state.times.remove(&name)) else {
            return Err(format!("the state of `{name}` is not whole"));
        };
        optimizer.insert(
            name,
            ParameterState::Moments {
                time,
                first,
                second,
            },
        );
    }
    if let Some(name) = second.keys().chain(state.times.keys()).next() {
        return Err(format!("the state of `{name}` is not whole"));
    }
    Ok(Saved {
        weights,
        optimizer,
        history: unpack_history(&state, columns, steps_per_epoch)?,
        end: state.end,
    })
}

fn unpack_history(
    state: &State,
    mut columns: BTreeMap<String, Vec<f64>>,
    steps_per_epoch: u64,
) -> Result<History, String> {
    let mut column = |name: &str| {
        columns
            .remove(name)
            .ok_or_else(|| format!("no history of `{name}`"))
    };
    let (losses, norms, rates) = (column("loss")?, column("gradient-norm")?, column("rate")?);
    let lengths = [losses.len(), norms.len(), rates.len()];
    if lengths.iter().any(|&length| length as u64 != state.steps) {
        return Err(format!("records of {lengths:?} steps for {}", state.steps));
    }
    let steps = losses.into_iter().zip(norms).zip(rates).zip(0..);
    let steps = steps.map(|(((loss, gradient_norm), rate), step)| StepRecord {
        step,
        epoch: step / steps_per_epoch,
        loss,
        gradient_norm,
        rate,
    });
    let mut values = column("epochs")?.into_iter();
    let mut next = || {
        values
            .next()
            .ok_or_else(|| "the history of epochs is not whole".to_owned())
    };
    let mut epochs = Vec::new();
    for epoch in &state.epochs {
        let loss = next()?;
        let evaluation = epoch
            .evaluation
            .iter()
            .map(|name| Ok((name.clone(), next()?)));
        epochs.push(EpochRecord {
            epoch: epoch.epoch,
            steps: epoch.steps,
            loss,
            evaluation: evaluation.collect::<Result<_, String>>()?,
        });
    }
    Ok(History {
        steps: steps.collect(),
        epochs,
    })
}

/// Says where the settings of a checkpoint differ from those of the run, if they do.
fn difference(saved: &str, wanted: &str) -> Option<String> {
    if saved == wanted {
        return None;
    }
    let fields = |text: &str| match serde_json::from_str(text) {
        Ok(Value::Object(fields)) => fields,
        _ => serde_json::Map::new(),
    };
    let (saved, wanted) = (fields(saved), fields(wanted));
    let differing = wanted
        .iter()
        .find(|(name, value)| saved.get(*name) != Some(value));
    Some(match differing {
        Some((name, value)) => {
            let found = saved.get(name).unwrap_or(&Value::Null);
            format!("its `{name}` is {found}, that of this run {value}")
        }
        None => "it is of a run with other settings".to_owned(),
    })
}

fn to_json(value: &impl Serialize) -> Result<String, String> {
    serde_json::to_string(value).map_err(|error| error.to_string())
}

fn stored_type(dtype: DType) -> Option<Dtype> {
    TYPES
        .iter()
        .find(|(memory, _)| *memory == dtype)
        .map(|(_, stored)| *stored)
}

fn memory_type(dtype: Dtype) -> Option<DType> {
    TYPES
        .iter()
        .find(|(_, stored)| *stored == dtype)
        .map(|(memory, _)| *memory)
}

/// Types of tensors in memory and in the file.
const TYPES: [(DType, Dtype); 12] = [
    (DType::F64, Dtype::F64),
    (DType::F32, Dtype::F32),
    (DType::F16, Dtype::F16),
    (DType::BF16, Dtype::BF16),
    (DType::I64, Dtype::I64),
    (DType::I32, Dtype::I32),
    (DType::I16, Dtype::I16),
    (DType::I8, Dtype::I8),
    (DType::U64, Dtype::U64),
    (DType::U32, Dtype::U32),
    (DType::U16, Dtype::U16),
    (DType::U8, Dtype::U8),
];
