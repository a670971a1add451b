"""Convolutions with the channels last, where tensor cores read them side by side."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

from lumir.dialects import attributes_of, build
from lumir.dialects.elementwise import ELEMENTWISE
from lumir.graph.rewrite import drop_dead, functions
from lumir.graph.values import element, shape, short_name
from lumir.mlir import ir
from lumir.passes.registry import register_pass

ELEMENTWISE_OPS = frozenset({*ELEMENTWISE, "cast", "select"})
_ALIGNED = 4
"""Channels are made a multiple of this where a chain starts: an image of three colours gets a fourth, of zeros."""
_BY_DIMENSION = {"pad": ("low", "high", "interior"), "slice": ("starts", "sizes", "steps")}
"""Attributes of moves that have an entry a dimension."""


@register_pass
@dataclass(frozen=True)
class ChannelsLast:
    """Turn chains of convolutions on 16-bit floats from [n, c, spatial...] to [n, spatial..., c].

    What lies between convolutions follows: element-wise ops, pooling, means over the spatial dimensions,
    concatenation, padding. A convolution that looks at one place becomes a contraction. Transposes are left where a
    chain starts and ends, and on weights, which `lumir-fold-constants` computes.

    Requires: the `lumir` and `func` dialects.
    Guarantees: every convolution on 16-bit floats has `channels_last`, or is a contraction.

        %1 = lumir.conv(%x, %w)                 %0 = lumir.transpose(%x) [0, 2, 3, 1]
        %2 = lumir.add(%1, %bias)        ->     %1 = lumir.conv(%0, transposed %w) channels_last
                                                %2 = lumir.add(%1, reshaped %bias)
                                                %3 = lumir.transpose(%2) [0, 3, 1, 2]
    """

    name: ClassVar[str] = "lumir-channels-last"

    def run(self, module: ir.Module) -> None:
        for block in functions(module):
            _Chains(block).turn()
        drop_dead(module)


class _Chains:
    """One function; `last` holds the values that exist with the channels last."""

    def __init__(self, block: ir.Block):
        self._ops = [view.operation for view in block.operations]
        self._last: dict[ir.Value, ir.Value] = {}

    def turn(self) -> None:
        for op in self._ops:
            rule = self._rule(op)
            if rule is None:
                continue
            with ir.InsertionPoint(op), op.location:
                result = rule(op)
                if result is None:
                    continue
                old = op.results[0]
                if shape(old) == shape(result) and short_name(op) == "reduce":
                    old.replace_all_uses_with(result)
                    continue
                self._last[old] = result
                first = build("transpose", result, permutation=_first(len(shape(result))))
            old.replace_all_uses_with(first)
            self._last[first] = result

    def _rule(self, op: ir.Operation) -> Callable[[ir.Operation], ir.Value | None] | None:
        name = short_name(op)
        if name == "conv":
            return self._conv if isinstance(element(op.operands[0]), (ir.F16Type, ir.BF16Type)) else None
        if not any(operand in self._last for operand in op.operands):
            return None
        if name in ELEMENTWISE_OPS:
            return self._elementwise
        rules = {"window_reduce": self._pool, "reduce": self._reduce, "concat": self._concat}
        return self._move if name in _BY_DIMENSION else rules.get(name)

    def _turned(self, value: ir.Value) -> ir.Value:
        """The value with the channels last, of whatever rank 3 or more."""
        if value not in self._last:
            self._last[value] = build("transpose", value, permutation=_last(len(shape(value))))
        return self._last[value]

    def _conv(self, op: ir.Operation) -> ir.Value:
        attributes, (x, w) = attributes_of(op), op.operands
        window = shape(w)[2:]
        moves = (*attributes["strides"], *window, attributes["groups"])
        if set(moves) == {1} and not any((*attributes["low"], *attributes["high"])):
            labels = "abcdefgh"[: len(shape(x)) - 1]
            flat = build("reshape", w, shape=list(shape(w)[:2]))
            return build("contract", self._turned(x), flat, equation=f"{labels}y,zy->{labels}z", to=attributes["to"])
        starts_chain = x not in self._last
        filters, image = build("transpose", w, permutation=_last(len(shape(w)))), self._turned(x)
        if starts_chain and attributes["groups"] == 1 and shape(x)[1] % _ALIGNED:
            image, filters = (_padded(v, -shape(x)[1] % _ALIGNED) for v in (image, filters))
        return build("conv", image, filters, **{**attributes, "channels_last": True})

    def _elementwise(self, op: ir.Operation) -> ir.Value | None:
        rank = len(shape(op.results[0]))
        if any(v in self._last and len(shape(v)) != rank for v in op.operands):
            return None
        return build(short_name(op), *(self._broadcast(v, rank) for v in op.operands), **attributes_of(op))

    def _broadcast(self, value: ir.Value, rank: int) -> ir.Value:
        """An operand that broadcasts against [n, c, spatial...], so that it does against [n, spatial..., c]."""
        dims = shape(value)
        if value in self._last or math.prod(dims) == 1:
            return self._last.get(value, value)
        whole = [1] * (rank - len(dims)) + list(dims)
        order = _last(rank)
        if len(dims) == rank and sum(size != 1 for size in dims) > 1:
            return self._turned(value)
        grown = value if len(dims) == rank else build("reshape", value, shape=whole)
        return build("transpose", grown, permutation=order)

    def _pool(self, op: ir.Operation) -> ir.Value:
        return build("window_reduce", self._turned(op.operands[0]), **{**attributes_of(op), "channels_last": True})

    def _reduce(self, op: ir.Operation) -> ir.Value | None:
        """Over all spatial dimensions, which leaves [n, c] whatever the order was."""
        rank, attributes = len(shape(op.operands[0])), attributes_of(op)
        axes = sorted(axis % rank for axis in attributes["axes"])
        if axes != list(range(2, rank)):
            return None
        return build("reduce", self._turned(op.operands[0]), **{**attributes, "axes": [axis - 1 for axis in axes]})

    def _concat(self, op: ir.Operation) -> ir.Value:
        rank = len(shape(op.results[0]))
        axis = _last(rank).index(attributes_of(op)["axis"] % rank)
        return build("concat", *map(self._turned, op.operands), axis=axis)

    def _move(self, op: ir.Operation) -> ir.Value:
        attributes, x, *others = attributes_of(op), *op.operands
        order = _last(len(shape(x)))
        permuted = {name: [attributes[name][axis] for axis in order] for name in _BY_DIMENSION[short_name(op)]}
        return build(short_name(op), self._turned(x), *others, **{**attributes, **permuted})


def _padded(value: ir.Value, count: int) -> ir.Value:
    """With so many channels of zeros after the others."""
    rank = len(shape(value))
    kind = element(value)
    zero = ir.DenseElementsAttr.get_splat(ir.RankedTensorType.get([], kind), ir.FloatAttr.get(kind, 0.0))
    none, high = [0] * rank, [0] * (rank - 1) + [count]
    return build("pad", value, build("constant", value=zero), low=none, high=high, interior=none, mode="constant")


def _last(rank: int) -> list[int]:
    """The permutation from [n, c, spatial...] to [n, spatial..., c]."""
    return [0, *range(2, rank), 1]


def _first(rank: int) -> Sequence[int]:
    return [0, rank - 1, *range(1, rank - 1)]
