"""Fourier transforms by the factors of their length: products with small matrices of roots of unity."""

import math

import numpy as np

from lumir.dialects.base import normalize_axis
from lumir.frontend import emit
from lumir.frontend.context import NodeContext
from lumir.frontend.registry import Result, handler
from lumir.mlir import ir

DIRECT = 8
LONGEST_PRIME = 4096


def factors(size: int, real: bool) -> tuple[int, int]:
    """Two factors as near to each other as can be, or (1, size) where the transform is one product.

    The smaller one comes first; of a real signal it comes last and is even where it can be, so that what must be real
    in the spectrum, its first and its middle element, is so exactly.
    """
    if size <= DIRECT:
        return 1, size
    step = 2 if real and size % 2 == 0 else 1
    low = next((d for d in range(math.isqrt(size) // step * step, 1, -step) if size % d == 0), 1)
    return (size // low, low) if real and low > 1 else (low, size // low)


def roots(size: int, exponents: np.ndarray, inverse: bool) -> tuple[np.ndarray, np.ndarray]:
    """Real and imaginary parts of exp(-2 pi i / size) ** exponents, conjugated for the inverse transform."""
    angle = 2 * np.pi / size * (exponents % size)
    real, imaginary = (np.where(np.abs(part) < 1e-15, 0, part) for part in (np.cos(angle), np.sin(angle)))
    return real, imaginary if inverse else -imaginary


def matrix(size: int, count: int, parts: int, inverse: bool) -> np.ndarray:
    """M [size, parts, count, 2] with y[k, z] = sum over n, c of x[n, c] M[n, c, k, z]; c and z: real, imaginary."""
    real, imaginary = roots(size, np.outer(np.arange(size), np.arange(count)), inverse)
    rows = [np.stack([real, imaginary], -1), np.stack([-imaginary, real], -1)][:parts]
    return np.stack(rows, 1)


def transform(ctx: NodeContext, x: ir.Value, axis: int, inverse: bool, count: int | None = None) -> ir.Value:
    """The first `count` frequencies (by default all) of x [..., n, ..., 1 or 2] along `axis`: [..., count, ..., 2].

    For n = a b it is a transform of length a over the elements n / a apart, a rotation by exp(-2 pi i k m / n), and a
    transform of length b. J. W. Cooley, J. W. Tukey: An Algorithm for the Machine Calculation of Complex Fourier
    Series, Mathematics of Computation 19 (1965).
    """
    size, dims = emit.shape(x)[axis], emit.shape(x)
    count = count or size
    outer, inner = factors(size, real=dims[-1] == 1)
    if outer == 1:
        return _product(ctx, x, axis, inverse, count)
    split = emit.reshape(x, [*dims[:axis], outer, inner, *dims[axis + 1 :]])
    turned = _rotate(ctx, transform(ctx, split, axis, inverse), axis, inverse)
    columns = transform(ctx, turned, axis + 1, inverse, -(-count // outer))
    order = list(range(emit.rank(columns)))
    order[axis : axis + 2] = axis + 1, axis
    rows = emit.transpose(columns, order)
    merged = emit.reshape(rows, [*dims[:axis], -(-count // outer) * outer, *dims[axis + 1 : -1], 2])
    return emit.slice_(merged, axis, 0, count)


def _product(ctx: NodeContext, x: ir.Value, axis: int, inverse: bool, count: int) -> ir.Value:
    size, parts = emit.shape(x)[axis], emit.shape(x)[-1]
    if size > LONGEST_PRIME:
        ctx.refuse(f"its length has the prime factor {size}; up to {LONGEST_PRIME} are supported")
    labels = emit.LABELS[: emit.rank(x)]
    out = labels[:-1].replace(labels[axis], "y") + "z"
    constant = ctx.constant(matrix(size, count, parts, inverse).astype(emit.dtype(x)))
    return emit.contract(x, constant, f"{labels},{labels[axis]}{labels[-1]}yz->{out}")


def _rotate(ctx: NodeContext, x: ir.Value, axis: int, inverse: bool) -> ir.Value:
    """x [..., a, b, ..., 2] times a root of unity of order a b, to the power (place along a) * (place along b)."""
    a, b = emit.shape(x)[axis : axis + 2]
    real, imaginary = roots(a * b, np.outer(np.arange(a), np.arange(b)), inverse)
    dims = [a, b, *[1] * (emit.rank(x) - axis - 3), 2]
    straight, crossed = (
        ctx.constant(np.stack(pair, -1).reshape(dims).astype(emit.dtype(x)))
        for pair in ((real, real), (-imaginary, imaginary))
    )
    swapped = emit.reverse(x, [emit.rank(x) - 1])
    return emit.add(emit.mul(x, straight), emit.mul(swapped, crossed))


@handler("DFT", since=20)
def dft(ctx: NodeContext) -> Result:
    return _dft(ctx, ctx.ints(2, "axis", [-2])[0])


@handler("DFT", since=17)
def dft_17(ctx: NodeContext) -> Result:
    return _dft(ctx, ctx.attribute("axis", 1))


def _dft(ctx: NodeContext, axis: int) -> Result:
    x = ctx.value(0)
    axis = normalize_axis(axis, emit.rank(x))
    inverse, onesided = bool(ctx.attribute("inverse", 0)), bool(ctx.attribute("onesided", 0))
    size = emit.shape(x)[axis]
    if inverse and onesided:
        length = ctx.ints(1, "dft_length", [2 * (size - 1)])[0]
        whole = _mirrored(_resized(x, axis, length // 2 + 1), axis, length)
        result = emit.slice_(transform(ctx, whole, axis, True), emit.rank(x) - 1, 0, 1)
    else:
        length = ctx.ints(1, "dft_length", [size])[0]
        count = length // 2 + 1 if onesided else length
        result = transform(ctx, _resized(x, axis, length), axis, inverse, count)
    return emit.div(result, length) if inverse else result


def _resized(x: ir.Value, axis: int, size: int) -> ir.Value:
    """x cropped, or padded with zeros, to `size` elements along `axis`."""
    high = [size - d if i == axis else 0 for i, d in enumerate(emit.shape(x))]
    return emit.pad(x, [0] * len(high), high)


def _mirrored(x: ir.Value, axis: int, length: int) -> ir.Value:
    """The whole spectrum of a real signal of `length` elements from its first half."""
    rest = length - emit.shape(x)[axis]
    if rest == 0:
        return x
    tail = emit.reverse(emit.slice_(x, axis, 1, rest), [axis])
    conjugated = emit.mul(tail, emit.constant(np.array([1, -1], emit.dtype(x))))
    return emit.concat([x, conjugated], axis)


@handler("STFT", since=17)
def stft(ctx: NodeContext) -> Result:
    """The transform of each window of the signal [b, n, parts]: [b, frames, k, 2]."""
    signal, step = ctx.value(0), ctx.ints(1, "frame_step")[0]
    length = emit.shape(signal)[1]
    if ctx.has(2):
        length = ctx.tensor(2).shape[0]
    length = ctx.ints(3, "frame_length", [length])[0]
    frames = (emit.shape(signal)[1] - length) // step + 1
    places = np.arange(frames)[:, None] * step + np.arange(length)
    taken = emit.gather(signal, ctx.constant(places.astype(np.int64)), 1)
    if ctx.has(2):
        taken = emit.mul(taken, emit.along(ctx.value(2), 2, 4))
    count = length // 2 + 1 if ctx.attribute("onesided", 1) else length
    return transform(ctx, taken, 2, inverse=False, count=count)
