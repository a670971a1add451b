"""A dispatch's contraction as the copy engine and the tensor cores of Hopper can have it."""

from dataclasses import dataclass
from functools import cached_property

from lumir.kernels.bands import bands_of
from lumir.kernels.contraction_space import ContractionSpace, contraction_of
from lumir.kernels.dispatch import Dispatch, element_of, remembered
from lumir.kernels.nvidia.tma_operand import Matrices, Operand, operands_of, results_of
from lumir.kernels.nvidia.tma_runs import RunMatrices, runs_of
from lumir.kernels.nvidia.wgmma import Kinds
from lumir.mlir import ir
from lumir.sizes import Dim


@dataclass(frozen=True)
class Reading:
    """A dispatch's contraction as TMA reads it, oriented so that rows of the result lie side by side.

    Args:
        kinds: what wgmma multiplies.
        taps: products that are summed: one for each place of a convolution's window, else one.
        bands: the product's columns, in bands of which each tile has as many columns.
        results: where TMA can write them.
        shape: the number of products, m, n of each band, and k.
    """

    space: ContractionSpace
    kinds: Kinds
    left: Operand
    right: Operand
    taps: int
    bands: tuple[ir.Value, ...]
    results: tuple[Matrices | None, ...]
    shape: tuple[Dim, Dim, Dim, Dim]

    @cached_property
    def element_bytes(self) -> int:
        return self.kinds.bytes

    @property
    def runs(self) -> RunMatrices | None:
        """The left operand, where it is rows of images that are read with an overlap."""
        return self.left.matrices if isinstance(self.left.matrices, RunMatrices) else None


def reading_of(dispatch: Dispatch) -> Reading | None:
    """How TMA and wgmma can run the dispatch's contraction; None if they cannot."""
    return remembered(dispatch, "wgmma", _reading)


def _reading(dispatch: Dispatch) -> Reading | None:
    space = contraction_of(dispatch)
    if space is None:
        return None
    kinds = _multiplied(space)
    if kinds is None:
        return None
    sides = [(s, k) for s in space.summation_orders() for s, k in ((s, kinds), (s.swapped(), kinds.swapped))]
    readings = [reading for s, k in sides if (reading := _read(dispatch, s, k))]
    return max(readings, key=lambda r: sum(found is not None for found in r.results), default=None)


def _multiplied(space: ContractionSpace) -> Kinds | None:
    """What wgmma multiplies as the contraction does; None for other types, and for float32 that may not be rounded."""
    elements = [element_of(space.operand(number)) for number in (space.lhs, space.rhs)]
    if ir.F32Type.get() in elements and not space.rounds_to_tf32:
        return None
    for i, number in enumerate((space.lhs, space.rhs)):
        if isinstance(elements[i], ir.IntegerType) and space.widens_unsigned(number):
            elements[i] = ir.IntegerType.get_unsigned(elements[i].width)
    kinds = Kinds.of(*elements)
    return kinds if kinds and kinds.sums == space.accumulator else None


def _read(dispatch: Dispatch, space: ContractionSpace, kinds: Kinds) -> Reading | None:
    bands = bands_of(dispatch, space)
    runs = runs_of(dispatch, space) if bands and len(bands) == 1 else None
    found = runs or operands_of(dispatch, space)
    if bands is None or found is None:
        return None
    space, left, right, taps = found
    if len(bands) > 1 and not right.is_one_run:
        return None
    batch, m, n, k = space.shape
    shape = batch, m, n // len(bands), k
    reading = Reading(space, kinds, left, right, taps, bands, tuple(results_of(dispatch, space)), shape)
    wide = reading.element_bytes != 2  # only two-byte operands may have their rows side by side
    return None if wide and not (left.along_k and right.along_k) else reading
