//! From a graph to a chain of layers: which nodes the output needs, which of their inputs are constants, and that the rest is a chain.

use std::collections::{HashMap, HashSet};

use super::constant::{Constant, Unusable};
use super::operators::{self, Chain};
use super::proto::{self, Graph, Model, Node, Tensor, ValueInfo};
use super::shape::{self, Shape};
use crate::error::{Error, Result};
use crate::network::Network;

/// Operator sets up to this one have been read for changes of meaning.
const MAX_OPSET: i64 = 28;

/// Reads the network of a model that came as `size` bytes from `file`.
pub(super) fn read(model: &Model, file: &str, size: usize) -> Result<Network> {
    let damaged = |reason: String| Error::OnnxFormat {
        file: file.to_owned(),
        reason,
    };
    let graph = model
        .graph
        .as_ref()
        .ok_or_else(|| damaged("it has no graph".to_owned()))?;
    let opset = opset(model, file)?;

    let mut sources = Sources::new(graph, file)?;
    let (input, input_shape) = input(graph, &sources, file)?;
    let output = only_output(graph, file)?;
    let needed = needed(graph, output);

    let mut chain = Chain::new(opset, input_shape.clone(), size);
    let mut current = input;
    let mut past = HashSet::from([input]);
    let in_use = graph
        .node
        .iter()
        .zip(&needed.nodes)
        .filter(|(_, needed)| **needed);
    for (node, _) in in_use {
        let call = Call::new(node, file, &sources, current, &past)?;
        if call.arguments.contains(&Argument::Value) {
            operators::apply(&call, &mut chain)?;
        }
        let result = node.output.first().map_or("", String::as_str);
        if node
            .output
            .iter()
            .skip(1)
            .any(|name| needed.values.contains(name.as_str()))
        {
            return Err(call.unsupported("only its first output is understood"));
        }
        if past.contains(result) || sources.by_name.contains_key(result) {
            return Err(damaged(format!(
                "there are two values with the name `{result}`"
            )));
        }
        if call.arguments.contains(&Argument::Value) {
            current = result;
            past.insert(result);
        } else {
            let constant = operators::constant(&call, &mut chain)?;
            sources.by_name.insert(result, constant);
        }
    }
    if current != output {
        return Err(if past.contains(output) {
            Error::NotSequential {
                node: output.to_owned(),
            }
        } else {
            damaged(format!(
                "no node computes the output `{output}` from the input"
            ))
        });
    }
    let layers = chain.finish()?;
    // Without the batch. An input of one axis has none.
    let features = if input_shape.len() > 1 && input_shape[0] == 1 {
        input_shape[1..].to_vec()
    } else {
        input_shape
    };
    Network::new(features, layers)
}

/// Where a constant comes from; its numbers are read where it is used.
#[derive(Debug, Clone)]
pub(super) enum Source<'a> {
    Stored(&'a Tensor),
    Computed(Constant),
}

struct Sources<'a> {
    by_name: HashMap<&'a str, Source<'a>>,
}

impl<'a> Sources<'a> {
    fn new(graph: &'a Graph, file: &str) -> Result<Self> {
        let mut by_name = HashMap::with_capacity(graph.initializer.len());
        for tensor in &graph.initializer {
            let name = tensor.name.as_deref().unwrap_or("");
            if by_name.insert(name, Source::Stored(tensor)).is_some() {
                let reason = format!("there are two initializers with the name `{name}`");
                return Err(Error::OnnxFormat {
                    file: file.to_owned(),
                    reason,
                });
            }
        }
        Ok(Self { by_name })
    }
}

/// What a node gets at one of its inputs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Argument {
    /// Nothing: an optional input that is left out.
    Absent,
    /// A constant.
    Constant,
    /// The value that depends on the network's input.
    Value,
}

/// A node with its inputs resolved.
pub(super) struct Call<'a> {
    node: &'a Node,
    file: &'a str,
    arguments: Vec<Argument>,
    constants: Vec<Option<Source<'a>>>,
}

impl<'a> Call<'a> {
    fn new(
        node: &'a Node,
        file: &'a str,
        sources: &Sources<'a>,
        current: &str,
        past: &HashSet<&str>,
    ) -> Result<Self> {
        let mut call = Self {
            node,
            file,
            arguments: Vec::new(),
            constants: Vec::new(),
        };
        if !operators::is_known(call.op())
            || !matches!(node.domain.as_deref(), None | Some("" | "ai.onnx"))
        {
            return Err(call.unsupported("there is no rule for it"));
        }
        for name in &node.input {
            let (argument, constant) = if name.is_empty() {
                (Argument::Absent, None)
            } else if name == current {
                (Argument::Value, None)
            } else if let Some(source) = sources.by_name.get(name.as_str()) {
                (Argument::Constant, Some(source.clone()))
            } else if past.contains(name.as_str()) {
                return Err(Error::NotSequential { node: call.name() });
            } else {
                return Err(
                    call.damaged(format!("its input `{name}` is computed nowhere before it"))
                );
            };
            call.arguments.push(argument);
            call.constants.push(constant);
        }
        if call
            .arguments
            .iter()
            .filter(|&&argument| argument == Argument::Value)
            .count()
            > 1
        {
            return Err(Error::NotSequential { node: call.name() });
        }
        Ok(call)
    }

    /// The operator.
    pub(super) fn op(&self) -> &'a str {
        self.node.op_type.as_deref().unwrap_or("")
    }

    /// The node's name, or its output where it has none.
    pub(super) fn name(&self) -> String {
        let name = self.node.name.as_ref().filter(|name| !name.is_empty());
        name.or(self.node.output.first())
            .cloned()
            .unwrap_or_default()
    }

    /// What comes in at a position.
    pub(super) fn argument(&self, index: usize) -> Argument {
        self.arguments
            .get(index)
            .copied()
            .unwrap_or(Argument::Absent)
    }

    /// The constant at a position; none if the input is left out.
    pub(super) fn constant(&self, index: usize) -> Result<Option<Constant>> {
        match (self.argument(index), self.constants.get(index)) {
            (Argument::Absent, _) => Ok(None),
            (Argument::Constant, Some(Some(Source::Computed(constant)))) => {
                Ok(Some(constant.clone()))
            }
            (Argument::Constant, Some(Some(Source::Stored(tensor)))) => Constant::read(tensor)
                .map(Some)
                .map_err(|reason| self.error_at(index, reason)),
            _ => Err(self.unsupported(format!("its input {index} is not constant"))),
        }
    }

    /// The constant at a position that must be there.
    pub(super) fn required(&self, index: usize) -> Result<Constant> {
        self.constant(index)?
            .ok_or_else(|| self.damaged(format!("its input {index} is missing")))
    }

    /// The numbers of a constant that came in at a position.
    pub(super) fn floats<'b>(&self, index: usize, constant: &'b Constant) -> Result<&'b [f32]> {
        constant
            .floats()
            .map_err(|reason| self.error_at(index, reason))
    }

    /// The integers of the constant at a position.
    pub(super) fn constant_ints(&self, index: usize) -> Result<Option<Vec<i64>>> {
        let Some(constant) = self.constant(index)? else {
            return Ok(None);
        };
        constant
            .ints()
            .map(|ints| Some(ints.to_vec()))
            .map_err(|reason| self.error_at(index, reason))
    }

    /// Refuses attributes that are not listed: they could change what the node means.
    pub(super) fn only(&self, known: &[&str]) -> Result<()> {
        for attribute in &self.node.attribute {
            let name = attribute.name.as_deref().unwrap_or("");
            if !known.contains(&name) {
                return Err(self.unsupported(format!("its attribute `{name}` is not understood")));
            }
        }
        Ok(())
    }

    pub(super) fn float(&self, name: &str, default: f32) -> Result<f32> {
        Ok(self
            .attribute(name, Some(proto::attribute_type::FLOAT))?
            .map_or(default, |found| found.f.unwrap_or(0.0)))
    }

    pub(super) fn int(&self, name: &str, default: i64) -> Result<i64> {
        Ok(self
            .attribute(name, Some(proto::attribute_type::INT))?
            .map_or(default, |found| found.i.unwrap_or(0)))
    }

    pub(super) fn ints(&self, name: &str) -> Result<Option<&'a [i64]>> {
        Ok(self
            .attribute(name, Some(proto::attribute_type::INTS))?
            .map(|found| found.ints.as_slice()))
    }

    pub(super) fn text(&self, name: &str) -> Result<Option<String>> {
        let found = self.attribute(name, None)?;
        Ok(found.map(|found| {
            String::from_utf8_lossy(found.s.as_deref().unwrap_or_default()).into_owned()
        }))
    }

    /// An attribute by its name.
    pub(super) fn attribute(
        &self,
        name: &str,
        kind: Option<i32>,
    ) -> Result<Option<&'a proto::Attribute>> {
        let Some(found) = self
            .node
            .attribute
            .iter()
            .find(|attribute| attribute.name.as_deref() == Some(name))
        else {
            return Ok(None);
        };
        match (found.kind.unwrap_or(0), kind) {
            (stated, Some(expected)) if stated != 0 && stated != expected => Err(self.damaged(
                format!("its attribute `{name}` has the type {stated} instead of {expected}"),
            )),
            _ => Ok(Some(found)),
        }
    }

    pub(super) fn unsupported(&self, reason: impl Into<String>) -> Error {
        Error::UnsupportedOperator {
            node: self.name(),
            op: self.op().to_owned(),
            reason: reason.into(),
        }
    }

    pub(super) fn damaged(&self, reason: impl AsRef<str>) -> Error {
        let reason = format!(
            "node `{}` ({}): {}",
            self.name(),
            self.op(),
            reason.as_ref()
        );
        Error::OnnxFormat {
            file: self.file.to_owned(),
            reason,
        }
    }

    pub(super) fn mismatch(&self, expected: impl Into<String>, found: impl Into<String>) -> Error {
        let layer = format!("node `{}` ({})", self.name(), self.op());
        Error::ShapeMismatch {
            layer,
            expected: expected.into(),
            found: found.into(),
        }
    }

    /// The error for something in the node itself.
    pub(super) fn error(&self, reason: Unusable) -> Error {
        match reason {
            Unusable::Damaged(reason) => self.damaged(reason),
            Unusable::Unsupported(reason) => self.unsupported(reason),
            Unusable::NonFinite(index) => Error::NonFiniteWeight {
                layer: format!("node `{}` ({})", self.name(), self.op()),
                index,
            },
        }
    }

    /// The error for something in the constant at a position.
    fn error_at(&self, index: usize, reason: Unusable) -> Error {
        let input = self.node.input.get(index).map_or("", String::as_str);
        match reason {
            Unusable::Damaged(reason) => self.damaged(format!("constant `{input}`: {reason}")),
            Unusable::Unsupported(reason) => {
                self.unsupported(format!("constant `{input}`: {reason}"))
            }
            Unusable::NonFinite(index) => {
                let layer = format!("node `{}` ({}), constant `{input}`", self.name(), self.op());
                Error::NonFiniteWeight { layer, index }
            }
        }
    }
}

/// The version of the standard operators.
fn opset(model: &Model, file: &str) -> Result<i64> {
    let standard = |domain: Option<&str>| matches!(domain, None | Some("" | "ai.onnx"));
    let found = model
        .opset_import
        .iter()
        .find(|set| standard(set.domain.as_deref()));
    // Files of the first IR versions do not say.
    let version = found.and_then(|set| set.version).unwrap_or(1);
    if (1..=MAX_OPSET).contains(&version) {
        Ok(version)
    } else {
        let reason = format!("operator set {version}: 1 to {MAX_OPSET} are understood");
        Err(Error::OnnxFormat {
            file: file.to_owned(),
            reason,
        })
    }
}

/// Name and shape of the one input that is no constant. Old files list initializers among the inputs.
fn input<'a>(graph: &'a Graph, sources: &Sources<'a>, file: &str) -> Result<(&'a str, Shape)> {
    let mut inputs = graph
        .input
        .iter()
        .filter(|input| !sources.by_name.contains_key(name(input)));
    let Some(input) = inputs.next() else {
        return Err(Error::OnnxFormat {
            file: file.to_owned(),
            reason: "the graph has no input".to_owned(),
        });
    };
    if let Some(second) = inputs.next() {
        return Err(Error::NotSequential {
            node: name(second).to_owned(),
        });
    }
    let unsupported = |reason: String| Error::UnsupportedOperator {
        node: name(input).to_owned(),
        op: "graph input".to_owned(),
        reason,
    };
    let tensor = input.kind.as_ref().and_then(|kind| kind.tensor.as_ref());
    let tensor = tensor.ok_or_else(|| unsupported("it is no tensor".to_owned()))?;
    let element = tensor.element.unwrap_or(0);
    if element != proto::FLOAT && element != proto::DOUBLE {
        return Err(unsupported(format!(
            "its elements have the type {} ({element})",
            proto::type_name(element)
        )));
    }
    let stated = tensor
        .shape
        .as_ref()
        .ok_or_else(|| unsupported("it has no shape".to_owned()))?;
    let mut dims = Vec::new();
    for (axis, dim) in stated.dim.iter().enumerate() {
        match dim.value {
            Some(size) if size != 0 => dims.push(size),
            // Unknown. Some exporters write 0 for that.
            _ if axis == 0 && stated.dim.len() > 1 => dims.push(1),
            _ => {
                let name = dim.name.as_deref().unwrap_or("?");
                return Err(unsupported(format!(
                    "the size `{name}` of axis {axis} is not known (dynamic shape)"
                )));
            }
        }
    }
    let shape =
        shape::from_dims(&dims)
            .and_then(shape::of_value)
            .map_err(|reason| match reason {
                Unusable::Damaged(reason) => Error::OnnxFormat {
                    file: file.to_owned(),
                    reason: format!("the input: {reason}"),
                },
                Unusable::Unsupported(reason) => unsupported(reason),
                Unusable::NonFinite(index) => {
                    unsupported(format!("the number {index} is not finite"))
                }
            })?;
    Ok((name(input), shape))
}

fn only_output<'a>(graph: &'a Graph, file: &str) -> Result<&'a str> {
    match graph.output.as_slice() {
        [] => Err(Error::OnnxFormat {
            file: file.to_owned(),
            reason: "the graph has no output".to_owned(),
        }),
        [output] => Ok(name(output)),
        [_, second, ..] => Err(Error::NotSequential {
            node: name(second).to_owned(),
        }),
    }
}

fn name(value: &ValueInfo) -> &str {
    value.name.as_deref().unwrap_or("")
}

/// What the output depends on.
struct Needed<'a> {
    nodes: Vec<bool>,
    values: HashSet<&'a str>,
}

/// Goes through the nodes from the last to the first; every node comes behind those that it needs.
fn needed<'a>(graph: &'a Graph, output: &'a str) -> Needed<'a> {
    let mut values = HashSet::from([output]);
    let mut nodes = vec![false; graph.node.len()];
    for (index, node) in graph.node.iter().enumerate().rev() {
        if node
            .output
            .iter()
            .any(|name| !name.is_empty() && values.contains(name.as_str()))
        {
            nodes[index] = true;
            values.extend(
                node.input
                    .iter()
                    .map(String::as_str)
                    .filter(|name| !name.is_empty()),
            );
        }
    }
    Needed { nodes, values }
}
