"""Dispatches for the family `top_k`: name -> function that gives the text."""

from collections.abc import Callable
from functools import partial

import cases

DTYPES = ("float32", "float16", "bfloat16", "float64", "int64", "int8", "uint8")


def _top_k(shape: tuple[int, ...], k: int, dtype: str, largest: bool = True) -> Callable[[], str]:
    return partial(cases.op, "top_k", (shape, dtype), k=k, largest=largest)


def _cases() -> dict[str, Callable[[], str]]:
    found: dict[str, Callable[[], str]] = {}
    for dtype in DTYPES:
        found[f"largest-{dtype}"] = _top_k((7, 130), 9, dtype)
        found[f"smallest-{dtype}"] = _top_k((3, 5, 37), 37, dtype, largest=False)
    return found | {
        "experts": _top_k((300, 8), 2, "float32"),
        "one": _top_k((5, 1), 1, "float32"),
        "one-row": _top_k((1031,), 40, "float32"),
        "long": _top_k((2, 32003), 50, "float16"),
        "many": _top_k((2, 3001), 700, "float32"),
        "no-rows": _top_k((0, 6), 3, "float32"),
    }


CASES = _cases()
