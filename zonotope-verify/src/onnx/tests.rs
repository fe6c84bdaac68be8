//! What the reader refuses, and with which error: graphs made field by field.

use prost::Message;

use super::parse;
use super::proto::{
    self, Attribute, Dimension, Graph, Model, Node, OperatorSet, Shape, Tensor, TensorType, Type,
    ValueInfo,
};
use crate::error::Error;
use crate::network::{Layer, Network};

fn value(name: &str, dims: &[i64]) -> ValueInfo {
    let dim = dims
        .iter()
        .map(|&size| Dimension {
            value: Some(size),
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

fn node(op: &str, inputs: &[&str], output: &str) -> Node {
    Node {
        input: inputs.iter().map(|&name| name.to_owned()).collect(),
        output: vec![output.to_owned()],
        op_type: Some(op.to_owned()),
        ..Node::default()
    }
}

fn with(mut node: Node, attribute: Attribute) -> Node {
    node.attribute.push(attribute);
    node
}

fn ints(name: &str, ints: &[i64]) -> Attribute {
    Attribute {
        name: Some(name.to_owned()),
        ints: ints.to_vec(),
        ..Attribute::default()
    }
}

fn int(name: &str, i: i64) -> Attribute {
    Attribute {
        name: Some(name.to_owned()),
        i: Some(i),
        ..Attribute::default()
    }
}

fn float(name: &str, f: f32) -> Attribute {
    Attribute {
        name: Some(name.to_owned()),
        f: Some(f),
        ..Attribute::default()
    }
}

fn floats(name: &str, dims: &[i64], numbers: &[f32]) -> Tensor {
    Tensor {
        dims: dims.to_vec(),
        data_type: Some(proto::FLOAT),
        name: Some(name.to_owned()),
        float_data: numbers.to_vec(),
        ..Tensor::default()
    }
}

/// Ones in a shape.
fn ones(name: &str, dims: &[i64]) -> Tensor {
    let count = dims.iter().product::<i64>();
    floats(name, dims, &vec![1.0; usize::try_from(count).unwrap()])
}

fn integers(name: &str, numbers: &[i64]) -> Tensor {
    Tensor {
        dims: vec![i64::try_from(numbers.len()).unwrap()],
        data_type: Some(proto::INT64),
        name: Some(name.to_owned()),
        int64_data: numbers.to_vec(),
        ..Tensor::default()
    }
}

fn model(input: &[i64], nodes: Vec<Node>, constants: Vec<Tensor>) -> Model {
    let graph = Graph {
        node: nodes,
        name: None,
        initializer: constants,
        input: vec![value("x", input)],
        output: vec![value("y", &[])],
    };
    Model {
        ir_version: Some(7),
        producer_name: None,
        graph: Some(graph),
        opset_import: vec![OperatorSet {
            domain: None,
            version: Some(13),
        }],
    }
}

fn read(model: &Model) -> Result<Network, Error> {
    parse(&model.encode_to_vec(), "test.onnx")
}

fn chain(input: &[i64], nodes: Vec<Node>, constants: Vec<Tensor>) -> Result<Network, Error> {
    read(&model(input, nodes, constants))
}

#[track_caller]
fn unsupported(result: Result<Network, Error>, node: &str, operator: &str) {
    match result {
        Err(Error::UnsupportedOperator {
            node: found, op, ..
        }) => assert_eq!((found.as_str(), op.as_str()), (node, operator)),
        other => panic!("{other:?}"),
    }
}

#[track_caller]
fn damaged(result: Result<Network, Error>, part: &str) {
    match result {
        Err(Error::OnnxFormat { file, reason }) => {
            assert_eq!(file, "test.onnx");
            assert!(reason.contains(part), "{reason}");
        }
        other => panic!("{other:?}"),
    }
}

#[track_caller]
fn mismatch(result: Result<Network, Error>) {
    assert!(
        matches!(result, Err(Error::ShapeMismatch { .. })),
        "{result:?}"
    );
}

#[test]
fn operators_without_a_rule_are_named() {
    for op in ["Sigmoid", "MaxPool", "Softmax", "Shape", "Loop", ""] {
        unsupported(chain(&[1, 3], vec![node(op, &["x"], "y")], vec![]), "y", op);
    }
    let mut foreign = node("Relu", &["x"], "y");
    foreign.domain = Some("com.microsoft".to_owned());
    foreign.name = Some("mine".to_owned());
    unsupported(chain(&[1, 3], vec![foreign], vec![]), "mine", "Relu");
}

#[test]
fn what_the_output_does_not_need_is_ignored() {
    let nodes = vec![
        node("Sigmoid", &["x"], "unused"),
        node("Relu", &["x"], "y"),
        node("MaxPool", &["y"], "too"),
    ];
    assert_eq!(
        chain(&[1, 3], nodes, vec![]).unwrap().layers(),
        [Layer::Relu]
    );
}

#[test]
fn attributes_that_are_not_understood_are_refused() {
    let add = with(node("Add", &["x", "c"], "y"), int("broadcast", 1));
    unsupported(chain(&[1, 3], vec![add], vec![ones("c", &[3])]), "y", "Add");
    let pool = with(
        with(
            node("AveragePool", &["x"], "y"),
            ints("kernel_shape", &[2, 2]),
        ),
        ints("strides", &[2, 2]),
    );
    assert!(
        chain(
            &[1, 1, 4, 4],
            vec![with(pool.clone(), int("ceil_mode", 1))],
            vec![]
        )
        .is_ok(),
        "it changes nothing"
    );
    unsupported(
        chain(
            &[1, 1, 3, 4],
            vec![with(pool.clone(), int("ceil_mode", 1))],
            vec![],
        ),
        "y",
        "AveragePool",
    );
    unsupported(
        chain(
            &[1, 1, 4, 4],
            vec![with(pool, ints("dilations", &[2, 1]))],
            vec![],
        ),
        "y",
        "AveragePool",
    );
}

#[test]
fn training_mode_is_refused() {
    let mut training = ones("flag", &[]);
    training.data_type = Some(proto::BOOL);
    training.float_data.clear();
    training.int32_data = vec![1];
    unsupported(
        chain(
            &[1, 3],
            vec![node("Dropout", &["x", "", "flag"], "y")],
            vec![training],
        ),
        "y",
        "Dropout",
    );
    let normalise = node("BatchNormalization", &["x", "c", "c", "c", "c"], "y");
    assert!(chain(&[1, 3], vec![normalise.clone()], vec![ones("c", &[3])]).is_ok());
    let normalise = with(normalise, int("training_mode", 1));
    unsupported(
        chain(&[1, 3], vec![normalise], vec![ones("c", &[3])]),
        "y",
        "BatchNormalization",
    );
}

#[test]
fn graphs_that_are_no_chain_are_refused() {
    let not_sequential = |result: Result<Network, Error>, name: &str| match result {
        Err(Error::NotSequential { node }) => assert_eq!(node, name),
        other => panic!("{other:?}"),
    };
    // A residual connection, a sum with itself, a branch that joins.
    let residual = vec![node("Relu", &["x"], "a"), node("Add", &["x", "a"], "y")];
    not_sequential(chain(&[1, 3], residual, vec![]), "y");
    not_sequential(
        chain(&[1, 3], vec![node("Add", &["x", "x"], "y")], vec![]),
        "y",
    );
    let join = vec![
        node("Relu", &["x"], "a"),
        node("Identity", &["x"], "b"),
        node("Add", &["a", "b"], "y"),
    ];
    not_sequential(chain(&[1, 3], join, vec![]), "b");
    let mut several = model(&[1, 3], vec![node("Relu", &["x"], "y")], vec![]);
    several.graph.as_mut().unwrap().output.push(value("z", &[]));
    not_sequential(read(&several), "z");
    let mut several = model(&[1, 3], vec![node("Relu", &["x"], "y")], vec![]);
    several.graph.as_mut().unwrap().input.push(value("z", &[1]));
    not_sequential(read(&several), "z");
}

#[test]
fn graphs_that_contradict_themselves_are_refused() {
    damaged(read(&Model::default()), "no graph");
    damaged(parse(b"\xff\xff\xff", "test.onnx"), "");
    damaged(
        chain(
            &[1, 3],
            vec![node("Relu", &["a"], "y"), node("Relu", &["x"], "a")],
            vec![],
        ),
        "computed nowhere",
    );
    damaged(
        chain(&[1, 3], vec![node("Relu", &["y"], "y")], vec![]),
        "computed nowhere",
    );
    damaged(
        chain(&[1, 3], vec![node("Relu", &["x"], "z")], vec![]),
        "no node computes",
    );
    damaged(
        chain(
            &[1, 3],
            vec![node("Identity", &["c"], "y")],
            vec![ones("c", &[3])],
        ),
        "no node computes",
    );
    damaged(
        chain(
            &[1, 3],
            vec![node("Relu", &["x"], "x"), node("Relu", &["x"], "y")],
            vec![],
        ),
        "two values",
    );
    damaged(
        chain(
            &[1, 3],
            vec![node("Relu", &["x"], "y")],
            vec![ones("c", &[1]), ones("c", &[1])],
        ),
        "two initializers",
    );
    let mut future = model(&[1, 3], vec![node("Relu", &["x"], "y")], vec![]);
    future.opset_import[0].version = Some(1000);
    damaged(read(&future), "operator set 1000");
}

#[test]
fn inputs_without_a_fixed_shape_are_refused() {
    let relu = || vec![node("Relu", &["x"], "y")];
    let input = |result: Result<Network, Error>| unsupported(result, "x", "graph input");
    input(chain(&[1, 0], relu(), vec![]));
    input(chain(&[0], relu(), vec![]));
    input(chain(&[1 << 12, 1 << 13], relu(), vec![]));
    input(chain(&[1, 1, 1, 1, 1, 1, 1, 1, 1], relu(), vec![]));
    damaged(chain(&[1, -3], relu(), vec![]), "negative");
    damaged(chain(&[1 << 40, 1 << 40], relu(), vec![]), "too large");
    assert_eq!(chain(&[0, 3], relu(), vec![]).unwrap().input_shape(), [3]);
    assert_eq!(
        chain(&[2, 3], relu(), vec![]).unwrap().input_shape(),
        [2, 3]
    );
    let change = |edit: &dyn Fn(&mut ValueInfo)| {
        let mut model = model(&[1, 3], relu(), vec![]);
        edit(&mut model.graph.as_mut().unwrap().input[0]);
        read(&model)
    };
    input(change(&|x| x.kind = None));
    input(change(&|x| x.kind.as_mut().unwrap().tensor = None));
    input(change(&|x| {
        x.kind.as_mut().unwrap().tensor.as_mut().unwrap().shape = None
    }));
    input(change(&|x| {
        x.kind.as_mut().unwrap().tensor.as_mut().unwrap().element = Some(10)
    }));
}

/// A sum with the constant `c`.
fn sum(constant: Tensor) -> Result<Network, Error> {
    chain(&[1, 3], vec![node("Add", &["x", "c"], "y")], vec![constant])
}

#[test]
fn constants_that_contradict_themselves_are_refused() {
    damaged(
        sum(Tensor {
            dims: vec![4],
            ..ones("c", &[3])
        }),
        "4 numbers",
    );
    damaged(
        sum(Tensor {
            dims: vec![-3],
            ..ones("c", &[3])
        }),
        "negative",
    );
    damaged(
        sum(Tensor {
            dims: vec![i64::MAX, i64::MAX],
            ..ones("c", &[3])
        }),
        "too large",
    );
    damaged(
        sum(Tensor {
            dims: vec![0, i64::MAX, i64::MAX],
            ..ones("c", &[0])
        }),
        "too large",
    );
    let raw = |bytes: usize| Tensor {
        raw_data: Some(vec![0; bytes]),
        float_data: vec![],
        ..ones("c", &[3])
    };
    assert!(sum(raw(12)).is_ok());
    for wrong in [0, 11, 13, 16] {
        damaged(sum(raw(wrong)), "bytes");
    }
    mismatch(sum(ones("c", &[4])));
    damaged(
        sum(Tensor {
            float_data: vec![],
            ..ones("c", &[3])
        }),
        "0 numbers",
    );
}

#[test]
fn numbers_that_are_no_32_bit_numbers_are_refused() {
    for data_type in [0, 8, 10, 14, 16, 99] {
        unsupported(
            sum(Tensor {
                data_type: Some(data_type),
                ..ones("c", &[3])
            }),
            "y",
            "Add",
        );
    }
    unsupported(sum(integers("c", &[1, 2, 3])), "y", "Add");
    unsupported(
        sum(Tensor {
            data_location: Some(1),
            ..ones("c", &[3])
        }),
        "y",
        "Add",
    );
    let double = |x: f64| Tensor {
        data_type: Some(proto::DOUBLE),
        float_data: vec![],
        double_data: vec![0.0, 0.5, x],
        ..ones("c", &[3])
    };
    assert!(sum(double(0.25)).is_ok());
    for x in [0.1, 1e300, 1e-60] {
        unsupported(sum(double(x)), "y", "Add");
    }
    for x in [f64::NAN, f64::INFINITY] {
        assert!(matches!(
            sum(double(x)),
            Err(Error::NonFiniteWeight { index: 2, .. })
        ));
        let numbers = [0.0, 1.0, x as f32];
        let divide = chain(
            &[1, 3],
            vec![node("Div", &["x", "c"], "y")],
            vec![floats("c", &[3], &numbers)],
        );
        assert!(
            matches!(divide, Err(Error::NonFiniteWeight { index: 2, .. })),
            "1 / infinity is not 0"
        );
    }
}

#[test]
fn divisions_by_zero_and_by_the_value_are_refused() {
    let zero = || vec![floats("c", &[3], &[1.0, -0.0, 1.0])];
    unsupported(
        chain(&[1, 3], vec![node("Div", &["x", "c"], "y")], zero()),
        "y",
        "Div",
    );
    unsupported(
        chain(
            &[1, 3],
            vec![node("Div", &["c", "x"], "y")],
            vec![ones("c", &[3])],
        ),
        "y",
        "Div",
    );
    let normalise = with(
        node("BatchNormalization", &["x", "c", "c", "c", "v"], "y"),
        float("epsilon", 0.5),
    );
    let variance = vec![ones("c", &[3]), floats("v", &[3], &[1.0, -0.5, 1.0])];
    unsupported(
        chain(&[1, 3], vec![normalise], variance),
        "y",
        "BatchNormalization",
    );
}

#[test]
fn small_files_cannot_ask_for_large_networks() {
    let wide = 1 << 22;
    // A scalar that is broadcast, again and again; a matrix for every row.
    let sums = (0..9).map(|i| node("Mul", &[&format!("v{i}"), "c"], &format!("v{}", i + 1)));
    let nodes = [node("Relu", &["x"], "v0")]
        .into_iter()
        .chain(sums)
        .chain([node("Relu", &["v9"], "y")])
        .collect();
    unsupported(chain(&[1, wide], nodes, vec![ones("c", &[1])]), "v2", "Mul");
    let rows = vec![node("MatMul", &["x", "c"], "y")];
    unsupported(
        chain(&[1, 1 << 20, 1], rows, vec![ones("c", &[1, 1])]),
        "y",
        "MatMul",
    );
    unsupported(
        chain(
            &[1, 1],
            vec![node("Add", &["x", "c"], "y")],
            vec![ones("c", &[1000])],
        ),
        "y",
        "Add",
    );
    let convolution = with(
        node("Conv", &["x", "c"], "y"),
        ints("pads", &[1 << 23, 1 << 23, 0, 0]),
    );
    unsupported(
        chain(
            &[1, 1, 1, 1],
            vec![convolution],
            vec![ones("c", &[1, 1, 1, 1])],
        ),
        "y",
        "Conv",
    );
}

#[test]
fn small_files_cannot_ask_for_dense_connections() {
    // A window of 2^20 numbers at 2^20 places, from an attribute alone.
    let side = 1 << 11;
    let half = ints("kernel_shape", &[side / 2, side / 2]);
    let pool = with(node("AveragePool", &["x"], "y"), half);
    unsupported(
        chain(&[1, 1, side, side], vec![pool], vec![]),
        "y",
        "AveragePool",
    );
    // Windows that are harmless alone, without a ReLU between them.
    let window = |input: &str, output: &str| {
        let pool = with(
            node("AveragePool", &[input], output),
            ints("kernel_shape", &[9, 9]),
        );
        with(pool, ints("pads", &[4; 4]))
    };
    let pools = |between: &str| {
        let nodes = vec![
            window("x", "a"),
            node(between, &["a"], "b"),
            window("b", "y"),
        ];
        chain(&[1, 1, 128, 128], nodes, vec![])
    };
    assert!(pools("Relu").is_ok());
    unsupported(pools("Identity"), "y", "AveragePool");
}

#[test]
fn copies_of_constants_count() {
    let copies = 60;
    let mut nodes: Vec<Node> = (0..copies)
        .map(|i| node("Identity", &["c"], &format!("c{i}")))
        .collect();
    nodes.push(node("Relu", &["x"], "v0"));
    for i in 0..copies {
        nodes.push(node(
            "Reshape",
            &[&format!("v{i}"), &format!("c{i}")],
            &format!("v{}", i + 1),
        ));
    }
    nodes.push(node("Relu", &[&format!("v{copies}")], "y"));
    let long = integers("c", &vec![1; 1 << 18]);
    unsupported(chain(&[1, 1], nodes, vec![long]), "c36", "Identity");
}

#[test]
fn shapes_that_do_not_fit_are_refused() {
    let one = |op: &str, inputs: &[i64], constant: Tensor| {
        chain(inputs, vec![node(op, &["x", "c"], "y")], vec![constant])
    };
    mismatch(one("MatMul", &[1, 3], ones("c", &[4, 2])));
    mismatch(one("Gemm", &[1, 3], ones("c", &[4, 2])));
    mismatch(one("Gemm", &[1, 3], ones("c", &[3])));
    mismatch(one("Conv", &[1, 2, 4, 4], ones("c", &[1, 3, 2, 2])));
    mismatch(one("Conv", &[1, 2, 4, 4], ones("c", &[1, 2, 5, 2])));
    mismatch(one("Conv", &[1, 2, 4, 4], ones("c", &[1, 2, 2])));
    unsupported(
        one("Conv", &[2, 2, 4, 4], ones("c", &[1, 2, 2, 2])),
        "y",
        "Conv",
    );
    unsupported(one("MatMul", &[1, 3], ones("c", &[2, 3, 2])), "y", "MatMul");
    damaged(
        one("Reshape", &[1, 3], integers("c", &[2, 2])),
        "cannot become",
    );
    damaged(
        one("Reshape", &[1, 3], integers("c", &[-1, -1])),
        "cannot become",
    );
    damaged(
        one("Reshape", &[1, 3], integers("c", &[i64::MAX, i64::MAX])),
        "too large",
    );
    damaged(
        one("Reshape", &[1, 3], integers("c", &[-2, 3])),
        "cannot become",
    );
    damaged(
        one("Squeeze", &[1, 3], integers("c", &[1])),
        "not of size 1",
    );
    damaged(one("Unsqueeze", &[1, 3], integers("c", &[7])), "axis 7");
    unsupported(
        one("Gather", &[1, 3], integers("c", &[0, 1, 1])),
        "y",
        "Gather",
    );
    let transpose = with(node("Transpose", &["x"], "y"), ints("perm", &[0, 0]));
    damaged(chain(&[1, 3], vec![transpose], vec![]), "no order");
    let flatten = with(node("Flatten", &["x"], "y"), int("axis", i64::MIN));
    damaged(chain(&[1, 3], vec![flatten], vec![]), "axis");
    for (name, sizes) in [
        ("strides", [0, 1]),
        ("dilations", [1, -1]),
        ("strides", [1, i64::MAX]),
    ] {
        let convolution = with(node("Conv", &["x", "c"], "y"), ints(name, &sizes));
        unsupported(
            chain(
                &[1, 1, 4, 4],
                vec![convolution],
                vec![ones("c", &[1, 1, 2, 2])],
            ),
            "y",
            "Conv",
        );
    }
    for group in [0, -1, 2, i64::MAX] {
        let convolution = with(node("Conv", &["x", "c"], "y"), int("group", group));
        mismatch(chain(
            &[1, 1, 4, 4],
            vec![convolution],
            vec![ones("c", &[1, 1, 2, 2])],
        ));
    }
}

#[test]
fn padding_must_be_zeros_before_a_convolution() {
    let pad = |pads: &[i64]| integers("p", pads);
    let kernel = || ones("c", &[1, 1, 2, 2]);
    let padded = |pads: &[i64]| {
        let nodes = vec![
            node("Pad", &["x", "p"], "a"),
            node("Conv", &["a", "c"], "y"),
        ];
        chain(&[1, 1, 4, 4], nodes, vec![pad(pads), kernel()])
    };
    match padded(&[0, 0, 1, 2, 0, 0, 3, 4]).unwrap().layers() {
        [Layer::Conv2d(layer)] => assert_eq!(layer.padding, [1, 2, 3, 4]),
        other => panic!("{other:?}"),
    }
    unsupported(padded(&[0, 1, 0, 0, 0, 0, 0, 0]), "a", "Pad");
    unsupported(padded(&[0, 0, -1, 0, 0, 0, 0, 0]), "a", "Pad");
    unsupported(padded(&[0, 0, 1]), "a", "Pad");
    for behind in [
        node("Relu", &["a"], "y"),
        node("GlobalAveragePool", &["a"], "y"),
    ] {
        let nodes = vec![node("Pad", &["x", "p"], "a"), behind];
        unsupported(
            chain(&[1, 1, 4, 4], nodes, vec![pad(&[0, 0, 1, 0, 0, 0, 0, 0])]),
            "a",
            "Pad",
        );
    }
    unsupported(
        chain(
            &[1, 1, 4],
            vec![node("Pad", &["x", "p"], "y")],
            vec![pad(&[0, 0, 1, 0, 0, 0])],
        ),
        "y",
        "Pad",
    );
}
