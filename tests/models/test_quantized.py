"""Whole models quantised by onnxruntime: products in integers, nothing dequantised in memory, onnxruntime's results."""

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_dynamic, quantize_static

import lumir.api
from lumir.compile import Request, compile_to

FOLDER = Path(__file__).parent
DIMS = {"batch": 2, "seq": 16}


def feeds(model: onnx.ModelProto, count: int, seed: int) -> Iterator[dict[str, np.ndarray]]:
    """Random inputs: token numbers, masks of ones, images in [-1, 1]."""
    rng = np.random.default_rng(seed)
    for _ in range(count):
        found = {}
        for item in model.graph.input:
            kind = item.type.tensor_type
            shape = [DIMS[d.dim_param] if d.dim_param else d.dim_value for d in kind.shape.dim]
            if kind.elem_type == onnx.TensorProto.FLOAT:
                found[item.name] = rng.uniform(-1, 1, shape).astype(np.float32)
            else:
                found[item.name] = rng.integers(1 if "mask" in item.name else 0, 2, shape)
        yield found


class Calibration(CalibrationDataReader):
    def __init__(self, model: onnx.ModelProto):
        self.feeds = feeds(model, 3, 1)

    def get_next(self) -> dict[str, np.ndarray]:
        return next(self.feeds, None)  # pyright: ignore[reportReturnType]


def quantized(name: str, form: str, folder: Path) -> onnx.ModelProto:
    source, target = FOLDER / f"{name}.onnx", folder / "quantized.onnx"
    if form == "dynamic":
        quantize_dynamic(source, target, weight_type=QuantType.QInt8)
    else:
        reader = Calibration(onnx.load(source))
        activations = QuantType.QUInt8 if form == "qdq-uint8" else QuantType.QInt8
        quantize_static(
            source, target, reader, quant_format=QuantFormat.QDQ, per_channel=True, activation_type=activations
        )
    return onnx.load(target)


def dims_of(model: onnx.ModelProto) -> dict[str, int]:
    symbols = {d.dim_param for item in model.graph.input for d in item.type.tensor_type.shape.dim}
    return {name: size for name, size in DIMS.items() if name in symbols}


def dispatches(model: onnx.ModelProto) -> list[str]:
    """The text of each function after step 3."""
    texts = []

    def keep(step, number, module, store) -> None:
        texts.append(str(module))

    compile_to(Request(model, target="cpu", profiles=(dims_of(model),), observe=keep), last="dispatch")
    return [part.split("\n  }\n")[0] for part in texts[-1].split("func.func ")[1:]]


def dequantizes_into_memory(function: str) -> bool:
    """Whether a dispatch returns what it has dequantised, moved about at most."""
    (results,) = re.findall(r"return (%[^:]+) :", function)
    return any(_is_dequantized(returned, function) for returned in results.split(", "))


def _is_dequantized(value: str, function: str) -> bool:
    while match := re.search(rf'{value} = "lumir\.(?:reshape|transpose|slice|broadcast)"\((%\w+)\)', function):
        value = match[1]
    return f'{value} = "lumir.dequantize"' in function


CASES = {
    ("resnet", "qdq"): 0.0,
    ("resnet", "qdq-uint8"): 0.0,
    ("vit", "qdq"): 0.0,
    ("bert", "qdq"): 1e-5,
    ("bert", "dynamic"): 0.03,
    ("gpt2", "dynamic"): 0.03,
}
"""The largest difference from onnxruntime's float32 run of the same model, relative to the largest output.

Static: what onnxruntime rounds to a quantum, lumir rounds to the same one here; it may be one off where a value lies
between two. Dynamic: a scale that differs in its last bit moves such values, and later layers see it; onnxruntime's own
optimised run lies as far away.
"""


@pytest.mark.parametrize(("name", "form"), CASES)
def test_quantized_model(name, form, tmp_path):
    model = quantized(name, form, tmp_path)
    main, *functions = sorted(dispatches(model), key=lambda text: "private" in text)
    products = re.findall(
        r'"lumir\.(?:contract|conv)".* : \(tensor<[\dx]*x(\w+)>, tensor<[\dx]*x(\w+)>\)', "".join(functions)
    )
    assert products and all("i8" in left and "i8" in right for left, right in products), products
    assert "lumir.dequantize" not in main
    results = re.findall(r"%\d+", re.findall(r"return (.*) :", main)[0])
    calls = re.findall(r"(%\d+)(?::\d+)? = (?:func\.)?call (@\w+)\(", main)
    outputs = {name for result, name in calls if result in results}
    inner = [function for function in functions if f"@{function.split('@')[1].split('(')[0]}" not in outputs]
    assert len(inner) >= len(functions) - 2 and not [
        function for function in inner if dequantizes_into_memory(function)
    ]
    (inputs,) = feeds(model, 1, 5)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(model.SerializeToString(), options)
    found = lumir.api.compile(model, target="cpu", dims=dims_of(model)).run(inputs)
    for output, array in zip(session.get_outputs(), session.run(None, inputs), strict=True):
        expected = np.asarray(array)
        far = np.abs(found[output.name] - expected).max() / np.abs(expected).max()
        assert far <= CASES[name, form], far


@pytest.mark.parametrize("name", ["resnet", "bert"])
def test_one_artifact_serves_every_size(name, tmp_path, monkeypatch):
    """The products stay in integers where sizes are symbols."""
    model = quantized(name, "qdq", tmp_path)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(model.SerializeToString(), options)
    ranges = dict.fromkeys(dims_of(model), (1, 20))
    executable = lumir.api.compile(model, target="cpu", dims=ranges)
    for batch, seq in ((1, 5), (3, 17)):
        monkeypatch.setitem(DIMS, "batch", batch)
        monkeypatch.setitem(DIMS, "seq", seq)
        (inputs,) = feeds(model, 1, batch)
        found = executable.run(inputs)
        for output, array in zip(session.get_outputs(), session.run(None, inputs), strict=True):
            expected = np.asarray(array)
            assert np.abs(found[output.name] - expected).max() <= 1e-5 * np.abs(expected).max()
