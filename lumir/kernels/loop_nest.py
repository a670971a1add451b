"""A `linalg.generic` as kernels read it: its operands and maps, its iteration sizes, and what its body needs."""

from collections.abc import Sequence
from functools import cached_property

from lumir.dialects import shape_of_type
from lumir.kernels.index import Index, Place
from lumir.mlir import ir
from lumir.sizes import Dim

Value = ir.Value


class LoopNest:
    """What a `linalg.generic` says: operands, maps, iteration sizes, which dimensions are reduced."""

    def __init__(self, op: ir.OpView):
        self.op = op
        counts = list(op.attributes["operandSegmentSizes"])
        operands = list(op.operands)
        self.inputs, self.outputs = operands[: counts[0]], operands[counts[0] :]
        maps = [a.value for a in op.attributes["indexing_maps"]]
        self.maps, self.output_maps = maps[: counts[0]], maps[counts[0] :]
        kinds = [str(k) for k in op.attributes["iterator_types"]]
        self.reductions = [i for i, kind in enumerate(kinds) if "reduction" in kind]
        self.rank = len(kinds)
        self.block = op.regions[0].blocks[0]
        self._numbers = {argument: i for i, argument in enumerate(self.block.arguments)}
        self._needed: dict[tuple[Value, ...], list[ir.OpView]] = {}

    @classmethod
    def of(cls, op: ir.OpView | ir.Operation) -> "LoopNest":
        return cls(op.opview if isinstance(op, ir.Operation) else op)

    def needed_for(self, wanted: Sequence[Value]) -> list[ir.OpView]:
        """The operations of the body that these values of it are computed by, in order."""
        key = tuple(wanted)
        if key not in self._needed:
            needed, found = set(wanted), []
            for op in reversed(list(self.block.operations)):
                if any(result in needed for result in op.results):
                    needed.update(op.operands)
                    found.append(op)
            self._needed[key] = found[::-1]
        return self._needed[key]

    def argument_number(self, value: Value) -> int | None:
        return self._numbers.get(value)

    @cached_property
    def sizes(self) -> list[Dim]:
        """The size of each iteration dimension, read off the operand that has it as a plain dimension."""
        sizes: list[Dim] = [0] * self.rank
        for operand, map_ in zip([*self.outputs, *self.inputs], [*self.output_maps, *self.maps], strict=True):
            for expression, size in zip(map_.results, shape_of_type(operand.type), strict=True):
                if isinstance(expression, ir.AffineDimExpr):
                    sizes[expression.position] = size
        return sizes

    def dims_at(self, place: Place) -> list[Index]:
        """The iteration dimensions at a place of the result; reduced ones are filled in by their loops."""
        dims = [Index(0)] * self.rank
        for expression, index in zip(self.output_maps[0].results, place, strict=True):
            if isinstance(expression, ir.AffineDimExpr):
                dims[expression.position] = index
        return dims
