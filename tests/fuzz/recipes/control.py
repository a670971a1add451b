"""Control flow with small bodies."""

import numpy as np
import onnx
from onnx import TensorProto, helper

from tests.fuzz.grower import Domain, Grower
from tests.fuzz.recipes.table import recipe

SMALL = Domain(-20, 20)
FLOAT, INT64, BOOL = int(TensorProto.FLOAT), int(TensorProto.INT64), int(TensorProto.BOOL)


def _info(name: str, shape: tuple[int, ...], element: int = FLOAT) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, element, shape)


@recipe("control", "If")
def if_(g: Grower, op: str) -> None:
    """Branches that compute on constants of their own."""
    shape = g.shape(0, 2, 64, filled=True)
    rng = np.random.default_rng([g.seed, len(g.values)])
    branches = {}
    for key, name in (("then_branch", "Neg"), ("else_branch", "Relu")):
        values = helper.make_tensor(f"{key}_w", FLOAT, shape, rng.uniform(-2, 2, int(np.prod(shape))))
        out = _info(f"{key}_y", shape)
        branches[key] = helper.make_graph([helper.make_node(name, [values.name], [out.name])], key, [], [out], [values])
    g.add("If", [g.pick(("bool",), (0, 0))], exact=True, **branches)


@recipe("control", "Loop")
def loop(g: Grower, op: str) -> None:
    """A state that is doubled and shifted by the counter each time, and its history."""
    x = g.pick(("float32",), (0, 2), SMALL, filled=True)
    body = helper.make_graph(
        [
            helper.make_node("Cast", ["i"], ["f"], to=FLOAT),
            helper.make_node("Add", ["s", "s"], ["d"]),
            helper.make_node("Sub", ["d", "f"], ["n"]),
            helper.make_node("Identity", ["c"], ["k"]),
            helper.make_node("Neg", ["n"], ["h"]),
        ],
        "body",
        [_info("i", (), INT64), _info("c", (), BOOL), _info("s", x.shape)],
        [_info("k", (), BOOL), _info("n", x.shape), _info("h", x.shape)],
    )
    g.add("Loop", [g.fixed(g.integer(0, 4)), g.fixed(True, "bool"), x], 2, body=body)


@recipe("control", "Scan")
def scan(g: Grower, op: str) -> None:
    """A running sum, forwards or backwards, over any axis."""
    x = g.pick(("float32",), (1, 3), SMALL, filled=True)
    axis = g.integer(0, x.rank - 1)
    row = x.shape[:axis] + x.shape[axis + 1 :]
    body = helper.make_graph(
        [helper.make_node("Add", ["s", "x"], ["n"]), helper.make_node("Identity", ["n"], ["y"])],
        "body",
        [_info("s", row), _info("x", row)],
        [_info("n", row), _info("y", row)],
    )
    backwards = g.choose((None, [1]))
    state = g.like("float32", row, SMALL)
    g.add(
        "Scan", [state, x], 2, body=body, num_scan_inputs=1, scan_input_axes=[axis], scan_input_directions=backwards,
        scan_output_axes=[g.integer(0, len(row))],
    )  # fmt: skip
