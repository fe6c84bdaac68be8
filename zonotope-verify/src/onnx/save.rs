//! From a chain of layers to an ONNX graph that reads back as the same chain.

use super::proto::{
    self, Attribute, Dimension, Graph, Model, Node, OperatorSet, Shape, Tensor, TensorType, Type,
    ValueInfo, attribute_type,
};
use crate::error::{Error, Result};
use crate::network::{Affine, AvgPool2d, Conv2d, Enclosure, Layer, Network};

/// IR version and operator set of what is written: old enough for every reader, and the first with axes as inputs.
const IR_VERSION: i64 = 7;
const OPSET: i64 = 13;

/// The network as a model with a batch of one.
pub(super) fn model(network: &Network) -> Result<Model> {
    let shape = [&[1], network.input_shape()].concat();
    let input = value("input", &shape);
    let mut writer = Writer {
        nodes: Vec::new(),
        initializers: Vec::new(),
        current: "input".to_owned(),
        shape,
    };
    for (index, layer) in network.layers().iter().enumerate() {
        writer.layer(index, layer)?;
    }
    let output = value("output", &writer.shape);
    // The last node, also of an empty chain, computes what is called the output.
    writer.node("Identity", "output", &[], Vec::new());
    let graph = Graph {
        node: writer.nodes,
        name: Some("network".to_owned()),
        initializer: writer.initializers,
        input: vec![input],
        output: vec![output],
    };
    Ok(Model {
        ir_version: Some(IR_VERSION),
        producer_name: Some("zonotope-verify".to_owned()),
        graph: Some(graph),
        opset_import: vec![OperatorSet {
            domain: Some(String::new()),
            version: Some(OPSET),
        }],
    })
}

struct Writer {
    nodes: Vec<Node>,
    initializers: Vec<Tensor>,
    /// The value behind the last node, and its shape.
    current: String,
    shape: Vec<usize>,
}

impl Writer {
    fn layer(&mut self, index: usize, layer: &Layer) -> Result<()> {
        let name = format!("layer_{index}");
        match layer {
            Layer::Affine(layer) => self.affine(&name, layer),
            Layer::Conv2d(layer) => self.convolution(&name, layer),
            Layer::AvgPool2d(layer) => self.average_pool(&name, layer),
            Layer::Scale(layer) => {
                self.scale(&name, "Mul", "factor", &layer.scale)?;
                self.scale(&name, "Add", "summand", &layer.shift)?;
            }
            Layer::Permute(order) => self.permutation(&name, order),
            Layer::Relu => self.node("Relu", &name, &[], Vec::new()),
        }
        Ok(())
    }

    fn affine(&mut self, name: &str, layer: &Affine) {
        self.reshape(name, &[1, layer.inputs]);
        let weight = self.floats(
            &format!("{name}.weight"),
            &[layer.outputs, layer.inputs],
            &layer.weight,
        );
        let bias = self.floats(&format!("{name}.bias"), &[layer.outputs], &layer.bias);
        self.node("Gemm", name, &[&weight, &bias], vec![int("transB", 1)]);
        self.shape = vec![1, layer.outputs];
    }

    fn convolution(&mut self, name: &str, layer: &Conv2d) {
        self.reshape(name, &[1, layer.input[0], layer.input[1], layer.input[2]]);
        let mixed = layer.input[0] / layer.groups.max(1);
        let shape = [layer.channels, mixed, layer.kernel[0], layer.kernel[1]];
        let weight = self.floats(&format!("{name}.weight"), &shape, &layer.weight);
        let bias = self.floats(&format!("{name}.bias"), &[layer.channels], &layer.bias);
        let attributes = vec![
            ints("dilations", &layer.dilation),
            int("group", layer.groups),
            ints("kernel_shape", &layer.kernel),
            ints("pads", &layer.padding),
            ints("strides", &layer.stride),
        ];
        self.node("Conv", name, &[&weight, &bias], attributes);
        self.shape = [&[1], &layer.output()[..]].concat();
    }

    fn average_pool(&mut self, name: &str, layer: &AvgPool2d) {
        self.reshape(name, &[1, layer.input[0], layer.input[1], layer.input[2]]);
        let attributes = vec![
            int("count_include_pad", usize::from(layer.count_include_pad)),
            ints("kernel_shape", &layer.kernel),
            ints("pads", &layer.padding),
            ints("strides", &layer.stride),
        ];
        self.node("AveragePool", name, &[], attributes);
        self.shape = [&[1], &layer.output()[..]].concat();
    }

    /// One of the two halves of a scale.
    fn scale(&mut self, name: &str, op: &str, what: &str, numbers: &[Enclosure]) -> Result<()> {
        let mut narrow = Vec::with_capacity(numbers.len());
        for (index, number) in numbers.iter().enumerate() {
            #[expect(
                clippy::cast_possible_truncation,
                reason = "whether anything was lost is what is checked"
            )]
            let short = number.value as f32;
            if number.radius != 0.0 || f64::from(short) != number.value {
                let reason = format!("the {what} {index} has no exact 32-bit form");
                return Err(Error::UnsupportedOperator {
                    node: name.to_owned(),
                    op: op.to_owned(),
                    reason,
                });
            }
            narrow.push(short);
        }
        let shape = self.shape.clone();
        let constant = self.floats(&format!("{name}.{what}"), &shape, &narrow);
        self.node(op, &format!("{name}.{op}"), &[&constant], Vec::new());
        Ok(())
    }

    fn permutation(&mut self, name: &str, order: &[usize]) {
        self.reshape(name, &[1, order.len()]);
        let indices = self.ints(&format!("{name}.order"), order);
        self.node("Gather", name, &[&indices], vec![int("axis", 1)]);
    }

    /// Brings the value into a shape, if it has another.
    fn reshape(&mut self, name: &str, shape: &[usize]) {
        if self.shape != shape {
            let target = self.ints(&format!("{name}.shape"), shape);
            self.node("Reshape", &format!("{name}.input"), &[&target], Vec::new());
            self.shape = shape.to_vec();
        }
    }

    fn node(&mut self, op: &str, name: &str, constants: &[&str], attributes: Vec<Attribute>) {
        let input = std::iter::once(std::mem::replace(&mut self.current, name.to_owned()))
            .chain(constants.iter().map(|&constant| constant.to_owned()))
            .collect();
        self.nodes.push(Node {
            input,
            output: vec![name.to_owned()],
            name: Some(name.to_owned()),
            op_type: Some(op.to_owned()),
            attribute: attributes,
            domain: None,
        });
    }

    fn floats(&mut self, name: &str, shape: &[usize], numbers: &[f32]) -> String {
        let raw = numbers.iter().flat_map(|x| x.to_le_bytes()).collect();
        self.tensor(name, shape, proto::FLOAT, raw)
    }

    fn ints(&mut self, name: &str, numbers: &[usize]) -> String {
        let raw = numbers
            .iter()
            .flat_map(|&x| signed(x).to_le_bytes())
            .collect();
        self.tensor(name, &[numbers.len()], proto::INT64, raw)
    }

    fn tensor(&mut self, name: &str, shape: &[usize], data_type: i32, raw: Vec<u8>) -> String {
        self.initializers.push(Tensor {
            dims: shape.iter().map(|&size| signed(size)).collect(),
            data_type: Some(data_type),
            name: Some(name.to_owned()),
            raw_data: Some(raw),
            ..Tensor::default()
        });
        name.to_owned()
    }
}

fn value(name: &str, shape: &[usize]) -> ValueInfo {
    let dim = shape
        .iter()
        .map(|&size| Dimension {
            value: Some(signed(size)),
            name: None,
        })
        .collect();
    let tensor = TensorType {
        element: Some(proto::FLOAT),
        shape: Some(Shape { dim }),
    };
    ValueInfo {
        name: Some(name.to_owned()),
        kind: Some(Type {
            tensor: Some(tensor),
        }),
    }
}

fn int(name: &str, number: usize) -> Attribute {
    Attribute {
        name: Some(name.to_owned()),
        i: Some(signed(number)),
        kind: Some(attribute_type::INT),
        ..Attribute::default()
    }
}

fn ints(name: &str, numbers: &[usize]) -> Attribute {
    Attribute {
        name: Some(name.to_owned()),
        ints: numbers.iter().map(|&number| signed(number)).collect(),
        kind: Some(attribute_type::INTS),
        ..Attribute::default()
    }
}

/// A size as the format has it; arrays in memory are never too long for that.
fn signed(size: usize) -> i64 {
    i64::try_from(size).unwrap_or(i64::MAX)
}
