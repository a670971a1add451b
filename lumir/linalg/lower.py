"""Step 4: the body of every dispatch becomes linalg on tensors."""

from dataclasses import dataclass
from typing import ClassVar

from lumir.diagnostics import InternalError
from lumir.extensions import find_lowering
from lumir.linalg import composite, contraction, elementwise, reduction, shaping  # noqa: F401
from lumir.linalg.generic import filled, signless
from lumir.linalg.rules import RULES, Source
from lumir.mlir import arith, ir


@dataclass(frozen=True)
class LowerToLinalg:
    """Lower the lumir ops inside each dispatch function to linalg, tensor, arith and math.

    Requires: every tensor op stands in a dispatch function.
    Guarantees: dispatch functions hold no lumir op; their bodies compute on signless integers.
    """

    name: ClassVar[str] = "lumir-lower-to-linalg"

    def run(self, module: ir.Module) -> None:
        for dispatch in dispatches(module):
            lower_dispatch(dispatch)


def dispatches(module: ir.Module) -> list[ir.OpView]:
    """The dispatch functions of a module, in order."""
    return [op for op in module.body.operations if "lumir.dispatch" in op.attributes]


def lower_dispatch(dispatch: ir.OpView) -> ir.Operation:
    """Replace a dispatch function by one whose body is linalg; returns the new one."""
    old = dispatch.regions[0].blocks[0]
    with ir.InsertionPoint(dispatch), dispatch.location:
        attributes = dict(dispatch.operation.attributes.items())
        new = ir.Operation.create("func.func", attributes=attributes, regions=1)
    types = [a.type for a in old.arguments]
    block = new.regions[0].blocks.append(*types, arg_locs=[dispatch.location] * len(types))
    with ir.InsertionPoint(block):
        mapping = {a: with_type(b, signless(a.type)) for a, b in zip(old.arguments, block.arguments, strict=True)}
        for op in old.operations:
            lower_op(op, mapping)
    dispatch.operation.erase()
    return new


def with_type(value: ir.Value, type_: ir.Type) -> ir.Value:
    """The same bits under a type that differs in signedness."""
    if value.type == type_:
        return value
    return ir.Operation.create("builtin.unrealized_conversion_cast", results=[type_], operands=[value]).results[0]


def lower_op(op: ir.OpView, mapping: dict[ir.Value, ir.Value]) -> None:
    """Lower one op at the insertion point, entering its results into `mapping`."""
    name = op.operation.name
    operands = [mapping[v] for v in op.operands]
    with op.location:
        if name == "func.return":
            typed = [with_type(v, old.type) for v, old in zip(operands, op.operands, strict=True)]
            ir.Operation.create(name, operands=typed)
            return
        results = _constant(op) if name == "lumir.constant" else _rule(op)(Source(op), *operands)
    results = [results] if isinstance(results, ir.Value) else list(results)
    mapping.update(zip(op.results, results, strict=True))


def _rule(op: ir.OpView):
    name = op.operation.name
    rule = RULES.get(name.removeprefix("lumir.")) or find_lowering(name)
    if rule is None:
        raise InternalError(f"no lowering to linalg for {name}", op=name, node=str(op.location))
    return rule


def _constant(op: ir.OpView) -> ir.Value:
    """Splats become a filled tensor, which every kernel folds; others stay dense constants."""
    value = ir.DenseElementsAttr(op.attributes["value"])
    type_ = signless(value.type)
    if not value.is_splat:
        raise InternalError("a dispatch may hold splat constants only", op="lumir.constant", node=str(op.location))
    splat = value.get_splat_value()
    scalar = signless(ir.RankedTensorType(type_).element_type)
    if isinstance(splat, ir.IntegerAttr):
        splat = ir.IntegerAttr.get(scalar, _wrap(splat.value, ir.IntegerType(scalar).width))
    return filled(ir.RankedTensorType(type_).shape, arith.ConstantOp(scalar, splat).result)


def _wrap(value: int, width: int) -> int:
    value &= (1 << width) - 1
    return value - (1 << width) if width > 1 and value >> (width - 1) else value
