"""What the emulator makes of `mma.sync` m16n8k16 on halves and of `movmatrix`: a warp's registers as matrices."""

import ctypes
import re

import numpy as np

WORDS = 10
"""Registers of a product: four of the left operand, two of the right one, four sums."""

_TYPES = ["<2 x half>"] * 6 + ["float"] * 4
_SUMS = "{ float, float, float, float }"

_AND_OR = """
define internal i32 @emulated_and_or(i32 %x, i32 %mask, i32 %more) {
  %both = and i32 %x, %mask
  %result = or i32 %both, %more
  ret i32 %result
}
"""


def with_tensor_cores(text: str) -> str:
    """LLVM IR whose tensor core instructions are calls of `emulated_multiply` and `emulated_transpose`."""
    text = text.replace("@llvm.nvvm.mma.m16n8k16.row.col.f32.f32(", "@emulated_product(")
    text = re.sub(r"declare [^\n]*@emulated_product\([^\n]*\n", "", text)
    text = re.sub(r'call i32 asm sideeffect "movmatrix[^"]*", "=r,r"\(', "call i32 @emulated_transpose(", text)
    text = re.sub(r'call i32 asm "lop3.b32 [^"]* 234;", "=r,r,r,n"\(', "call i32 @emulated_and_or(", text)
    declarations = "\ndeclare void @emulated_multiply(ptr)\ndeclare i32 @emulated_transpose(i32)\n"
    return text + declarations + _product() + _AND_OR


def _product() -> str:
    """A function of a product's registers that leaves them in memory to `emulated_multiply`."""
    arguments = ", ".join(f"{type_} %r{i}" for i, type_ in enumerate(_TYPES))
    lines = [f"define internal {_SUMS} @emulated_product({arguments}) {{", f"  %m = alloca [{WORDS} x i32], align 16"]
    for i, type_ in enumerate(_TYPES):
        lines += [f"  %p{i} = getelementptr i32, ptr %m, i64 {i}", f"  store {type_} %r{i}, ptr %p{i}, align 4"]
    lines.append("  call void @emulated_multiply(ptr %m)")
    before = "poison"
    for i in range(4):
        lines += [f"  %s{i} = load float, ptr %p{6 + i}", f"  %t{i} = insertvalue {_SUMS} {before}, float %s{i}, {i}"]
        before = f"%t{i}"
    return "\n".join([*lines, f"  ret {_SUMS} {before}", "}", ""])


def registers_at(pointer: int) -> np.ndarray:
    """A product's registers of one thread, as a view of its memory."""
    return np.ctypeslib.as_array((ctypes.c_uint32 * WORDS).from_address(pointer))


def multiplied(warp: np.ndarray, lane: int) -> np.ndarray:
    """The four sums of a lane.

    Args:
        warp: registers [32, WORDS].
    """
    halves = np.ascontiguousarray(warp[:, :6]).view(np.float16).reshape(8, 4, 6, 2).astype(np.float32)
    left = np.empty((16, 16), np.float32)  # of lane 4 g + t: rows g and g + 8, columns 2 t and 2 t + 8, each two
    for register in range(4):
        rows, columns = 8 * (register % 2), 8 * (register // 2)
        left[rows : rows + 8, columns : columns + 8] = halves[:, :, register].reshape(8, 8)
    right = np.concatenate([halves[:, :, 4].reshape(8, 8), halves[:, :, 5].reshape(8, 8)], axis=1).T
    sums = np.ascontiguousarray(warp[lane, 6:]).view(np.float32)
    g, t = divmod(lane, 4)
    places = [(g, 2 * t), (g, 2 * t + 1), (g + 8, 2 * t), (g + 8, 2 * t + 1)]
    return sums + np.array([left[row] @ right[:, column] for row, column in places], np.float32)


def transposed(warp: np.ndarray, lane: int) -> int:
    """The word of a lane of the 8 x 8 matrix of two-byte elements, whose words [32] are given, turned."""
    matrix = warp.astype(np.uint32).view(np.uint16).reshape(8, 8)
    row, pair = divmod(lane, 4)
    low, high = matrix.T[row, 2 * pair : 2 * pair + 2]
    return int(low) | int(high) << 16
