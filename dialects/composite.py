"""Composite ops: kept whole because kernels want them whole."""

# The annotations below are constraints, read by `dialects.ext`.
# pyright: reportInvalidTypeForm=false, reportGeneralTypeIssues=false, reportCallIssue=false

from collections.abc import Sequence

from lumir.dialects.base import (
    Lumir,
    Op,
    broadcast,
    element,
    is_bool,
    is_float,
    is_int,
    normalize_axis,
    register,
    require,
    shape,
    tensor,
)
from lumir.dialects.constraints import Flag, SameType, SizeAttr, Tensor
from lumir.mlir import ext, ir
from lumir.sizes import Dim, equal


@register
class Softmax(Op, dialect=Lumir, name="softmax", traits=[ext.Pure]):
    """exp(x - max) / sum(exp(x - max)) along `axis`; `log` gives its logarithm."""

    input: ext.Operand[SameType]
    axis: ir.IntegerAttr
    log: Flag
    result: ext.Result[SameType]

    @staticmethod
    def infer(x: ir.Type, axis: int, log: bool) -> ir.Type:
        require(is_float(element(x)), "element type must be float", type=element(x))
        normalize_axis(axis, len(shape(x)))
        return x


@register
class Normalize(Op, dialect=Lumir, name="normalize", traits=[ext.Pure]):
    """(x - mean) / sqrt(mean((x - mean)^2) + epsilon) over the dimensions from `axis` on, computed in float32.

    With `center` false the mean is not subtracted: root-mean-square normalisation. Scale and bias are element-wise ops.
    """

    input: ext.Operand[SameType]
    axis: ir.IntegerAttr
    epsilon: ir.FloatAttr
    center: Flag
    result: ext.Result[SameType]

    @staticmethod
    def infer(x: ir.Type, axis: int, epsilon: float, center: bool) -> ir.Type:
        require(is_float(element(x)), "element type must be float", type=element(x))
        normalize_axis(axis, len(shape(x)))
        return x


def is_length(type_: ir.Type) -> bool:
    """Whether a mask of this element type says how many keys count."""
    return is_int(type_) and not ir.IntegerType(type_).is_unsigned and ir.IntegerType(type_).width in (32, 64)


@register
class Attention(Op, dialect=Lumir, name="attention", traits=[ext.Pure]):
    """softmax(scale * Q K^T [capped] + mask) V for query [b, h, m, d], key [b, g, n, d], value [b, g, n, e].

    g divides h: query head i reads key/value head i // (h / g). The optional fourth operand is a mask that broadcasts
    to [b, h, m, n]: floats are added, bools keep (true) or drop. `causal` drops key j > query i + `offset`, and
    `window` > 0 drops key j <= query i + `offset` - `window`: of a causal attention the last `window` keys are left.
    A mask of integers broadcasts to [b, 1, 1, 1]: only so many keys count, and `offset` is counted from their end.
    `softcap` > 0 replaces a score s by softcap * tanh(s / softcap), before the mask.
    A row whose keys are all dropped gives zeros.
    """

    query: ext.Operand[Tensor]
    key: ext.Operand[Tensor]
    value: ext.Operand[Tensor]
    mask: Sequence[ext.Operand[Tensor]]
    scale: ir.FloatAttr
    causal: Flag
    offset: SizeAttr
    window: ir.IntegerAttr
    softcap: ir.FloatAttr
    result: ext.Result[Tensor]

    @staticmethod
    def infer(
        query: ir.Type,
        key: ir.Type,
        value: ir.Type,
        *mask: ir.Type,
        scale: float,
        causal: bool,
        offset: Dim,
        window: int,
        softcap: float,
    ) -> ir.Type:
        require(window >= 0, "window must not be negative; 0 is none", window=window)
        require(
            len(shape(query)) == len(shape(key)) == len(shape(value)) == 4, "operands must have rank 4", query=query
        )
        (b, h, m, d), (bk, g, n, dk), (bv, gv, nv, e) = shape(query), shape(key), shape(value)
        require(equal(b, bk) and equal(b, bv), "batch sizes must agree", query=query, key=key, value=value)
        divides = g == gv and g > 0 and h % g == 0
        require(divides, "key/value heads must agree and divide the query heads", query=query, key=key)
        require(all(is_float(element(t)) for t in (query, key, value)), "operands must be float", query=query, key=key)
        require(
            equal(d, dk) and equal(n, nv), "head dimension and key length must agree", query=query, key=key, value=value
        )
        for extra in mask:
            counts = is_length(element(extra))
            known = is_bool(element(extra)) or is_float(element(extra)) or counts
            require(known, "mask must be bool, float, int32 or int64", mask=extra)
            scores = (b, 1, 1, 1) if counts else (b, h, m, n)
            words = "numbers of keys must broadcast to [b, 1, 1, 1]" if counts else "mask must broadcast to the scores"
            require(broadcast(shape(extra), scores) == scores, words, mask=extra)
        return tensor([b, h, m, e], element(query))
