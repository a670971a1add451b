"""Scalar-or-vector values with operators, so that a formula in Python reads like the formula on paper.

    r = fma(n, -LN2_HIGH, x)
    return select(x < 0.0, -r, r)

A `Value` is one SSA value of kind f16, bf16, f32, f64, i1, i8, ... and of the shape of its `Emitter`: a scalar, or a
vector of rank one. Python numbers next to a `Value` become constants of its kind. Nothing here carries fast-math flags:
the formulas depend on IEEE rounding.
"""

from typing import Union

from lumir.mlir import ir

Operand = Union["Value", float, int]

_FLOATS = {"f16": ir.F16Type, "bf16": ir.BF16Type, "f32": ir.F32Type, "f64": ir.F64Type}
_CMPF = {"==": 1, ">": 2, ">=": 3, "<": 4, "<=": 5, "!=": 13, "nan": 14}  # ordered, but "!=" is true on NaN
_CMPI = {"==": 0, "!=": 1, "<": 2, "<=": 3, ">": 4, ">=": 5, "<u": 6, "<=u": 7, ">u": 8, ">=u": 9}

BITS = {"f16": 16, "bf16": 16, "f32": 32, "f64": 64}
MANTISSA = {"f16": 10, "bf16": 7, "f32": 23, "f64": 52}
BIAS = {"f32": 127, "f64": 1023}


class Emitter:
    """Makes values of one shape at the current insertion point.

    Args:
        lanes: None for scalars, else the number of elements of a vector of rank one.
        target: "cpu" or "nvidia".
        block: constants go to its beginning, so that they are seen from every region nested in it.
    """

    def __init__(self, lanes: int | None, target: str, block: ir.Block):
        self.lanes, self.target, self.block = lanes, target, block
        self._types: dict[str, ir.Type] = {}
        self._constants: dict[tuple[str, float | int, bool], ir.Value] = {}

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
            self._types[kind] = scalar if self.lanes is None else ir.VectorType.get([self.lanes], scalar)
        return self._types[kind]

    def op(self, name: str, kind: str, *operands: "Value", **attributes: ir.Attribute) -> "Value":
        """One operation with one result of the given kind."""
        created = ir.Operation.create(name, [self.type(kind)], [v.ssa for v in operands], attributes=attributes)
        return Value(self, kind, created.result)

    def constant(self, kind: str, number: float | int) -> "Value":
        """A constant; integers may be given signed or unsigned."""
        key = (kind, number, str(number).startswith("-"))  # -0.0 == 0.0, and they are two constants
        if key not in self._constants:
            with ir.InsertionPoint.at_block_begin(self.block):
                self._constants[key] = self._make_constant(kind, number)
        return Value(self, kind, self._constants[key])

    def _make_constant(self, kind: str, number: float | int) -> ir.Value:
        scalar = self.scalar_type(kind)
        if kind in _FLOATS:
            attribute = ir.FloatAttr.get(scalar, float(number))
        else:
            width = 64 if kind == "index" else int(kind[1:])
            wrapped = (int(number) + (1 << width >> 1)) % (1 << width) - (1 << width >> 1)
            attribute = ir.IntegerAttr.get(scalar, wrapped)
        if self.lanes is not None:
            attribute = ir.DenseElementsAttr.get_splat(self.type(kind), attribute)
        return ir.Operation.create("arith.constant", [self.type(kind)], attributes={"value": attribute}).result


class Emitters:
    """The emitters for a target, one for each block and shape, so that a constant is written once a block."""

    def __init__(self, target: str):
        self.target = target
        self._made: dict[tuple[int | None, ir.Block], Emitter] = {}

    def of(self, lanes: int | None, block: ir.Block) -> Emitter:
        if (lanes, block) not in self._made:
            self._made[lanes, block] = Emitter(lanes, self.target, block)
        return self._made[lanes, block]


class Value:
    """An SSA value with operators. Comparisons give i1; `>>` is logical on integers; `eq`/`ne` stand for == and !=."""

    __slots__ = ("emitter", "kind", "ssa")

    def __init__(self, emitter: Emitter, kind: str, value: ir.Value):
        self.emitter, self.kind, self.ssa = emitter, kind, value

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
        """Conversion by value: between floats, between signed integers, and from one to the other."""
        return self if kind == self.kind else self.emitter.op(_conversion(self.kind, kind), kind, self)

    def zero_extended(self, kind: str) -> "Value":
        return self.emitter.op("arith.extui", kind, self)


def splat_of(value: ir.Value) -> float | None:
    """The number that a constant float, or every element of a constant vector of them, is; None for all others."""
    op = value.owner
    if isinstance(op, ir.Block) or op.name != "arith.constant":
        return None
    number = op.attributes["value"]
    if isinstance(number, ir.DenseElementsAttr) and number.is_splat:
        number = number.get_splat_value()
    return ir.FloatAttr(number).value if isinstance(number, ir.FloatAttr) else None


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
