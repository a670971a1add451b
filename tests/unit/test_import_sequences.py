"""Sequences and optionals, compiled and run against onnxruntime; and what callers are told."""

from typing import Any

import numpy as np
import onnx
import pytest
from import_helpers import model, node, session, unknown, value
from onnx import TensorProto, helper

import lumir
from lumir.diagnostics import LumirError, UnsupportedError, UserError

RNG = np.random.default_rng(5)
FLOATS = helper.make_tensor_type_proto(TensorProto.FLOAT, None)
SEQUENCE = helper.make_sequence_type_proto(FLOATS)


def f32(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape).astype(np.float32)


def info(name: str, type_: onnx.TypeProto) -> onnx.ValueInfoProto:
    return helper.make_value_info(name, type_)


def sizes(inputs: dict[str, Any]) -> dict[str, int]:
    """What the types of `SEQUENCE` inputs leave open."""
    found: dict[str, int] = {}
    for name, items in inputs.items():
        if isinstance(items, list):
            found[f"{name}.length"] = len(items)
            for i, item in enumerate(items):
                found[f"{name}[{i}].rank"] = item.ndim
                found |= {f"{name}[{i}].{axis}": size for axis, size in enumerate(item.shape)}
    return found


def check(proto: onnx.ModelProto, inputs: dict[str, Any]) -> dict[str, Any]:
    """Every output equals onnxruntime's, lists element by element."""
    runner = session(proto)
    expected: list[Any] = list(runner.run(None, inputs))
    found = lumir.compile(proto, dims=sizes(inputs)).run(inputs)
    for info, array in zip(runner.get_outputs(), expected, strict=True):
        ours, theirs = found[info.name], array
        assert isinstance(ours, list) == isinstance(theirs, list)
        pairs = zip(ours, theirs, strict=True) if isinstance(ours, list) else [(ours, theirs)]
        for x, y in pairs:
            np.testing.assert_allclose(x, y, rtol=1e-6, strict=True)
    return found


def graph_of(nodes: list[onnx.NodeProto], inputs: list[str], outputs: list[str]) -> onnx.GraphProto:
    return helper.make_graph(nodes, "body", [unknown(n) for n in inputs], [unknown(n) for n in outputs])


@pytest.mark.parametrize("place", [None, 0, 1, 3, -1, -3])
def test_insert_and_erase(place):
    weights = {} if place is None else {"at": np.array(place)}
    at = "-" if place is None else "at"
    drop = "-" if place in (None, 3) else "at"
    nodes = [
        node("SequenceConstruct", "a b c", "s"),
        node("SequenceInsert", f"s d {at}", "y"),
        node("SequenceErase", f"s {drop}", "z"),
        node("SequenceLength", "z", "n"),
    ]
    outputs = [info("y", SEQUENCE), info("z", SEQUENCE), value("n", np.int64, [])]
    check(model(nodes, {"a": f32(2), "b": f32(3, 1), "c": f32(1), "d": f32(4)}, outputs, weights), {
        "a": f32(2), "b": f32(3, 1), "c": f32(1), "d": f32(4)
    })  # fmt: skip


def test_a_sequence_comes_in_and_goes_out():
    nodes = [node("SequenceInsert", "s x", "y"), node("SequenceAt", "s one", "z"), node("Neg", "z", "w")]
    proto = model(
        nodes,
        [info("s", SEQUENCE), value("x", np.float32, [2])],
        [info("y", SEQUENCE), value("w", np.float32, None)],
        {"one": np.array(1)},
    )
    check(proto, {"s": [f32(3), f32(2, 2), f32()], "x": f32(2)})


def test_a_computed_place_in_a_uniform_sequence():
    nodes = [node("SplitToSequence", "x", "s", axis=1, keepdims=0), node("SequenceAt", "s place", "y")]
    proto = model(nodes, [value("x", np.float32, [2, 5]), value("place", np.int64, [])], [value("y", np.float32, None)])
    for place in (0, 4, -1):
        check(proto, {"x": f32(2, 5), "place": np.array(place)})


@pytest.mark.parametrize("split", [np.array(2), np.array(3), np.array([1, 4, 2]), None])
def test_split_and_concatenate(split):
    weights = {} if split is None else {"split": split}
    nodes = [node("SplitToSequence", "x" if split is None else "x split", "s", axis=0)]
    nodes += [node("ConcatFromSequence", "s", "y", axis=0)]
    check(
        model(nodes, {"x": f32(7, 2)}, [value("y", np.float32, None), info("s", SEQUENCE)], weights), {"x": f32(7, 2)}
    )


def test_concatenate_along_a_new_axis():
    nodes = [node("SequenceConstruct", "a b", "s"), node("ConcatFromSequence", "s", "y", axis=-1, new_axis=1)]
    inputs = {"a": f32(2, 3), "b": f32(2, 3)}
    check(model(nodes, inputs, ["y"]), inputs)


def test_map_over_sequences_and_a_tensor():
    body = graph_of([node("Mul", "p q", "m"), node("Shape", "m", "d")], ["p", "q"], ["m", "d"])
    proto = model(
        [node("SequenceMap", "s x", "y shapes", body=body)],
        [info("s", SEQUENCE), value("x", np.float32, [1])],
        [info("y", SEQUENCE), info("shapes", helper.make_sequence_type_proto(helper.make_tensor_type_proto(7, None)))],
    )
    items = [f32(3), f32(2, 2)]
    found = lumir.compile(proto, dims=sizes({"s": items})).run({"s": items, "x": np.full(1, 2, np.float32)})
    for item, double, shape in zip(items, found["y"], found["shapes"], strict=True):
        np.testing.assert_array_equal(double, 2 * item)
        np.testing.assert_array_equal(shape, item.shape)


def test_a_loop_carries_a_sequence():
    body = helper.make_graph(
        [node("Mul", "x x", "xx"), node("SequenceInsert", "s_in xx", "s_out"), node("Identity", "c", "c_out")],
        "body",
        [value("i", np.int64, []), value("c", np.bool_, []), info("s_in", SEQUENCE)],
        [value("c_out", np.bool_, []), info("s_out", SEQUENCE)],
    )
    nodes = [node("SequenceEmpty", "", "empty"), node("Loop", "n go empty", "y", body=body)]
    weights = {"n": np.array(3), "go": np.array(True)}
    check(model(nodes, {"x": f32(2)}, [info("y", SEQUENCE)], weights), {"x": f32(2)})


def test_branches_select_sequences_by_a_computed_condition():
    branches = {
        name: helper.make_graph([node("SequenceConstruct", order, name)], name, [], [info(name, SEQUENCE)])
        for name, order in (("then", "a b"), ("other", "b a"))
    }
    proto = model(
        [node("If", "c", "y", then_branch=branches["then"], else_branch=branches["other"])],
        [value("c", np.bool_, []), value("a", np.float32, [2]), value("b", np.float32, [2])],
        [info("y", SEQUENCE)],
    )
    for flag in (False, True):
        check(proto, {"c": np.array(flag), "a": f32(2), "b": f32(2)})


def test_branches_of_different_lengths_need_a_known_condition():
    then = helper.make_graph([node("SequenceConstruct", "a a", "p")], "then", [], [info("p", SEQUENCE)])
    other = helper.make_graph([node("SequenceConstruct", "a", "q")], "other", [], [info("q", SEQUENCE)])
    proto = model(
        [node("If", "c", "y", then_branch=then, else_branch=other)],
        [value("c", np.bool_, []), value("a", np.float32, [2])],
        [info("y", SEQUENCE)],
    )
    with pytest.raises(UnsupportedError) as caught:
        lumir.compile(proto)
    assert "computed from graph input 'c'" in str(caught.value)


def optional_model() -> onnx.ModelProto:
    """y = x where the optional x has a value, else z; and the optional itself."""
    then = graph_of([node("OptionalGetElement", "x", "p")], [], ["p"])
    other = graph_of([node("Identity", "z", "q")], [], ["q"])
    type_ = helper.make_optional_type_proto(helper.make_tensor_type_proto(TensorProto.FLOAT, [2]))
    nodes = [
        node("OptionalHasElement", "x", "has"),
        node("If", "has", "y", then_branch=then, else_branch=other),
        node("Identity", "x", "same"),
    ]
    return model(nodes, [info("x", type_), value("z", np.float32, [2])], ["y", info("same", type_)])


def test_an_optional_input_is_given_or_not():
    x, z = f32(2), f32(2)
    given = lumir.compile(optional_model(), dims={"x.given": 1}).run({"x": x, "z": z})
    np.testing.assert_array_equal([given["y"], given["same"]], [x, x])
    absent = lumir.compile(optional_model(), dims={"x.given": 0})
    for inputs in ({"z": z}, {"x": None, "z": z}):
        found = absent.run(inputs)
        np.testing.assert_array_equal(found["y"], z)
        assert found["same"] is None
    with pytest.raises(UserError, match="no value"):
        absent.run({"x": x, "z": z})


def test_the_structure_must_be_given():
    with pytest.raises(UserError) as caught:
        lumir.compile(optional_model())
    assert "--dim x.given=1" in str(caught.value)


def test_a_list_of_another_length_is_refused():
    proto = model([node("SequenceAt", "s zero", "y")], [info("s", SEQUENCE)], ["y"], {"zero": np.array(0)})
    executable = lumir.compile(proto, dims=sizes({"s": [f32(2), f32(3)]}))
    for wrong in ([f32(2)], f32(2), None):
        with pytest.raises(UserError, match="structure"):
            executable.run({"s": wrong})


def test_lists_survive_the_artifact(tmp_path):
    proto = model([node("SequenceConstruct", "a a", "y")], {"a": f32(2)}, [info("y", SEQUENCE)])
    lumir.compile(proto).save(tmp_path / "m.lumir")
    a = f32(2)
    np.testing.assert_array_equal(lumir.load(tmp_path / "m.lumir").run({"a": a})["y"], [a, a])


@pytest.mark.parametrize(
    ("nodes", "message"),
    [
        ([node("SequenceConstruct", "a", "s"), node("Neg", "s", "y")], "a sequence, not a tensor"),
        ([node("SequenceLength", "a", "y")], "a tensor, not a sequence"),
        ([node("SequenceConstruct", "a", "s"), node("SequenceAt", "s two", "y")], "position 2 must be in -1..0"),
        ([node("Optional", "", "o"), node("OptionalGetElement", "o", "y")], "the optional is empty"),
        ([node("SequenceEmpty", "", "s"), node("ConcatFromSequence", "s", "y", axis=0)], "empty sequence"),
    ],
)
def test_misuse_is_told(nodes, message):
    with pytest.raises(LumirError) as caught:
        lumir.compile(model(nodes, {"a": f32(2)}, ["y"], {"two": np.array(2)}))
    assert message in str(caught.value)
