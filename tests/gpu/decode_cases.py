"""Attention of few rows by name: groups of heads, masks, depths, layouts, ragged and tiny lengths."""

from collections.abc import Callable
from dataclasses import replace

from attention_cases import Attention, Open

_PLAIN = Attention(h=8, g=2, m=1, n=300, d=128, e=128)
_VARIANTS = {
    "grouped": {},
    "aligned": {"n": 512},
    "long": {"n": 5000, "b": 1},
    "unwritten": {"n": 900, "unwritten": True},
    "one-head": {"h": 2, "g": 2},
    "sixteen-rows": {"h": 16, "g": 1},
    "twelve-rows": {"h": 8, "g": 2, "m": 3},
    "twenty-rows": {"h": 8, "g": 2, "m": 5},
    "forty-rows": {"h": 8, "g": 1, "m": 5, "causal": True, "offset": 290, "d": 64, "e": 64},
    "few-keys": {"n": 17},
    "causal": {"causal": True, "m": 4, "offset": 296},
    "causal-short": {"causal": True, "m": 4, "offset": 100},
    "causal-nothing": {"causal": True, "m": 4, "offset": -2},
    "window": {"causal": True, "offset": 299, "window": 100},
    "window-long": {"causal": True, "offset": 4990, "window": 1024, "n": 5000, "m": 3},
    "window-nothing": {"causal": True, "m": 4, "offset": 310, "window": 12},
    "band": {"causal": True, "m": 4, "offset": 120, "window": 33},
    "first-keys-dropped": {"offset": 130, "window": 40},
    "bool-mask": {"mask": "bool", "m": 2},
    "key-mask": {"mask": "keys"},
    "float-mask": {"mask": "float"},
    "float32-mask": {"mask": "float32", "m": 2},
    "softcap": {"softcap": 5.0},
    "packed": {"packed": True, "m": 2},
    "everything": {"mask": "bool", "causal": True, "offset": 250, "softcap": 3.0, "m": 4, "packed": True},
    "depth-32": {"d": 32, "e": 32},
    "depth-64": {"d": 64, "e": 64},
    "depth-96": {"d": 96, "e": 96},
    "depth-192": {"d": 192, "e": 128},
    "depth-256": {"d": 256, "e": 256},
}

CASES: dict[str, Callable[[], str]] = {
    f"{name}-{dtype}": replace(_PLAIN, dtype=dtype, **changes).text
    for name, changes in _VARIANTS.items()
    for dtype in ("float16", "bfloat16")
}


def _after(**changes) -> Open:
    """One query behind a past, itself the last key."""
    return lambda s: replace(_PLAIN, b=2, n=s["past"] + 1, offset=s["past"], **changes)


OPEN: dict[str, Open] = {
    "past": _after(),
    "window": _after(causal=True, window=200, dtype="bfloat16"),
    "masked": _after(mask="keys"),
}
"""Of sizes that are known when they run."""
