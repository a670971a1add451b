"""Index arithmetic while a kernel is written: lanes side by side, constants folded, multiples remembered.

An `Index` is where `lanes` neighbouring elements stand along one dimension: lane l is at `base + l * step`. Keeping
that form symbolic is what turns a chain of views into one contiguous vector load.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from lumir.diagnostics import InternalError
from lumir.mlir import arith, ir, vector
from lumir.sizes import Dim, Size, divisor
from lumir.sizes import maximum as larger
from lumir.sizes import minimum as smaller

Value = ir.Value


def is_fixed(x: "Dim | Value") -> bool:
    """Whether it is known at compile time or at the launch: an int or a Size."""
    return isinstance(x, int | Size)


@dataclass(frozen=True)
class Index:
    """Lane l stands at `base + l * step`.

    Args:
        base: a Python int, a Size, or a scalar; a vector with one element a lane where `step` is None.
        step: the distance between lanes; 0 where all lanes are at one place.
        multiple: `base` is known to be divisible by it.
    """

    base: "Dim | Value"
    step: Dim | None = 0
    multiple: int = 1

    @property
    def uniform(self) -> bool:
        return self.step == 0

    @property
    def known(self) -> int:
        """The largest known divisor of the base; 0 for a base of 0, which every number divides."""
        return divisor(self.base) if is_fixed(self.base) else self.multiple


ZERO = Index(0)
Place = tuple[Index, ...]


class IndexMath:
    """Builds index arithmetic in integers of one width.

    Args:
        type: i64 on a CPU; i32 on a GPU when every buffer has fewer than 2**31 elements.
        lanes: the number of lanes of an index that is not uniform.
        size: gives the value of a Size, which the kernel gets at its launch, as a scalar of the width.
    """

    def __init__(self, type: ir.Type, lanes: int = 1, size: Callable[[Size], Value] | None = None):
        self.type, self.lanes, self.size = type, lanes, size

    def constant(self, value: Dim) -> Value:
        """A number, or the value of a Size."""
        if isinstance(value, Size):
            if self.size is None:
                raise InternalError("a kernel that knows fixed sizes only needs a size", values={"size": value})
            return self.size(value)
        return arith.ConstantOp(self.type, ir.IntegerAttr.get(self.type, value)).result

    def scalar(self, x: "Dim | Value") -> Value:
        """An int, Size or scalar as a scalar of this width."""
        return self.constant(x) if is_fixed(x) else x

    def ramp(self, step: Dim) -> Value:
        """The vector [0, step, 2 * step, ...]."""
        if isinstance(step, Size):
            return arith.MulIOp(self.ramp(1), self.splat(self.constant(step))).result
        type_ = ir.VectorType.get([self.lanes], self.type)
        elements = [ir.IntegerAttr.get(self.type, lane * step) for lane in range(self.lanes)]
        return arith.ConstantOp(type_, ir.DenseElementsAttr.get(elements, type_)).result

    def splat(self, x: Value) -> Value:
        return vector.BroadcastOp(ir.VectorType.get([self.lanes], x.type), x).result

    def value(self, x: Index) -> Value:
        """The index as a scalar where it is uniform, else as a vector with one element a lane."""
        base = self.scalar(x.base)
        if x.step is None or x.step == 0:
            return base
        return arith.AddIOp(self.splat(base), self.ramp(x.step)).result

    def wide(self, x: Index) -> Value:
        """The index as a vector with one element a lane."""
        value = self.value(x)
        return self.splat(value) if x.uniform else value

    def add(self, x: Index, y: Index) -> Index:
        if x.base == 0 and x.uniform:
            return y
        if y.base == 0 and y.uniform:
            return x
        if x.step is None or y.step is None:
            return Index(arith.AddIOp(self.wide(x), self.wide(y)).result, None)
        if is_fixed(x.base) and is_fixed(y.base):
            return Index(x.base + y.base, x.step + y.step)
        base = arith.AddIOp(self.scalar(x.base), self.scalar(y.base)).result
        return Index(base, x.step + y.step, math.gcd(x.known, y.known))

    def offset(self, x: Index, by: Dim) -> Index:
        return self.add(x, Index(by))

    def scale(self, x: Index, by: Dim) -> Index:
        if by == 1:
            return x
        if by == 0:
            return ZERO
        if is_fixed(x.base):
            return Index(x.base * by, None if x.step is None else x.step * by)
        factor = self.constant(by)
        if x.step is None:
            return Index(arith.MulIOp(x.base, self.splat(factor)).result, None)
        return Index(arith.MulIOp(x.base, factor).result, x.step * by, x.multiple * divisor(by))

    def divmod(self, x: Index, by: Dim) -> tuple[Index, Index]:
        """Quotient and remainder of a non-negative index by a size; of 0, the extent of an empty tensor, as of 1."""
        if by == 0:
            return ZERO, ZERO
        by = larger(by, 1)
        if by == 1:
            return x, ZERO
        if is_fixed(x.base) and x.uniform:
            return Index(x.base // by), Index(x.base % by)
        if x.known % by == 0 and (x.uniform or self._inside(x, by)):
            return self._quotient(x, by), Index(0, x.step)
        if x.uniform or self._inside(x, by):
            factor = self.constant(by)
            base = self.scalar(x.base)
            quotient = arith.DivUIOp(base, factor).result
            return Index(quotient), Index(arith.RemUIOp(base, factor).result, x.step, math.gcd(x.known, divisor(by)))
        wide, factor = self.wide(x), self.splat(self.constant(by))
        return Index(arith.DivUIOp(wide, factor).result, None), Index(arith.RemUIOp(wide, factor).result, None)

    def _quotient(self, x: Index, by: Dim) -> Index:
        if is_fixed(x.base):
            return Index(x.base // by)
        return Index(arith.DivUIOp(x.base, self.constant(by)).result, 0, max(x.multiple // by, 1))

    def _inside(self, x: Index, by: Dim) -> bool:
        """All lanes of `x` fall into one block of `by`: consecutive, and aligned so that none crosses."""
        return x.step == 1 and by % self.lanes == 0 and x.known % self.lanes == 0

    def minimum(self, x: Index, limit: Dim) -> Index:
        return self._limited(x, limit, arith.MinSIOp, smaller)

    def maximum(self, x: Index, limit: Dim) -> Index:
        return self._limited(x, limit, arith.MaxSIOp, larger)

    def _limited(self, x: Index, limit: Dim, op: type, fold: Callable[[Dim, Dim], Dim]) -> Index:
        if x.uniform and is_fixed(x.base):
            return Index(fold(x.base, limit))
        if x.uniform:
            return Index(op(x.base, self.constant(limit)).result, 0, math.gcd(x.multiple, divisor(limit)))
        return Index(op(self.wide(x), self.splat(self.constant(limit))).result, None)

    def below(self, x: Index, limit: Dim) -> Value:
        """`0 <= x < limit` as an i1, or one i1 a lane."""
        limited = self.constant(limit)
        value = self.value(x)
        return arith.CmpIOp(arith.CmpIPredicate.ult, value, limited if x.uniform else self.splat(limited)).result

    def delinearize(self, x: Index, sizes: Sequence[Dim]) -> Place:
        """The place of row-major position `x` in a tensor of these sizes."""
        place: list[Index] = []
        for size in reversed(sizes[1:]):
            x, inner = self.divmod(x, size)
            place.append(inner)
        return (x, *reversed(place)) if sizes else ()

    def linearize(self, place: Sequence[Index], sizes: Sequence[Dim]) -> Index:
        """The row-major position of a place."""
        total, stride = ZERO, 1
        for index, size in zip(reversed(place), reversed(sizes), strict=True):
            total = self.add(total, self.scale(index, stride))
            stride *= size
        return total

    def evaluate(self, expression: ir.AffineExpr, dims: Sequence[Index]) -> Index:
        """An affine expression of the iteration dimensions."""
        match expression:
            case ir.AffineDimExpr():
                return dims[expression.position]
            case ir.AffineConstantExpr():
                return Index(expression.value)
            case ir.AffineAddExpr():
                return self.add(self.evaluate(expression.lhs, dims), self.evaluate(expression.rhs, dims))
            case ir.AffineMulExpr():
                factor = ir.AffineConstantExpr(expression.rhs).value
                return self.scale(self.evaluate(expression.lhs, dims), factor)
        quotient, remainder = self.divmod(
            self.evaluate(expression.lhs, dims), ir.AffineConstantExpr(expression.rhs).value
        )
        return quotient if isinstance(expression, ir.AffineFloorDivExpr) else remainder
