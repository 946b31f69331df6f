"""Record what onnxruntime computes for the golden models.

    cargo run -p limbeck-tests --example make_golden -- tests/golden
    python tests/golden/make.py                    (numpy, onnx, onnxruntime; made with the versions in versions.json)

Adds to each <name>.json:
  integers   the first output of every sample, less its zero point
  scale      what one step of them is worth; integer * scale, in f32, is the output bit for bit
  operators  what onnxruntime ran, after its own fusions: proof that it computed in integers
"""

import json
import pathlib
import tempfile

import numpy as np
import onnx
import onnxruntime as ort

here = pathlib.Path(__file__).parent


def constants(model: onnx.ModelProto) -> dict:
    """Initializers and Constant nodes, as TensorProto by name."""
    tensors = {i.name: i for i in model.graph.initializer}
    tensors.update({n.output[0]: n.attribute[0].t for n in model.graph.node if n.op_type == "Constant"})
    return tensors


def output_scale(model: onnx.ModelProto) -> np.float32:
    """The scale of the DequantizeLinear that writes the first output."""
    name = model.graph.output[0].name
    node = next(n for n in model.graph.node if name in n.output)
    assert node.op_type == "DequantizeLinear", node.op_type
    return onnx.numpy_helper.to_array(constants(model)[node.input[1]])[()]


def unsigned(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model with u8 activations where it has i8: q + 128 at zero point + 128, the same real numbers.

    On x86-64, onnxruntime with the flag below has no kernels for i8 activations.
    """
    twin, tensors = onnx.ModelProto(), constants(model)
    twin.CopyFrom(model)
    moved = set()
    for node in twin.graph.node:
        is_q = node.op_type == "QuantizeLinear"
        if not is_q and not (node.op_type == "DequantizeLinear" and node.input[0] in moved):
            continue
        element = next((a.i for a in node.attribute if a.name == "output_dtype"), onnx.TensorProto.UINT8)
        zero = onnx.numpy_helper.to_array(tensors[node.input[2]]) if len(node.input) == 3 else None
        if is_q and (zero.dtype != np.int8 if zero is not None else element != onnx.TensorProto.INT8):
            continue
        if is_q:
            moved.add(node.output[0])
            del node.attribute[:]
        value = np.uint8((0 if zero is None else int(zero)) + 128)
        name = f"{node.name}/unsigned"
        twin.graph.initializer.append(onnx.numpy_helper.from_array(np.array(value), name))
        del node.input[2:]
        node.input.append(name)
    return twin


def session(model: onnx.ModelProto, optimised: pathlib.Path) -> ort.InferenceSession:
    options = ort.SessionOptions()
    # Without this, x86-64 kernels that lack VNNI saturate pairs of products to i16: fast, and not the definition.
    options.add_session_config_entry("session.x64quantprecision", "1")
    options.optimized_model_filepath = str(optimised)
    options.log_severity_level = 3
    options.intra_op_num_threads = 1
    return ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def record(path: pathlib.Path) -> None:
    model = onnx.load(path)
    onnx.checker.check_model(model, full_check=True)
    data = json.loads(path.with_suffix(".json").read_text())
    shape = [d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim[1:]]
    with tempfile.TemporaryDirectory() as folder:
        optimised = pathlib.Path(folder) / "optimised.onnx"
        run = session(unsigned(model), optimised)
        operators = [node.op_type for node in onnx.load(optimised).graph.node]
    scale, integers = output_scale(model), []
    for pixels in data["pixels"]:
        x = (np.array(pixels, np.float32) / 64 - 2).reshape(1, *shape)
        (y,) = run.run([model.graph.output[0].name], {"image": x})
        q = np.rint(y / scale).astype(np.float32)
        assert np.array_equal(q * scale, y), path
        integers.append(q.reshape(-1).astype(int).tolist())
    lines = lambda rows: "[\n" + ",\n".join("  " + json.dumps(r, separators=(",", ":")) for r in rows) + "\n]"
    path.with_suffix(".json").write_text(
        f'{{"operators": {json.dumps(operators)},\n"scale": {float(scale)!r},\n'
        f'"pixels": {lines(data["pixels"])},\n"integers": {lines(integers)}}}\n'
    )
    print(f"{path.stem:28} {operators}")


for path in sorted(here.glob("*.onnx")):
    record(path)
versions = {"onnxruntime": ort.__version__, "onnx": onnx.__version__, "numpy": np.__version__}
(here / "versions.json").write_text(json.dumps(versions) + "\n")
