"""Normalisations and softmaxes that an exporter wrote out, as one op again."""

from dataclasses import dataclass
from typing import ClassVar

from lumir.dialects import attributes_of, build
from lumir.graph.canonicalize import CANONICAL
from lumir.graph.means import Mean, match_mean, match_reduction
from lumir.graph.rewrite import PatternTable, merged, rewrite
from lumir.graph.values import definition, element, is_splat, shape, short_name, split_scalar
from lumir.mlir import ir
from lumir.passes.registry import register_pass

PATTERNS = PatternTable()


@register_pass
@dataclass(frozen=True)
class FuseNormalization:
    """Recognise layer and root-mean-square normalisation, softmax and log-softmax.

    Requires: canonical form (`lumir-canonicalize`).
    Guarantees: x / sqrt(mean(x^2) + epsilon) over trailing dimensions is `lumir.normalize`, centred if x is y - mean(y)
    over the same ones; exp(x - max) / sum(exp(x - max)) is `lumir.softmax`; one of these in float32 between a cast up
    and a cast back down computes on the short type, which is the same by their definition.

        %0 = lumir.mul(%x, %x)
        %1 = lumir.reduce(%0) sum [2]
        %2 = lumir.reshape(%1)
        %3 = lumir.div(%2, 768.0)               ->    %6 = lumir.normalize(%x) axis = 2, epsilon = 1e-6, center = false
        %4 = lumir.add(%3, 1e-6)
        %5 = lumir.rsqrt(%4)
        %6 = lumir.mul(%x, %5)
    """

    name: ClassVar[str] = "lumir-fuse-normalization"

    def run(self, module: ir.Module) -> None:
        rewrite(module, merged(CANONICAL, PATTERNS))


@PATTERNS.on("mul", "div")
def fuse_normalize(op: ir.Operation) -> ir.Value | None:
    """x * rsqrt(mean(x * x) + epsilon), or x / sqrt(...)."""
    for x, scale in _factors(op, "rsqrt", "sqrt"):
        variance = split_scalar(added) if (added := definition(scale.operands[0], "add")) else None
        if variance is None or variance[1] < 0 or x.type != op.results[0].type:
            continue
        squares = match_mean(variance[0])
        if squares is None or not _is_square(squares.source, x) or not _is_trailing(squares):
            continue
        centred = _centred(x, squares.axes)
        return build(
            "normalize",
            x if centred is None else centred,
            axis=squares.axes[0],
            epsilon=float(variance[1]),
            center=centred is not None,
        )
    return None


def _factors(op: ir.Operation, inverse: str, direct: str) -> list[tuple[ir.Value, ir.Operation]]:
    """The ways to read `op` as x * inverse(...), or x / direct(...)."""
    lhs, rhs = op.operands
    if short_name(op) == "div":
        pairs = [(lhs, definition(rhs, direct))]
    else:
        pairs = [(lhs, definition(rhs, inverse)), (rhs, definition(lhs, inverse))]
    return [(x, scale) for x, scale in pairs if scale is not None]


def _is_square(value: ir.Value, x: ir.Value) -> bool:
    product = definition(value, "mul")
    return product is not None and product.operands[0] == x and product.operands[1] == x


def _is_trailing(mean: Mean) -> bool:
    rank = len(shape(mean.source))
    return mean.axes == tuple(range(rank - len(mean.axes), rank)) and bool(mean.axes)


def _centred(x: ir.Value, axes: tuple[int, ...]) -> ir.Value | None:
    """y where x is y - mean(y) over the axes."""
    difference = definition(x, "sub")
    mean = match_mean(difference.operands[1]) if difference else None
    if difference is None or mean is None or mean.axes != axes:
        return None
    return mean.source if mean.source == difference.operands[0] else None


@PATTERNS.on("div", "mul")
def fuse_softmax(op: ir.Operation) -> ir.Value | None:
    """exp(s) / sum(exp(s)), or exp(s) * (1 / sum(exp(s)))."""
    lhs, rhs = op.operands
    if short_name(op) == "div":
        return _softmax(lhs, rhs)
    for numerator, other in ((lhs, rhs), (rhs, lhs)):
        inverse = definition(other, "div")
        if inverse is not None and is_splat(inverse.operands[0], 1):
            fused = _softmax(numerator, inverse.operands[1])
            if fused is not None:
                return fused
    return None


def _softmax(numerator: ir.Value, denominator: ir.Value) -> ir.Value | None:
    exponential, total = definition(numerator, "exp"), match_reduction(denominator, "sum")
    if exponential is None or total is None or total.source != numerator or len(total.axes) != 1:
        return None
    x = _unshifted(exponential.operands[0], total.axes)
    return build("softmax", x, axis=total.axes[0], log=False)


@PATTERNS.on("sub")
def fuse_log_softmax(op: ir.Operation) -> ir.Value | None:
    """s - log(sum(exp(s)))."""
    shifted, logarithm = op.operands[0], definition(op.operands[1], "log")
    total = match_reduction(logarithm.operands[0], "sum") if logarithm else None
    exponential = definition(total.source, "exp") if total else None
    if total is None or exponential is None or exponential.operands[0] != shifted or len(total.axes) != 1:
        return None
    return build("softmax", _unshifted(shifted, total.axes), axis=total.axes[0], log=True)


def _unshifted(shifted: ir.Value, axes: tuple[int, ...]) -> ir.Value:
    """x where `shifted` is x - max(x) over the axes; else `shifted` itself, as softmax ignores a shift."""
    difference = definition(shifted, "sub")
    top = match_reduction(difference.operands[1], "max") if difference else None
    if difference is None or top is None or top.axes != axes or top.source != difference.operands[0]:
        return shifted
    return top.source


@PATTERNS.on("cast")
def compute_on_short_type(op: ir.Operation) -> ir.Value | None:
    """cast(f(cast(x))) where f rounds once from float32 anyway, and the casts go up from x's type and back to it."""
    inner = definition(op.operands[0], "normalize", "softmax")
    up = definition(inner.operands[0], "cast") if inner else None
    if inner is None or up is None or element(inner.results[0]) != ir.F32Type.get():
        return None
    x = up.operands[0]
    if x.type != op.results[0].type or element(x) not in (ir.F16Type.get(), ir.BF16Type.get()):
        return None
    return build(short_name(inner), x, **attributes_of(inner))
