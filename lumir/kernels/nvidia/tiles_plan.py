"""How an operand of a contraction is read: along which dimension, how wide, and whether by asynchronous copies."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

from lumir.dtypes import byte_size
from lumir.kernels.contraction_space import ContractionSpace, dims_of
from lumir.kernels.dispatch import Dispatch, element_of, shape_of
from lumir.kernels.evaluate import Evaluator
from lumir.kernels.index import Index, IndexMath
from lumir.kernels.memory import Buffer, pointer_type
from lumir.kernels.nvidia.function import GLOBAL
from lumir.kernels.nvidia.mma import CHUNK_BYTES
from lumir.kernels.nvidia.tiles_address import address_of
from lumir.mlir import ir, llvm

Value = ir.Value


@dataclass(frozen=True)
class OperandPlan:
    """Args:
    number: the input of the contraction.
    along_k: whether lanes stand along k, else along the rows (m or n).
    lanes: elements of one access.
    asynchronous: whether cp.async can copy them, `lanes` elements at once.
    divided: whether every access along k needs divisions of its own to find its place.
    """

    number: int
    along_k: bool
    lanes: int
    asynchronous: bool
    divided: bool = False

    @property
    def effort(self) -> float:
        """Instructions for each element, roughly."""
        return (2 if self.asynchronous else 6) * (8 if self.divided else 1) / self.lanes


_WINDOW = 32
"""k of a tile at least: where it divides the last dimension of k, a tile's places need one division together."""


def plan_operand(
    dispatch: Dispatch,
    space: ContractionSpace,
    number: int,
    stored: ir.Type,
    directions: tuple[bool, ...] = (True, False),
) -> OperandPlan:
    """The widest way to read an input: tried out in a module that is thrown away.

    Args:
        stored: the element type in shared memory; a chunk of them is the most that is read at once.
        directions: values of `along_k` to choose from.
    """
    lanes = CHUNK_BYTES // max(byte_size(stored), byte_size(element_of(space.operand(number))))
    divided = _divides(space, number)
    while lanes > 1:
        for along_k in directions:
            plan = _try(dispatch, space, OperandPlan(number, along_k, lanes, True, divided), stored)
            if plan is not None:
                return plan
        lanes //= 2
    along_k = _last_is_k(space, number) if len(set(directions)) > 1 else all(directions)
    single = OperandPlan(number, along_k, 1, True, divided)
    return _try(dispatch, space, single, stored) or replace(single, asynchronous=False)


def _divides(space: ContractionSpace, number: int) -> bool:
    """Whether k is several dimensions of the operand, the last of them not whole windows."""
    runs = space.runs(number, space.k)
    return len(runs) > 1 and space.extent(runs[-1]) % _WINDOW != 0


def _try(dispatch: Dispatch, space: ContractionSpace, plan: OperandPlan, stored: ir.Type) -> OperandPlan | None:
    """The plan, if its lanes are consecutive; not asynchronous where cp.async cannot copy them."""
    lanes = plan.lanes
    line = space.k if plan.along_k else space.rows_of(plan.number)
    if space.extent(line) % lanes != 0:
        return None
    with scratch(dispatch, lanes) as (evaluator, position):
        batch, slow, fast = Index(position), Index(position), Index(position, int(lanes > 1), lanes)
        row, k = (slow, fast) if plan.along_k else (fast, slow)
        operand, index = space.operand(plan.number), evaluator.index
        view = space.operand_view(index, plan.number, batch, row, k)
        address = address_of(index, evaluator.buffers, operand, view)
        width = lanes * byte_size(stored)
        same = element_of(operand) == stored
        if same and address is not None and width >= 4 and address.alignment % width == 0:
            return plan
        evaluator.at(operand, view.place_in(index, shape_of(operand)))
        return None if evaluator.memory.scattered else replace(plan, asynchronous=False)


def _last_is_k(space: ContractionSpace, number: int) -> bool:
    """Whether neighbours in memory are neighbours along k rather than along the rows."""
    last = set(dims_of(list(space.nest.maps[number].results).pop()))
    return not any(d in last and space.nest.sizes[d] != 1 for d in space.rows_of(number))


@contextmanager
def scratch(dispatch: Dispatch, lanes: int) -> Iterator[tuple[Evaluator, Value]]:
    """A module that is thrown away to write code in: gives an evaluator and a position that nothing is known of."""
    module = ir.Module.create()
    with ir.InsertionPoint(module.body):
        pointer, i32 = llvm.PoisonOp(pointer_type(GLOBAL)).result, ir.IntegerType.get_signless(32)
        buffers = {v: Buffer(pointer, shape_of(v), element_of(v), 256) for v in dispatch.arguments}
        yield Evaluator(IndexMath(i32, lanes, lambda _: llvm.PoisonOp(i32).result), buffers), llvm.PoisonOp(i32).result
