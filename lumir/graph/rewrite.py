"""The rewriting that graph passes share: patterns by op name, applied in program order until none applies.

Ops are erased only when they were visited or lie before the op that is visited, and nothing keeps a reference to them:
the bindings do not survive a look at an erased op.
"""

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence

from lumir.graph.values import short_name
from lumir.mlir import ir
from lumir.symbols import Undecided

Pattern = Callable[[ir.Operation], ir.Value | None]
Patterns = Mapping[str, Sequence[Pattern]]

MAX_SWEEPS = 32
_EFFECTS = frozenset(["func.return", "lumir.yield", "lumir.bind", "func.call"])


def functions(module: ir.Module) -> Iterator[ir.Block]:
    """The body of each function of the module that has one."""
    for view in module.body.operations:
        if view.operation.name == "func.func" and list(view.operation.regions[0]):
            yield view.operation.regions[0].blocks[0]


def rewrite(module: ir.Module, patterns: Patterns) -> bool:
    """Apply the patterns in every function to a fixed point; whether anything changed.

    A pattern gets an op and returns the value that replaces its only result, or None. It builds new ops at the current
    insertion point (before the op, at its location) and erases nothing. One that asks for a comparison of sizes which
    their ranges leave open does not apply.
    """
    changed = False
    for block in functions(module):
        for _ in range(MAX_SWEEPS):
            if not _sweep(block, patterns):
                break
            changed = True
    return changed


def _sweep(block: ir.Block, patterns: Patterns) -> bool:
    changed = False
    for view in list(block.operations):
        op = view.operation
        if is_dead(op):
            erase_with_producers(op)
            changed = True
            continue
        while (value := _apply(op, patterns)) is not None:
            changed = True
            if isinstance(value.owner, ir.Block):
                break
            op = value.owner.operation
    return changed


def _apply(op: ir.Operation, patterns: Patterns) -> ir.Value | None:
    """Replace `op` by what the first pattern that applies gives, and return that; None if none applies."""
    for pattern in patterns.get(short_name(op), ()):
        value = None
        with ir.InsertionPoint(op), op.location, contextlib.suppress(Undecided):
            value = pattern(op)
        if value is None or value == op.results[0]:
            continue
        op.results[0].replace_all_uses_with(value)
        erase_with_producers(op)
        return value
    return None


class PatternTable(dict[str, list[Pattern]]):
    """Patterns by op name, filled by a decorator: `@TABLE.on("reshape")`."""

    def on(self, *names: str) -> Callable[[Pattern], Pattern]:
        def add(pattern: Pattern) -> Pattern:
            for name in names:
                self.setdefault(name, []).append(pattern)
            return pattern

        return add


def merged(*tables: Patterns) -> PatternTable:
    """One table that tries the patterns of the first table first."""
    result = PatternTable()
    for table in tables:
        for name, patterns in table.items():
            result.setdefault(name, []).extend(patterns)
    return result


def is_dead(op: ir.Operation) -> bool:
    """Whether nothing uses the op's results and it has no effect."""
    return op.name not in _EFFECTS and all(next(iter(r.uses), None) is None for r in op.results)


def erase_with_producers(op: ir.Operation) -> None:
    """Erase a dead op, and the ops before it that die with it."""
    pending = [op]
    while pending:
        dead = pending.pop()
        producers = {value.owner for value in dead.operands if not isinstance(value.owner, ir.Block)}
        dead.erase()
        pending += [p.operation for p in producers if is_dead(p.operation)]


def drop_dead(module: ir.Module) -> None:
    """Erase the ops of functions whose results nothing uses."""
    for block in functions(module):
        for view in reversed(list(block.operations)):
            if is_dead(view.operation):
                view.operation.erase()
