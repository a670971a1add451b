"""Scalar-or-vector values with operators, so that a formula in Python reads like the formula on paper.

    r = fma(n, -LN2_HIGH, x)
    return select(x < 0.0, -r, r)

A `Value` is one SSA value of kind f16, bf16, f32, f64, i1, i8, ... and of the shape of its `Emitter`: a scalar, or a vector of
any rank. Python numbers next to a `Value` become constants of its kind. Nothing here carries fast-math flags: the
formulas depend on IEEE rounding.
"""

from collections.abc import Callable, Sequence
from typing import Union

from lumir.mlir import ir

Operand = Union["Value", float, int]

_FLOATS = {"f16": ir.F16Type, "bf16": ir.BF16Type, "f32": ir.F32Type, "f64": ir.F64Type}
_CMPF = {"==": 1, ">": 2, ">=": 3, "<": 4, "<=": 5, "!=": 13, "nan": 14}  # ordered, but "!=" is true on NaN
_CMPI = {"==": 0, "!=": 1, "<": 2, "<=": 3, ">": 4, ">=": 5, "<u": 6, "<=u": 7, ">u": 8, ">=u": 9}

BITS = {"f16": 16, "bf16": 16, "f32": 32, "f64": 64}
MANTISSA = {"f32": 23, "f64": 52}
BIAS = {"f32": 127, "f64": 1023}


class Emitter:
    """Makes values of one shape at the current insertion point.

    Args:
        shape: None for scalars, else the vector's dimensions.
        target: "cpu" or "nvidia".
        block: constants go to its beginning, so that they are seen from every region nested in it.
    """

    def __init__(self, shape: Sequence[int] | None, target: str, block: ir.Block):
        self.shape, self.target, self.block = shape, target, block
        self._types: dict[str, ir.Type] = {}
        self._constants: dict[tuple[str, float | int, bool], Value] = {}

    def scalar_type(self, kind: str) -> ir.Type:
        if kind == "index":
            return ir.IndexType.get()
        if kind in _FLOATS:
            return _FLOATS[kind].get()
        return ir.IntegerType.get_signless(int(kind[1:]))

    def type(self, kind: str) -> ir.Type:
        """The MLIR type of a value of that kind in this shape."""
        if kind not in self._types:
            scalar = self.scalar_type(kind)
            self._types[kind] = scalar if self.shape is None else ir.VectorType.get(list(self.shape), scalar)
        return self._types[kind]

    def op(self, name: str, kind: str, *operands: "Value", **attributes: ir.Attribute) -> "Value":
        """One operation with one result of the given kind."""
        created = ir.Operation.create(name, [self.type(kind)], [v.ir for v in operands], attributes=attributes)
        return Value(self, kind, created.result)

    def constant(self, kind: str, number: float | int) -> "Value":
        """A constant; integers may be given signed or unsigned."""
        key = (kind, number, str(number).startswith("-"))  # -0.0 == 0.0, and they are two constants
        if key not in self._constants:
            with ir.InsertionPoint.at_block_begin(self.block):
                self._constants[key] = self._make_constant(kind, number)
        return self._constants[key]

    def _make_constant(self, kind: str, number: float | int) -> "Value":
        scalar = self.scalar_type(kind)
        if kind in _FLOATS:
            attribute = ir.FloatAttr.get(scalar, float(number))
        else:
            width = 64 if kind == "index" else int(kind[1:])
            wrapped = (int(number) + (1 << width >> 1)) % (1 << width) - (1 << width >> 1)
            attribute = ir.IntegerAttr.get(scalar, wrapped)
        if self.shape is not None:
            attribute = ir.DenseElementsAttr.get_splat(self.type(kind), attribute)
        return self.op("arith.constant", kind, value=attribute)


class Value:
    """An SSA value with operators. Comparisons give i1; `>>` is logical on integers; `eq`/`ne` stand for == and !=."""

    __slots__ = ("emitter", "ir", "kind")

    def __init__(self, emitter: Emitter, kind: str, value: ir.Value):
        self.emitter, self.kind, self.ir = emitter, kind, value

    @property
    def is_float(self) -> bool:
        return self.kind in _FLOATS

    def like(self, other: Operand, kind: str | None = None) -> "Value":
        """`other` as a value: a Python number becomes a constant of this value's kind."""
        return other if isinstance(other, Value) else self.emitter.constant(kind or self.kind, other)

    def _binary(self, stem: str, other: Operand, reverse: bool = False) -> "Value":
        pair = (self.like(other), self) if reverse else (self, self.like(other))
        return self.emitter.op(f"arith.{stem}{'f' if self.is_float else 'i'}", self.kind, *pair)

    def __add__(self, other: Operand) -> "Value":
        return self._binary("add", other)

    def __sub__(self, other: Operand) -> "Value":
        return self._binary("sub", other)

    def __rsub__(self, other: Operand) -> "Value":
        return self._binary("sub", other, reverse=True)

    def __mul__(self, other: Operand) -> "Value":
        return self._binary("mul", other)

    def __truediv__(self, other: Operand) -> "Value":
        return self._binary("div", other)

    def __rtruediv__(self, other: Operand) -> "Value":
        return self._binary("div", other, reverse=True)

    __radd__, __rmul__ = __add__, __mul__

    def __neg__(self) -> "Value":
        return self.emitter.op("arith.negf", self.kind, self) if self.is_float else 0 - self

    def __and__(self, other: Operand) -> "Value":
        return self._binary("and", other)

    def __or__(self, other: Operand) -> "Value":
        return self._binary("or", other)

    def __xor__(self, other: Operand) -> "Value":
        return self._binary("xor", other)

    def __invert__(self) -> "Value":
        return self ^ -1

    def __lshift__(self, other: Operand) -> "Value":
        return self.emitter.op("arith.shli", self.kind, self, self.like(other))

    def __rshift__(self, other: Operand) -> "Value":
        return self.emitter.op("arith.shrui", self.kind, self, self.like(other))

    def arithmetic_shift(self, other: Operand) -> "Value":
        """Shift right that keeps the sign."""
        return self.emitter.op("arith.shrsi", self.kind, self, self.like(other))

    def compare(self, relation: str, other: Operand) -> "Value":
        """One of the relations of `_CMPF` or `_CMPI`; integers are signed unless it ends in u."""
        table, name = (_CMPF, "arith.cmpf") if self.is_float else (_CMPI, "arith.cmpi")
        predicate = ir.IntegerAttr.get(ir.IntegerType.get_signless(64), table[relation])
        return self.emitter.op(name, "i1", self, self.like(other), predicate=predicate)

    def __lt__(self, other: Operand) -> "Value":
        return self.compare("<", other)

    def __le__(self, other: Operand) -> "Value":
        return self.compare("<=", other)

    def __gt__(self, other: Operand) -> "Value":
        return self.compare(">", other)

    def __ge__(self, other: Operand) -> "Value":
        return self.compare(">=", other)

    def eq(self, other: Operand) -> "Value":
        return self.compare("==", other)

    def ne(self, other: Operand) -> "Value":
        return self.compare("!=", other)

    def is_nan(self) -> "Value":
        return self.compare("nan", self)

    def bits(self) -> "Value":
        """The bit pattern of a float as an integer of the same width."""
        return self.emitter.op("arith.bitcast", f"i{BITS[self.kind]}", self)

    def as_float(self, kind: str) -> "Value":
        """The float of that bit pattern."""
        return self.emitter.op("arith.bitcast", kind, self)

    def to(self, kind: str) -> "Value":
        """Conversion by value: float to float, or signed integer to and from float, or between integers (sign-extending)."""
        return self if kind == self.kind else self.emitter.op(_conversion(self.kind, kind), kind, self)

    def zero_extended(self, kind: str) -> "Value":
        return self.emitter.op("arith.extui", kind, self)


def _width(kind: str) -> int:
    return 64 if kind == "index" else int(kind.lstrip("bfi"))


def _conversion(source: str, target: str) -> str:
    if "index" in (source, target):
        return "arith.index_cast"
    if (source in _FLOATS) != (target in _FLOATS):
        return "arith.fptosi" if source in _FLOATS else "arith.sitofp"
    stem = "ext" if _width(target) > _width(source) else "trunc"
    suffix = "f" if source in _FLOATS else ("si" if stem == "ext" else "i")
    return f"arith.{stem}{suffix}"


def _unary(name: str) -> Callable[[Value], Value]:
    return lambda x: x.emitter.op(name, x.kind, x)


sqrt, floor, ceil, trunc = (_unary(f"math.{name}") for name in ("sqrt", "floor", "ceil", "trunc"))
round_even, absolute = _unary("math.roundeven"), _unary("math.absf")


def fma(a: Operand, b: Operand, c: Operand) -> Value:
    """a * b + c, rounded once."""
    first = next(v for v in (a, b, c) if isinstance(v, Value))
    return first.emitter.op("math.fma", first.kind, first.like(a), first.like(b), first.like(c))


def copy_sign(magnitude: Operand, sign: Value) -> Value:
    """|magnitude| with the sign bit of `sign`."""
    return sign.emitter.op("math.copysign", sign.kind, sign.like(magnitude), sign)


def select(condition: Value, if_true: Operand, if_false: Operand) -> Value:
    """Lane by lane; one of the two alternatives may be a Python number."""
    kind = next(v for v in (if_true, if_false) if isinstance(v, Value))
    return kind.emitter.op("arith.select", kind.kind, condition, kind.like(if_true), kind.like(if_false))


def at_least(x: Value, low: float) -> Value:
    """max(x, low), NaN stays NaN: one instruction on either target."""
    if x.emitter.target == "nvidia":
        return x.emitter.op("arith.maximumf", x.kind, x, x.like(low))
    return select(x < low, low, x)


def at_most(x: Value, high: float) -> Value:
    """min(x, high), NaN stays NaN: one instruction on either target."""
    if x.emitter.target == "nvidia":
        return x.emitter.op("arith.minimumf", x.kind, x, x.like(high))
    return select(x > high, high, x)


def polynomial(u: Value, coefficients: Sequence[float]) -> Value:
    """Horner's scheme; `coefficients` from the constant term up."""
    result = u.like(coefficients[-1])
    for coefficient in reversed(coefficients[:-1]):
        result = fma(result, u, coefficient)
    return result


def any_lane(condition: Value) -> ir.Value:
    """A scalar i1: whether the condition holds in any lane."""
    emitter = condition.emitter
    if emitter.shape is None:
        return condition.ir
    flat, i1, value = 1, ir.IntegerType.get_signless(1), condition.ir
    for extent in emitter.shape:
        flat *= extent
    if len(emitter.shape) != 1:
        value = ir.Operation.create("vector.shape_cast", [ir.VectorType.get([flat], i1)], [value]).result
    kind = ir.Attribute.parse("#vector.kind<or>")
    return ir.Operation.create("vector.reduction", [i1], [value], attributes={"kind": kind}).result


def when(condition: ir.Value, then: Callable[[], tuple[Value, ...]], otherwise: tuple[Value, ...]) -> tuple[Value, ...]:
    """`then()` where the scalar condition holds, computed inside an scf.if; else the values given."""
    types = [value.ir.type for value in otherwise]
    branch = ir.Operation.create("scf.if", results=types, operands=[condition], regions=2)
    with ir.InsertionPoint(branch.regions[0].blocks.append()):
        ir.Operation.create("scf.yield", operands=[value.ir for value in then()])
    with ir.InsertionPoint(branch.regions[1].blocks.append()):
        ir.Operation.create("scf.yield", operands=[value.ir for value in otherwise])
    return tuple(Value(old.emitter, old.kind, new) for old, new in zip(otherwise, branch.results))


def wide_product(a: Value, b: Value) -> tuple[Value, Value]:
    """(low, high) halves of the full unsigned product."""
    kind = a.emitter.type(a.kind)
    low, high = ir.Operation.create("arith.mului_extended", [kind, kind], [a.ir, b.ir]).results
    return Value(a.emitter, a.kind, low), Value(a.emitter, a.kind, high)


def has_exp2(x: Value) -> bool:
    """Whether 2^x is one instruction (`ex2.approx.f32`, error at most 2 ulp)."""
    return x.emitter.target == "nvidia" and x.kind == "f32"


def hardware_exp2(x: Value) -> Value:
    """`ex2.approx.f32`: NVPTX selects it for llvm.exp2."""
    return x.emitter.op("math.exp2", x.kind, x)


def _approximate() -> ir.Attribute:
    return ir.Attribute.parse("#arith.fastmath<afn>")


def approximate_quotient(a: float, b: Value) -> Value:
    """a / b by `rcp.approx.f32` or `div.approx.f32` on NVIDIA."""
    return b.emitter.op("arith.divf", b.kind, b.like(a), b, fastmath=_approximate())


def hardware_rsqrt(x: Value) -> Value:
    """`rsqrt.approx.f32`: NVPTX selects it for a reciprocal of a square root that both allow approximation."""
    root = x.emitter.op("math.sqrt", x.kind, x, fastmath=_approximate())
    return approximate_quotient(1.0, root)


def repeat_while(
    condition: Callable[..., ir.Value], body: Callable[..., tuple[Value, ...]], initial: tuple[Value, ...]
) -> tuple[Value, ...]:
    """An scf.while: the state after `body` was applied as long as the scalar i1 `condition(*state)` held."""
    types = [value.ir.type for value in initial]
    loop = ir.Operation.create("scf.while", results=types, operands=[value.ir for value in initial], regions=2)
    locations = [ir.Location.current] * len(types)

    def values(of: Sequence[ir.Value]) -> tuple[Value, ...]:
        return tuple(Value(old.emitter, old.kind, new) for old, new in zip(initial, of))

    before = loop.regions[0].blocks.append(*types, arg_locs=locations)
    with ir.InsertionPoint(before):
        again = condition(*values(list(before.arguments)))
        ir.Operation.create("scf.condition", operands=[again, *before.arguments])
    after = loop.regions[1].blocks.append(*types, arg_locs=locations)
    with ir.InsertionPoint(after):
        ir.Operation.create("scf.yield", operands=[value.ir for value in body(*values(list(after.arguments)))])
    return values(list(loop.results))
