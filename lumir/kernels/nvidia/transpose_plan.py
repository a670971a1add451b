"""What the family `transpose` knows of a dispatch: which tensors must be turned, and along which dimensions."""

import math
from dataclasses import dataclass

from lumir.dtypes import byte_size
from lumir.kernels.dispatch import Dispatch, element_of, remembered, shape_of
from lumir.kernels.evaluate import Evaluator
from lumir.kernels.index import ZERO, Index, Place
from lumir.kernels.loop_nest import LoopNest
from lumir.kernels.memory import held_type, is_packed_type
from lumir.kernels.nvidia.merge import together
from lumir.kernels.nvidia.tiles_plan import scratch
from lumir.mlir import ir, llvm

Value = ir.Value
ACCESS_BYTES = 16
_FIRST = 1 << 20
WORTH = 4
"""Neighbours along each of the two dimensions that make it worth a tile."""
_RESHAPES = ("tensor.collapse_shape", "tensor.expand_shape")
_PLAIN = (
    "linalg.fill",
    "tensor.empty",
    "arith.constant",
    "func.return",
    "builtin.unrealized_conversion_cast",
    *_RESHAPES,
)


@dataclass(frozen=True)
class TransposeFacts:
    """An element-wise dispatch, some of whose operands lie along another dimension than its results.

    Args:
        shape: that the results are computed in; they may be stored in another of the same order.
        groups: ascending runs of its dimensions that are neighbours, in the same order, in every operand.
        slow: the number of the group that the turned operands lie along; the results lie along the last one.
        turned: those operands.
        along: elements of one access of the turned operands, and of one of the results.
    """

    shape: tuple[int, ...]
    groups: tuple[tuple[int, ...], ...]
    slow: int
    turned: tuple[Value, ...]
    along: tuple[int, int]

    @staticmethod
    def of(dispatch: Dispatch) -> "TransposeFacts | None":
        """The facts, or None where nothing has to be turned, or more than a tile can turn."""
        return remembered(dispatch, "transpose_facts", _gather)

    @property
    def sizes(self) -> tuple[int, ...]:
        """Elements of each group."""
        return tuple(math.prod(self.shape[d] for d in group) for group in self.groups)

    @property
    def extents(self) -> tuple[int, int]:
        """Elements along the slow group and along the last."""
        return self.sizes[self.slow], self.sizes[-1]

    @property
    def outer(self) -> tuple[int, ...]:
        """The sizes of the other groups."""
        return tuple(size for i, size in enumerate(self.sizes[:-1]) if i != self.slow)

    def place(self, outer: Place, slow: Index, fast: Index) -> Place:
        """Positions in the groups as a place in `shape`: in the last dimension of each group that has more than one."""
        others = iter(outer)
        last = len(self.groups) - 1
        at = [fast if i == last else slow if i == self.slow else next(others) for i in range(last + 1)]
        place = [ZERO] * len(self.shape)
        for group, index in zip(self.groups, at, strict=True):
            place[next((d for d in reversed(group) if self.shape[d] != 1), group[-1])] = index
        return tuple(place)


def core_of(result: Value) -> Value:
    """The tensor that a result is another shape of."""
    while not isinstance(result.owner, ir.Block) and result.owner.name in _RESHAPES:
        result = result.owner.operands[0]
    return result


def _gather(dispatch: Dispatch) -> TransposeFacts | None:
    cores = [core_of(result) for result in dispatch.results]
    shapes = {shape_of(core) for core in cores}
    if len(shapes) != 1 or dispatch.reductions or 0 in (shape := shapes.pop()) or not _is_plain(dispatch):
        return None
    if not any(_permutes(nest) for nest in dispatch.nests):
        return None
    leaves = _leaves(dispatch, cores)
    if leaves is None or any(is_packed_type(element_of(v)) for v in (*leaves, *cores)):
        return None
    orders = [_order(dispatch, cores, leaf, shape) for leaf in leaves]
    if any(order is None for order in orders):
        return None
    groups = _groups(shape, [order for order in orders if order is not None])
    return _turned(shape, groups, dict(zip(leaves, orders, strict=True)), cores)


def _is_plain(dispatch: Dispatch) -> bool:
    """Element-wise operations that read at plain dimensions, and reshapes."""
    for op in dispatch.operations:
        if op.operation.name == "linalg.generic":
            nest = LoopNest.of(op)
            names = {inner.operation.name for inner in nest.block.operations}
            if nest.reductions or names & {"linalg.index", "tensor.extract"}:
                return False
        elif op.operation.name not in _PLAIN:
            return False
    return True


def _permutes(nest: LoopNest) -> bool:
    """Whether an operand's dimensions do not all run in the order of the result's."""
    orders = [
        [e.position for e in m.results if isinstance(e, ir.AffineDimExpr)] for m in (*nest.maps, *nest.output_maps)
    ]
    return any(order != sorted(order) for order in orders)


def _leaves(dispatch: Dispatch, cores: list[Value]) -> list[Value] | None:
    """What the results are computed from: arguments, and arguments in another shape."""
    leaves: dict[Value, None] = {}
    waiting, seen = list(cores), set()
    while waiting:
        value = waiting.pop()
        if value in seen or not isinstance(value.type, ir.RankedTensorType):
            continue
        seen.add(value)
        source = core_of(value)
        if source in dispatch.arguments:
            leaves[value] = None
        elif source != value:
            return None
        elif not isinstance(value.owner, ir.Block):
            waiting += list(value.owner.operands)
    return list(leaves)


def _order(
    dispatch: Dispatch, cores: list[Value], leaf: Value, shape: tuple[int, ...]
) -> tuple[int | None, ...] | None:
    """The dimension of the results that each dimension of an operand runs along; None where it is read otherwise.

    Every dimension is given a number of its own to stand at, which is then looked for in the place that is read.
    """
    with scratch(dispatch, 1) as (evaluator, _position):
        seen = read_places(evaluator, leaf, cores, tuple(Index(_FIRST + d) for d in range(len(shape))))
    numbers = [index.base for place in seen for index in place]
    if len(set(seen)) != 1 or not all(n == 0 or n in range(_FIRST, _FIRST + len(shape)) for n in numbers):
        return None
    order = tuple(None if n == 0 else n - _FIRST for n in numbers[: len(seen[0])] if isinstance(n, int))
    fits = all(d is None or shape[d] == size for d, size in zip(order, shape_of(leaf), strict=True))
    return order if fits else None


def read_places(evaluator: Evaluator, leaf: Value, cores: list[Value], place: Place) -> list[Place]:
    """Where an operand is read when the results at a place are computed."""
    seen: list[Place] = []

    def note(at: Place) -> Value:
        seen.append(at)
        type_ = held_type(element_of(leaf))
        wide = ir.VectorType.get([evaluator.index.lanes], type_)
        return llvm.UndefOp(type_ if all(index.uniform for index in at) else wide).result

    evaluator.bind(leaf, note)
    for core in cores:
        evaluator.at(core, place)
    return seen


def _groups(shape: tuple[int, ...], orders: list[tuple[int | None, ...]]) -> tuple[tuple[int, ...], ...]:
    large = [[d for d in order if d is not None and shape[d] != 1] for order in orders]
    groups: list[tuple[int, ...]] = []
    for dim in range(len(shape)):
        if groups and all(together(order, groups[-1], dim, shape) for order in large):
            groups[-1] = (*groups[-1], dim)
        else:
            groups.append((dim,))
    return tuple(groups)


def _turned(
    shape: tuple[int, ...],
    groups: tuple[tuple[int, ...], ...],
    orders: dict[Value, tuple[int | None, ...] | None],
    cores: list[Value],
) -> TransposeFacts | None:
    """The facts, where all operands that do not lie along the last group lie along one other."""
    last, turned, slow = len(groups) - 1, [], set()
    for leaf, order in orders.items():
        lying = [d for d in order or () if d is not None and shape[d] != 1]
        at = next((i for i, group in enumerate(groups) if lying and lying[-1] in group), last)
        reads_last = any(d in groups[last] for d in lying)
        if at != last and reads_last:
            turned.append(leaf)
            slow.add(at)
    if len(slow) != 1:
        return None
    facts = TransposeFacts(shape, groups, slow.pop(), tuple(turned), (1, 1))
    if min(facts.extents) < WORTH:
        return None
    widths = (max(byte_size(element_of(v)) for v in turned), max(byte_size(element_of(v)) for v in cores))
    along = [_lanes(size, width) for size, width in zip(facts.extents, widths, strict=True)]
    return TransposeFacts(shape, groups, facts.slow, tuple(turned), (along[0], along[1]))


def _lanes(size: int, width: int) -> int:
    lanes = ACCESS_BYTES // width
    while size % lanes:
        lanes //= 2
    return lanes
