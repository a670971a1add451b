"""Results whose shape depends on the data, compiled and run: against onnxruntime, on data of every amount."""

from typing import Any

import numpy as np
import pytest
from import_helpers import model, node, session, value

import lumir
from lumir.diagnostics import UnsupportedError

RNG = np.random.default_rng(17)


def f32(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape).astype(np.float32)


def check(nodes: list[Any], samples: list[dict[str, np.ndarray]], outputs: list[str], weights: Any = None) -> None:
    """One compile serves every sample, and each result equals onnxruntime's."""
    proto = model(nodes, samples[0], outputs, weights)
    executable, runner = lumir.compile(proto), session(proto)
    for inputs in samples:
        found, expected = executable.run(inputs), runner.run(None, inputs)
        assert list(found) == outputs
        for name, array in zip(outputs, expected, strict=True):
            np.testing.assert_allclose(found[name], np.asarray(array), rtol=1e-5, strict=True)


def sparse(density: float, *shape: int) -> np.ndarray:
    return np.where(RNG.random(shape) < density, RNG.standard_normal(shape), 0).astype(np.float32)


@pytest.mark.parametrize("shape", [(7,), (3, 5), (2, 3, 4), (64, 33)])
def test_coordinates_of_elements_that_are_not_zero(shape):
    samples = [{"x": sparse(density, *shape)} for density in (0, 0.1, 0.5, 1)]
    check([node("NonZero", "x")], samples, ["y"])
    check([node("NonZero", "x")], [{"x": RNG.random(shape) < 0.5}], ["y"])


@pytest.mark.parametrize("axis", [None, 0, 1, -1])
def test_slices_where_a_condition_holds(axis):
    attributes = {} if axis is None else {"axis": axis}
    size = {None: 12, 0: 3}.get(axis, 4)
    samples = [{"x": f32(3, 4), "c": RNG.random(size) < density} for density in (0, 0.4, 1)]
    check([node("Compress", "x c", **attributes)], samples, ["y"])
    check([node("Compress", "x c", **attributes)], [{"x": f32(3, 4), "c": RNG.random(size - 1) < 0.5}], ["y"])


def test_what_follows_reads_the_part_that_counts():
    """The pattern of indexing with a mask: coordinates, transposed, select elements, which are worked on."""
    nodes = [
        node("Greater", "x zero", "mask"),
        node("NonZero", "mask", "at"),
        node("Transpose", "at", "rows", perm=[1, 0]),
        node("GatherND", "x rows", "taken"),
        node("Mul", "taken two", "twice"),
        node("Shape", "twice", "shape"),
        node("Unsqueeze", "twice last", "column"),
        node("Gather", "at one", "second", axis=0),
        node("Cast", "second", "number", to=1),
        node("Concat", "column column", "pairs", axis=1),
        node("ReduceSum", "pairs last", "sums", keepdims=0),
    ]
    weights = {"zero": np.float32(0), "two": np.float32(2), "last": np.array([1]), "one": np.array(1)}
    samples = [{"x": f32(4, 5)}, {"x": np.abs(f32(4, 5))}, {"x": -np.abs(f32(4, 5))}]
    weights = {name: np.asarray(array) for name, array in weights.items()}
    check(nodes, samples, ["twice", "shape", "pairs", "number", "sums"], weights)


@pytest.mark.parametrize("axis", [None, 0, 1])
@pytest.mark.parametrize("in_order", [0, 1])
def test_distinct_slices(axis, in_order):
    attributes = {"sorted": in_order} | ({} if axis is None else {"axis": axis})
    samples = [{"x": RNG.integers(0, high, (6, 5)).astype(np.float32)} for high in (1, 2, 4, 50)]
    check([node("Unique", "x", "y first which count", **attributes)], samples, ["y", "first", "which", "count"])
    ints = [{"x": RNG.integers(-3, 3, (3, 4))}]
    check([node("Unique", "x", "y first which count", **attributes)], ints, ["y", "first", "which", "count"])


@pytest.mark.parametrize("centred", [0, 1])
def test_boxes_that_do_not_overlap(centred):
    weights = {"most": np.array(4), "overlap": np.array(0.4, np.float32), "score": np.array(0.2, np.float32)}
    samples = []
    for spread in (1.0, 3.0, 20.0):
        corner, size = RNG.random((2, 12, 2)) * spread, RNG.random((2, 12, 2)) + 0.5
        boxes = np.concatenate([corner, size if centred else corner + size], -1).astype(np.float32)
        samples.append({"b": boxes, "s": RNG.random((2, 3, 12)).astype(np.float32)})
    call = node("NonMaxSuppression", "b s most overlap score", center_point_box=centred)
    check([call], samples, ["y"], weights)


def test_detections_are_gathered():
    """Boxes are selected, and their coordinates read."""
    nodes = [
        node("NonMaxSuppression", "b s most overlap", "found"),
        node("Gather", "found two", "number", axis=1),
        node("Squeeze", "number last", "flat"),
        node("Squeeze", "b zero", "rows"),
        node("Gather", "rows flat", "y", axis=0),
    ]
    weights = {"most": np.array(5), "overlap": np.array(0.3, np.float32), "two": np.array([2]), "last": np.array([1])}
    corner = RNG.random((1, 9, 2)) * 2
    boxes = np.concatenate([corner, corner + 1], -1).astype(np.float32)
    samples = [{"b": boxes, "s": RNG.random((1, 1, 9)).astype(np.float32)} for _ in range(3)]
    check(nodes, samples, ["y"], weights | {"zero": np.array([0])})


@pytest.mark.parametrize("axis", [0, -1])
def test_the_largest_elements_as_many_as_an_input_says(axis):
    samples = [{"x": f32(6, 6), "k": np.array([k])} for k in (1, 3, 6)]
    check([node("TopK", "x k", "y at", axis=axis)], samples, ["y", "at"])


@pytest.mark.parametrize("op", ["ReduceSum", "ReduceMax", "ReduceMean", "ReduceL2", "ReduceLogSumExp", "ReduceProd"])
def test_reductions_along_axes_that_are_inputs(op):
    for count, choices in ((1, [[0], [1], [-1]]), (2, [[0, 1], [1, 2], [-1, 0]])):
        samples = [{"x": f32(3, 4, 2), "axes": np.array(axes)} for axes in choices]
        assert all(len(axes) == count for axes in choices)
        check([node(op, "x axes")], samples, ["y"])


def test_running_sums_along_an_axis_that_is_an_input():
    samples = [{"x": f32(3, 4, 2), "axis": np.array(axis)} for axis in (0, 1, 2, -1, -2, -3)]
    check([node("CumSum", "x axis", exclusive=1, reverse=1)], samples, ["y"])


@pytest.mark.parametrize("upper", [0, 1])
def test_triangles_from_a_diagonal_that_is_an_input(upper):
    check([node("Trilu", "x k", upper=upper)], [{"x": f32(4, 5), "k": np.array(k)} for k in (-9, -1, 0, 2, 9)], ["y"])


def test_sizes_survive_the_artifact_and_stay_whole_on_the_device(tmp_path):
    x = sparse(0.5, 9)
    lumir.compile(model([node("NonZero", "x")], {"x": x}, ["y"])).save(tmp_path / "m.lumir")
    executable = lumir.load(tmp_path / "m.lumir")
    np.testing.assert_array_equal(executable.run({"x": x})["y"], np.nonzero(x))
    whole = executable.run_device({"x": x})
    assert whole["y"].shape == (1, 9)
    np.testing.assert_array_equal(whole["y.shape"], [1, np.count_nonzero(x)])


@pytest.mark.parametrize(
    "nodes",
    [
        [node("NonZero", "x", "at"), node("Reshape", "at shape", "y")],
        [node("NonZero", "x", "at"), node("ReduceSum", "at", "y")],
        [node("NonZero", "x", "at"), node("Add", "at one", "next"), node("Div", "at next", "y")],
        [node("NonZero", "x", "at"), node("Concat", "at at", "y", axis=1)],
    ],
    ids=lambda nodes: nodes[-1].op_type,
)
def test_what_needs_the_size_gets_it_when_it_runs(nodes):
    """The plan stops, reads the number, and goes on with a tensor of that size."""
    samples = [{"x": sparse(density, 5, 7)} for density in (0.1, 1, 0.6)]
    check(nodes, samples, ["y"], {"shape": np.array([-1]), "one": np.array(1)})


def test_sizes_that_may_differ_are_refused():
    nodes = [node("NonZero", "x", "a"), node("NonZero", "z", "b"), node("Add", "a b", "y")]
    with pytest.raises(UnsupportedError) as caught:
        lumir.compile(model(nodes, {"x": f32(3), "z": f32(3)}, ["y"]))
    assert "may differ" in str(caught.value)


def test_branches_of_computed_sizes_need_a_known_condition():
    from onnx import helper

    graphs = {
        name: helper.make_graph([node("NonZero", source, name)], name, [], [value(name, np.int64, None)])
        for name, source in (("then", "x"), ("other", "z"))
    }
    proto = model(
        [node("If", "c", "y", then_branch=graphs["then"], else_branch=graphs["other"])],
        [value("c", np.bool_, []), value("x", np.float32, [3]), value("z", np.float32, [3])],
        ["y"],
    )
    with pytest.raises(UnsupportedError) as caught:
        lumir.compile(proto)
    assert "graph input 'c'" in str(caught.value)
