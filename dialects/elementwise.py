"""Element-wise ops: numpy broadcasting, one table row each."""

# The annotations below are constraints, read by `dialects.ext`.
# pyright: reportInvalidTypeForm=false, reportGeneralTypeIssues=false, reportCallIssue=false

from collections.abc import Callable
from dataclasses import dataclass

from lumir.dialects.base import (
    Lumir,
    Op,
    broadcast,
    element,
    is_bool,
    is_element,
    is_float,
    is_int,
    register,
    require,
    shape,
    tensor,
)
from lumir.dialects.constraints import Flag, SameType, Tensor
from lumir.mlir import ext, ir

NUMERIC = ("float or integer", lambda t: is_float(t) or is_int(t))
FLOAT = ("float", is_float)
BITS = ("bool or integer", lambda t: is_bool(t) or is_int(t))
ANY = ("float, integer or bool", lambda t: is_float(t) or is_int(t) or is_bool(t))


@dataclass(frozen=True)
class Elementwise:
    """One row of the table: how many operands, which element types, whether the result is a bool, what it computes."""

    arity: int
    domain: tuple[str, Callable[[ir.Type], bool]]
    doc: str
    predicate: bool = False


ELEMENTWISE: dict[str, Elementwise] = {
    "abs": Elementwise(1, NUMERIC, "|x|"),
    "neg": Elementwise(1, NUMERIC, "-x"),
    "sign": Elementwise(1, NUMERIC, "-1, 0 or 1; NaN stays NaN"),
    "exp": Elementwise(1, FLOAT, "e**x"),
    "log": Elementwise(1, FLOAT, "natural logarithm"),
    "log1p": Elementwise(1, FLOAT, "log(1 + x), accurate near 0"),
    "expm1": Elementwise(1, FLOAT, "exp(x) - 1, accurate near 0"),
    "sqrt": Elementwise(1, FLOAT, "square root"),
    "rsqrt": Elementwise(1, FLOAT, "1 / sqrt(x)"),
    "sin": Elementwise(1, FLOAT, "sine"),
    "cos": Elementwise(1, FLOAT, "cosine"),
    "tan": Elementwise(1, FLOAT, "tangent"),
    "asin": Elementwise(1, FLOAT, "inverse sine"),
    "acos": Elementwise(1, FLOAT, "inverse cosine"),
    "atan": Elementwise(1, FLOAT, "inverse tangent"),
    "sinh": Elementwise(1, FLOAT, "hyperbolic sine"),
    "cosh": Elementwise(1, FLOAT, "hyperbolic cosine"),
    "tanh": Elementwise(1, FLOAT, "hyperbolic tangent"),
    "asinh": Elementwise(1, FLOAT, "inverse hyperbolic sine"),
    "acosh": Elementwise(1, FLOAT, "inverse hyperbolic cosine"),
    "atanh": Elementwise(1, FLOAT, "inverse hyperbolic tangent"),
    "erf": Elementwise(1, FLOAT, "error function"),
    "sigmoid": Elementwise(1, FLOAT, "1 / (1 + exp(-x))"),
    "floor": Elementwise(1, FLOAT, "largest integer not above x"),
    "ceil": Elementwise(1, FLOAT, "smallest integer not below x"),
    "round": Elementwise(1, FLOAT, "nearest integer, ties to even"),
    "trunc": Elementwise(1, FLOAT, "integer part"),
    "isnan": Elementwise(1, FLOAT, "x is NaN", predicate=True),
    "isinf": Elementwise(1, FLOAT, "x is +inf or -inf", predicate=True),
    "not": Elementwise(1, BITS, "every bit inverted; logical negation of a bool"),
    "add": Elementwise(2, NUMERIC, "x + y"),
    "sub": Elementwise(2, NUMERIC, "x - y"),
    "mul": Elementwise(2, NUMERIC, "x * y"),
    "div": Elementwise(2, NUMERIC, "x / y; integers truncate toward zero"),
    "mod": Elementwise(2, NUMERIC, "remainder with the divisor's sign, as Python's %"),
    "fmod": Elementwise(2, NUMERIC, "remainder with the dividend's sign, as C's fmod"),
    "pow": Elementwise(2, NUMERIC, "x ** y"),
    "max": Elementwise(2, NUMERIC, "the larger; NaN if either is NaN"),
    "min": Elementwise(2, NUMERIC, "the smaller; NaN if either is NaN"),
    "and": Elementwise(2, BITS, "bitwise and"),
    "or": Elementwise(2, BITS, "bitwise or"),
    "xor": Elementwise(2, BITS, "bitwise exclusive or"),
    "shl": Elementwise(2, ("integer", is_int), "x << y; 0 when y >= the width"),
    "shr": Elementwise(2, ("integer", is_int), "x >> y; 0 when y >= the width, for unsigned x"),
    "eq": Elementwise(2, ANY, "x == y", predicate=True),
    "ne": Elementwise(2, ANY, "x != y", predicate=True),
    "lt": Elementwise(2, ANY, "x < y", predicate=True),
    "le": Elementwise(2, ANY, "x <= y", predicate=True),
    "gt": Elementwise(2, ANY, "x > y", predicate=True),
    "ge": Elementwise(2, ANY, "x >= y", predicate=True),
}


def _inference(row: Elementwise) -> Callable[..., ir.Type]:
    expected, accepts = row.domain

    def infer(*operands: ir.Type) -> ir.Type:
        types = [element(t) for t in operands]
        require(len(operands) == row.arity, "wrong number of operands", expected=row.arity, operands=len(operands))
        require(all(t == types[0] for t in types), "operands must share one element type", types=types)
        require(accepts(types[0]), f"element type must be {expected}", type=types[0])
        result = ir.IntegerType.get_signless(1) if row.predicate else types[0]
        return tensor(broadcast(*(shape(t) for t in operands)), result)

    return infer


def _declare(name: str, row: Elementwise) -> type[Op]:
    """The op's class; a unary one that is no predicate keeps its operand's type, which IRDL can say too."""
    same = SameType if row.arity == 1 and not row.predicate else Tensor
    names = ("input",) if row.arity == 1 else ("lhs", "rhs")
    body = {
        "__doc__": row.doc,
        "__annotations__": {**dict.fromkeys(names, ext.Operand[same]), "result": ext.Result[same]},
        "infer": staticmethod(_inference(row)),
    }
    return type(name.title(), (Op,), body, name=name, dialect=Lumir, traits=[ext.Pure])


for _name, _row in ELEMENTWISE.items():
    register(_declare(_name, _row))


@register
class Select(Op, dialect=Lumir, name="select", traits=[ext.Pure]):
    """`condition ? lhs : rhs`, element by element with broadcasting."""

    condition: ext.Operand[Tensor]
    lhs: ext.Operand[Tensor]
    rhs: ext.Operand[Tensor]
    result: ext.Result[Tensor]

    @staticmethod
    def infer(condition: ir.Type, lhs: ir.Type, rhs: ir.Type) -> ir.Type:
        require(is_bool(element(condition)), "condition must be a bool tensor", type=element(condition))
        require(
            element(lhs) == element(rhs), "lhs and rhs must share one element type", lhs=element(lhs), rhs=element(rhs)
        )
        return tensor(broadcast(shape(condition), shape(lhs), shape(rhs)), element(lhs))


@register
class Cast(Op, dialect=Lumir, name="cast", traits=[ext.Pure]):
    """Convert the element type: floats round to nearest even, floats to integers truncate, anything to bool is `!= 0`.

    `saturate` (8-bit floats): out of range becomes the largest finite value instead of NaN or infinity.
    """

    input: ext.Operand[Tensor]
    to: ir.TypeAttr
    saturate: Flag
    result: ext.Result[Tensor]

    @staticmethod
    def infer(x: ir.Type, to: ir.Type, saturate: bool = True) -> ir.Type:
        require(is_element(to), "to must be a float, integer or bool type", to=to)
        return tensor(shape(x), to)
