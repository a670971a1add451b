"""Warpgroup matrix products (wgmma): four warps multiply operands in shared memory into their registers."""

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

from lumir.mlir import arith, ir, llvm, nvvm

Value = ir.Value
ROWS = 64
"""Rows of the left operand that one instruction multiplies."""
WARPGROUP = 128
"""Threads that run an instruction together."""
LINE = 128
"""Bytes of a line of an operand in shared memory: what the widest swizzle permutes."""
ATOM = 8 * LINE
"""Bytes of eight lines, after which the widest swizzle repeats; operands start on a multiple."""
OVERLAP = 16
"""Bytes from a line to the next without a swizzle: lines that are longer overlap."""
K_BYTES = 32
"""Bytes along k that one instruction multiplies."""
SWIZZLES = {16: 0, 32: 3, 64: 2, 128: 1}
"""How a descriptor says that lines of so many bytes are swizzled."""
_KINDS = {
    "f16": "f16",
    "bf16": "bf16",
    "f32": "tf32",
    "f8E4M3FN": "e4m3",
    "f8E5M2": "e5m2",
    "i8": "s8",
    "si8": "s8",
    "ui8": "u8",
}
_BYTES = {"f16": 2, "bf16": 2, "tf32": 4, "e4m3": 1, "e5m2": 1, "s8": 1, "u8": 1}
_MIXED = ({"e4m3", "e5m2"}, {"s8", "u8"})
"""Kinds that may be multiplied with one another."""


@dataclass(frozen=True)
class Kinds:
    """What an instruction multiplies, in its own names."""

    left: str
    right: str

    @staticmethod
    def of(left: ir.Type, right: ir.Type) -> "Kinds | None":
        """Of elements of two types; None where no instruction multiplies them. float32 is rounded to tf32."""
        kinds = _KINDS.get(str(left)), _KINDS.get(str(right))
        if None in kinds or (kinds[0] != kinds[1] and not any(set(kinds) <= mixed for mixed in _MIXED)):
            return None
        return Kinds(*kinds)  # pyright: ignore[reportArgumentType]

    @property
    def swapped(self) -> "Kinds":
        return Kinds(self.right, self.left)

    @property
    def bytes(self) -> int:
        """Of an element of either operand."""
        return _BYTES[self.left]

    @property
    def integral(self) -> bool:
        return self.left in ("s8", "u8")

    @property
    def sums(self) -> ir.Type:
        return ir.IntegerType.get_signless(32) if self.integral else ir.F32Type.get()

    @property
    def sums_name(self) -> str:
        return "s32" if self.integral else "f32"


@dataclass(frozen=True)
class Operand:
    """Where an operand's tile lies in shared memory, written by TMA with the swizzle of its lines.

    Args:
        along_k: lines run along k, one a row; else along the rows (m or n), one a k, and each 128 bytes of rows are a
            block of their own.
        block: bytes from one such block to the next.
        pitch: bytes from a line to the next; 128 where lines do not run along k.
        leading: bytes from 16 bytes of a line to the next 16, where lines run along k and are not swizzled.
    """

    along_k: bool
    block: int = 0
    pitch: int = LINE
    leading: int = OVERLAP

    def descriptor(self, pointer: Value) -> Value:
        """The matrix descriptor (i64) of the operand at `pointer`, a multiple of 1024 bytes.

        PTX ISA, "asynchronous warpgroup level matrix shared memory layout": address, leading and stride offset in
        units of 16 bytes; bits 62 and 63 say how the lines are swizzled. Along k, the leading offset is that of the
        next 16 bytes of a line, which only lines that are not swizzled ask for.
        """
        i64 = ir.IntegerType.get_signless(64)
        address = llvm.PtrToIntOp(i64, pointer).result
        low = arith.ShRUIOp(arith.AndIOp(address, _i64(0x3FFFF)).result, _i64(4)).result
        leading = (self.leading if self.along_k else self.block) // 16
        lies = leading << 16 | (8 * self.pitch // 16) << 32 | SWIZZLES[self.pitch] << 62
        return arith.OrIOp(low, _i64(lies - (lies >> 63 << 64))).result

    def step(self, rows: int, k: int) -> int:
        """How far a descriptor moves for so many rows (a multiple of 64) and so many bytes along k."""
        if self.along_k:
            return (rows * self.pitch + k) // 16
        # a line holds one k of 64 two-byte rows
        return (rows // 64 * self.block + k // 2 * LINE) // 16


def advanced(descriptor: Value, by: int) -> Value:
    return arith.AddIOp(descriptor, _i64(by)).result if by else descriptor


Step = tuple[Sequence[Value], Value]
"""Of a product along k: the descriptors (i64) of 64 rows each of the left operand, and that of the right one."""


@dataclass(frozen=True)
class Product:
    """Products by wgmma.mma_async, each of 64 x n sums of 32 bytes along k.

    All that are started together are one piece of inline assembly, so that their sums are named once for all of them.

    Args:
        kinds: of the operands.
        n: columns, a multiple of 8 up to 256.
        left, right: how the operands lie.
        parts: how many times 64 rows.
    """

    kinds: Kinds
    n: int
    left: Operand
    right: Operand
    parts: int = 1

    @cached_property
    def sum_type(self) -> ir.Type:
        return self.kinds.sums

    @property
    def registers(self) -> int:
        """Sums that a thread holds of 64 rows."""
        return self.n // 2

    @cached_property
    def type(self) -> ir.Type:
        """The struct of a thread's sums."""
        count = self.parts * self.registers
        body = ", ".join([str(self.sum_type)] * count)
        return ir.Type.parse(f'!llvm.struct<"sums{count}x{self.sum_type}", ({body})>')

    def multiply(self, sums: Value | None, steps: Sequence[Step]) -> Value:
        """Start sums + left * right, or left * right, of one step along k after the other.

        The sums may not be touched before `wait_products`, but by the next products of the same shape.
        """
        count, kind = self.parts * self.registers, "r" if self.kinds.integral else "f"
        known = [] if sums is None else self._extracted(sums)
        operands = [*known, *(descriptor for left, right in steps for descriptor in (*left, right))]
        constraints = [f"={kind}"] * count + list(map(str, range(len(known)))) + ["l"] * (len(operands) - len(known))
        lines, numbers = [], itertools.count(count + len(known))
        for number, _ in enumerate(steps):
            *left, right = (f"${next(numbers)}" for _ in range(self.parts + 1))
            adds = bool(known) or number > 0
            lines += [self._written(part, rows, right, adds) for part, rows in enumerate(left)]
        return llvm.inline_asm(self.type, operands, in_scope(lines), ",".join(constraints), has_side_effects=True)

    def _written(self, part: int, left: str, right: str, adds: bool) -> str:
        sums = range(part * self.registers, (part + 1) * self.registers)
        turned = [not operand.along_k for operand in (self.left, self.right)]
        return written(self.kinds, self.n, sums, left, right, adds, turned)

    def values(self, sums: Value) -> list[list[Value]]:
        """A thread's sums of each 64 rows.

        Number 4 j + 2 h + e is at row 16 warp + lane / 4 + 8 h, column 8 j + 2 (lane % 4) + e.
        """
        values, count = self._extracted(sums), self.registers
        return [values[first : first + count] for first in range(0, len(values), count)]

    def _extracted(self, sums: Value) -> list[Value]:
        return [llvm.ExtractValueOp(self.sum_type, sums, [i]).result for i in range(self.parts * self.registers)]


def written(
    kinds: Kinds, n: int, sums: Iterable[int], left: str, right: str, adds: bool, turned: Sequence[bool]
) -> str:
    """One instruction as PTX.

    Args:
        sums: numbers of the assembly's operands that hold the sums.
        adds: to the sums, rather than overwriting them.
        turned: whether the lines of the left operand, where it is in shared memory, and of the right one run along
            their rows: only those of two-byte elements may.
    """
    shape = f"m{ROWS}n{n}k{K_BYTES // kinds.bytes}.{kinds.sums_name}.{kinds.left}.{kinds.right}"
    registers = ", ".join(f"${number}" for number in sums)
    signs = [] if kinds.integral else ["1", "1"]
    layouts = [str(int(turns)) for turns in turned] if kinds.bytes == 2 else []
    rest = ", ".join(["p" if adds else "q", *signs, *layouts])
    return f"wgmma.mma_async.sync.aligned.{shape} {{{registers}}}, {left}, {right}, {rest};"


def in_scope(lines: Sequence[str]) -> str:
    """Instructions whose predicates p and q are true and false."""
    return " ".join(["{ .reg .pred p, q; setp.eq.u32 p, 0, 0; setp.ne.u32 q, 0, 0;", *lines, "}"])


def fence_products() -> None:
    """Before the first product that reads registers (sums, or a left operand) written by other instructions."""
    nvvm.wgmma_fence_aligned()


def commit_products() -> None:
    """The products started since the last call are one group."""
    nvvm.wgmma_commit_group_sync_aligned()


def wait_products(pending: int) -> None:
    """Wait until at most `pending` groups are under way."""
    nvvm.wgmma_wait_group_sync_aligned(pending)


def _i64(value: int) -> Value:
    i64 = ir.IntegerType.get_signless(64)
    return arith.ConstantOp(i64, ir.IntegerAttr.get(i64, value)).result
