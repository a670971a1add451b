"""Dispatches for the family `rows`: name -> function that gives the text."""

from collections.abc import Callable
from functools import partial

import cases

from lumir.measure.suite.rows import norm_quantise

FLOATS = ("float32", "float16", "bfloat16", "float64")


def _cases() -> dict[str, Callable[[], str]]:
    found: dict[str, Callable[[], str]] = {}
    for dtype in FLOATS:
        found[f"softmax-{dtype}"] = partial(cases.softmax, (33, 384), 1, dtype)
        found[f"softmax-ragged-{dtype}"] = partial(cases.softmax, (3, 5, 77), 2, dtype)
        found[f"layer-norm-{dtype}"] = partial(cases.layer_norm, (21, 768), dtype)
        found[f"mean-of-squares-{dtype}"] = partial(cases.mean_of_squares, (9, 100, 16), [1], dtype)
        found[f"max-{dtype}"] = partial(cases.reduce, "max", (40, 96), [0], dtype)
    for dtype in ("int64", "int32", "int8", "uint8"):
        found[f"sum-{dtype}"] = partial(cases.reduce, "sum", (17, 320), [1], dtype)
        found[f"prod-{dtype}"] = partial(cases.reduce, "prod", (320, 24), [0], dtype)
        found[f"min-{dtype}"] = partial(cases.reduce, "min", (5, 12, 33), [0, 2], dtype)
    for dtype in ("float32", "int64", "int8", "float64"):
        for last in (False, True):
            name = f"{dtype}{'-last' if last else ''}"
            found[f"arg-max-{name}"] = partial(cases.arg_reduce, "max", (13, 250), 1, dtype, last)
            found[f"arg-min-{name}"] = partial(cases.arg_reduce, "min", (6, 70, 12), 1, dtype, last)
    return found | {
        "any": partial(cases.reduce, "max", (40, 100), [0], "bool"),
        "all": partial(cases.reduce, "min", (40, 128), [1], "bool"),
        "one-row": partial(cases.reduce, "sum", (100000,), [0], "int32"),
        "one-row-of-floats": partial(cases.reduce, "min", (100001,), [0], "float32"),
        "small-images": partial(cases.mean_of_squares, (2, 32, 2, 2), [2, 3], "float32"),
        "everything": partial(cases.reduce, "max", (3, 4, 5), [0, 1, 2], "float32"),
        "one-column": partial(cases.softmax, (70, 1), 1, "float32"),
        "two-columns": partial(cases.softmax, (70, 2), 1, "float16"),
        "no-columns": partial(cases.reduce, "sum", (6, 0), [1], "float32"),
        "no-rows": partial(cases.reduce, "sum", (0, 6), [1], "float32"),
        "outer-and-inner": partial(cases.reduce, "sum", (6, 7, 8, 16), [1, 3], "float32"),
        "images": partial(cases.mean_of_squares, (2, 8, 7, 7), [2, 3], "float16"),
        "norm-of-two": partial(cases.layer_norm, (8, 6, 20), "float32", 1),
        "softmax-across": partial(cases.softmax, (4, 30, 64), 1, "float16"),
        "softmax-long": partial(cases.softmax, (3, 20000), 1, "float32"),
        "log-softmax": partial(cases.softmax, (12, 1000), 1, "float32", log=True),
        "norm-quantised-int8": partial(norm_quantise, 7, 1536, "bfloat16", "int8"),
        "norm-quantised-float8_e4m3fn": partial(norm_quantise, 5, 4104, "float16", "float8_e4m3fn"),
        "arg-max-long": partial(cases.arg_reduce, "max", (3, 30011), 1, "float32"),
        "softmax-beyond-registers": partial(cases.softmax, (2, 600004), 1, "bfloat16"),
        "layer-norm-bfloat16-wide": partial(cases.layer_norm, (9, 4096), "bfloat16"),
        "layer-norm-many": partial(cases.layer_norm, (2200, 512), "bfloat16"),
        "layer-norm-long": partial(cases.layer_norm, (4, 8192), "bfloat16"),
    }


CASES = _cases()
