"""The check between two steps: only the dialects that the step's spec allows may be left."""

from dataclasses import dataclass
from typing import ClassVar

from lumir.diagnostics import InternalError
from lumir.instrument.diagnostics import node_of
from lumir.mlir import ir
from lumir.passes.registry import register_pass
from lumir.pipelines.stages import Stage


@register_pass
@dataclass(frozen=True)
class CheckDialects:
    """Fail at every op whose dialect is not allowed.

    Guarantees: the IR is not changed; each offending op gets one error at its location, which names the pass that
    should have removed it if `by` says so.

        lumir-check-dialects{allowed=func,arith by=convert-scf-to-cf}
        scf.for ...    error: 'scf.for' op must not be left here: only func, arith may; convert-scf-to-cf should ...
    """

    name: ClassVar[str] = "lumir-check-dialects"
    allowed: tuple[str, ...]
    by: str | None = None

    def run(self, module: ir.Module) -> None:
        culprit = f"; {self.by} should have removed it" if self.by else ""
        for op in offending_ops(module.operation, frozenset(self.allowed) | {"builtin"}):
            op.location.emit_error(f"'{op.name}' op must not be left here: only {', '.join(self.allowed)} may{culprit}")


def offending_ops(root: ir.Operation, allowed: frozenset[str]) -> list[ir.Operation]:
    """The ops under `root`, in order, whose dialect is not one of `allowed`."""
    found: list[ir.Operation] = []

    def visit(op: ir.Operation) -> ir.WalkResult:
        if op.name.partition(".")[0] not in allowed:
            found.append(op)
        return ir.WalkResult.ADVANCE

    root.walk(visit, ir.WalkOrder.PRE_ORDER)
    return found


def check_boundary(stage: Stage, module: ir.Module) -> None:
    """Raise `InternalError` (code `boundary`) that names the first op which the stage should not have left."""
    if stage.dialects is None:
        return
    offending = offending_ops(module.operation, stage.dialects)
    if not offending:
        return
    raise InternalError(
        f"step '{stage.name}' left {len(offending)} op(s) that may not follow it",
        code="boundary",
        op=offending[0].name,
        node=node_of(offending[0].location),
        rule=f"after '{stage.name}' only these dialects may appear: {', '.join(sorted(stage.dialects))}",
        values={"first": offending[0].location},
    )
