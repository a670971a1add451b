"""Control flow over all lanes: scf.if and scf.while on whether any lane needs more work."""

from collections.abc import Callable, Sequence

from lumir.codegen.math.values import Value
from lumir.mlir import ir


def any_lane(condition: Value) -> ir.Value:
    """A scalar i1: whether the condition holds in any lane."""
    if condition.emitter.lanes is None:
        return condition.ssa
    kind, i1 = ir.Attribute.parse("#vector.kind<or>"), ir.IntegerType.get_signless(1)
    return ir.Operation.create("vector.reduction", [i1], [condition.ssa], attributes={"kind": kind}).result


def when(condition: ir.Value, then: Callable[[], tuple[Value, ...]], otherwise: tuple[Value, ...]) -> tuple[Value, ...]:
    """`then()` where the scalar condition holds, computed inside an scf.if; else the values given."""
    types = [value.ssa.type for value in otherwise]
    branch = ir.Operation.create("scf.if", results=types, operands=[condition], regions=2)
    with ir.InsertionPoint(branch.regions[0].blocks.append()):
        ir.Operation.create("scf.yield", operands=[value.ssa for value in then()])
    with ir.InsertionPoint(branch.regions[1].blocks.append()):
        ir.Operation.create("scf.yield", operands=[value.ssa for value in otherwise])
    return tuple(Value(old.emitter, old.kind, new) for old, new in zip(otherwise, branch.results))


def repeat_while(
    condition: Callable[..., ir.Value], body: Callable[..., tuple[Value, ...]], initial: tuple[Value, ...]
) -> tuple[Value, ...]:
    """An scf.while: the state after `body` was applied as long as the scalar i1 `condition(*state)` held."""
    types = [value.ssa.type for value in initial]
    loop = ir.Operation.create("scf.while", results=types, operands=[value.ssa for value in initial], regions=2)
    locations = [ir.Location.current] * len(types)

    def values(of: Sequence[ir.Value]) -> tuple[Value, ...]:
        return tuple(Value(old.emitter, old.kind, new) for old, new in zip(initial, of))

    before = loop.regions[0].blocks.append(*types, arg_locs=locations)
    with ir.InsertionPoint(before):
        again = condition(*values(list(before.arguments)))
        ir.Operation.create("scf.condition", operands=[again, *before.arguments])
    after = loop.regions[1].blocks.append(*types, arg_locs=locations)
    with ir.InsertionPoint(after):
        ir.Operation.create("scf.yield", operands=[value.ssa for value in body(*values(list(after.arguments)))])
    return values(list(loop.results))
