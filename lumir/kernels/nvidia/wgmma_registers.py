"""Chains of wgmma whose sums are plain values: the left operand in registers or in shared memory, and waits for them.

A chain is one piece of inline assembly, so that its 64 or more sums are named once and not once an instruction; and a
wait names the registers that it guards, so that nothing which uses them can move before it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from lumir.kernels.nvidia.wgmma import Kinds, in_scope, written
from lumir.mlir import ir, llvm

Value = ir.Value


@dataclass(frozen=True)
class Chain:
    """64 x n sums of products of two-byte floats, 16 of them an instruction.

    Args:
        n: columns, a multiple of 8 up to 256.
        right_along_k: how the right operand lies in shared memory; the left one's lines run along k.
    """

    element: ir.Type
    n: int
    right_along_k: bool

    def fresh(self, left: Sequence[Value], right: Sequence[Value]) -> list[Value]:
        """Start left * right, a pair of descriptors (i64) for each instruction."""
        count = self.n // 2
        lines = [
            self._written(i > 0, count, f"${count + i}", f"${count + len(left) + i}", [False, not self.right_along_k])
            for i in range(len(left))
        ]
        constraints = ["=&f"] * count + ["l"] * (len(left) + len(right))
        return _assembly(in_scope(lines), [ir.F32Type.get()] * count, [*left, *right], constraints)

    def added(self, sums: Sequence[Value], left: Sequence[Value], right: Sequence[Value]) -> list[Value]:
        """Start sums + left * right.

        Args:
            left: four registers (i32) an instruction, as `mma.sync` m16n8k16 holds them, each warp its sixteen rows.
            right: a descriptor an instruction.
        """
        lines = self._from_registers(2 * len(sums), len(left), len(right), fresh=False)
        return _tied(in_scope(lines), sums, [*left, *right], ["r"] * len(left) + ["l"] * len(right))

    def product(self, left: Sequence[Value], right: Sequence[Value]) -> list[Value]:
        """Start left * right, of registers and descriptors as `added` takes them."""
        count = self.n // 2
        lines = self._from_registers(count, len(left), len(right), fresh=True)
        constraints = ["=&f"] * count + ["r"] * len(left) + ["l"] * len(right)
        return _assembly(in_scope(lines), [ir.F32Type.get()] * count, [*left, *right], constraints)

    def _from_registers(self, first: int, registers: int, instructions: int, *, fresh: bool) -> list[str]:
        """Instructions whose left operands begin with operand `first` of the assembly, right ones after them."""
        lefts = [", ".join(f"${first + 4 * i + j}" for j in range(4)) for i in range(instructions)]
        rights = [f"${first + registers + i}" for i in range(instructions)]
        return [
            self._written(not fresh or i > 0, self.n // 2, f"{{{left}}}", right, [not self.right_along_k])
            for i, (left, right) in enumerate(zip(lefts, rights, strict=True))
        ]

    def _written(self, adds: bool, count: int, left: str, right: str, turned: Sequence[bool]) -> str:
        kinds = Kinds.of(self.element, self.element)
        assert kinds
        return written(kinds, self.n, range(count), left, right, adds, turned)


def waited(pending: int, guarded: Sequence[Value]) -> list[Value]:
    """Wait until at most `pending` groups of products are under way.

    Args:
        guarded: registers that an awaited product writes or reads.

    Returns:
        the same, to be used from then on.
    """
    return _tied(f"wgmma.wait_group.sync.aligned {pending};", guarded, [], [])


def _tied(text: str, values: Sequence[Value], inputs: Sequence[Value], kinds: Sequence[str]) -> list[Value]:
    """Inline assembly that changes `values`, its first operands, in place; `inputs` come after twice their number."""
    letters = ["f" if isinstance(v.type, ir.F32Type) else "r" for v in values]
    constraints = [*(f"=&{letter}" if inputs else f"={letter}" for letter in letters), *map(str, range(len(values)))]
    return _assembly(text, [v.type for v in values], [*values, *inputs], [*constraints, *kinds])


def _assembly(
    text: str, types: Sequence[ir.Type], operands: Sequence[Value], constraints: Sequence[str]
) -> list[Value]:
    struct = ir.Type.parse(f"!llvm.struct<({', '.join(map(str, types))})>")
    result = llvm.inline_asm(struct, list(operands), text, ",".join(constraints), has_side_effects=True)
    return [llvm.ExtractValueOp(type_, result, [i]).result for i, type_ in enumerate(types)]
