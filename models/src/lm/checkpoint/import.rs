//! Weights out of a checkpoint: transposed and unpacked to the layout that the network has here.

use super::super::LmConfig;
use super::super::weights::{Part, Place, Weights};
use super::names::{Layout, Names, Packing};
use crate::tensors::{HostTensor, Loader, TensorSource};
use crate::{Error, Result};

/// A source of tensors under Hugging Face's names.
pub(super) struct Checkpoint<'s> {
    loader: Loader<'s>,
    names: Names,
    /// Length of the axis on which queries, keys and values lie, and the width of a head.
    packed: (usize, usize),
    /// The packed tensor that was read last: it is asked for three times.
    last: Option<(String, HostTensor)>,
    tied: bool,
}

impl<'s> Checkpoint<'s> {
    pub(super) fn new(config: &LmConfig, source: &'s dyn TensorSource) -> Self {
        let loader = Loader::new(source);
        Self {
            names: Names::found(config.architecture, |name| loader.has(name)),
            loader,
            packed: (3 * config.heads * config.head_width, config.head_width),
            last: None,
            tied: config.tied,
        }
    }

    /// Checks that nothing is left over.
    pub(super) fn finish(mut self) -> Result<()> {
        let output = self.names.weight(Place::Output);
        if self.tied && self.loader.has(&output) {
            self.check_tied(&output)?;
        }
        self.loader.finish(|name| self.names.is_constant(name))
    }

    fn check_tied(&mut self, output: &str) -> Result<()> {
        let name = self.names.weight(Place::Embedding);
        let source = self.loader.source();
        let embedding = source.read(&name)?;
        match self.loader.take(output, embedding.shape())? == embedding {
            true => Ok(()),
            false => Err(Error::NotTied {
                path: source.path().to_owned(),
                tensor: source.name_in_file(output),
                embedding: source.name_in_file(&name),
            }),
        }
    }

    /// The part of a packed tensor that belongs to a place.
    fn unpacked(&mut self, name: String, shape: &[usize], part: Part) -> Result<HostTensor> {
        let packed = match self.last.take() {
            Some((last, packed)) if last == name => packed,
            _ => self.loader.take(&name, shape)?,
        };
        let which = match part {
            Part::Query => 0,
            Part::Key => 1,
            _ => 2,
        };
        let (length, head) = self.packed;
        let part = match self.names.packing() {
            // Columns of `[inputs, 3 * width]`, or a run of the bias.
            Packing::SideBySide => pieces(&packed, length, length / 3, which),
            // Runs of rows of `[heads * 3 * head width, inputs]`, or runs of the bias.
            _ => {
                let row = packed.values().len() / length;
                pieces(&packed, 3 * head * row, head * row, which)
            }
        };
        self.last = Some((name, packed));
        part
    }
}

impl Weights for Checkpoint<'_> {
    fn matrix(&mut self, place: Place, [inputs, outputs]: [usize; 2]) -> Result<HostTensor> {
        let name = self.names.weight(place);
        match (place, self.names.layout()) {
            (Place::Embedding | Place::Positions, _) => self.loader.take(&name, &[inputs, outputs]),
            (Place::Block(_, part @ (Part::Query | Part::Key | Part::Value)), layout)
                if self.names.packing() != Packing::Separate =>
            {
                let packed = self.packed.0;
                match layout {
                    Layout::InputsFirst => self
                        .unpacked(name, &[inputs, packed], part)?
                        .reshaped([inputs, outputs]),
                    Layout::OutputsFirst => self
                        .unpacked(name, &[packed, inputs], part)?
                        .reshaped([outputs, inputs])?
                        .transposed(),
                }
            }
            // GPT-2's output layer is an ordinary one.
            (Place::Block(..), Layout::InputsFirst) => self.loader.take(&name, &[inputs, outputs]),
            _ => self.loader.take(&name, &[outputs, inputs])?.transposed(),
        }
    }

    fn gain(&mut self, place: Place, length: usize) -> Result<HostTensor> {
        self.loader.take(&self.names.weight(place), &[length])
    }

    fn bias(&mut self, place: Place, length: usize) -> Result<HostTensor> {
        let name = self.names.bias(place);
        match place {
            Place::Block(_, part @ (Part::Query | Part::Key | Part::Value))
                if self.names.packing() != Packing::Separate =>
            {
                self.unpacked(name, &[self.packed.0], part)
            }
            _ => self.loader.take(&name, &[length]),
        }
    }
}

/// Piece number `which` of `piece` values out of every run of `run` values, one after the other.
fn pieces(packed: &HostTensor, run: usize, piece: usize, which: usize) -> Result<HostTensor> {
    let runs = packed.values().chunks_exact(run);
    let values: Vec<f32> = runs
        .flat_map(|run| &run[which * piece..(which + 1) * piece])
        .copied()
        .collect();
    HostTensor::new([values.len()], values)
}
