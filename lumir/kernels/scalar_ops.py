"""The scalar operations of a dispatch, on what their operands have become: indices, scalars, or vectors of lanes."""

from collections.abc import Sequence

from lumir.kernels.index import Index, IndexMath, is_fixed
from lumir.kernels.memory import like
from lumir.linalg.scalar import ROUNDS
from lumir.mlir import arith, ir

Value = ir.Value


class ScalarOps:
    """Folds operations on indices, and writes all others at the current insertion point.

    Args:
        index: index arithmetic, which also fixes the number of lanes.
    """

    def __init__(self, index: IndexMath):
        self.index = index
        self._forms: dict[tuple[ir.OpView, bool], tuple[list[ir.Type], dict[str, ir.Attribute]]] = {}

    def folded(self, name: str, operands: "Sequence[Value | Index]") -> Index | None:
        """A sum, product or limit of indices as an index; None where it is a number only."""
        if not operands or not all(isinstance(x, Index) for x in operands):
            return None
        constants = [x.base if is_fixed(x.base) and x.uniform else None for x in operands if isinstance(x, Index)]
        x, y = (*operands, None)[:2]
        if name == "arith.addi":
            return self.index.add(x, y)  # pyright: ignore[reportArgumentType]
        if len(constants) != 2 or constants[1] is None:
            return None
        fold = {
            "arith.muli": self.index.scale,
            "arith.subi": lambda a, by: self.index.offset(a, -by),
            "arith.minsi": self.index.minimum,
            "arith.maxsi": self.index.maximum,
            "arith.divui": lambda a, by: self.index.divmod(a, by)[0],
            "arith.remui": lambda a, by: self.index.divmod(a, by)[1],
        }.get(name)
        return fold(x, constants[1]) if fold else None  # pyright: ignore[reportArgumentType]

    def write(self, op: ir.OpView, values: Sequence[Value]) -> Sequence[Value]:
        """The results of the same operation on these values: vectors where they are, integers for `index`."""
        name = op.operation.name
        if name == "arith.extf" and (narrowed := _narrowed_from(values[0], op.results[0].type)):
            return [narrowed]
        if name in ("arith.index_cast", "arith.index_castui"):
            return [self.cast_index(values[0], op.results[0].type, name == "arith.index_cast")]
        wide = any(isinstance(v.type, ir.VectorType) for v in values)
        if (op, wide) not in self._forms:
            self._forms[op, wide] = self._form(op, wide)
        types, attributes = self._forms[op, wide]
        return list(ir.Operation.create(name, results=types, operands=list(values), attributes=attributes).results)

    def cast_index(self, value: Value, to: ir.Type, signed: bool) -> Value:
        """index_cast between integers, now that `index` has a width."""
        element = self.index.type if isinstance(to, ir.IndexType) else to
        source = value.type.element_type if isinstance(value.type, ir.VectorType) else value.type
        have, want = ir.IntegerType(source).width, ir.IntegerType(element).width
        if have == want:
            return value
        op = arith.TruncIOp if want < have else arith.ExtSIOp if signed else arith.ExtUIOp
        return op(like(value.type, element), value).result

    def _form(self, op: ir.OpView, wide: bool) -> tuple[list[ir.Type], dict[str, ir.Attribute]]:
        """The types of the results of an operation's clones, and their attributes."""
        types = [self.index.type if isinstance(r.type, ir.IndexType) else r.type for r in op.results]
        types = [ir.VectorType.get([self.index.lanes], t) for t in types] if wide else types
        return types, dict(op.operation.attributes.items())


def _narrowed_from(value: Value, to: ir.Type) -> Value | None:
    """x where `value` is truncf(x) of type `to`: a fused chain stays wide, unless the model itself rounds."""
    owner = value.owner
    if isinstance(owner, ir.Block) or owner.name != "arith.truncf" or ROUNDS in owner.attributes:
        return None
    wide = owner.operands[0]
    return wide if wide.type == like(wide.type, to) else None
