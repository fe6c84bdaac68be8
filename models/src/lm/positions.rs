//! Where every token of a forward pass stands and which tokens it sees: worked out once on the host for all blocks.

use burn::tensor::{Device, Int, Tensor, TensorData};

use super::batch::invalid;
use super::config::{LmConfig, Positions};
use super::rotary::{Rotation, frequencies};
use super::{KvCache, Padding};
use crate::Result;

/// What all blocks of one forward pass share.
#[derive(Clone, Debug)]
pub(super) struct Pass {
    pub(super) batch: usize,
    /// Rotary positions, if the model has them.
    pub(super) rotation: Option<Rotation>,
    /// Rows of the learned positions, if the model has them, `[batch or 1, time]`.
    pub(super) learned: Option<Tensor<2, Int>>,
    /// Added to attention scores, `[batch or 1, 1, time * queries per key, length]`: 0 where a token is seen and
    /// [`UNSEEN`] where not. Nothing if everything is seen.
    pub(super) bias: Option<Tensor<4>>,
    /// Whether there is a token or filling, for every sequence: that of the cache and that of this pass.
    pub(super) tokens: Vec<Vec<bool>>,
}

/// Its exponential is 0.
const UNSEEN: f32 = f32::NEG_INFINITY;

impl Pass {
    pub(super) fn new(
        config: &LmConfig,
        padding: &Padding,
        cache: Option<&KvCache>,
        device: &Device,
    ) -> Result<Self> {
        let mut tokens = match cache {
            Some(cache) if cache.batch() != 0 => cache.tokens.clone(),
            _ => vec![Vec::new(); padding.batch()],
        };
        let past = tokens[0].len();
        for (row, place) in tokens.iter_mut().zip(padding.tokens()) {
            row.extend((0..padding.time()).map(|t| place.contains(&t)));
        }
        let positions: Vec<Vec<usize>> = tokens.iter().map(|row| positions(row)).collect();
        for (row, positions) in positions.iter().enumerate() {
            let length = positions.last().map_or(0, |last| last + 1);
            if length > config.context {
                return Err(invalid(format!(
                    "sequence {row} has {length} tokens, more than the context of {}",
                    config.context
                )));
            }
        }
        // Sequences with tokens at the same places share one row.
        let rows = match tokens.iter().all(|row| *row == tokens[0]) {
            true => 1,
            false => tokens.len(),
        };
        let new: Vec<Vec<usize>> = positions[..rows]
            .iter()
            .map(|row| row[past..].to_vec())
            .collect();
        let (rotation, learned) = match &config.positions {
            Positions::Rotary {
                theta,
                rotated,
                scaling,
            } => {
                let frequencies = frequencies(*theta, *rotated, scaling);
                (Some(Rotation::new(&new, &frequencies, device)), None)
            }
            Positions::Learned { offset } => {
                let indices = new.iter().flatten().map(|&p| (p + offset) as i32);
                let data = TensorData::new(indices.collect(), [rows, padding.time()]);
                (None, Some(Tensor::from_data(data, device)))
            }
        };
        Ok(Self {
            batch: padding.batch(),
            rotation,
            learned,
            bias: bias(config, &tokens[..rows], &positions, past, device),
            tokens,
        })
    }
}

/// The position of every place: filling does not count, and shares the position of the token before it or else 0.
fn positions(tokens: &[bool]) -> Vec<usize> {
    let mut count = 0_usize;
    let place = |&token: &bool| {
        count += usize::from(token);
        count.saturating_sub(1)
    };
    tokens.iter().map(place).collect()
}

/// The bias of the places from `past` on. Everything sees itself, filling too, so that no row is all unseen.
fn bias(
    config: &LmConfig,
    tokens: &[Vec<bool>],
    positions: &[Vec<usize>],
    past: usize,
    device: &Device,
) -> Option<Tensor<4>> {
    let length = tokens[0].len();
    let window = config.sliding_window.unwrap_or(usize::MAX);
    let group = config.heads / config.kv_heads;
    let mut values = Vec::with_capacity(tokens.len() * (length - past) * group * length);
    for (tokens, positions) in tokens.iter().zip(positions) {
        for query in past..length {
            let start = values.len();
            values.extend((0..length).map(|key| {
                let near = key <= query && positions[query] - positions[key] < window;
                let seen = key == query || near && tokens[key];
                if seen { 0.0 } else { UNSEEN }
            }));
            for _ in 1..group {
                values.extend_from_within(start..start + length);
            }
        }
    }
    if values.iter().all(|&value| value == 0.0) {
        return None;
    }
    let shape = [tokens.len(), 1, (length - past) * group, length];
    Some(Tensor::from_data(TensorData::new(values, shape), device))
}
