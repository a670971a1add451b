"""What the family `rows` weighs about a dispatch, gathered once."""

import math
from dataclasses import dataclass

from lumir.dtypes import byte_size
from lumir.kernels.dispatch import Dispatch, element_of, remembered, shape_of
from lumir.kernels.loop_nest import LoopNest
from lumir.kernels.nvidia.joining import is_joinable
from lumir.kernels.nvidia.roofline import buffer_bytes, operations_in, read_bytes
from lumir.kernels.row_space import RowSpace
from lumir.sizes import is_static, typical


@dataclass(frozen=True)
class RowFacts:
    """Numbers of a dispatch.

    Args:
        space: its kept and reduced dimensions.
        size, count: typical elements of a row, and rows.
        read, written: bytes of the arguments and of the results.
        work: instructions for one element; those for a row are shared among its elements.
        reductions: how many there are; passes, with the one that stores elements.
        joinable: partial results of every reduction can be joined.
        partial: bytes of one thread's partial results, of all reductions together.
        narrowest, input: bytes of an element of the narrowest tensor, and of what is reduced first.
        streams: arguments of the full shape; stored, the bytes of an element of the narrowest of them.
        run: the greatest common divisor of the bytes of a row in those arguments that have it as one run; 0 for none.
    """

    space: RowSpace
    size: int
    count: int
    read: float
    written: float
    work: float
    reductions: int
    passes: int
    joinable: bool
    partial: int
    narrowest: int
    input: int
    streams: int
    stored: int
    run: int

    @staticmethod
    def of(dispatch: Dispatch) -> "RowFacts | None":
        """The facts, or None where the dispatch's reductions share no space."""
        return remembered(dispatch, "row_facts", _gather)


def _gather(dispatch: Dispatch) -> RowFacts | None:
    space = RowSpace.of(dispatch)
    if space is None:
        return None
    elements = max(typical(math.prod(space.full)), 1)
    nests, tensors = dispatch.reductions, (*dispatch.results, *dispatch.arguments)
    full = [argument for argument in dispatch.arguments if shape_of(argument) == space.full]
    return RowFacts(
        space=space,
        size=typical(space.row_size),
        count=typical(space.row_count),
        read=read_bytes(dispatch),
        written=sum(buffer_bytes(r) for r in dispatch.results),
        work=sum(operations_in(nest) * _share(nest, elements) for nest in dispatch.nests) + 4,
        reductions=len(nests),
        passes=len(nests) + any(not space.is_row(r) for r in dispatch.results),
        joinable=all(is_joinable(nest) for nest in nests),
        partial=sum(byte_size(element_of(out)) for nest in nests for out in nest.outputs),
        narrowest=min((byte_size(element_of(v)) for v in tensors if shape_of(v)), default=16),
        input=byte_size(element_of(nests[0].inputs[0])),
        streams=len(full),
        stored=min((byte_size(element_of(v)) for v in full), default=byte_size(element_of(nests[0].inputs[0]))),
        run=_run(dispatch, space),
    )


def _share(nest: LoopNest, elements: int) -> float:
    """Iterations for each element of the full shape."""
    return min(typical(math.prod(nest.sizes)) / elements, 1.0)


def _run(dispatch: Dispatch, space: RowSpace) -> int:
    if not is_static(space.row_size) or not is_static(space.row_count):
        return 0
    return math.gcd(*(space.row_size * byte_size(element_of(v)) for v in space.whole_rows(dispatch)))
