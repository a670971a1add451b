"""Latency percentiles."""

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Latency:
    """Wall times of a call in microseconds, each call timed by itself, after the warm-up calls."""

    iterations: int
    minimum: float
    mean: float
    p50: float
    p90: float
    p99: float

    def __str__(self) -> str:
        return (
            f"p50 {self.p50:.1f} us, p90 {self.p90:.1f} us, p99 {self.p99:.1f} us, "
            f"min {self.minimum:.1f} us, mean {self.mean:.1f} us, n={self.iterations}"
        )


def measure(call: Callable[[], object], iterations: int, warmup: int) -> Latency:
    for _ in range(warmup):
        call()
    times = np.empty(iterations)
    for i in range(iterations):
        start = time.perf_counter()
        call()
        times[i] = (time.perf_counter() - start) * 1e6
    p50, p90, p99 = np.percentile(times, [50, 90, 99])
    return Latency(iterations, float(times.min()), float(times.mean()), float(p50), float(p90), float(p99))
