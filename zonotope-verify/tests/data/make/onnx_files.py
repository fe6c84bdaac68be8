"""Makes the small ONNX files in ../onnx and what ONNX Runtime computes with them (../onnx/outputs.json).

Run in this folder with the packages onnx 1.23.2, onnxruntime 1.32.0 and numpy: python onnx_files.py
"""

import json
import pathlib

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

FOLDER = pathlib.Path(__file__).parent.parent / "onnx"
random = np.random.default_rng(20221)


def weights(*shape, scale=None):
    """Small random weights."""
    fan_in = int(np.prod(shape[1:])) or 1
    return (random.standard_normal(shape) * (scale or fan_in**-0.5)).astype(np.float32)


def node(op, inputs, output, **attributes):
    return helper.make_node(op, inputs.split(), output.split(), name=f"{op}_{output.split()[0]}", **attributes)


def model(nodes, constants, input_shape, output_shape, opset=13, old=False, element=TensorProto.FLOAT):
    """A model from x to y. `old`: constants are listed among the inputs, and nodes have no names."""
    initializers = [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()]
    inputs = [helper.make_tensor_value_info("x", element, input_shape)]
    if old:
        for made in nodes:
            made.name = ""
        inputs += [helper.make_tensor_value_info(i.name, i.data_type, list(i.dims)) for i in initializers]
        for initializer in initializers:
            if initializer.data_type == TensorProto.FLOAT:
                initializer.float_data.extend(numpy_helper.to_array(initializer).ravel().tolist())
                initializer.ClearField("raw_data")
    output = helper.make_tensor_value_info("y", element, output_shape)
    graph = helper.make_graph(nodes, "graph", inputs, [output], initializers)
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], producer_name="")
    made.ir_version = 3 if old else 7
    return made


def networks():
    yield "dense", model(
        [
            node("Flatten", "x", "a", axis=1),
            node("Gemm", "a w1 b1", "b", transB=1),
            node("Relu", "b", "c"),
            node("Gemm", "c w2 b2", "d", alpha=0.3, beta=1.7),
            node("Relu", "d", "e"),
            node("Dropout", "e", "f"),
            node("Gemm", "f w3", "y", transB=1, alpha=0.5),
        ],
        {"w1": weights(7, 6), "b1": weights(7), "w2": weights(7, 5), "b2": weights(1, 5), "w3": weights(3, 5)},
        ["batch", 2, 3],
        ["batch", 3],
    )
    yield "old_dense", model(
        [
            node("Sub", "x mean", "n"),
            node("Reshape", "n flat", "a"),
            node("MatMul", "a w1", "b"),
            node("Add", "b b1", "c"),
            node("Relu", "c", "d"),
            node("MatMul", "d w2", "e"),
            node("Add", "e b2", "y"),
        ],
        {
            "mean": weights(1, 1, 1, 5),
            "flat": np.array([0, -1], np.int64),
            "w1": weights(5, 6),
            "b1": weights(6),
            "w2": weights(6, 2),
            "b2": weights(2),
        },
        [1, 1, 1, 5],
        [1, 2],
        opset=8,
        old=True,
    )
    yield "conv", model(
        [
            node("Conv", "x w1 b1", "a", strides=[2, 1], pads=[1, 0, 2, 1], dilations=[1, 2], kernel_shape=[3, 2]),
            node("Relu", "a", "b"),
            node("Conv", "b w2", "c", group=2, pads=[1, 1, 1, 1]),
            node("Relu", "c", "d"),
            node("Conv", "d w3 b3", "e", auto_pad="SAME_UPPER", strides=[2, 2]),
            node("Conv", "e w4", "f", auto_pad="SAME_LOWER", strides=[1, 2]),
            node("Relu", "f", "g"),
            node("Conv", "g w5", "h", auto_pad="VALID"),
            node("Flatten", "h", "y"),
        ],
        {
            "w1": weights(4, 2, 3, 2),
            "b1": weights(4),
            "w2": weights(4, 2, 3, 3),
            "w3": weights(3, 4, 2, 3),
            "b3": weights(3),
            "w4": weights(2, 3, 2, 2),
            "w5": weights(2, 2, 1, 2),
        },
        [1, 2, 7, 6],
        [1, None],
    )
    yield "conv1d", model(
        [
            node("Conv", "x w1 b1", "a", strides=[2], pads=[2, 1], dilations=[2]),
            node("Relu", "a", "b"),
            node("AveragePool", "b", "c", kernel_shape=[2], strides=[1]),
            node("Flatten", "c", "y"),
        ],
        {"w1": weights(3, 2, 3), "b1": weights(3)},
        [1, 2, 9],
        [1, None],
    )
    yield "pooling", model(
        [
            node("Pad", "x pads", "p", mode="constant"),
            node("Conv", "p w1", "a", pads=[0, 1, 0, 0]),
            node("BatchNormalization", "a scale bias mean var", "b", epsilon=1e-3),
            node("Relu", "b", "c"),
            node("AveragePool", "c", "d", kernel_shape=[3, 2], strides=[2, 1], pads=[1, 0, 1, 1]),
            node("AveragePool", "d", "e", kernel_shape=[2, 2], pads=[1, 1, 0, 0], count_include_pad=1),
            node("BatchNormalization", "e scale bias mean var", "f"),
            node("Relu", "f", "g"),
            node("GlobalAveragePool", "g", "h"),
            node("Squeeze", "h axes", "y"),
        ],
        {
            "pads": np.array([0, 0, 1, 0, 0, 0, 0, 2], np.int64),
            "w1": weights(3, 2, 2, 3),
            "scale": weights(3, scale=1),
            "bias": weights(3, scale=1),
            "mean": weights(3, scale=1),
            "var": np.abs(weights(3, scale=1)),
            "axes": np.array([2, 3], np.int64),
        },
        [1, 2, 5, 4],
        [1, 3],
    )
    yield "reorder", model(
        [
            node("Transpose", "x", "a", perm=[0, 3, 1, 2]),
            node("Conv", "a w1", "b"),
            node("Relu", "b", "c"),
            node("Transpose", "c", "d", perm=[0, 2, 3, 1]),
            node("Reshape", "d shape", "e"),
            node("Transpose", "w2", "w2t", perm=[1, 0]),
            node("Identity", "w2t", "w2i"),
            node("MatMul", "e w2i", "f"),
            node("Unsqueeze", "f axes", "g"),
            node("Squeeze", "g", "h"),
            node("Unsqueeze", "h first", "i"),
            node("Gather", "i order", "y", axis=1),
        ],
        {
            "w1": weights(2, 3, 2, 2),
            "shape": np.array([1, -1], np.int64),
            "w2": weights(4, 16),
            "axes": np.array([0, 3], np.int64),
            "first": np.array([0], np.int64),
            "order": np.array([2, 0, -1, 1], np.int64),
        },
        [1, 3, 5, 3],
        [1, 4],
    )
    yield "normalise", model(
        [
            node("Div", "x range", "a"),
            node("Sub", "a mean", "b"),
            node("Mul", "deviation b", "c"),
            node("Constant", "", "half", value_float=0.5),
            node("Sub", "half c", "d"),
            node("Add", "shift d", "e"),
            node("Reshape", "e flat", "f"),
            node("Constant", "", "w", value=numpy_helper.from_array(weights(12, 3))),
            node("MatMul", "f w", "g"),
            node("Div", "g thirds", "h"),
            node("Relu", "h", "y"),
        ],
        {
            "range": np.array(255, np.float32),
            "mean": weights(3, 1, 1),
            "deviation": weights(1, 3, 1, 1),
            "shift": weights(1, 3, 2, 2),
            "flat": np.array([1, 12], np.int64),
            "thirds": np.array([3, -7, 0.1], np.float32),
        },
        [1, 3, 2, 2],
        [1, 3],
    )
    yield "matmul_left", model(
        [
            node("MatMul", "w1 x", "a"),
            node("Add", "a b1", "b"),
            node("Relu", "b", "c"),
            node("MatMul", "w2 c", "y"),
        ],
        {"w1": weights(4, 3), "b1": weights(4), "w2": weights(2, 4)},
        [3],
        [2],
    )
    yield "matmul_rows", model(
        [
            node("MatMul", "x w1", "a"),
            node("Relu", "a", "b"),
            node("MatMul", "w2 b", "c"),
            node("Relu", "c", "d"),
            node("Squeeze", "d first", "e"),
            node("Gemm", "w3 e b3", "f", transB=1, alpha=2.0),
            node("Gemm", "f w4 b3", "g", transA=1, beta=-1.5),
            node("MatMul", "g v", "h"),
            node("MatMul", "v h", "i"),
            node("Unsqueeze", "i first", "y"),
        ],
        {
            "w1": weights(1, 4, 5),
            "w2": weights(2, 3),
            "first": np.array([0], np.int64),
            "w3": weights(3, 5),
            "b3": weights(1),
            "w4": weights(3, 2),
            "v": weights(2),
        },
        [1, 3, 4],
        [1],
    )
    double = {"w1": weights(3, 4).astype(np.float64), "b1": weights(4).astype(np.float64)}
    yield "float64", model(
        [node("MatMul", "x w1", "a"), node("Add", "a b1", "b"), node("Relu", "b", "y")],
        double,
        [1, 3],
        [1, 4],
        element=TensorProto.DOUBLE,
    )


def main():
    FOLDER.mkdir(exist_ok=True)
    outputs = {}
    for name, made in networks():
        onnx.checker.check_model(made)
        path = FOLDER / f"{name}.onnx"
        path.write_bytes(made.SerializeToString())
        session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        (x,) = session.get_inputs()
        shape = [size if isinstance(size, int) else 1 for size in x.shape]
        kind = np.float64 if x.type == "tensor(double)" else np.float32
        cases = []
        for _ in range(2):
            value = (random.standard_normal(shape) * 2).round(3).astype(kind)
            (result,) = session.run(None, {x.name: value})
            cases.append({"input": value.ravel().tolist(), "output": result.ravel().tolist()})
        outputs[name] = cases
    text = json.dumps(outputs).replace("}, {", "},\n{").replace('], "', '],\n"')
    (FOLDER / "outputs.json").write_text(text + "\n")


main()
