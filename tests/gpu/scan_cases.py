"""Dispatches for the family `scan`: name -> function that gives the text."""

from collections.abc import Callable
from functools import partial

import cases

DTYPES = ("float32", "float16", "bfloat16", "float64", "int64", "int32", "int8", "uint8")


def _scan(
    shape: tuple[int, ...], axis: int, dtype: str, kind: str = "sum", exclusive: bool = False, reverse: bool = False
) -> Callable[[], str]:
    return partial(cases.op, "scan", (shape, dtype), kind=kind, axis=axis, exclusive=exclusive, reverse=reverse)


def _cases() -> dict[str, Callable[[], str]]:
    found: dict[str, Callable[[], str]] = {}
    for dtype in DTYPES:
        found[f"sum-{dtype}"] = _scan((9, 264), 1, dtype)
        found[f"reverse-{dtype}"] = _scan((5, 100), 1, dtype, reverse=True)
        found[f"exclusive-{dtype}"] = _scan((3, 70, 24), 1, dtype, exclusive=True)
        found[f"max-{dtype}"] = _scan((4, 33), 1, dtype, kind="max", exclusive=dtype != "float16", reverse=True)
    return found | {
        "prod-int32": _scan((6, 77), 1, "int32", kind="prod"),
        "leading": _scan((300, 12), 0, "float32", reverse=True),
        "both": _scan((4, 50, 7), 1, "float32", exclusive=True, reverse=True),
        "one-line": _scan((5000,), 0, "int32"),
        "long": _scan((3, 40000), 1, "float32"),
        "one": _scan((5, 1), 1, "float32"),
        "empty": _scan((5, 0), 1, "float32"),
    }


CASES = _cases()
