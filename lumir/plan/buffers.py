"""Step 8: where every tensor lies."""

from dataclasses import dataclass
from typing import ClassVar

from lumir.artifact.dtypes import byte_size
from lumir.dtypes import dtype_name
from lumir.mlir import ir
from lumir.module import body_of, main_of
from lumir.plan.arena import Lifetime, assign_offsets

Value = ir.Value


@dataclass(frozen=True)
class AssignBuffers:
    """Give every operand and result of every call a place, and reuse memory between tensors that never live together.

    Requires: @main holds `lumir.load`, `lumir.reshape`, calls of dispatches, and `func.return`.
    Guarantees: each call carries `lumir.buffers`, one of `input:I`, `output:I`, `weight:NAME`, `arena:OFFSET` for each
    operand and then each result. @main carries `lumir.arena_bytes`, and `lumir.copies`: pairs of places to copy last,
    for results that are an input, a weight, or returned twice.
    """

    alignment: int = 256
    name: ClassVar[str] = "lumir-assign-buffers"

    def run(self, module: ir.Module) -> None:
        main = main_of(module)
        places = Places(body_of(main), self.alignment)
        for call in places.calls:
            names = [places.of(v) for v in (*call.operands, *call.results)]
            call.attributes["lumir.buffers"] = ir.ArrayAttr.get([ir.StringAttr.get(n) for n in names])
        main.attributes["lumir.arena_bytes"] = ir.IntegerAttr.get(ir.IntegerType.get_signless(64), places.arena_bytes)
        pairs = [ir.ArrayAttr.get([ir.StringAttr.get(a), ir.StringAttr.get(b)]) for a, b in places.copies]
        main.attributes["lumir.copies"] = ir.ArrayAttr.get(pairs)


class Places:
    """The place of every buffer of a block; a reshape is another name for its operand's."""

    def __init__(self, block: ir.Block, alignment: int):
        self.calls = [op for op in block.operations if op.operation.name == "func.call"]
        self.named: dict[Value, str] = {a: f"input:{i}" for i, a in enumerate(block.arguments)}
        self.aliases: dict[Value, Value] = {}
        self.copies: list[tuple[str, str]] = []
        for op in block.operations:
            if op.operation.name == "lumir.load":
                self.named[op.results[0]] = f"weight:{op.attributes['weight'].value}"
            elif op.operation.name == "lumir.reshape":
                self.aliases[op.results[0]] = op.operands[0]
        self._name_outputs(list(block.operations)[-1])
        self.arena_bytes = self._name_arena(alignment)

    def of(self, value: Value) -> str:
        return self.named[self._root(value)]

    def _root(self, value: Value) -> Value:
        while value in self.aliases:
            value = self.aliases[value]
        return value

    def _name_outputs(self, returned: ir.OpView) -> None:
        """A result is computed where the caller wants it, unless it has a place already."""
        for i, value in enumerate(returned.operands):
            root = self._root(value)
            if root in self.named:
                self.copies.append((self.named[root], f"output:{i}"))
            else:
                self.named[root] = f"output:{i}"

    def _name_arena(self, alignment: int) -> int:
        lives: dict[Value, Lifetime] = {}
        for step, call in enumerate(self.calls):
            for value in call.results:
                if value not in self.named:
                    lives[value] = Lifetime(nbytes_of(value.type), step, step)
            for value in map(self._root, call.operands):
                if value in lives:
                    lives[value] = Lifetime(lives[value].nbytes, lives[value].first, step)
        offsets, size = assign_offsets(list(lives.values()), alignment)
        self.named.update((value, f"arena:{offset}") for value, offset in zip(lives, offsets, strict=True))
        return size


def nbytes_of(type_: ir.Type) -> int:
    """The bytes of a dense tensor; 4-bit elements are packed."""
    tensor = ir.RankedTensorType(type_)
    return byte_size(dtype_name(tensor.element_type), tuple(tensor.shape))
