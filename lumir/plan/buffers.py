"""Step 8: where every tensor lies."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from lumir.artifact.dtypes import byte_size
from lumir.dialects import shape_of_type
from lumir.dtypes import dtype_name
from lumir.mlir import ir
from lumir.module import body_of, calls, main_of, symbols
from lumir.plan.arena import Lifetime, assign_offsets
from lumir.sizes import high

Value = ir.Value


@dataclass(frozen=True)
class AssignBuffers:
    """Give every operand and result of every call a place, and reuse memory between tensors that never live together.

    Requires: @main holds `lumir.load`, `lumir.reshape`, calls of dispatches, and `func.return`.
    Guarantees: each call carries `lumir.buffers`, one of `input:I`, `output:I`, `weight:NAME`, `arena:OFFSET` (where
    the tensor fits at the largest sizes) for each operand and then each result, then those that its kernel asks for
    besides: a workspace of its own in the arena, and `counters`. @main carries `lumir.arena_bytes`,
    `lumir.counter_bytes` where there are counters, and `lumir.copies`: pairs of places to copy last, for results that
    are an input, a weight, or returned twice.
    """

    alignment: int = 256
    name: ClassVar[str] = "lumir-assign-buffers"

    def run(self, module: ir.Module) -> None:
        main, i64 = main_of(module), ir.IntegerType.get_signless(64)
        needs = [needs_of(call, symbols(module)) for call in calls(module)]
        places = Places(body_of(main), self.alignment, [need.workspace_bytes for need in needs])
        for call, need, workspace in zip(places.calls, needs, places.workspaces, strict=True):
            names = [places.of(v) for v in (*call.operands, *call.results)]
            names += [workspace] * bool(need.workspace_bytes) + ["counters"] * bool(need.counters)
            call.attributes["lumir.buffers"] = ir.ArrayAttr.get([ir.StringAttr.get(n) for n in names])
        main.attributes["lumir.arena_bytes"] = ir.IntegerAttr.get(i64, places.arena_bytes)
        if counters := max((need.counters for need in needs), default=0):
            main.attributes["lumir.counter_bytes"] = ir.IntegerAttr.get(i64, 4 * counters)
        for bind in places.binds:
            bind.attributes["lumir.buffers"] = ir.ArrayAttr.get([ir.StringAttr.get(places.of(bind.operands[0]))])
        pairs = [ir.ArrayAttr.get([ir.StringAttr.get(a), ir.StringAttr.get(b)]) for a, b in places.copies]
        main.attributes["lumir.copies"] = ir.ArrayAttr.get(pairs)


@dataclass(frozen=True)
class Needs:
    """What a kernel asks for besides its operands and results, as `KernelCode` says it."""

    workspace_bytes: int = 0
    counters: int = 0


def needs_of(call: ir.OpView, functions: Mapping[str, ir.OpView]) -> Needs:
    attributes = functions[call.attributes["callee"].value].attributes
    names = ("workspace_bytes", "counters")
    return Needs(**{n: attributes[f"lumir.{n}"].value for n in names if f"lumir.{n}" in attributes})


class Places:
    """The place of every buffer of a block; a reshape is another name for its operand's.

    Args:
        workspace_bytes: of each call.

    Attributes:
        workspaces: the place of each call's workspace.
        binds: where the run stops to read a size. The plan is run in parts then, which share the arena alone: results
            are computed there, and copied last.
    """

    def __init__(self, block: ir.Block, alignment: int, workspace_bytes: Sequence[int]):
        self.calls = [op for op in block.operations if op.operation.name == "func.call"]
        self.binds = [op for op in block.operations if op.operation.name == "lumir.bind"]
        self.named: dict[Value, str] = {a: f"input:{i}" for i, a in enumerate(block.arguments)}
        self.aliases: dict[Value, Value] = {}
        self.copies: list[tuple[str, str]] = []
        for op in block.operations:
            if op.operation.name == "lumir.load":
                self.named[op.results[0]] = f"weight:{op.attributes['weight'].value}"
            elif op.operation.name == "lumir.reshape":
                self.aliases[op.results[0]] = op.operands[0]
        returned = list(list(block.operations)[-1].operands)
        if not self.binds:
            self._name_outputs(returned)
        self.workspaces, self.arena_bytes = self._name_arena(alignment, workspace_bytes, returned)
        if self.binds:
            self.copies = [(self.of(value), f"output:{i}") for i, value in enumerate(returned)]

    def of(self, value: Value) -> str:
        return self.named[self._root(value)]

    def _root(self, value: Value) -> Value:
        while value in self.aliases:
            value = self.aliases[value]
        return value

    def _name_outputs(self, returned: Sequence[Value]) -> None:
        """A result is computed where the caller wants it, unless it has a place already."""
        for i, value in enumerate(returned):
            root = self._root(value)
            if root in self.named:
                self.copies.append((self.named[root], f"output:{i}"))
            else:
                self.named[root] = f"output:{i}"

    def _name_arena(
        self, alignment: int, workspace_bytes: Sequence[int], returned: Sequence[Value]
    ) -> tuple[list[str], int]:
        lives: dict[Value, Lifetime] = {}
        for step, call in enumerate(self.calls):
            for value in call.results:
                if value not in self.named:
                    lives[value] = Lifetime(high(nbytes_of(value.type)), step, step)
            self._extend(lives, call.operands, step)
        for bind in self.binds:
            before = sum(call.operation.is_before_in_block(bind.operation) for call in self.calls)
            self._extend(lives, bind.operands, before - 1)
        if self.binds:
            self._extend(lives, returned, len(self.calls))
        workspaces = [Lifetime(nbytes, step, step) for step, nbytes in enumerate(workspace_bytes)]
        offsets, size = assign_offsets([*lives.values(), *workspaces], alignment)
        names = [f"arena:{offset}" for offset in offsets]
        self.named.update(zip(lives, names))
        return names[len(lives) :], size

    def _extend(self, lives: dict[Value, Lifetime], values: Iterable[Value], step: int) -> None:
        """Keep values alive until a step."""
        for value in map(self._root, values):
            if value in lives:
                life = lives[value]
                lives[value] = Lifetime(life.nbytes, life.first, max(life.last, step))


def nbytes_of(type_: ir.Type) -> int:
    """The bytes of a dense tensor; 4-bit elements are packed."""
    return byte_size(dtype_name(ir.RankedTensorType(type_).element_type), shape_of_type(type_))
