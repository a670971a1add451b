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
from lumir.frontend.values import POISON, Operand, Tensor

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
    results: list[Operand] = []
    for then, other in zip(*branches, strict=True):
        if not isinstance(then, Tensor) or not isinstance(other, Tensor):
            results.append(POISON)
        elif then.type != other.type:
            ctx.refuse(f"the condition is computed, and its branches give {then} and {other}")
        else:
            chosen = emit.select(flag, then.value(), other.value())
            results.append(Tensor(then.type, value=chosen))
    return results


@handler("Loop", since=11)
def loop(ctx: NodeContext) -> list[Operand]:
    """Unroll: the trip count, or the condition after each iteration, must be known."""
    body: onnx.GraphProto = ctx.attribute("body")
    trips = int(ctx.static(0, "M").reshape(-1)[0]) if ctx.has(0) else None
    keep = bool(ctx.static(1, "cond").reshape(-1)[0]) if ctx.has(1) else True
    states: list[Operand] = [ctx.tensor(i) for i in range(2, len(ctx.inputs))]
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
    outputs = len(body.output) - len(states)
    in_axes = ctx.ints_attribute("scan_input_axes", [0] * count)
    in_axes = [normalize_axis(axis, emit.rank(x)) for axis, x in zip(in_axes, scanned, strict=True)]
    backwards = ctx.ints_attribute("scan_input_directions", [0] * count)
    steps = emit.shape(scanned[0])[in_axes[0]]
    _check_budget(ctx, steps * len(body.node))
    collected: list[list[Operand]] = [[] for _ in range(outputs)]
    for step in range(steps):
        slices = []
        for x, axis, reverse in zip(scanned, in_axes, backwards, strict=True):
            place = steps - 1 - step if reverse else step
            dims = emit.shape(x)
            part = emit.reshape(emit.slice_(x, axis, place, 1), dims[:axis] + dims[axis + 1 :])
            slices.append(_tensor(part))
        results = ctx.services.inline(body, [*states, *slices], str(step))
        if POISON in results:
            return [POISON] * len(ctx.node.output)
        states = results[: len(states)]
        for series, item in zip(collected, results[len(states) :], strict=True):
            series.append(item)
    return [*states, *_scan_outputs(ctx, body, collected, len(states))]


def _scan_outputs(
    ctx: NodeContext, body: onnx.GraphProto, collected: Sequence[list[Operand]], states: int
) -> list[Operand]:
    axes = ctx.ints_attribute("scan_output_axes", [0] * len(collected))
    backwards = ctx.ints_attribute("scan_output_directions", [0] * len(collected))
    results: list[Operand] = []
    for series, out, axis, reverse in zip(collected, body.output[states:], axes, backwards, strict=True):
        results.append(_stack(ctx, series[::-1] if reverse else series, out, axis))
    return results


def _stack(ctx: NodeContext, series: Sequence[Operand], declared: onnx.ValueInfoProto, axis: int = 0) -> Operand:
    """The values of all iterations along a new axis."""
    values = [item.value() for item in series if isinstance(item, Tensor)]
    if values:
        axis = normalize_axis(axis, emit.rank(values[0]) + 1)
        return _tensor(emit.concat([emit.unsqueeze(value, [axis]) for value in values], axis))
    dims = declared.type.tensor_type.shape.dim
    if not declared.type.tensor_type.HasField("shape") or not all(dim.HasField("dim_value") for dim in dims):
        ctx.refuse(f"it runs no iteration, and the shape of its output '{declared.name}' is not declared")
    dtype = numpy_dtype(element_type(declared.type.tensor_type.elem_type, declared.name))
    return ctx.services.tensor(np.zeros([0, *(dim.dim_value for dim in dims)], dtype))


def _tensor(value) -> Tensor:
    return Tensor(value.type, value=value)


def _check_budget(ctx: NodeContext, nodes: int) -> None:
    if nodes > UNROLL_LIMIT:
        ctx.refuse(f"unrolling it takes more than {UNROLL_LIMIT} nodes")
