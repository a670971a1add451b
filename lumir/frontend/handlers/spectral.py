"""Fourier transforms, as products with matrices of roots of unity."""

import numpy as np

from lumir.dialects.base import normalize_axis
from lumir.frontend import emit
from lumir.frontend.context import NodeContext
from lumir.frontend.registry import Result, handler
from lumir.mlir import ir

LONGEST = 4096


def transform(size: int, parts: int, onesided: bool, inverse: bool) -> np.ndarray:
    """M [size, parts, k, 2] with y[k, z] = sum over n and c of x[n, c] M[n, c, k, z]; c and z are real, imaginary."""
    count = size // 2 + 1 if onesided else size
    angle = 2 * np.pi / size * (np.outer(np.arange(size), np.arange(count)) % size)
    angle = angle if inverse else -angle
    cos, sin = np.cos(angle), np.sin(angle)
    rows = [np.stack([cos, sin], -1), np.stack([-sin, cos], -1)][:parts]
    return np.stack(rows, 1) / (size if inverse else 1)


def real_inverse(size: int) -> np.ndarray:
    """M [k, 2, size, 1] that turns the first half of a spectrum, whose rest is its mirror image, into a real signal."""
    count = size // 2 + 1
    angle = 2 * np.pi / size * (np.outer(np.arange(count), np.arange(size)) % size)
    twice = np.full((count, 1), 2.0)
    twice[0] = 1
    if size % 2 == 0:
        twice[-1] = 1
    return np.stack([twice * np.cos(angle), -twice * np.sin(angle)], 1)[..., None] / size


@handler("DFT", since=20)
def dft(ctx: NodeContext) -> Result:
    return _dft(ctx, ctx.ints(2, "axis", [-2])[0])


@handler("DFT", since=17)
def dft_17(ctx: NodeContext) -> Result:
    return _dft(ctx, ctx.attribute("axis", 1))


def _dft(ctx: NodeContext, axis: int) -> Result:
    x = ctx.value(0)
    rank, parts = emit.rank(x), emit.shape(x)[-1]
    axis = normalize_axis(axis, rank)
    inverse, onesided = bool(ctx.attribute("inverse", 0)), bool(ctx.attribute("onesided", 0))
    half = inverse and onesided
    size = emit.shape(x)[axis]
    length = ctx.ints(1, "dft_length", [2 * (size - 1) if half else size])[0]
    used = length // 2 + 1 if half else length
    low, high = [0] * rank, [0] * rank
    high[axis] = used - size
    x = emit.pad(x, low, high)
    return _apply(ctx, x, axis, real_inverse(length) if half else transform(length, parts, onesided, inverse))


def _apply(ctx: NodeContext, x: ir.Value, axis: int, matrix: np.ndarray) -> ir.Value:
    if max(matrix.shape) > LONGEST:
        ctx.refuse(f"transforms of more than {LONGEST} points are not supported")
    labels = emit.LABELS[: emit.rank(x)]
    out = labels[:-1].replace(labels[axis], "y") + "z"
    equation = f"{labels},{labels[axis]}{labels[-1]}yz->{out}"
    constant = ctx.constant(matrix.astype(emit.dtype(x)))
    return emit.contract(x, constant, equation)


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
    onesided = bool(ctx.attribute("onesided", 1))
    return _apply(ctx, taken, 2, transform(length, emit.shape(signal)[2], onesided, inverse=False))
