"""Element-wise dispatches with operands that lie along another dimension than the results, by name."""

from collections.abc import Callable, Sequence

import cases

from lumir.dialects import build
from lumir.dtypes import mlir_type
from lumir.mlir import ir

Shape = Sequence[int]


def plain(shape: Shape, permutation: Sequence[int], dtype: str) -> str:
    return cases.op("transpose", (shape, dtype), permutation=list(permutation))


def fused(rows: int, columns: int, dtype: str) -> str:
    """exp(x)^T * y + b, in float32 too: one operand turned, one as the result, one broadcast."""

    def body(x: ir.Value, y: ir.Value, b: ir.Value) -> list[ir.Value]:
        z = build("transpose", build("exp", x), permutation=[1, 0])
        z = build("add", build("mul", z, y), b)
        return [z, build("cast", z, to=mlir_type("float32"))]

    return cases.dispatch(body, ((rows, columns), dtype), ((columns, rows), dtype), ((rows,), dtype))


def two_turned(rows: int, columns: int, dtype: str) -> str:
    """(x + y)^T of two operands."""

    def body(x: ir.Value, y: ir.Value) -> ir.Value:
        return build("transpose", build("add", x, y), permutation=[1, 0])

    return cases.dispatch(body, ((rows, columns), dtype), ((rows, columns), dtype))


def heads(b: int, s: int, h: int, d: int, dtype: str) -> str:
    """[b, s, h * d] as keys turned for a product: [b, h, d, s]."""

    def body(x: ir.Value) -> ir.Value:
        x = build("reshape", x, shape=[b, s, h, d])
        return build("transpose", x, permutation=[0, 2, 3, 1])

    return cases.dispatch(body, ((b, s, h * d), dtype))


def flattened(n: int, c: int, h: int, w: int, dtype: str) -> str:
    """Images to rows of channels: [n, c, h, w] -> [n, h w, c] -> [n, h w c]."""

    def body(x: ir.Value) -> ir.Value:
        x = build("transpose", x, permutation=[0, 2, 3, 1])
        return build("reshape", x, shape=[n, h * w * c])

    return cases.dispatch(body, ((n, c, h, w), dtype))


CASES: dict[str, Callable[[], str]] = {
    **{
        f"{dtype}-{rows}x{columns}": lambda d=dtype, r=rows, c=columns: plain((r, c), [1, 0], d)
        for dtype in ("float16", "float32", "int8", "int64", "bool")
        for rows, columns in ((256, 320), (77, 130), (33, 5), (4, 1000))
    },
    "bfloat16": lambda: plain((1000, 264), [1, 0], "bfloat16"),
    "to-channels-last": lambda: plain((2, 24, 14, 14), [0, 2, 3, 1], "float16"),
    "to-channels-first": lambda: plain((2, 7, 9, 40), [0, 3, 1, 2], "float32"),
    "inner": lambda: plain((3, 50, 72), [0, 2, 1], "float16"),
    "reversed": lambda: plain((8, 12, 40), [2, 1, 0], "float16"),
    "rotated": lambda: plain((6, 5, 64, 16), [3, 0, 1, 2], "float32"),
    "fused-float16": lambda: fused(136, 72, "float16"),
    "fused-float32": lambda: fused(45, 131, "float32"),
    "two-turned": lambda: two_turned(90, 64, "bfloat16"),
    "heads": lambda: heads(2, 50, 4, 24, "float16"),
    "flattened": lambda: flattened(2, 24, 10, 6, "float16"),
}
