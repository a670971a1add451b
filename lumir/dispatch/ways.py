"""In how many ways a fused kernel reads one tensor: each way is code of its own, and work of its own."""

from collections.abc import Iterable

from lumir.dispatch.fusion import CHEAP, COUNTS, ELEMENTWISE_OPS, VIEWS, dims, short_name
from lumir.mlir import ir

Way = tuple[object, ...]
"""The moves between a tensor and the result, from the result on: ways that are equal read the same element."""
Ways = frozenset[Way]
DIRECT: Ways = frozenset({()})

MOST_OF_CHEAP, MOST = 4, 2
"""How many ways an op may be recomputed in, if it is one of arithmetic or moves, and if it is not."""


def ways_into(producer: ir.OpView, readers: Iterable[tuple[ir.OpView, int, Ways]]) -> Ways:
    """The ways that a group reads `producer` in.

    Args:
        readers: the ops of the group that read it, each with its position and the ways it is read in itself.
    """
    found: set[Way] = set()
    for reader, position, ways in readers:
        for number, operand in enumerate(reader.operands):
            if operand.owner == producer.operation:
                move = _move(reader, position, number)
                found.update((*way, *move) for way in ways)
    return frozenset(found)


def _move(reader: ir.OpView, position: int, number: int) -> Way:
    """What the reader does to the place at which it reads operand `number`; nothing, where it is element-wise."""
    if short_name(reader) not in ELEMENTWISE_OPS:
        return ((position, number),)
    shape = dims(reader.results[0])
    return () if dims(reader.operands[number]) == shape else (("broadcast", shape),)


def few_enough(producer: ir.OpView, ways: Ways) -> bool:
    """Whether a group may compute the op again in each of these ways. Views are no work."""
    name = short_name(producer)
    if name in VIEWS or name in COUNTS:
        return True
    moves = name not in ELEMENTWISE_OPS
    return len(ways) <= (MOST_OF_CHEAP if moves or name in CHEAP else MOST)
