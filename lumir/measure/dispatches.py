"""The dispatches of a model as texts that stand alone."""

from dataclasses import dataclass

from lumir.mlir import ir
from lumir.module import callers, dispatches, name_of, symbols
from lumir.schedule.mark_unwritten import MarkUnwritten


@dataclass(frozen=True)
class DispatchText:
    """A dispatch in lumir ops.

    Args:
        text: a module with nothing but the dispatch.
        calls: how often the model runs it.
    """

    name: str
    text: str
    calls: int


def dispatch_texts(module: ir.Module) -> list[DispatchText]:
    """The dispatch functions of a module after step 3, with their weights marked."""
    if "main" in symbols(module):
        MarkUnwritten().run(module)
    called = callers(module) if "main" in symbols(module) else {}
    return [
        DispatchText(name_of(f), f"module {{\n{_text(f)}\n}}\n", len(called.get(name_of(f), ("alone",))))
        for f in dispatches(module)
    ]


def _text(function: ir.OpView) -> str:
    return function.operation.get_asm(enable_debug_info=False, print_generic_op_form=False)
