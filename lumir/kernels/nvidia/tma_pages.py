"""Matrices that lie in pages of one buffer, in the order of a table: what TMA reads of a gather of whole pages."""

import math
from collections.abc import Callable
from dataclasses import dataclass

from lumir.artifact.tensor_map import TensorMap
from lumir.kernels.contraction_space import ContractionSpace
from lumir.kernels.dispatch import Dispatch, element_of, shape_of
from lumir.kernels.evaluate import Evaluator
from lumir.kernels.index import ZERO, Index
from lumir.kernels.loop_nest import LoopNest
from lumir.kernels.nvidia.tma_operand import Matrices, operand_in
from lumir.kernels.strided import Factor, Factors, strided_view
from lumir.mlir import ir
from lumir.sizes import Dim, high, is_static

Value = ir.Value
SWIZZLED = 8
"""Lines that the swizzle permutes alike: a page begins with a whole number of them."""


@dataclass(frozen=True)
class Gathered:
    """A tensor of source[chosen, rest]: the first `depth` places choose a page, the others are the place in it.

    Args:
        chosen: the number of the page, in the body of the nest.
    """

    nest: LoopNest
    source: Value
    chosen: Value
    depth: int

    @staticmethod
    def of(dispatch: Dispatch, tensor: Value) -> "Gathered | None":
        """The tensor as whole pages of an argument; None for any other."""
        if isinstance(tensor.owner, ir.Block) or tensor.owner.name != "linalg.generic":
            return None
        nest = LoopNest.of(tensor.owner)
        read = list(nest.block.operations)[-1].operands[0].owner
        if nest.reductions or nest.output_maps[0] != ir.AffineMap.get_identity(nest.rank):
            return None
        if isinstance(read, ir.Block) or read.name != "tensor.extract" or read.operands[0] not in dispatch.arguments:
            return None
        source, chosen, *rest = read.operands
        depth = nest.rank - len(rest)
        if [_dimension(place) for place in rest] != list(range(depth, nest.rank)) or _dimension(chosen) is not None:
            return None
        uses = [e for m in nest.maps for e in m.results]
        outer = all(isinstance(e, ir.AffineDimExpr) and e.position < depth for e in uses)
        return Gathered(nest, source, chosen, depth) if outer else None

    def page(self, evaluator: Evaluator, number: Index) -> Value:
        """Which page of the source is the one of this number, counted through the places that choose."""
        sizes = self.nest.sizes
        place = evaluator.index.delinearize(number, sizes[: self.depth])
        dims = [*place, *([ZERO] * (len(sizes) - self.depth))]

        def no_output(_number: int) -> Value:
            raise AssertionError("a gather does not read what it writes")

        return evaluator.inside(self.nest, dims, no_output, [self.chosen])[0]


def _dimension(value: Value) -> int | None:
    is_index = not isinstance(value.owner, ir.Block) and value.owner.name == "linalg.index"
    return value.owner.attributes["dim"].value if is_index else None


@dataclass(frozen=True)
class PagedMatrices:
    """A batch of matrices, lines by columns, of which every so many lines are a page.

    Args:
        pages: one matrix of each page, the page being its last batch factor.
        lines, batch: the factors of each as if pages lay in order; those from a page's size on choose the page.
        elements: of a page.
        table: the arguments that say the order.
    """

    gathered: Gathered
    pages: Matrices
    lines: Factors
    batch: Factors
    elements: int
    table: tuple[int, ...]

    @property
    def args(self) -> tuple[int, ...]:
        """The buffers that are read."""
        return (self.pages.arg, *self.table)

    @property
    def page_lines(self) -> int:
        return int(self.lines[-1][0])

    def box_lines(self, lines: int) -> int:
        """Lines that one copy can bring of so many."""
        return min(lines, self.page_lines)

    def problems(self, lines: int, _box_columns: int) -> list[str]:
        """Why TMA cannot bring so many lines from every multiple of them on."""
        page = self.page_lines
        return [] if lines % page == 0 or page % lines == 0 else [f"{lines} lines are not whole pages of {page}"]

    def tensor_map(self, box_lines: int, box_columns: int) -> TensorMap:
        return self.pages.tensor_map(box_lines, box_columns)

    def boxes(self, evaluator: Evaluator, batch: Index, line: Index, lines: int) -> Callable[[Index], list[Value]]:
        """The coordinates, by column, of the box of so many lines that starts at a line; past the end, of the last."""
        index = evaluator.index
        total = math.prod(size for size, _ in self.lines)
        places = index.delinearize(index.minimum(line, total - lines), [size for size, _ in self.lines])
        batches = index.delinearize(batch, [size for size, _ in self.batch]) if self.batch else ()
        number, inner = ZERO, []
        for place, (_, stride) in zip((*places[:-1], *batches), (*self.lines[:-1], *self.batch), strict=True):
            if self._chooses(stride):
                number = index.add(number, index.scale(place, stride // self.elements))
            else:
                inner.append(place)
        page = self.gathered.page(evaluator, number)
        rest = [index.scalar(at.base) for at in (places[-1], *inner)]
        return lambda column: [index.scalar(column.base), *rest, page]

    def _chooses(self, stride: Dim) -> bool:
        return high(stride) >= self.elements


def paged_along(
    dispatch: Dispatch, space: ContractionSpace, number: int, *, along_k: bool, box_columns: int
) -> PagedMatrices | None:
    """How TMA reads two-byte elements of an input that is gathered page by page; None where it cannot."""
    found = strided_view(space.operand(number), lambda tensor: Gathered.of(dispatch, tensor) is not None)
    gathered = found and Gathered.of(dispatch, found[0])
    if found is None or gathered is None:
        return None
    elements = math.prod(shape_of(found[0])[gathered.depth :])
    arg = dispatch.arguments.index(gathered.source)
    operand = operand_in(space, number, arg, found[1])
    if operand is None or operand.along_k != along_k or not is_static(elements) or found[1].offset != 0:
        return None
    whole = operand.matrices
    assert isinstance(whole, Matrices)
    lines, batch = (_split_at(factors, elements) for factors in (whole.lines, whole.batch))
    if not lines or batch is None or lines[-1][1] >= elements or any(high(s) < elements for _, s in lines[:-1]):
        return None
    inner = tuple(factor for factor in batch if high(factor[1]) < elements)
    pages = (shape_of(gathered.source)[0], elements)
    matrices = Matrices(arg, element_of(found[0]), (lines[-1],), whole.columns, (*inner, pages), 0)
    page = lines[-1][0]
    if not is_static(page) or page % SWIZZLED or matrices.size != 2 or matrices.problems(1, box_columns):
        return None
    table = tuple(i for i, a in enumerate(dispatch.arguments) if _reaches(a, gathered.nest.inputs))
    return PagedMatrices(gathered, matrices, lines, batch, elements, table)


def _split_at(factors: Factors, elements: int) -> Factors | None:
    """The factors with none that runs both inside of a page and from page to page; None where a page is not whole."""
    found: list[Factor] = []
    for size, stride in factors:
        if high(stride) >= elements or high(size) * high(stride) <= elements:
            found.append((size, stride))
        elif elements % stride != 0 or size * stride % elements != 0:
            return None
        else:
            found += [(size * stride // elements, elements), (elements // stride, stride)]
    return tuple(found)


def _reaches(argument: Value, tensors: list[Value]) -> bool:
    return any(
        tensor == argument
        or (not isinstance(tensor.owner, ir.Block) and _reaches(argument, list(tensor.owner.operands)))
        for tensor in tensors
    )
