"""Move each group of ops into a function of its own, and share equal ones."""

from collections.abc import Sequence

from lumir.mlir import ir
from lumir.module import fused_location

Value = ir.Value


def outline(module: ir.Module, main: ir.OpView, groups: Sequence[tuple[Sequence[ir.OpView], Sequence[Value]]]) -> None:
    """Replace each group by a call of a function that holds it.

    Args:
        groups: in the order of their last ops, whose results a group returns, each with what it returns besides.
    """
    functions: dict[str, str] = {}
    replaced: dict[Value, Value] = {}
    for ops, returned in groups:
        name, inputs, outputs = _outline_group(main, ops, returned, functions)
        tail = ops[-1]
        with ir.InsertionPoint(tail), fused_location(ops):
            call = ir.Operation.create(
                "func.call",
                results=[v.type for v in outputs],
                operands=inputs,
                attributes={"callee": ir.FlatSymbolRefAttr.get(name)},
            )
        replaced.update(zip(outputs, call.results, strict=True))
    for old, new in replaced.items():
        old.replace_all_uses_with(new)
    _erase_dead(main.regions[0].blocks[0])
    if any(returned for _, returned in groups):
        _sort(main.regions[0].blocks[0])


def _outline_group(
    main: ir.OpView, ops: Sequence[ir.OpView], returned: Sequence[Value], functions: dict[str, str]
) -> tuple[str, list[Value], list[Value]]:
    inside = {op.operation for op in ops}
    inputs: list[Value] = []
    for op in ops:
        for operand in op.operands:
            external = isinstance(operand.owner, ir.Block) or operand.owner.operation not in inside
            if external and operand not in inputs:
                inputs.append(operand)
    outputs = [r for r in ops[-1].results if any(True for _ in r.uses)] or [ops[-1].results[0]]
    outputs += returned
    function = _function(main, ops, inputs, outputs)
    text = function.get_asm(enable_debug_info=False, assume_verified=True)
    if text in functions:
        function.erase()
        return functions[text], inputs, outputs
    name = f"dispatch_{len(functions)}"
    functions[text] = name
    function.attributes["sym_name"] = ir.StringAttr.get(name)
    return name, inputs, outputs


def _function(
    main: ir.OpView, ops: Sequence[ir.OpView], inputs: Sequence[Value], outputs: Sequence[Value]
) -> ir.Operation:
    type_ = ir.FunctionType.get([v.type for v in inputs], [v.type for v in outputs])
    with ir.InsertionPoint(main), ops[-1].location:
        function = ir.Operation.create(
            "func.func",
            attributes={
                "sym_name": ir.StringAttr.get("dispatch"),
                "function_type": ir.TypeAttr.get(type_),
                "sym_visibility": ir.StringAttr.get("private"),
                "lumir.dispatch": ir.UnitAttr.get(),
            },
            regions=1,
        )
    locations = [v.location if hasattr(v, "location") else ops[-1].location for v in inputs]
    block = function.regions[0].blocks.append(*type_.inputs, arg_locs=locations)
    mapping: dict[Value, Value] = dict(zip(inputs, block.arguments, strict=True))
    with ir.InsertionPoint(block):
        for op in ops:
            clone = op.operation.clone()
            for i, operand in enumerate(op.operands):
                clone.operands[i] = mapping[operand]
            mapping.update(zip(op.results, clone.results, strict=True))
        with ops[-1].location:
            ir.Operation.create("func.return", operands=[mapping[v] for v in outputs])
    return function


def _erase_dead(block: ir.Block) -> None:
    for op in reversed(list(block.operations)):
        if op.operation.name == "lumir.bind":
            continue
        if op.operation.name.startswith("lumir.") and not any(True for r in op.results for _ in r.uses):
            op.operation.erase()


def _sort(block: ir.Block) -> None:
    """Put each op behind what it reads, and else keep the order: what a call returns may be read ahead of it."""
    *ops, terminator = (op.operation for op in block.operations)
    sorted_: dict[ir.Operation, None] = {}
    for op in ops:
        waiting = [op]
        while waiting:
            owners = [v.owner for v in waiting[-1].operands if not isinstance(v.owner, ir.Block)]
            if missing := [owner for owner in owners if owner not in sorted_]:
                waiting += missing
            else:
                sorted_.setdefault(waiting.pop())
    for op in sorted_:
        op.move_before(terminator)
