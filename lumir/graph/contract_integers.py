"""Products of quantised tensors, in integers."""

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from lumir.dialects import attributes_of, build
from lumir.dialects.constants import constant, splat_value
from lumir.dialects.contraction import parse_equation
from lumir.graph.canonicalize import CANONICAL
from lumir.graph.quantized import Factor, as_type, centered, dequantized, fits_byte, i32, is_single, scaled, summed
from lumir.graph.rewrite import PatternTable, merged, rewrite
from lumir.graph.values import attribute, definition, element, shape
from lumir.mlir import ir
from lumir.passes.registry import register_pass
from lumir.sizes import Dim, high

PATTERNS = PatternTable()
LIMIT = 2**31
"""Sums that stand for real numbers stay below this; those that the model itself has in int32 wrap as it says."""


@register_pass
@dataclass(frozen=True)
class ContractIntegers:
    """Multiply quantised tensors as the bytes that they are, and correct the int32 sums for zero points and scales.

    Requires: `lumir.dequantize` not yet folded into weights.
    Guarantees: a contraction or convolution of two dequantised bytes, or of two bytes minus their zero points in int32,
    reads the bytes: sum (a - p)(b - q) is sum a b - p sum b - q sum a + n p q, of which weights' parts fold later.
    Left as they are: scales and zero points that vary along the sum, sums of real numbers that int32 might not hold,
    and two zero points where n is a symbol. A maximum over windows is taken before it is dequantised.

        %0 = lumir.dequantize(%x, 0.5, 7)                 %0 = lumir.contract(%x, %w) "mk,kn->mn", to = i32
        %1 = lumir.dequantize(%w, %s, 0)            ->    %1 = lumir.sub(%0, 7 * sum(%w))
        %2 = lumir.contract(%0, %1) "mk,kn->mn"           %2 = lumir.mul(lumir.cast(%1), 0.5 * %s)
    """

    name: ClassVar[str] = "lumir-contract-integers"

    def run(self, module: ir.Module) -> None:
        rewrite(module, merged(CANONICAL, PATTERNS))


def _factors(op: ir.Operation, count: Dim) -> tuple[Factor, Factor] | None:
    """The operands as factors, if the sum of `count` products may be computed in int32."""
    type_ = element(op.results[0])
    if type_ not in (ir.F32Type.get(), i32()):
        return None
    real = type_ != i32()
    left, right = ((dequantized if real else centered)(operand) for operand in op.operands)
    if left is None or right is None or (real and high(count) * left.largest * right.largest >= LIMIT):
        return None
    return left, right


@PATTERNS.on("contract")
def contract(op: ir.Operation) -> ir.Value | None:
    left, right, out = parse_equation(attribute(op, "equation"))
    over = [label for label in left if label not in out]
    count = math.prod(shape(op.operands[0])[left.index(label)] for label in over)
    factors = _factors(op, count)
    if factors is None:
        return None
    sides = list(zip(factors, (left, right), strict=True))
    if any(_varies(parameter, labels, out) for factor, labels in sides for parameter in factor.parameters):
        return None
    if all(factor.zero is not None for factor in factors) and not isinstance(count, int):
        return None
    total = build("contract", *(f.integers for f in factors), equation=attribute(op, "equation"), to=i32())
    zeros = []
    for (factor, labels), (other, others) in zip(sides, reversed(sides), strict=True):
        if factor.zero is None:
            continue
        zeros.append(_placed(as_type(factor.zero, i32()), labels, out))
        sums = summed(other.integers, [others.index(label) for label in over])
        kept = "".join(label for label in others if label in out)
        total = build("sub", total, build("mul", _placed(sums, kept, out), zeros[-1]))
    if len(zeros) == 2:
        products = build("mul", build("mul", *zeros), constant(np.asarray(count).astype(np.int32)))
        total = build("add", total, products)
    return scaled(total, [_placed(f.scale, labels, out) for f, labels in sides if f.scale is not None])


def _sizes(parameter: ir.Value, labels: str) -> dict[str, int]:
    """The size that a parameter which broadcasts to an operand has at each of its labels."""
    dims = shape(parameter)
    return dict(zip(labels, (1,) * (len(labels) - len(dims)) + dims, strict=True))


def _varies(parameter: ir.Value, labels: str, out: str) -> bool:
    """Whether a parameter changes along a label that is summed."""
    return any(size != 1 for label, size in _sizes(parameter, labels).items() if label not in out)


def _placed(parameter: ir.Value, labels: str, out: str) -> ir.Value:
    """A parameter that broadcasts to an operand, as it broadcasts to the result."""
    if is_single(parameter):
        return build("reshape", parameter, shape=[])
    sizes = _sizes(parameter, labels)
    kept = [label for label in labels if label in out]
    plain = build("reshape", parameter, shape=[sizes[label] for label in kept])
    turned = build("transpose", plain, permutation=sorted(range(len(kept)), key=lambda i: out.index(kept[i])))
    return build("reshape", turned, shape=[sizes.get(label, 1) for label in out])


@PATTERNS.on("conv")
def convolve(op: ir.Operation) -> ir.Value | None:
    """As `contract`. Pads stand for real zeros: where the image has a zero point, they are written out."""
    attributes, (filters, *window) = attributes_of(op), shape(op.operands[1])
    factors = _factors(op, math.prod(window))
    if factors is None or attributes["channels_last"] or not _can_convolve(*factors):
        return None
    image, weights = factors
    x, w, rank = image.integers, weights.integers, len(window) + 1
    if weights.zero is not None:
        i16 = ir.IntegerType.get_signless(16)
        w = build("sub", as_type(w, i16), as_type(weights.zero, i16))
    if image.zero is not None and any((*attributes["low"], *attributes["high"])):
        x, attributes = _padded(x, build("reshape", as_type(image.zero, element(x)), shape=[]), attributes)
    total = build("conv", x, w, **attributes | {"to": i32()})
    per_filter = [filters] + [1] * (rank - 2)
    if image.zero is not None:
        sums = build("reshape", summed(w, list(range(1, rank))), shape=per_filter)
        zero = build("reshape", as_type(image.zero, i32()), shape=[])
        total = build("sub", total, build("mul", sums, zero))
    shapes = ((image.scale, []), (weights.scale, per_filter))
    return scaled(
        total, [build("reshape", s, shape=[] if is_single(s) else dims) for s, dims in shapes if s is not None]
    )


def _can_convolve(image: Factor, weights: Factor) -> bool:
    """One zero point and scale for the image, one for all filters or one for each; zero points are bytes."""
    rank = len(shape(weights.integers))
    by_filter = all(math.prod(shape(p)[-(rank - 1) :]) == 1 for p in weights.parameters)
    bytes_ = all(f.zero is None or fits_byte(f.zero, element(f.integers)) for f in (image, weights))
    return by_filter and bytes_ and all(map(is_single, image.parameters))


def _padded(x: ir.Value, zero: ir.Value, attributes: dict[str, Any]) -> tuple[ir.Value, dict[str, Any]]:
    """The image with pads of its zero point, and the attributes of a convolution that adds none."""
    low, high = ([0, 0, *attributes[name]] for name in ("low", "high"))
    none = [0] * len(attributes["low"])
    padded = build("pad", x, zero, low=low, high=high, interior=[0] * len(low), mode="constant")
    return padded, attributes | {"low": none, "high": none}


@PATTERNS.on("window_reduce")
def maximum_of_integers(op: ir.Operation) -> ir.Value | None:
    """The maximum of dequantised windows is the dequantised maximum, where the scale is one positive number."""
    source = definition(op.operands[0], "dequantize")
    if source is None or attribute(op, "kind") != "max":
        return None
    x, scale, zero = source.operands
    number = splat_value(scale)
    if number is None or not number > 0 or not is_single(scale) or not is_single(zero):
        return None
    return build("dequantize", build("window_reduce", x, **attributes_of(op)), scale, zero)
