"""Dispatches for the family `row_parts`: name -> function that gives the text."""

from collections.abc import Callable
from functools import partial

import cases


def _cases() -> dict[str, Callable[[], str]]:
    found: dict[str, Callable[[], str]] = {}
    for dtype in ("float32", "float16", "bfloat16", "float64", "int64", "int8"):
        found[f"leading-{dtype}"] = partial(cases.reduce, "sum", (640, 24), [0], dtype)
        found[f"all-{dtype}"] = partial(cases.reduce, "max", (40, 41, 7), [0, 1, 2], dtype)
    return found | {
        "rows": partial(cases.reduce, "sum", (5, 1000), [1], "int32"),
        "middle": partial(cases.mean_of_squares, (3, 600, 16), [1], "float32"),
        "outer-and-inner": partial(cases.reduce, "sum", (16, 7, 64), [0, 2], "float32"),
        "arg-max": partial(cases.arg_reduce, "max", (3, 1030), 1, "float32"),
        "arg-min-last": partial(cases.arg_reduce, "min", (3, 1024, 8), 1, "float16", True),
        "long": partial(cases.reduce, "min", (2, 300001), [1], "float32"),
    }


CASES = _cases()
