"""A safety net: a dispatch that no kernel family takes whole is split where its kernel would repeat work."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from lumir.kernels.bands import bands_of
from lumir.kernels.contraction_space import contraction_of
from lumir.kernels.dispatch import Dispatch
from lumir.kernels.families import choose
from lumir.mlir import ir
from lumir.module import callers, dispatches, symbols
from lumir.schedule.recomputation import recomputed
from lumir.target import target_named

Value = ir.Value
FALLBACK = "map"
"""The family that computes every result element by itself."""


@dataclass(frozen=True)
class SplitDispatches:
    """Split dispatches that fall to the family `map` and would compute the same elements many times.

    Requires: dispatch functions in linalg.
    Guarantees: what such a dispatch recomputes, and a product whose bands it combines, is a result of a dispatch of its
    own, which writes it to memory once.

        func @dispatch_0(%x)                          func @dispatch_0_0(%x) { %m = max of each row of %x }
          %m = max of each row of %x            ->    func @dispatch_0_1(%x, %m) { %y = %x - %m }
          %y = %x - %m
    """

    target: str = "cpu"
    name: ClassVar[str] = "lumir-split-dispatches"

    def run(self, module: ir.Module) -> None:
        target = target_named(self.target)
        waiting = dispatches(module)
        while waiting:
            dispatch = Dispatch(waiting.pop(0))
            if not dispatch.reductions or not (cut := _apart(dispatch)):
                continue
            family, _ = choose(dispatch, target)
            if family.name == FALLBACK:
                waiting += split(module, dispatch, cut)


def _apart(dispatch: Dispatch) -> list[Value]:
    """What is better computed by a kernel of its own than by `map`."""
    space = contraction_of(dispatch)
    bands = bands_of(dispatch, space) if space else None
    product = [bands[0].owner.operands[0]] if bands and len(bands) > 1 else []
    return recomputed(dispatch) or product


@dataclass(frozen=True)
class Piece:
    """A function that was carved out of a dispatch.

    Args:
        inputs, outputs: the dispatch's tensors that it takes and gives.
    """

    name: str
    inputs: list[Value]
    outputs: list[Value]


def split(module: ir.Module, dispatch: Dispatch, cut: Sequence[Value]) -> list[ir.OpView]:
    """Replace the dispatch by one for each operation whose results are cut off, and one for what is left."""
    owners = {value.owner: [v for v in cut if v.owner == value.owner] for value in cut}
    groups = [*owners.values(), list(dispatch.operations[-1].operands)]
    taken = set(symbols(module))
    pieces = []
    for number, outputs in enumerate(groups):
        name = f"{dispatch.name}_{number}"
        while name in taken:
            name += "_"
        pieces.append(_carve(dispatch, name, outputs, [v for v in cut if v not in outputs]))
    for call in callers(module).get(dispatch.name, []):
        _call_pieces(call, dispatch, pieces)
    dispatch.function.operation.erase()
    return [symbols(module)[piece.name] for piece in pieces]


def _carve(dispatch: Dispatch, name: str, outputs: Sequence[Value], given: Sequence[Value]) -> Piece:
    """A function that computes `outputs` from the dispatch's arguments and the tensors `given`."""
    ops, inputs = _slice(dispatch, outputs, given)
    function = dispatch.function
    type_ = ir.FunctionType.get([v.type for v in inputs], [v.type for v in outputs])
    attributes = {
        "sym_name": ir.StringAttr.get(name),
        "function_type": ir.TypeAttr.get(type_),
        "sym_visibility": ir.StringAttr.get("private"),
        "lumir.dispatch": ir.UnitAttr.get(),
    }
    with ir.InsertionPoint(function), function.location:
        new = ir.Operation.create("func.func", attributes=attributes, regions=1)
        block = new.regions[0].blocks.append(*type_.inputs, arg_locs=[function.location] * len(inputs))
    mapping: dict[Value, Value] = dict(zip(inputs, block.arguments, strict=True))
    with ir.InsertionPoint(block), function.location:
        for op in ops:
            _clone(op, mapping)
        ir.Operation.create("func.return", operands=[mapping[v] for v in outputs])
    return Piece(name, inputs, list(outputs))


def _slice(dispatch: Dispatch, outputs: Sequence[Value], given: Sequence[Value]) -> tuple[list[ir.OpView], list[Value]]:
    """The operations that `outputs` need, in order, and the arguments and given tensors that those read."""
    wanted, read = set(outputs), set()
    ops: list[ir.OpView] = []
    for op in reversed(dispatch.operations[:-1]):
        if not any(result in wanted for result in op.results):
            continue
        ops.append(op)
        for value in _outer_values(op, dispatch.block):
            (read if value in given or isinstance(value.owner, ir.Block) else wanted).add(value)
    return ops[::-1], [v for v in [*dispatch.arguments, *given] if v in read]


def _outer_values(op: ir.OpView, block: ir.Block) -> list[Value]:
    """The dispatch's values that an operation reads, those that its body captures included."""
    found: list[Value] = list(op.operands)

    def visit(inner: ir.Operation) -> ir.WalkResult:
        for value in inner.operands:
            owner = value.owner
            if (owner if isinstance(owner, ir.Block) else owner.operation.block) == block:
                found.append(value)
        return ir.WalkResult.ADVANCE

    for region in op.regions:
        for body in region.blocks:
            for inner in body.operations:
                inner.operation.walk(visit)
    return found


def _clone(op: ir.OpView, mapping: dict[Value, Value]) -> None:
    clone = op.operation.clone()

    def remap(inner: ir.Operation) -> ir.WalkResult:
        for i, value in enumerate(inner.operands):
            if value in mapping:
                inner.operands[i] = mapping[value]
        return ir.WalkResult.ADVANCE

    clone.walk(remap)
    mapping.update(zip(op.results, clone.results, strict=True))


def _call_pieces(call: ir.OpView, dispatch: Dispatch, pieces: Sequence[Piece]) -> None:
    """Replace one call of the dispatch by a call of each piece, in order."""
    known: dict[Value, Value] = dict(zip(dispatch.arguments, call.operands, strict=True))
    results: list[Value] = []
    for piece in pieces:
        with ir.InsertionPoint(call), call.location:
            new = ir.Operation.create(
                "func.call",
                results=[v.type for v in piece.outputs],
                operands=[known[v] for v in piece.inputs],
                attributes={"callee": ir.FlatSymbolRefAttr.get(piece.name)},
            )
        results = list(new.results)
        known.update(zip(piece.outputs, results, strict=True))
    for old, new in zip(call.results, results, strict=True):
        old.replace_all_uses_with(new)
    call.operation.erase()
