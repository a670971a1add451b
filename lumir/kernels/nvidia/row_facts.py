"""What the family `rows` weighs about a dispatch, gathered once."""

from dataclasses import dataclass

from lumir.dtypes import byte_size
from lumir.kernels.dispatch import Dispatch, element_of, shape_of
from lumir.kernels.nvidia.joining import is_joinable
from lumir.kernels.nvidia.roofline import buffer_bytes, operations_in, read_bytes, remembered
from lumir.kernels.row_space import RowSpace


@dataclass(frozen=True)
class RowFacts:
    """Numbers of a dispatch.

    Args:
        space: its kept and reduced dimensions.
        read, written: bytes of the arguments and of the results.
        work: instructions for one element.
        reductions: how many there are; passes, with the one that stores elements.
        joinable: partial results of every reduction can be joined.
        partial: bytes of one thread's partial results, of all reductions together.
        narrowest, input: bytes of an element of the narrowest tensor, and of what is reduced first.
    """

    space: RowSpace
    read: float
    written: float
    work: int
    reductions: int
    passes: int
    joinable: bool
    partial: int
    narrowest: int
    input: int

    @staticmethod
    def of(dispatch: Dispatch) -> "RowFacts | None":
        """The facts, or None where the dispatch's reductions share no space."""
        return remembered(dispatch, "row_facts", _gather)


def _gather(dispatch: Dispatch) -> RowFacts | None:
    space = RowSpace.of(dispatch)
    if space is None:
        return None
    nests, tensors = dispatch.reductions, (*dispatch.results, *dispatch.arguments)
    return RowFacts(
        space=space,
        read=read_bytes(dispatch),
        written=sum(buffer_bytes(r) for r in dispatch.results),
        work=sum(operations_in(nest) for nest in dispatch.nests) + 4,
        reductions=len(nests),
        passes=len(nests) + any(not space.is_row(r) for r in dispatch.results),
        joinable=all(is_joinable(nest) for nest in nests),
        partial=sum(byte_size(element_of(out)) for nest in nests for out in nest.outputs),
        narrowest=min((byte_size(element_of(v)) for v in tensors if shape_of(v)), default=16),
        input=byte_size(element_of(nests[0].inputs[0])),
    )
