"""Fourier transforms against numpy's in float64, at lengths of every kind: prime, square, smooth, twice a prime."""

from typing import Any

import numpy as np
import pytest
from import_helpers import model, node, run

LENGTHS = (1, 2, 3, 8, 9, 10, 12, 31, 60, 97, 122, 128, 400, 1000, 4096)


def evaluate(x: np.ndarray, length: int | None = None, **attributes: Any) -> np.ndarray:
    """DFT of x [batch, n, channels, parts] along axis 1, as complex numbers or, of the one-sided inverse, as reals."""
    weights = {"axis": np.array(1)} | ({} if length is None else {"length": np.array(length)})
    proto = model(
        [node("DFT", f"x {'-' if length is None else 'length'} axis", **attributes)], {"x": x}, ["y"], weights
    )
    found = run(proto, {"x": x})["y"].astype(np.float64)
    return found[..., 0] + 1j * found[..., 1] if found.shape[-1] == 2 else found[..., 0]


def signal(length: int, parts: int) -> tuple[np.ndarray, np.ndarray]:
    x = np.random.default_rng(length).standard_normal((2, length, 3, parts)).astype(np.float32)
    return x, x[..., 0] + 1j * (x[..., 1] if parts == 2 else 0)


def check(found: np.ndarray, expected: np.ndarray) -> None:
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() <= 1e-6 * np.abs(expected).max()


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("parts", [1, 2])
def test_forward_and_inverse(length, parts):
    x, values = signal(length, parts)
    check(evaluate(x), np.fft.fft(values, axis=1))
    check(evaluate(x, inverse=1), np.fft.ifft(values, axis=1))


@pytest.mark.parametrize("length", LENGTHS)
def test_half_of_the_spectrum_of_a_real_signal_and_back(length):
    x, values = signal(length, 1)
    half = np.fft.rfft(np.real(values), axis=1)
    check(evaluate(x, onesided=1), half)
    spectrum = np.stack([np.real(half), np.imag(half)], -1).astype(np.float32)
    check(evaluate(spectrum, length, onesided=1, inverse=1), np.real(values))


@pytest.mark.parametrize("length", [6, 10, 17])
def test_a_length_pads_or_crops(length):
    x, values = signal(10, 2)
    check(evaluate(x, length), np.fft.fft(values, length, axis=1))


@pytest.mark.parametrize("length", [10, 64, 122])
def test_the_middle_of_a_real_signals_spectrum_is_real(length):
    x, _ = signal(length, 1)
    assert not np.imag(evaluate(x))[:, [0, length // 2]].any()


def test_a_large_prime_factor_is_refused():
    x = np.zeros((1, 8191, 1, 1), np.float32)
    with pytest.raises(Exception, match="prime factor 8191"):
        evaluate(x)
