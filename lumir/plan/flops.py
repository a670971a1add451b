"""How many floating-point operations a model needs: what its contractions, convolutions and attentions say."""

from math import prod

from lumir.dialects import shape_of_type
from lumir.dialects.contraction import parse_equation
from lumir.mlir import ir
from lumir.module import callers, name_of, symbols_in
from lumir.size_text import declare
from lumir.sizes import high


def flops(module: ir.Module) -> int:
    """Multiplications and additions of every contraction, of whatever element type, in a module of `lumir` ops.

    A dispatch counts as often as it is called, and a symbol at the high end of its range. Attention is counted whole,
    also where a causal mask drops half of it; element-wise work is not counted.
    """
    called = callers(module)
    total = 0
    with declare(symbols_in(module)):
        for function in module.body.operations:
            if function.operation.name == "func.func" and function.regions[0].blocks:
                times = len(called.get(name_of(function), ())) if "lumir.dispatch" in function.attributes else 1
                total += times * sum(op_flops(op) for op in function.regions[0].blocks[0].operations)
    return total


def op_flops(op: ir.OpView) -> int:
    """Of one op, by its operands' sizes."""
    shapes = [_largest(value) for value in op.operands if _is_tensor(value)]
    match op.operation.name:
        case "lumir.contract":
            left, right, _ = parse_equation(op.attributes["equation"].value)
            return 2 * prod((dict(zip(left, shapes[0])) | dict(zip(right, shapes[1]))).values())
        case "lumir.conv":
            _, *filter_dims = shapes[1]
            return 2 * prod(_largest(op.results[0])) * prod(filter_dims)
        case "lumir.attention":
            (batch, heads, queries, depth), keys, values = shapes[0], shapes[1][2], shapes[2][3]
            return 2 * batch * heads * queries * keys * (depth + values)
    return 0


def _largest(value: ir.Value) -> tuple[int, ...]:
    """The shape at the high end of every symbol's range."""
    return tuple(map(high, shape_of_type(value.type)))


def _is_tensor(value: ir.Value) -> bool:
    return isinstance(value.type, ir.RankedTensorType)
