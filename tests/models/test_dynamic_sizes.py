"""Whole models compiled once for ranges of their sizes, held against onnxruntime at the ends and between."""

from pathlib import Path

import catalog
import numpy as np
import onnx
import pytest
from device import gpu_is_there
from onnx import TensorProto, helper
from test_end_to_end import TOLERANCE, check

import lumir
from lumir.diagnostics import UnsupportedError, UserError

RANGES = {"batch": "1..5", "seq": "1..40", "past": "0..32", "m": "1..9", "n": "1..9"}
BINDINGS = [
    {"batch": 1, "seq": 1, "past": 0, "m": 1, "n": 1},
    {"batch": 3, "seq": 13, "past": 7, "m": 2, "n": 5},
    {"batch": 2, "seq": 16, "past": 8, "m": 8, "n": 8},
    {"batch": 5, "seq": 40, "past": 32, "m": 9, "n": 9},
]
BERT = catalog.FOLDER / "bert.onnx"

every_model = pytest.mark.parametrize("path", catalog.MODELS, ids=lambda path: path.stem)
needs_gpu = pytest.mark.skipif(not gpu_is_there(), reason="no NVIDIA GPU")


def of(path: Path, values: dict) -> dict:
    """The entries of `values` for the symbols that the model has."""
    return {symbol: values[symbol] for symbol in catalog.default_dims(path)[0]}


@every_model
def test_one_compile_serves_every_size_on_the_cpu(path: Path):
    executable = lumir.compile(path, dims=of(path, RANGES))
    assert len(executable.artifact.plans) == 1
    for binding in (*BINDINGS, BINDINGS[0]):
        check(executable, path, of(path, binding), 1)


@pytest.mark.gpu
@needs_gpu
@pytest.mark.parametrize("precision", [None, "fp16"])
@every_model
def test_one_compile_serves_every_size_on_the_gpu(path: Path, precision: str | None):
    executable = lumir.compile(path, target="cuda", dims=of(path, RANGES), precision=precision)
    for binding in (*BINDINGS[:3], BINDINGS[0]):
        check(executable, path, of(path, binding), 1, TOLERANCE[precision])


def test_the_same_bits_as_an_artifact_for_one_size():
    served = lumir.compile(BERT, dims={"batch": (1, 4), "seq": range(8, 41, 8)})
    for batch, seq in ((1, 8), (4, 40)):
        dims = {"batch": batch, "seq": seq}
        feeds = catalog.random_inputs(BERT, 2, dims)
        pinned = lumir.compile(BERT, dims=dims)
        for name, value in pinned.run(feeds).items():
            np.testing.assert_allclose(served.run(feeds)[name], value, rtol=2e-6, atol=2e-6)


def test_profiles_share_weights_and_the_tightest_runs():
    one = lumir.compile(BERT, dims={"batch": "1..4", "seq": "1..40"})
    both = lumir.compile(BERT, profiles=[{"batch": "1..4", "seq": "1..40"}, {"batch": 1, "seq": "1..16"}])
    assert both.artifact.weights.keys() == one.artifact.weights.keys()
    for batch, seq, plan in ((1, 16, 1), (1, 17, 0), (2, 5, 0)):
        dims = {"batch": batch, "seq": seq}
        check(both, BERT, dims, 3)
        taken = next(reversed(both._sessions.values())).plan
        widest = both.artifact.plans[plan].arena_bytes
        assert taken.arena_bytes == widest, dims


def test_outputs_go_into_the_callers_arrays():
    executable = lumir.compile(BERT, dims={"batch": "1..4", "seq": "1..40"})
    feeds = catalog.random_inputs(BERT, 4, {"batch": 2, "seq": 11})
    expected = executable.run(feeds)
    out = {name: np.full_like(value, np.nan) for name, value in expected.items()}
    executable.run(feeds, out=out)
    for name, value in expected.items():
        np.testing.assert_array_equal(out[name], value)
    with pytest.raises(UserError, match=r"not .*11"):
        executable.run(feeds, out={name: value[:, :1] for name, value in out.items() if value.ndim > 2})


@pytest.fixture(scope="module")
def bert():
    return lumir.compile(BERT, dims={"batch": "1..4", "seq": "8..40:8"})


@pytest.mark.parametrize(
    ("batch", "seq", "code", "words"),
    [
        (1, 48, "size-out-of-range", "seq is 48 in input 'input_ids', and the model was compiled for 8 to 40"),
        (1, 12, "size-out-of-range", "that are multiples of 8"),
        (5, 8, "size-out-of-range", "batch is 5 in input 'input_ids', and the model was compiled for 1 to 4"),
        (0, 8, "size-out-of-range", "batch is 0"),
    ],
)
def test_sizes_outside_the_range_are_refused(bert: lumir.Executable, batch: int, seq: int, code: str, words: str):
    with pytest.raises(UserError) as caught:
        bert.run(catalog.random_inputs(BERT, 1, {"batch": batch or 1, "seq": seq}) if batch else _empty(seq))
    assert caught.value.code == code
    assert words in caught.value.message


def _empty(seq: int) -> dict[str, np.ndarray]:
    return {name: x[:0] for name, x in catalog.random_inputs(BERT, 1, {"batch": 1, "seq": seq}).items()}


def test_inputs_that_disagree_are_refused(bert: lumir.Executable):
    feeds = catalog.random_inputs(BERT, 1, {"batch": 2, "seq": 16})
    other = catalog.random_inputs(BERT, 1, {"batch": 2, "seq": 24})
    last = list(feeds)[-1]
    with pytest.raises(UserError, match=f"the inputs disagree on seq: 16 in 'input_ids', 24 in '{last}'") as caught:
        bert.run(feeds | {last: other[last]})
    assert caught.value.code == "size-conflict"


def linear(shape: list, nodes: list, *initializers: onnx.TensorProto) -> onnx.ModelProto:
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)]
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)]
    graph = helper.make_graph(nodes, "g", inputs, outputs, list(initializers))
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


def test_a_shape_that_the_range_leaves_open_names_the_symbol_and_the_node():
    table = helper.make_tensor("t", TensorProto.FLOAT, [16], np.zeros(16, np.float32))
    proto = linear(["seq"], [helper.make_node("Add", ["x", "t"], ["y"], name="sum")], table)
    with pytest.raises(UnsupportedError) as caught:
        lumir.compile(proto, dims={"seq": "1..64"})
    assert 'at "sum"' in str(caught.value)
    assert "depends on seq (1..64)" in str(caught.value)
    assert "--dim seq=64" in str(caught.value)


def test_a_dimension_without_size_or_range_suggests_both():
    proto = linear(["rows", 4], [helper.make_node("Relu", ["x"], ["y"])])
    with pytest.raises(UserError) as caught:
        lumir.compile(proto)
    assert "--dim rows=128" in (caught.value.hint or "")
    assert "--dim rows=1..512" in (caught.value.hint or "")


@pytest.mark.parametrize("given", ["1...5", "5..1", (3, 1), True, 1.5, "9..15:8 "])
def test_ranges_that_cannot_be_read(given):
    proto = linear(["rows", 4], [helper.make_node("Relu", ["x"], ["y"])])
    with pytest.raises(UserError) as caught:
        lumir.compile(proto, dims={"rows": given})
    assert caught.value.code == "bad-dimension"


def test_sums_of_symbols_are_solved_and_checked():
    proto = linear(["past + 1", 4], [helper.make_node("Relu", ["x"], ["y"])])
    executable = lumir.compile(proto, dims={"past": "0..7"})
    for rows in (1, 3, 8):
        x = np.random.default_rng(rows).standard_normal((rows, 4)).astype(np.float32)
        np.testing.assert_array_equal(executable.run({"x": x})["y"], np.maximum(x, 0))
    with pytest.raises(UserError, match="past is 8 in input 'x'"):
        executable.run({"x": np.zeros((9, 4), np.float32)})


def selecting(rows: object) -> onnx.ModelProto:
    """Products and a softmax over the elements that are not 0, which must know how many there are."""
    nodes = [
        helper.make_node("NonZero", ["x"], ["places"], name="find"),
        helper.make_node("Transpose", ["places"], ["tuples"]),
        helper.make_node("GatherND", ["x", "tuples"], ["values"], name="take"),
        helper.make_node("Softmax", ["values"], ["y"], axis=0),
        helper.make_node("Exp", ["x"], ["all"]),
        helper.make_node("Shape", ["y"], ["shape"]),
    ]
    proto = linear([rows, 4], nodes)
    for name, type_ in {"all": TensorProto.FLOAT, "shape": TensorProto.INT64}.items():
        proto.graph.output.append(helper.make_tensor_value_info(name, type_, None))
    return proto


def check_selecting(executable: lumir.Executable, x: np.ndarray) -> None:
    found, kept = executable.run({"x": x}), x[np.nonzero(x)]
    weights = np.exp(kept - kept.max(initial=-np.inf))
    np.testing.assert_allclose(found["y"], weights / weights.sum(), rtol=1e-5)
    np.testing.assert_allclose(found["all"], np.exp(x), rtol=1e-6)
    np.testing.assert_array_equal(found["shape"], [len(kept)])


def sparse(rows: int, seed: int) -> np.ndarray:
    """[rows, 4]; about a third of the elements are 0, and all of them under seed 0."""
    return np.random.default_rng(seed).integers(-1, 2, (rows, 4)).astype(np.float32) * (seed > 0)


@pytest.mark.parametrize("target", ["cpu", pytest.param("cuda", marks=[pytest.mark.gpu, needs_gpu])])
def test_a_size_that_the_model_computes_itself(target: str):
    executable = lumir.compile(selecting("rows"), target=target, dims={"rows": "1..9"})
    (plan,) = executable.artifact.plans
    assert plan.late
    assert {plan.ranges[name].high for name in plan.late} == {36}
    for rows in (1, 9, 3):
        for seed in (1, 2, 0):
            check_selecting(executable, sparse(rows, seed))


def test_launch_by_launch_a_computed_size_is_read_too(tmp_path: Path):
    executable = lumir.compile(selecting(5))
    executable.save(tmp_path / "m.lumir")
    loaded = lumir.load(tmp_path / "m.lumir")
    x = sparse(5, 3)
    results = list(loaded.run_each({"x": x}))
    assert [result.index for result in results] == list(range(len(results)))
    seen = [array for result in results for array in result.outputs.values()]
    assert any(array.shape == (np.count_nonzero(x),) for array in seen)
