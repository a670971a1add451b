# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportCallIssue=false
"""The hypothesis strategy: random models with inputs, and what onnxruntime makes of them."""

import re
from collections import Counter
from dataclasses import dataclass, field, replace

import onnx
from hypothesis import assume
from hypothesis import strategies as st
from onnx import helper, numpy_helper

from tests.fuzz.grower import Grower, NotAdded
from tests.fuzz.oracle import make_model, value_info
from tests.fuzz.recipes import RECIPES
from tests.fuzz.values import Array, Value

OPSETS = (20, 18, 17, 13, 22, 24, 28)
MOST_NODES = 12


@dataclass(frozen=True)
class Case:
    """A model and what is expected of it.

    Attributes:
        inputs: by name, only those the graph takes.
        values: every value of the graph by name, with its elements and error bounds.
        expected: the outputs, as onnxruntime computes them node by node.
        dims: the sizes of the model's symbolic dimensions.
        skipped: why drawn nodes did not become part of the graph, and how often.
    """

    model: onnx.ModelProto
    inputs: dict[str, Array]
    values: dict[str, Value]
    expected: dict[str, Array]
    dims: dict[str, int]
    skipped: Counter[str] = field(default_factory=Counter)

    def _repr_pretty_(self, printer, cycle: bool) -> None:
        """For hypothesis, which writes every case out."""
        printer.text(repr(self))

    def __repr__(self) -> str:
        return f"Case({', '.join(node.op_type for node in self.model.graph.node)})"


@st.composite
def cases(draw: st.DrawFn, only: str = "", most_nodes: int = MOST_NODES) -> Case:
    """Models of 1 to `most_nodes` drawn recipes.

    Args:
        only: a regular expression that a recipe's `group/name` must match.
    """
    g = Grower(draw, draw(st.sampled_from(OPSETS)), draw(st.integers(0, 2**16)))
    groups = _recipes(only)
    for _ in range(g.integer(1, most_nodes)):
        group = g.choose(list(groups))
        name = g.choose(list(groups[group]))
        try:
            groups[group][name](g, name)
        except NotAdded as reason:
            g.skipped[str(reason)] += 1
    assume(g.nodes)
    return _finish(g)


def narrowed(case: Case, output: str) -> Case:
    """The part of a case that computes one of its outputs."""
    model = onnx.ModelProto()
    model.CopyFrom(case.model)
    graph, needed = model.graph, {output}
    nodes = []
    for node in reversed(case.model.graph.node):
        if needed & set(node.output):
            needed |= set(node.input)
            nodes.insert(0, node)
    for entries, kept in (
        (graph.node, nodes),
        (graph.input, [i for i in case.model.graph.input if i.name in needed]),
        (graph.initializer, [i for i in case.model.graph.initializer if i.name in needed]),
        (graph.output, [o for o in case.model.graph.output if o.name == output]),
    ):
        del entries[:]
        entries.extend(kept)
    inputs = {name: array for name, array in case.inputs.items() if name in needed}
    sizes = {f"d{d}" for array in inputs.values() for d in array.shape}
    dims = {name: size for name, size in case.dims.items() if name in sizes}
    return replace(case, model=model, inputs=inputs, expected={output: case.expected[output]}, dims=dims)


def _recipes(only: str) -> dict[str, dict]:
    found = {
        group: {name: function for name, function in rows.items() if re.search(only, f"{group}/{name}")}
        for group, rows in RECIPES.items()
    }
    return {group: rows for group, rows in found.items() if rows}


def _finish(g: Grower) -> Case:
    outputs = _outputs(g)
    nodes = list(g.nodes)
    used = {name for node in nodes for name in node.input} | {value.name for value in outputs}
    sources = [v for v in g.values if v.kind != "result" and (v.name in used or (v.kind == "input" and g.flag(16)))]
    inputs = [v for v in sources if v.kind == "input"]
    sizes = {f"d{d}": d for v in inputs for d in v.shape if d > 1} if g.flag(4) else {}
    graph = helper.make_graph(
        [_constant(v) for v in sources if v.kind == "constant"] + nodes,
        "fuzz",
        [value_info(v, [f"d{d}" if f"d{d}" in sizes else d for d in v.shape]) for v in inputs],
        [onnx.ValueInfoProto(name=v.name) for v in outputs],
        [numpy_helper.from_array(v.array, v.name) for v in sources if v.kind == "initializer"],
    )
    inputs_by_name = {v.name: v.array for v in inputs}
    expected = {v.name: v.array for v in outputs}
    return Case(make_model(graph, g.opset), inputs_by_name, {v.name: v for v in g.values}, expected, sizes, g.skipped)


def _outputs(g: Grower) -> list[Value]:
    """The last result, most results that nothing uses, some that others use, rarely a value the graph starts with."""
    used = {name for node in g.nodes for name in node.input}
    results = [v for v in g.values if v.kind == "result"]
    kept = [v for v in results[:-1] if (not g.flag(4) if v.name not in used else g.flag(8))]
    direct = [v for v in g.values if v.kind == "input"]
    return [*kept, results[-1], *([g.choose(direct)] if direct and g.flag(24) else [])]


def _constant(value: Value) -> onnx.NodeProto:
    return helper.make_node(
        "Constant", [], [value.name], name=f"Constant_{value.name}", value=numpy_helper.from_array(value.array)
    )
