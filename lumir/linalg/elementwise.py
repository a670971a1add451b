"""Element-wise ops, select and cast: one `linalg.generic` with broadcasting maps."""

from lumir.dialects import ELEMENTWISE
from lumir.linalg.generic import pointwise
from lumir.linalg.rules import Source, rule
from lumir.linalg.scalar import convert, emit_elementwise, rounding
from lumir.mlir import arith, ir


def _lower(name: str) -> None:
    @rule(name)
    def lower(source: Source, *operands: ir.Value) -> ir.Value:
        def body(*scalars: ir.Value) -> ir.Value:
            return emit_elementwise(name, list(scalars), source.element, source.unsigned)

        return pointwise(operands, source.shape, source.element, body)


for _name in ELEMENTWISE:
    _lower(_name)


@rule("select")
def lower_select(source: Source, condition: ir.Value, lhs: ir.Value, rhs: ir.Value) -> ir.Value:
    return pointwise(
        [condition, lhs, rhs], source.shape, source.element, lambda c, x, y: arith.SelectOp(c, x, y).result
    )


@rule("dequantize")
def lower_dequantize(source: Source, x: ir.Value, scale: ir.Value, zero: ir.Value) -> ir.Value:
    i32 = ir.IntegerType.get_signless(32)

    def body(q: ir.Value, s: ir.Value, z: ir.Value) -> ir.Value:
        wide, middle = (convert(v, i32, source.unsigned) for v in (q, z))
        centered = arith.SubIOp(wide, middle).result
        return arith.MulFOp(convert(centered, source.element), s).result

    return pointwise([x, scale, zero], source.shape, source.element, body)


@rule("cast")
def lower_cast(source: Source, x: ir.Value) -> ir.Value:
    to = source.result_types[0].element_type
    to_unsigned = isinstance(to, ir.IntegerType) and to.is_unsigned

    def body(value: ir.Value) -> ir.Value:
        return rounding(convert(value, source.element, source.unsigned, to_unsigned, source.saturate))

    return pointwise([x], source.shape, source.element, body)
