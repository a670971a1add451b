"""Products whose columns come in equal bands that fused operations combine: gate and up projection of one weight."""

from collections.abc import Sequence

from lumir.kernels.contraction_space import ContractionSpace
from lumir.kernels.dispatch import Dispatch, shape_of
from lumir.kernels.evaluate import Evaluator
from lumir.kernels.index import Place
from lumir.kernels.push import Band, Path, band_of, paths_from
from lumir.kernels.strided import Strided
from lumir.kernels.tensor_ops import window
from lumir.mlir import ir

Value = ir.Value


def bands_of(dispatch: Dispatch, space: ContractionSpace) -> tuple[Value, ...] | None:
    """The tensors that hold the bands of the product's columns, in order; the product itself where it has one band.

    Every result has an element for each row and each column of a band, which the same column of all bands may reach.

    Returns:
        None where results need other elements than these.
    """
    paths = paths_from(dispatch, space.result, bands=True)
    ends = [paths.get(result) for result in dispatch.results]
    counts = {None if path is None else sum(isinstance(step, Band) for step in path.steps) for path in ends}
    if counts == {0}:
        return (space.result,)
    slices = [op for op in dispatch.operations if op.operation.name == "tensor.extract_slice"]
    slices = [op for op in slices if op.operands[0] in paths]
    sources = {op.operands[0] for op in slices}
    if counts != {1} or len(sources) != 1 or not _are_columns(space, source := sources.pop(), paths[source]):
        return None
    numbered = {band_of(op): op.results[0] for op in slices}
    wanted = [(i, len(slices)) for i in range(len(slices))]
    return tuple(numbered[key] for key in wanted) if numbered.keys() == set(wanted) else None


def _are_columns(space: ContractionSpace, tensor: Value, path: Path) -> bool:
    """Whether the last dimension of a tensor is the product's columns."""
    shape, places = shape_of(tensor), space.place_dims()
    view = Strided.dense(shape).undone(path)
    return view is not None and view.joined([places.index(d) for d in space.n]) == ((shape[-1], 1),)


def bind_bands(evaluator: Evaluator, space: ContractionSpace, bands: Sequence[Value], totals: Sequence[Value]) -> None:
    """Let the product's element be `totals[i]` wherever band i is computed from it."""
    for band, total in zip(bands, totals, strict=True):
        if band == space.result:
            evaluator.bind(band, lambda _, total=total: total)
            continue

        def read(place: Place, band: Value = band, total: Value = total) -> Value:
            evaluator.bind(space.result, lambda _: total)
            return window(evaluator, band.owner.opview, band, place)

        evaluator.bind(band, read)
