"""What the family `skinny` knows of a dispatch: its rows and its weight, and how both lie in memory."""

from dataclasses import dataclass

from lumir.dtypes import byte_size
from lumir.kernels.bands import bands_of
from lumir.kernels.contraction_space import ContractionSpace, contraction_of
from lumir.kernels.dispatch import Dispatch, element_of, remembered, shape_of
from lumir.kernels.index import Index
from lumir.kernels.nvidia.dequantise import LOAD_BITS, Formula, PackedReader, keeps_rows, packed_argument
from lumir.kernels.nvidia.mma import CHUNK_BYTES
from lumir.kernels.nvidia.tiles_plan import scratch
from lumir.mlir import ir

Value = ir.Value
FEW_ROWS, MOST_ROWS = 16, 64
"""Rows of activations that are few whatever multiplies them, and for wgmma."""
TILE_ROWS, TILE_COLUMNS = 16, 8
"""The weight's rows and the activations' rows that one mma.sync multiplies."""
QUAD = 4
"""Threads that share a row of an operand of mma.sync."""
ACTIVATION_LANES = 8
"""Activations of 16 bits that a thread reads at once."""


@dataclass(frozen=True)
class SkinnyFacts:
    """Args:
    space: with the few rows of the activations as m and the rows of the weight as n.
    lanes: neighbours along k that a thread reads of the weight at once.
    cores: whether mma.sync multiplies the operands.
    packed: the argument of 4- or 8-bit integers that the weight is computed from where it is read, if there is one.
    signed: whether they are two's complement.
    grouped: whether they share one scale along all k that a warp reads at once.
    contiguous: whether a row of the weight, packed or not, is one run of memory.
    bands: the product's columns, in bands of which each tile has as many.
    """

    space: ContractionSpace
    lanes: int
    cores: bool
    bands: tuple[Value, ...]
    packed: Value | None = None
    signed: bool = False
    grouped: bool = False
    contiguous: bool = False

    @staticmethod
    def of(dispatch: Dispatch) -> "SkinnyFacts | None":
        """The facts, or None where the dispatch is no contraction with few rows that can be read along k."""
        return remembered(dispatch, "skinny_facts", _gather)

    @property
    def weight(self) -> Value:
        return self.space.operand(self.space.rhs)

    @property
    def stored(self) -> Value:
        """What the weight's bytes are read from."""
        return self.packed or self.weight


def _gather(dispatch: Dispatch) -> SkinnyFacts | None:
    space = contraction_of(dispatch)
    if space is None:
        return None
    space = space if space.extent(space.m) <= space.extent(space.n) else space.swapped()
    if not 0 < space.extent(space.m) <= MOST_ROWS or 0 in space.shape:
        return None
    lanes = CHUNK_BYTES // max(byte_size(element_of(operand)) for operand in space.nest.inputs)
    bands = bands_of(dispatch, space)
    if bands is None:
        return None
    for order in space.summation_orders():
        if (facts := _packed_facts(dispatch, order, bands)) is not None:
            return facts
        if all(_reads_along_k(dispatch, order, number, lanes) for number in (0, 1)):
            weight = order.operand(order.rhs)
            contiguous = weight in dispatch.arguments and _is_contiguous(dispatch, order, weight)
            return SkinnyFacts(order, lanes, _multiplied_by_cores(order), bands, contiguous=contiguous)
    return None


def _packed_facts(dispatch: Dispatch, space: ContractionSpace, bands: tuple[Value, ...]) -> SkinnyFacts | None:
    argument = packed_argument(dispatch, space.operand(space.rhs))
    if argument is None or not _multiplied_by_cores(space):
        return None
    lanes = LOAD_BITS // ir.IntegerType(element_of(argument)).width
    formula, at = _formula(dispatch, space, argument, lanes)
    if formula is None or at.step != 1 or at.known % lanes or space.extent(space.k) % lanes:
        return None
    if not _reads_along_k(dispatch, space, space.lhs, ACTIVATION_LANES):
        return None
    grouped = _formula(dispatch, space, argument, QUAD * lanes)[0] is not None
    contiguous = _is_contiguous(dispatch, space, argument)
    return SkinnyFacts(space, lanes, True, bands, argument, formula.signed, grouped, contiguous)


def _formula(dispatch: Dispatch, space: ContractionSpace, argument: Value, lanes: int) -> tuple[Formula | None, Index]:
    """What `lanes` neighbours along k of the weight are computed by, and where their integers begin."""
    with scratch(dispatch, lanes) as (evaluator, position):
        reader = PackedReader(evaluator, argument)
        row, k, weight = Index(position), Index(position, 1, lanes), space.operand(space.rhs)
        view = space.operand_view(evaluator.index, space.rhs, row, row, k)
        formula = reader.formula(weight, view.place_in(evaluator.index, shape_of(weight)))
        return formula, reader.position() if formula else Index(0)


def _is_contiguous(dispatch: Dispatch, space: ContractionSpace, argument: Value) -> bool:
    """Whether a row of the weight is one run of the argument that it has its elements from."""
    with scratch(dispatch, space.extent(space.k)) as (evaluator, position):
        view = space.operand_view(evaluator.index, space.rhs, Index(position), Index(position), Index(0, 1))
        runs_on = evaluator.index.linearize(view.place, view.shape).step in (0, 1)
    return runs_on and keeps_rows(space.operand(space.rhs), argument, space.extent(space.k))


def _multiplied_by_cores(space: ContractionSpace) -> bool:
    """Both operands f16 or both bf16, summed in f32."""
    kinds = {element_of(operand) for operand in space.nest.inputs}
    narrow = {ir.F16Type.get(), ir.BF16Type.get()}
    return len(kinds) == 1 and kinds <= narrow and space.accumulator == ir.F32Type.get()


def _reads_along_k(dispatch: Dispatch, space: ContractionSpace, number: int, lanes: int) -> bool:
    """Whether `lanes` neighbours along k stand side by side in everything that an input is computed from."""
    if space.extent(space.k) % lanes:
        return False
    with scratch(dispatch, lanes) as (evaluator, position):
        k = Index(position, int(lanes > 1), lanes)
        view = space.operand_view(evaluator.index, number, Index(position), Index(position), k)
        operand = space.operand(number)
        evaluator.at(operand, view.place_in(evaluator.index, shape_of(operand)))
        return evaluator.memory.scattered == 0
