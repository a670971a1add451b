"""Control flow. Conditions and trip counts that are known are followed at import; loops are unrolled."""

from collections.abc import Sequence

import numpy as np
import onnx

from lumir.dialects.base import normalize_axis
from lumir.dtypes import numpy_dtype
from lumir.frontend import emit
from lumir.frontend.context import NodeContext
from lumir.frontend.initializers import element_type
from lumir.frontend.registry import handler
from lumir.frontend.values import POISON, Operand, Poison, Ragged, Tensor, TensorSequence, Value
from lumir.mlir import ir

UNROLL_LIMIT = 4096


@handler("If")
def if_(ctx: NodeContext) -> list[Operand]:
    """The branch that a known condition takes; else both, and a selection of their results."""
    names = ("then_branch", "else_branch")
    condition = ctx.known(0)
    if ctx.tensor(0).size != 1:
        ctx.malformed("the condition must have one element")
    if condition is not None:
        return ctx.services.inline(ctx.attribute(names[0 if condition.reshape(-1)[0] else 1]), [])
    branches = [ctx.services.inline(ctx.attribute(name), [], name) for name in names]
    flag = emit.reshape(ctx.value(0), [])
    return [_selected(ctx, flag, then, other) for then, other in zip(*branches, strict=True)]


def _selected(ctx: NodeContext, flag: ir.Value, then: Operand, other: Operand) -> Operand:
    """One of two values of the same structure, by a flag that is computed."""
    if isinstance(then, Poison) or isinstance(other, Poison):
        return POISON
    if isinstance(then, Ragged) or isinstance(other, Ragged):
        ctx.static(0, "cond", f"its branches give {then} and {other}")
    if _structure(then) != _structure(other):
        given = " and ".join(str(value or "nothing") for value in (then, other))
        ctx.static(0, "cond", f"its branches give {given}")
    if isinstance(then, TensorSequence) and isinstance(other, TensorSequence):
        pairs = zip(then.items, other.items, strict=True)
        return TensorSequence(tuple(_tensor(emit.select(flag, x.value(), y.value())) for x, y in pairs))
    if isinstance(then, Tensor) and isinstance(other, Tensor):
        return _tensor(emit.select(flag, then.value(), other.value()))
    return None


def _structure(value: Value) -> ir.Type | list[ir.Type] | None:
    """What two values must share for one of them to be selected at run time."""
    if isinstance(value, TensorSequence):
        return [item.type for item in value.items]
    return value.type if isinstance(value, Tensor) else None


@handler("Loop")
def loop(ctx: NodeContext) -> list[Operand]:
    """Unroll: the trip count, or the condition after each iteration, must be known."""
    body: onnx.GraphProto = ctx.attribute("body")
    trips = int(ctx.static(0, "M").reshape(-1)[0]) if ctx.has(0) else None
    keep = bool(ctx.static(1, "cond").reshape(-1)[0]) if ctx.has(1) else True
    states: list[Operand] = list(ctx.inputs[2:])
    collected: list[list[Operand]] = [[] for _ in body.output[1 + len(states) :]]
    step = 0
    while keep and (trips is None or step < trips):
        _check_budget(ctx, (step + 1) * len(body.node))
        counter = ctx.services.tensor(np.asarray(step, np.int64))
        flag = ctx.services.tensor(np.asarray(True))
        go_on, *rest = ctx.services.inline(body, [counter, flag, *states], str(step))
        if POISON in rest or go_on is POISON:
            return [POISON] * len(ctx.node.output)
        if not isinstance(go_on, Tensor) or not go_on.is_known:
            ctx.refuse("the condition for another iteration is computed, so the loop cannot be unrolled")
        keep = bool(go_on.array().reshape(-1)[0])
        states = rest[: len(states)]
        for series, item in zip(collected, rest[len(states) :], strict=True):
            series.append(item)
        step += 1
    outputs = body.output[1 + len(states) :]
    return [*states, *(_stack(ctx, series, out) for series, out in zip(collected, outputs, strict=True))]


@handler("Scan", since=9)
def scan(ctx: NodeContext) -> list[Operand]:
    """Unroll over the scanned dimension."""
    body: onnx.GraphProto = ctx.attribute("body")
    count = ctx.attribute("num_scan_inputs")
    states: list[Operand] = [ctx.tensor(i) for i in range(len(ctx.inputs) - count)]
    scanned = [ctx.value(i) for i in range(len(states), len(ctx.inputs))]
    in_axes = ctx.ints_attribute("scan_input_axes", [0] * count)
    in_axes = [normalize_axis(axis, emit.rank(x)) for axis, x in zip(in_axes, scanned, strict=True)]
    backwards = ctx.ints_attribute("scan_input_directions", [0] * count)
    rows = [_parts(*each) for each in zip(scanned, in_axes, backwards, strict=True)]
    states, collected = _scanned(ctx, body, states, rows)
    if POISON in states:
        return [POISON] * len(ctx.node.output)
    axes = ctx.ints_attribute("scan_output_axes", [0] * len(collected))
    backwards = ctx.ints_attribute("scan_output_directions", [0] * len(collected))
    outputs = zip(collected, body.output[len(states) :], axes, backwards, strict=True)
    return [*states, *(_stack(ctx, series[::-1] if back else series, out, axis) for series, out, axis, back in outputs)]


@handler("Scan", since=8)
def scan_8(ctx: NodeContext) -> list[Operand]:
    """Before opset 9: each batch by itself, over dimension 1 of the scanned inputs."""
    if ctx.has(0):
        ctx.refuse("the input sequence_lens is not supported: convert the model with onnx.version_converter")
    body: onnx.GraphProto = ctx.attribute("body")
    count = ctx.attribute("num_scan_inputs")
    backwards = ctx.ints_attribute("directions", [0] * count)
    values = [ctx.value(i) for i in range(1, len(ctx.inputs))]
    batches: list[list[Operand]] = []
    for b in range(emit.shape(values[0])[0]):
        own = [emit.reshape(emit.slice_(x, 0, b, 1), emit.shape(x)[1:]) for x in values]
        rows = [_parts(x, 0, back) for x, back in zip(own[-count:], backwards, strict=True)]
        states, collected = _scanned(ctx, body, [_tensor(x) for x in own[:-count]], rows, f"{b}/")
        if POISON in states:
            return [POISON] * len(ctx.node.output)
        outputs = zip(collected, body.output[len(states) :], strict=True)
        batches.append([*states, *(_stack(ctx, series, out) for series, out in outputs)])
    return [_stack(ctx, column, out) for column, out in zip(zip(*batches, strict=True), body.output, strict=True)]


def _parts(x: ir.Value, axis: int, backwards: int) -> list[Tensor]:
    """The slices of x along `axis`, without it."""
    dims = emit.shape(x)
    parts = emit.split(x, axis, [1] * dims[axis])
    shaped = [_tensor(emit.reshape(part, dims[:axis] + dims[axis + 1 :])) for part in parts]
    return shaped[::-1] if backwards else shaped


def _scanned(
    ctx: NodeContext, body: onnx.GraphProto, states: list[Operand], rows: Sequence[list[Tensor]], label: str = ""
) -> tuple[list[Operand], list[list[Operand]]]:
    """The states after the last step, and what each step gave for each further output; poison where a step failed."""
    collected: list[list[Operand]] = [[] for _ in body.output[len(states) :]]
    _check_budget(ctx, len(rows[0]) * len(body.node))
    for step, slices in enumerate(zip(*rows, strict=True)):
        results = ctx.services.inline(body, [*states, *slices], f"{label}{step}")
        if POISON in results:
            return [POISON], []
        states = results[: len(states)]
        for series, item in zip(collected, results[len(states) :], strict=True):
            series.append(item)
    return states, collected


def _stack(ctx: NodeContext, series: Sequence[Operand], declared: onnx.ValueInfoProto, axis: int = 0) -> Operand:
    """The values of all iterations along a new axis."""
    values = [item.value() for item in series if isinstance(item, Tensor)]
    if len(values) < len(series):
        ctx.refuse(f"its output '{declared.name}' is no tensor of known size in every iteration")
    if values:
        axis = normalize_axis(axis, emit.rank(values[0]) + 1)
        return _tensor(emit.concat([emit.unsqueeze(value, [axis]) for value in values], axis))
    dims = declared.type.tensor_type.shape.dim
    if not declared.type.tensor_type.HasField("shape") or not all(dim.HasField("dim_value") for dim in dims):
        ctx.refuse(f"it runs no iteration, and the shape of its output '{declared.name}' is not declared")
    dtype = numpy_dtype(element_type(declared.type.tensor_type.elem_type, declared.name))
    return ctx.services.tensor(np.zeros([0, *(dim.dim_value for dim in dims)], dtype))


def _tensor(value: ir.Value) -> Tensor:
    return Tensor(ir.RankedTensorType(value.type), value=value)


def _check_budget(ctx: NodeContext, nodes: int) -> None:
    if nodes > UNROLL_LIMIT:
        ctx.refuse(f"unrolling it takes more than {UNROLL_LIMIT} nodes")
