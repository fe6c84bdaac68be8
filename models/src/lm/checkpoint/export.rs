//! Weights under Hugging Face's names and in its layout.

use burn::module::Param;
use burn::nn::Linear;
use burn::tensor::Tensor;

use super::super::CausalLm;
use super::super::attention::Attention;
use super::super::layers::NormLayer;
use super::super::weights::{Part, Place};
use super::names::{Layout, Names, Packing};
use crate::Result;
use crate::tensors::HostTensor;

impl CausalLm {
    /// All weights with their names.
    pub(super) fn export(&self) -> Result<Vec<(String, HostTensor)>> {
        let mut export = Export {
            names: Names::new(self.config().architecture),
            tensors: Vec::new(),
        };
        export.push_weight(
            Place::Embedding,
            HostTensor::from_tensor(&self.embedding.val())?,
        );
        if let Some(positions) = &self.positions {
            export.push_weight(Place::Positions, HostTensor::from_tensor(&positions.val())?);
        }
        for (number, block) in self.blocks.iter().enumerate() {
            let place = |part| Place::Block(number, part);
            export.norm(place(Part::AttentionNorm), &block.attention_norm)?;
            export.attention(number, &block.attention, self.config().head_width)?;
            export.norm(place(Part::FeedForwardNorm), &block.feed_forward_norm)?;
            let layers = &block.feed_forward;
            if let Some(gate) = &layers.gate {
                export.linear(place(Part::Gate), gate)?;
            }
            export.linear(place(Part::Up), &layers.up)?;
            export.linear(place(Part::Down), &layers.down)?;
        }
        export.norm(Place::FinalNorm, &self.norm)?;
        if let Some(output) = &self.output {
            let weight = HostTensor::from_tensor(&output.weight.val())?.transposed()?;
            export.push_weight(Place::Output, weight);
        }
        Ok(export.tensors)
    }
}

/// The tensors so far.
struct Export {
    names: Names,
    tensors: Vec<(String, HostTensor)>,
}

impl Export {
    fn push_weight(&mut self, place: Place, tensor: HostTensor) {
        self.tensors.push((self.names.weight(place), tensor));
    }

    fn push_bias(&mut self, place: Place, bias: Option<HostTensor>) {
        let name = self.names.bias(place);
        self.tensors.extend(bias.map(|bias| (name, bias)));
    }

    fn norm(&mut self, place: Place, norm: &NormLayer) -> Result<()> {
        self.push_weight(place, HostTensor::from_tensor(&norm.gain.val())?);
        self.push_bias(place, on_host(norm.bias.as_ref())?);
        Ok(())
    }

    fn linear(&mut self, place: Place, layer: &Linear) -> Result<()> {
        let weight = self.stored(layer)?;
        self.push_weight(place, weight);
        self.push_bias(place, on_host(layer.bias.as_ref())?);
        Ok(())
    }

    fn attention(&mut self, block: usize, attention: &Attention, head: usize) -> Result<()> {
        let place = |part| Place::Block(block, part);
        let layers = [&attention.query, &attention.key, &attention.value];
        match self.names.packing() {
            Packing::Separate => {
                for (part, layer) in [Part::Query, Part::Key, Part::Value]
                    .into_iter()
                    .zip(layers)
                {
                    self.linear(place(part), layer)?;
                }
            }
            packing => {
                let [width, outputs] = attention.query.weight.val().dims();
                let weights = [
                    self.stored(layers[0])?,
                    self.stored(layers[1])?,
                    self.stored(layers[2])?,
                ];
                let (piece, shape) = match packing {
                    Packing::HeadByHead => (head * width, [3 * outputs, width]),
                    _ => (outputs, [width, 3 * outputs]),
                };
                self.push_weight(
                    place(Part::Query),
                    packed(&weights, piece)?.reshaped(shape)?,
                );
                let biases = layers.map(|layer| on_host(layer.bias.as_ref()));
                if let [Some(query), Some(key), Some(value)] = all(biases)? {
                    let piece = if packing == Packing::HeadByHead {
                        head
                    } else {
                        outputs
                    };
                    self.push_bias(
                        place(Part::Query),
                        Some(packed(&[query, key, value], piece)?),
                    );
                }
            }
        }
        self.linear(place(Part::Attended), &attention.output)
    }

    /// A layer's weights in the layout of the files.
    fn stored(&self, layer: &Linear) -> Result<HostTensor> {
        let weight = HostTensor::from_tensor(&layer.weight.val())?;
        match self.names.layout() {
            Layout::InputsFirst => Ok(weight),
            Layout::OutputsFirst => weight.transposed(),
        }
    }
}

fn on_host(bias: Option<&Param<Tensor<1>>>) -> Result<Option<HostTensor>> {
    bias.map(|bias| HostTensor::from_tensor(&bias.val()))
        .transpose()
}

fn all<T>([a, b, c]: [Result<T>; 3]) -> Result<[T; 3]> {
    Ok([a?, b?, c?])
}

/// `piece` values of each in turn.
fn packed(parts: &[HostTensor; 3], piece: usize) -> Result<HostTensor> {
    let [a, b, c] = parts
        .each_ref()
        .map(|part| part.values().chunks_exact(piece));
    let values: Vec<f32> = a
        .zip(b)
        .zip(c)
        .flat_map(|((a, b), c)| a.iter().chain(b).chain(c))
        .copied()
        .collect();
    HostTensor::new([values.len()], values)
}
