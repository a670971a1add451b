"""Where an element of the root goes: the way from a tensor's places to the places of the dispatch's results.

A kernel that computes a root tile by tile holds elements by root place and stores results by result place. Between the
two stand element-wise operations, transposes and reshapes; a `Path` is what they do to a place.
"""

from dataclasses import dataclass

from lumir.kernels.dispatch import Dispatch, shape_of
from lumir.kernels.index import ZERO, Index, IndexMath, Place
from lumir.kernels.loop_nest import LoopNest
from lumir.kernels.tensor_ops import mixed_sizes
from lumir.mlir import ir
from lumir.shape_groups import matching_groups
from lumir.sizes import is_static

Value = ir.Value


@dataclass(frozen=True)
class Permute:
    """`order[i]` is the source dimension that result dimension i is; None where it has size 1."""

    order: tuple[int | None, ...]

    def place(self, index: IndexMath, place: Place) -> Place:
        return tuple(ZERO if source is None else place[source] for source in self.order)


@dataclass(frozen=True)
class Reshape:
    """The same row-major position in another shape."""

    old: tuple[int, ...]
    new: tuple[int, ...]

    def place(self, index: IndexMath, place: Place) -> Place:
        moved: list[Index] = []
        for old, new in matching_groups(self.old, self.new):
            if len(old) == len(new) == 1:
                moved.append(place[old.start])
                continue
            linear = index.linearize([place[i] for i in old], [self.old[i] for i in old])
            moved += index.delinearize(linear, [self.new[i] for i in new])
        return tuple(moved)


@dataclass(frozen=True)
class Band:
    """One of the equal bands of the last dimension: all have the same places, counted from where each starts."""

    def place(self, index: IndexMath, place: Place) -> Place:
        return place


Step = Permute | Reshape | Band


@dataclass(frozen=True)
class Path:
    """A one-to-one way from a tensor's places, or a band's, to another's, in normal form: equal paths do the same."""

    steps: tuple[Step, ...] = ()

    def place(self, index: IndexMath, place: Place) -> Place:
        for step in self.steps:
            place = step.place(index, place)
        return place

    def then(self, step: Step) -> "Path":
        """The path with one more step, merged with the last where both are of a kind."""
        match (self.steps[-1] if self.steps else None, step):
            case (Permute(first), Permute(second)):
                step = Permute(tuple(None if i is None else first[i] for i in second))
                return Path(self.steps[:-1]).then(step)
            case (Reshape(old, _), Reshape(_, new)):
                return Path(self.steps[:-1]).then(Reshape(old, new))
            case (_, Band()):
                return Path((*self.steps, step))
        unchanged = step.old == step.new if isinstance(step, Reshape) else step.order == tuple(range(len(step.order)))
        return self if unchanged else Path((*self.steps, step))


def paths_from(dispatch: Dispatch, root: Value, bands: bool = False) -> dict[Value, Path]:
    """The path from `root` to every tensor that has its elements one to one.

    Left out is what needs an element of the root at another place than its own: by a reduction, a broadcast, a slice.

    Args:
        bands: go on to slices that are a `Band`, and to what has the elements of one one to one.
    """
    paths: dict[Value, Path] = {root: Path()}
    stray: set[Value] = set()
    for op in dispatch.operations:
        if op.operation.name == "func.return" or root in list(op.results):
            continue
        found = _paths_through(op, paths, stray, bands)
        if found is None:
            stray.update(op.results)
        elif found:
            paths.update(dict.fromkeys(op.results, found[0]))
    return paths


def result_paths(dispatch: Dispatch, root: Value) -> list[Path] | None:
    """The path from `root` to each result; None where a tile of the root does not suffice for some result."""
    known = vars(dispatch).setdefault("result_paths", {})  # a kernel asks for every element that it writes out
    if root not in known:
        paths = paths_from(dispatch, root)
        reached = [paths.get(result) for result in dispatch.results]
        known[root] = None if None in reached else reached
    return known[root]


def band_of(op: ir.OpView) -> tuple[int, int] | None:
    """The number of the band that a `tensor.extract_slice` takes of the last dimension, and how many there are."""
    whole, band = shape_of(op.operands[0]), shape_of(op.results[0])
    starts, steps = mixed_sizes(op, "static_offsets", 1), tuple(op.attributes["static_strides"])
    if len(whole) != len(band) or whole[:-1] != band[:-1] or any(starts[:-1]) or set(steps) != {1}:
        return None
    size, start = band[-1], starts[-1]
    if not all(map(is_static, (whole[-1], size, start))) or whole[-1] % size or start % size:
        return None
    return start // size, whole[-1] // size


def _paths_through(op: ir.OpView, paths: dict[Value, Path], stray: set[Value], bands: bool) -> list[Path] | None:
    """The path to one operation's results; [] if it does not depend on the root, None if there is no single one."""
    operands = list(op.operands)
    name = op.operation.name
    inner = _captured(op)
    if any(v in stray for v in (*operands, *inner)) or any(v in paths for v in inner):
        return None
    if not any(v in paths for v in operands):
        return []
    if name == "linalg.generic":
        return _through_generic(LoopNest.of(op), paths)
    if name in ("tensor.collapse_shape", "tensor.expand_shape"):
        return [paths[operands[0]].then(Reshape(shape_of(operands[0]), shape_of(op.results[0])))]
    if bands and name == "tensor.extract_slice" and band_of(op):
        return [paths[operands[0]].then(Band())]
    return [paths[operands[0]]] if name == "builtin.unrealized_conversion_cast" else None


def _captured(op: ir.OpView) -> list[Value]:
    """Tensors that the body reads at places of its own choice."""
    bodies = [block for region in op.regions for block in region.blocks]
    return [
        inner.operands[0] for block in bodies for inner in block.operations if inner.operation.name == "tensor.extract"
    ]


def _through_generic(nest: LoopNest, paths: dict[Value, Path]) -> list[Path] | None:
    if nest.reductions:
        return None
    reads = zip([*nest.inputs, *nest.outputs], [*nest.maps, *nest.output_maps], strict=True)
    found = set()
    for operand, read in reads:
        if operand not in paths:
            continue
        order = _order(nest, read)
        if order is None:
            return None
        found.add(paths[operand].then(Permute(order)))
    return list(found) if len(found) == 1 else None


def _order(nest: LoopNest, read: ir.AffineMap) -> tuple[int | None, ...] | None:
    """Result dimension -> operand dimension, where operand and result run over the iteration space one to one."""
    source = {e.position: i for i, e in enumerate(read.results) if isinstance(e, ir.AffineDimExpr)}
    order: list[int | None] = []
    for expression in nest.output_maps[0].results:
        if not isinstance(expression, ir.AffineDimExpr):
            return None
        position = expression.position
        if position not in source and nest.sizes[position] != 1:
            return None
        order.append(source.get(position))
    covered = {i for i in order if i is not None}
    whole = all(i in covered or _is_zero(e) for i, e in enumerate(read.results))
    return tuple(order) if whole and len(source) == len(covered) else None


def _is_zero(expression: ir.AffineExpr) -> bool:
    return isinstance(expression, ir.AffineConstantExpr) and expression.value == 0
