"""Expansion of functions whose result the model rounds to 16 bits or fewer, for NVIDIA GPUs.

    %1 = math.erf %0 {lumir.short} : vector<2xf32>
    %2 = arith.addf %1, %one : vector<2xf32>

becomes the short form of erfc(-%0) alone; where x / 2 times that is GELU, all of it becomes one form. Requires kernels
as `expand_math` does. Guarantees: no mark `lumir.short` is left; what it stood at and has no short form is left to
`expand_math`.
"""

from functools import partial

from lumir.codegen.math import short_results
from lumir.codegen.math.rules import Rule
from lumir.codegen.math.values import Emitters, Value, splat_of
from lumir.linalg.scalar import SHORT
from lumir.mlir import ir

SHORT_RULES: dict[str, Rule] = {
    "math.erf": short_results.erf,
    "math.exp": short_results.exp,
    "math.tanh": short_results.tanh,
}
ONE_PLUS: dict[str, Rule] = {"math.erf": short_results.one_plus_erf, "math.tanh": short_results.one_plus_tanh}
"""What becomes of one plus the function, where the sum is all that is wanted of it."""
_MOST_SCALED = 2.0**10
"""Its seventh power, by which a coefficient is scaled, is a float32, and its reciprocal's is."""


def expand_short_results(root: ir.Operation, target: str) -> None:
    """Expand, in place, every marked operation under `root` that has a short form on the target; remove all marks."""
    found: list[ir.Operation] = []
    emitters = Emitters("nvidia")

    def collect(op: ir.Operation) -> ir.WalkResult:
        if SHORT in op.attributes:
            found.append(op)
        return ir.WalkResult.ADVANCE

    root.walk(collect)
    for op in found:
        del op.attributes[SHORT]
        if target == "nvidia" and _is_vector_of_f32(op.results[0].type):
            with op.location, ir.InsertionPoint(op):
                _expand(op, emitters)


def _expand(op: ir.Operation, emitters: Emitters) -> None:
    if op.name == "arith.divf" and splat_of(op.operands[0]) == 1.0:
        _replace(op, short_results.reciprocal, op.operands[1], emitters)
        return
    users = [use.owner for use in op.results[0].uses]
    if op.name in ONE_PLUS and users and all(_adds_one(user) for user in users):
        for user in users:
            _replace_one_plus(user.operation, op, emitters)
        op.erase()
    elif op.name in SHORT_RULES:
        _replace(op, SHORT_RULES[op.name], op.operands[0], emitters)


def _replace_one_plus(user: ir.Operation, op: ir.Operation, emitters: Emitters) -> None:
    """One plus `op`; with what it is multiplied by, where that is the argument of an erf up to a factor."""
    products = [use.owner.operation for use in user.results[0].uses]
    gates = [_gate(product, user, op) for product in products] if op.name == "math.erf" else [None]
    if not products or None in gates:
        _replace(user, ONE_PLUS[op.name], op.operands[0], emitters)
        return
    for product, gate in zip(products, gates, strict=True):
        assert gate
        x, scale, factor = gate
        _replace(product, partial(short_results.erf_gate, scale=scale, factor=factor), x, emitters)
    user.erase()


def _gate(product: ir.Operation, one_plus: ir.Operation, erf: ir.Operation) -> tuple[ir.Value, float, float] | None:
    """x, scale and factor where a product is factor x (1 + erf(scale x))."""
    others = [operand for operand in product.operands if operand != one_plus.results[0]]
    if product.name != "arith.mulf" or len(others) != 1:
        return None
    x, scale = _scaled(erf.operands[0])
    gated, factor = (x, 1.0) if others[0] == x else _scaled(others[0])
    moderate = all(1 / _MOST_SCALED <= number <= _MOST_SCALED for number in (scale, factor))
    return (x, scale, factor) if gated == x and moderate else None


def _scaled(value: ir.Value) -> tuple[ir.Value, float]:
    """x and c where a value is c x, or x / (1/c); itself and 1 for others."""
    op = None if isinstance(value.owner, ir.Block) else value.owner
    if op is not None and op.name == "arith.mulf":
        for x, c in (op.operands, reversed(list(op.operands))):
            if (constant := splat_of(c)) is not None:
                return x, float(constant)
    if op is not None and op.name == "arith.divf" and (constant := splat_of(op.operands[1])):
        return op.operands[0], 1 / float(constant)
    return value, 1.0


def _replace(op: ir.Operation, rule: Rule, operand: ir.Value, emitters: Emitters) -> None:
    lanes = operand.type.shape[0] if isinstance(operand.type, ir.VectorType) else None
    with ir.InsertionPoint(op):
        result = rule(Value(emitters.of(lanes, op.block), "f32", operand))
    assert isinstance(result, Value)
    op.results[0].replace_all_uses_with(result.ssa)
    op.erase()


def _adds_one(op: ir.OpView | ir.Operation) -> bool:
    return op.operation.name == "arith.addf" and any(splat_of(operand) == 1.0 for operand in op.operands)


def _is_vector_of_f32(type_: ir.Type) -> bool:
    """A scalar, or a vector of rank one."""
    if isinstance(type_, ir.VectorType):
        return type_.rank == 1 and isinstance(type_.element_type, ir.F32Type)
    return isinstance(type_, ir.F32Type)
