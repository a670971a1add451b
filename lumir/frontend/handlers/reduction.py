"""Reductions, arg-reductions, scans, sorting and softmax."""

import math
from collections.abc import Callable
from dataclasses import dataclass

from lumir.dialects import build
from lumir.dialects.base import is_float, normalize_axis
from lumir.frontend import emit
from lumir.frontend.context import NodeContext
from lumir.frontend.handlers.selection import ragged
from lumir.frontend.handlers.shaping import axes_of
from lumir.frontend.registry import Result, handler
from lumir.mlir import ir


@dataclass(frozen=True)
class Reduction:
    """before, then `kind` over the axes, then after(result, number of elements reduced into one).

    `axes_input` is the opset from which on the axes are an input.
    """

    kind: str
    before: Callable[[ir.Value], ir.Value] = lambda x: x
    after: Callable[[ir.Value, emit.Operand], ir.Value] = lambda x, count: x
    axes_input: int = 18


def _square(x: ir.Value) -> ir.Value:
    return emit.mul(x, x)


def _sqrt(x: ir.Value, _count: emit.Operand) -> ir.Value:
    if is_float(emit.element(x)):
        return build("sqrt", x)
    return emit.cast(build("sqrt", emit.cast(x, emit.type_("float64"))), emit.element(x))


def _log(x: ir.Value, _count: emit.Operand) -> ir.Value:
    if is_float(emit.element(x)):
        return build("log", x)
    return emit.cast(build("log", emit.cast(x, emit.type_("float64"))), emit.element(x))


REDUCTIONS = {
    "ReduceSum": Reduction("sum", axes_input=13),
    "ReduceProd": Reduction("prod"),
    "ReduceMax": Reduction("max"),
    "ReduceMin": Reduction("min"),
    "ReduceMean": Reduction("sum", after=emit.div),
    "ReduceL1": Reduction("sum", before=lambda x: build("abs", x)),
    "ReduceL2": Reduction("sum", before=_square, after=_sqrt),
    "ReduceSumSquare": Reduction("sum", before=_square),
    "ReduceLogSum": Reduction("sum", after=_log),
}


@handler(*REDUCTIONS)
def reduce(ctx: NodeContext) -> Result:
    x, row = ctx.value(0), REDUCTIONS[ctx.op]
    if _axes_are_computed(ctx, row.axes_input):
        wide = row.before(emit.widen(x) if row.kind in ("sum", "prod") else x)
        chosen = ChosenAxes.of(ctx)
        count = chosen.count(wide) if ctx.op == "ReduceMean" else 1
        return chosen.result(emit.cast(row.after(chosen.reduce(wide, row.kind), count), emit.element(x)))
    axes = _axes(ctx, row.axes_input)
    wide = row.before(emit.widen(x) if row.kind in ("sum", "prod") else x)
    count = math.prod(emit.shape(x)[a] for a in axes)
    result = row.after(emit.reduce(wide, row.kind, axes, bool(ctx.attribute("keepdims", 1))), count)
    return emit.cast(result, emit.element(x))


@handler("ReduceLogSumExp")
def reduce_log_sum_exp(ctx: NodeContext) -> Result:
    """log(sum(exp(x))), with the largest element taken out so that exp cannot overflow."""
    x = ctx.value(0)
    if _axes_are_computed(ctx, 18):
        return _log_sum_exp_over_chosen(ChosenAxes.of(ctx), x)
    axes = _axes(ctx, 18)
    if not axes:
        return ctx.tensor(0)
    wide = emit.widen(x) if is_float(emit.element(x)) else emit.cast(x, emit.type_("float64"))
    if 0 in (emit.shape(x)[a] for a in axes):
        result = _log(emit.reduce(emit.exp(wide), "sum", axes, True), 0)
    else:
        top = emit.reduce(wide, "max", axes, True)
        top = emit.select(build("isinf", top), 0, top)
        result = emit.add(build("log", emit.reduce(emit.exp(emit.sub(wide, top)), "sum", axes, True)), top)
    if not ctx.attribute("keepdims", 1):
        result = emit.reshape(result, [d for i, d in enumerate(emit.shape(result)) if i not in axes])
    return emit.cast(result, emit.element(x))


def _axes(ctx: NodeContext, since: int) -> list[int]:
    """The axes to reduce: all where none are given, unless `noop_with_empty_axes` says none."""
    rank = len(ctx.tensor(0).shape)
    axes = axes_of(ctx, rank, since)
    return axes or ([] if ctx.attribute("noop_with_empty_axes", 0) else list(range(rank)))


def _axes_are_computed(ctx: NodeContext, since: int) -> bool:
    """Whether the axes are computed, and stay as dimensions of size 1, so that the result's rank is known."""
    given = ctx.opset >= since and ctx.has(1) and not ctx.tensor(1).is_known and ctx.tensor(1).size != 0
    return given and bool(ctx.attribute("keepdims", 1)) and all(isinstance(d, int) and d for d in ctx.tensor(0).shape)


@dataclass(frozen=True)
class ChosenAxes:
    """The axes of a tensor, and for each a computed flag: whether it is reduced."""

    dims: list[int]
    flags: list[ir.Value]

    @staticmethod
    def of(ctx: NodeContext) -> "ChosenAxes":
        given, dims = ctx.value(1), emit.shape(ctx.value(0))
        hits = [
            build("or", emit.binary("eq", given, i), emit.binary("eq", given, i - len(dims))) for i in range(len(dims))
        ]
        return ChosenAxes(dims, [emit.reduce(hit, "max", [0]) for hit in hits])

    def reduce(self, x: ir.Value, kind: str) -> ir.Value:
        """Along the chosen axes, with the result in each of their places."""
        for axis, flag in enumerate(self.flags):
            x = emit.select(flag, emit.broadcast(emit.reduce(x, kind, [axis], True), self.dims), x)
        return x

    def count(self, like: ir.Value) -> ir.Value:
        """How many elements become one, in the element type of `like`."""
        total = emit.scalar(1, emit.element(like))
        for size, flag in zip(self.dims, self.flags, strict=True):
            total = emit.mul(total, emit.select(flag, emit.scalar(size, emit.element(like)), 1))
        return total

    def result(self, x: ir.Value) -> Result:
        one = emit.scalar(1, emit.type_("int64"))
        return ragged(x, tuple(emit.select(flag, one, d) for d, flag in zip(self.dims, self.flags, strict=True)))


def _log_sum_exp_over_chosen(chosen: ChosenAxes, x: ir.Value) -> Result:
    wide = emit.widen(x) if is_float(emit.element(x)) else emit.cast(x, emit.type_("float64"))
    top = chosen.reduce(wide, "max")
    top = emit.select(build("isinf", top), 0, top)
    result = emit.add(build("log", chosen.reduce(emit.exp(emit.sub(wide, top)), "sum")), top)
    return chosen.result(emit.cast(result, emit.element(x)))


@handler("ArgMax", "ArgMin")
def arg_reduce(ctx: NodeContext) -> Result:
    x = ctx.value(0)
    axis = normalize_axis(ctx.attribute("axis", 0), emit.rank(x))
    kind, last = ctx.op[3:].lower(), bool(ctx.attribute("select_last_index", 0))
    index = build("arg_reduce", x, kind=kind, axis=axis, last=last)
    return emit.unsqueeze(index, [axis]) if ctx.attribute("keepdims", 1) else index


@handler("CumSum", "CumProd", since=11)
def scan(ctx: NodeContext) -> Result:
    """Along one axis; where that is computed, along each, of which the right one is selected."""
    x, kind = ctx.value(0), ctx.op[3:].lower()
    exclusive, backwards = (bool(ctx.attribute(name, 0)) for name in ("exclusive", "reverse"))

    def along(axis: int) -> ir.Value:
        return build("scan", x, kind=kind, axis=axis, exclusive=exclusive, reverse=backwards)

    if ctx.tensor(1).is_known:
        return along(normalize_axis(ctx.ints(1, "axis")[0], emit.rank(x)))
    result, given = along(0), emit.reshape(ctx.value(1), [])
    for axis in range(1, emit.rank(x)):
        chosen = build("or", emit.binary("eq", given, axis), emit.binary("eq", given, axis - emit.rank(x)))
        result = emit.select(chosen, along(axis), result)
    return result


@handler("TopK")
def top_k(ctx: NodeContext) -> list[Result]:
    x = ctx.value(0)
    rank = emit.rank(x)
    axis = normalize_axis(ctx.attribute("axis", -1), rank)
    known = ctx.opset < 10 or ctx.tensor(1).is_known
    k = emit.shape(x)[axis] if not known else ctx.ints(1, "K")[0] if ctx.opset >= 10 else ctx.attribute("k")
    order = [i for i in range(rank) if i != axis] + [axis]
    results = build("top_k", emit.transpose(x, order), k=k, largest=bool(ctx.attribute("largest", 1)))
    back = [order.index(i) for i in range(rank)]
    results = [emit.transpose(result, back) for result in results]
    if known:
        return list(results)
    count = emit.reshape(ctx.value(1), [])
    return [ragged(value, tuple(count if i == axis else d for i, d in enumerate(emit.shape(x)))) for value in results]


@handler("Softmax", "LogSoftmax", since=13)
def softmax(ctx: NodeContext) -> Result:
    x = ctx.value(0)
    axis = normalize_axis(ctx.attribute("axis", -1), emit.rank(x))
    return build("softmax", x, axis=axis, log=ctx.op == "LogSoftmax")


@handler("Softmax", "LogSoftmax")
def softmax_1(ctx: NodeContext) -> Result:
    """Before opset 13: over all dimensions from `axis` on."""
    x, flat = _flattened(ctx)
    return emit.reshape(build("softmax", flat, axis=1, log=ctx.op == "LogSoftmax"), emit.shape(x))


@handler("Hardmax", since=13)
def hardmax(ctx: NodeContext) -> Result:
    x = ctx.value(0)
    return _hardmax(x, normalize_axis(ctx.attribute("axis", -1), emit.rank(x)))


@handler("Hardmax")
def hardmax_1(ctx: NodeContext) -> Result:
    x, flat = _flattened(ctx)
    return emit.reshape(_hardmax(flat, 1), emit.shape(x))


def _flattened(ctx: NodeContext) -> tuple[ir.Value, ir.Value]:
    x = ctx.value(0)
    return x, emit.flatten(x, normalize_axis(ctx.attribute("axis", 1), emit.rank(x)))


def _hardmax(x: ir.Value, axis: int) -> ir.Value:
    """1 at the first largest element along `axis`, else 0."""
    top = emit.unsqueeze(build("arg_reduce", x, kind="max", axis=axis, last=False), [axis])
    place = emit.iota([d if i == axis else 1 for i, d in enumerate(emit.shape(x))], axis, emit.element(top))
    return emit.cast(build("eq", place, top), emit.element(x))
