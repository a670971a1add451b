"""Barriers in shared memory (mbarrier): arrivals and bytes of asynchronous copies are counted, phases alternate."""

from collections.abc import Sequence
from dataclasses import dataclass

from lumir.kernels.nvidia.mma import byte_offset, constant_i32
from lumir.mlir import arith, ir, llvm, nvvm

Value = ir.Value
BYTES = 8
_TICKS = 0x989680
"""Nanoseconds that a waiting thread may sleep before it looks again."""
CLUSTER_SHARED = 7
"""The address space of the shared memory of a cluster's blocks."""


@dataclass(frozen=True)
class Barriers:
    """Barriers side by side in shared memory.

    Args:
        pointer: to the first one, a multiple of 8 bytes.
    """

    pointer: Value

    def at(self, number: Value | int) -> Value:
        """The address of one of them."""
        if isinstance(number, int):
            return byte_offset(self.pointer, BYTES * number)
        return byte_offset(self.pointer, arith.MulIOp(number, constant_i32(BYTES)).result)


def initialize(barrier: Value, arrivals: int) -> None:
    """Let a phase end after so many arrivals, and the bytes announced with them. One thread does it, then fences."""
    nvvm.mbarrier_init(barrier, constant_i32(arrivals))


def fence_initialization() -> None:
    """Have every block of the cluster, and asynchronous copies, see the barriers that this thread initialised."""
    nvvm.fence_mbarrier_init()


def arrive(barrier: Value) -> None:
    nvvm.mbarrier_arrive(barrier, results=[ir.IntegerType.get_signless(64)])


def arrive_expecting(barrier: Value, nbytes: int | Value) -> None:
    """Arrive, and announce bytes that asynchronous copies will bring before the phase may end."""
    count = constant_i32(nbytes) if isinstance(nbytes, int) else nbytes
    nvvm.mbarrier_arrive_expect_tx(barrier, count, results=[ir.IntegerType.get_signless(64)])


def arrive_in(block: Value, barrier: Value) -> None:
    """Arrive at the barrier at the same address in another block of the cluster, given by its rank (i32).

    It tells that reads are done. Writes of this thread are not ordered before it for the other block: that wants a
    release in the scope of the cluster, which takes about a microsecond.
    """
    nvvm.mbarrier_arrive(address_in(block, barrier), results=[])


def wait(barrier: Value, parity: Value | int) -> None:
    """Wait for the end of the phase with this parity (i32, 0 or 1); at once if the phase is over.

    A barrier is in phase 0 first, so waiting for parity 1 of a fresh one does not wait.
    """
    phase = constant_i32(parity) if isinstance(parity, int) else parity
    nvvm.mbarrier_try_wait_parity(barrier, phase, constant_i32(_TICKS))


def send(values: Sequence[Value], pointer: Value, barrier: Value) -> None:
    """Start to store four words at `pointer` in another block of the cluster, whose `barrier` counts their bytes.

    Args:
        pointer, barrier: as `address_in` gives them; the first a multiple of 16 bytes.
    """
    kinds = ["f" if isinstance(v.type, ir.F32Type) else "r" for v in values]
    addresses = [llvm.PtrToIntOp(ir.IntegerType.get_signless(32), p).result for p in (pointer, barrier)]
    text = "st.async.weak.shared::cluster.mbarrier::complete_tx::bytes.v4.b32 [$0], {$2, $3, $4, $5}, [$1];"
    constraints = ",".join(["r", "r", *kinds, "~{memory}"])
    llvm.inline_asm(None, [*addresses, *values], text, constraints, has_side_effects=True)


def address_in(block: Value, pointer: Value) -> Value:
    """Where another block of the cluster, given by its rank (i32), has what this one has at `pointer`."""
    return nvvm.mapa(ir.Type.parse(f"!llvm.ptr<{CLUSTER_SHARED}>"), pointer, block)
