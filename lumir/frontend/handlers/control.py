"""Control flow that is decided at compile time."""

from lumir.frontend.context import NodeContext
from lumir.frontend.registry import Result, handler


@handler("If")
def if_(ctx: NodeContext) -> list[Result]:
    """The branch that a known condition takes."""
    taken = ctx.static(0, "cond").reshape(-1)
    if taken.size != 1:
        ctx.malformed("the condition must have one element")
    return list(ctx.services.inline(ctx.attribute("then_branch" if taken[0] else "else_branch"), []))
