"""MatMulNBits with large weights: they stay packed from the model's file to the kernel."""

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

import lumir
from lumir.compile import Request, compile_to


def model(
    m: int, n: int, k: int, bits: int, dtype: str, zero: bool, block: int = 32
) -> tuple[onnx.ModelProto, np.ndarray]:
    """x [m, k] times weights of that many bits; and the weights as float64 [k, n]."""
    rng = np.random.default_rng(bits + n)
    blocks = k // block
    q = rng.integers(0, 1 << bits, (n, k)).astype(np.uint8)
    middle = rng.integers(0, 1 << bits, (n, blocks)).astype(np.uint8)
    scale = (rng.random((n, blocks)) * 0.02 + 0.01).astype(dtype)
    weights = {"w": packed(q, bits).reshape(n, blocks, -1), "s": scale.reshape(-1)}
    if zero:
        weights["z"] = packed(middle, bits).reshape(-1)
    node = helper.make_node(
        "MatMulNBits", ["x", *weights], ["y"], "q", domain="com.microsoft", K=k, N=n, bits=bits, block_size=block
    )
    element = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    x, y = (helper.make_tensor_value_info(name, element, shape) for name, shape in (("x", [m, k]), ("y", [m, n])))
    graph = helper.make_graph([node], "g", [x], [y], [numpy_helper.from_array(v, name) for name, v in weights.items()])
    opsets = [helper.make_opsetid("", 21), helper.make_opsetid("com.microsoft", 1)]
    centre = middle.astype(np.float64) if zero else np.full((n, blocks), float(1 << (bits - 1)))
    real = (q.reshape(n, blocks, block) - centre[..., None]) * scale.astype(np.float64)[..., None]
    return helper.make_model(graph, opset_imports=opsets, ir_version=10), real.reshape(n, k).T


def packed(values: np.ndarray, bits: int) -> np.ndarray:
    """Rows of integers, two in a byte where they have 4 bits; odd rows end in a 0."""
    if bits == 8:
        return values
    values = np.pad(values, ((0, 0), (0, values.shape[1] % 2)))
    return values[:, 0::2] | (values[:, 1::2] << 4)


@pytest.mark.parametrize("zero", [False, True], ids=("middle", "zero points"))
@pytest.mark.parametrize(("bits", "dtype"), [(4, "float16"), (4, "float32"), (8, "float16")])
def test_results(bits, dtype, zero, tmp_path):
    proto, weights = model(3, 96, 512, bits, dtype, zero)
    onnx.save(proto, tmp_path / "m.onnx")
    x = np.random.default_rng(1).standard_normal((3, 512)).astype(dtype)
    (y,) = lumir.compile(tmp_path / "m.onnx", target="cpu").run({"x": x}).values()
    wanted = x.astype(np.float64) @ weights
    assert np.abs(y - wanted).max() < (4e-3 if dtype == "float16" else 1e-5) * np.abs(wanted).max()


@pytest.mark.parametrize("bits", [4, 8])
def test_the_artifact_holds_the_packed_bytes(bits, tmp_path):
    proto, _ = model(1, 128, 1024, bits, "float16", True, block=128)
    onnx.save(proto, tmp_path / "m.onnx")
    compiled = compile_to(Request(tmp_path / "m.onnx", "sm_90a"), "schedule")
    text = str(compiled.specialisations[0].module)
    assert 'lumir.family = "skinny"' in text and f"tensor<128x8x128xui{bits}> {{lumir.unwritten}}" in text
    assert "128x1024xf16" not in text.split("func.func @main")[1], "real weights are computed outside the kernel"
