"""Attention of many rows by name: masks, depths, layouts, grouped heads, ragged lengths."""

from collections.abc import Callable
from dataclasses import replace

from attention_cases import Attention, Open, in_runs

_PLAIN = Attention(h=4, g=2, m=200, n=333, d=128, e=128, b=1)
_VARIANTS = {
    "plain": {},
    "aligned": {"m": 256, "n": 384},
    "small": {"m": 32, "n": 17},
    "batches": {"b": 3, "m": 100, "n": 64, "h": 2},
    "long": {"m": 130, "n": 2000, "h": 2, "g": 1},
    "causal": {"causal": True, "m": 333},
    "causal-aligned": {"causal": True, "m": 512, "n": 512, "h": 2},
    "causal-offset": {"causal": True, "offset": 133},
    "causal-past": {"causal": True, "offset": 400, "n": 300},
    "causal-nothing": {"causal": True, "offset": -150},
    "window": {"causal": True, "m": 333, "window": 100},
    "window-long": {"causal": True, "m": 1200, "n": 1200, "window": 257, "h": 2, "g": 1},
    "window-offset": {"causal": True, "offset": 133, "window": 50},
    "window-nothing": {"causal": True, "offset": 250, "window": 20},
    "band": {"causal": True, "m": 333, "offset": 40, "window": 81},
    "first-keys-dropped": {"offset": 30, "window": 40},
    "window-masked": {"causal": True, "m": 333, "window": 100, "mask": "bool"},
    "bool-mask": {"mask": "bool"},
    "key-mask": {"mask": "keys"},
    "float-mask": {"mask": "float", "n": 334},
    "float32-mask": {"mask": "float32", "causal": True},
    "softcap": {"softcap": 5.0},
    "lengths": {"mask": "lengths", "b": 7},
    "lengths-causal": {"mask": "wide-lengths", "causal": True, "offset": -200, "b": 5},
    "lengths-window": {"mask": "lengths", "causal": True, "offset": -200, "window": 70, "n": 600, "b": 5},
    "lengths-capped": {"mask": "lengths", "causal": True, "offset": -200, "softcap": 3.0, "n": 384, "b": 5},
    "packed": {"packed": True},
    "everything": {"mask": "bool", "causal": True, "offset": 120, "softcap": 3.0, "packed": True, "b": 2},
    "depth-16": {"d": 16, "e": 16},
    "depth-64": {"d": 64, "e": 64},
    "depth-80": {"d": 80, "e": 80},
    "depth-96": {"d": 96, "e": 96, "packed": True},
    "depth-192": {"d": 192, "e": 128},
    "depth-256": {"d": 256, "e": 256},
    "depth-256-causal": {"d": 256, "e": 256, "causal": True, "m": 333},
}

CASES: dict[str, Callable[[], str]] = {
    f"{name}-{dtype}": replace(_PLAIN, dtype=dtype, **changes).text
    for name, changes in _VARIANTS.items()
    for dtype in ("float16", "bfloat16")
} | {
    "runs-of-64-float16": lambda: in_runs(replace(_PLAIN, m=256, n=384), (64, 64)),
    "runs-of-queries-bfloat16": lambda: in_runs(replace(_PLAIN, m=384, n=333, dtype="bfloat16"), (192, 333)),
}


def _self(**changes) -> Open:
    return lambda s: replace(_PLAIN, b=s["b"], m=s["m"], n=s["m"], **changes)


def _with_past(**changes) -> Open:
    return lambda s: replace(_PLAIN, b=s["b"], m=s["m"], n=s["past"] + s["m"], offset=s["past"], **changes)


OPEN: dict[str, Open] = {
    "full": _self(dtype="bfloat16"),
    "causal": _self(causal=True),
    "packed": _self(packed=True, dtype="bfloat16"),
    "masked": _self(causal=True, mask="keys"),
    "past": _with_past(causal=True, dtype="bfloat16"),
    "window": _with_past(causal=True, window=100),
    "lengths": _self(mask="lengths", dtype="bfloat16"),
}
"""Of sizes that are known when they run."""
