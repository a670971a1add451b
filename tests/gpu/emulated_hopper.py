"""What the emulator makes of Hopper's own instructions: barriers in shared memory, copies of boxes, and wgmma.

Copies are done at once, and so are products; the left operand of `wgmma` comes from registers, the right one from
shared memory without a swizzle.
"""

import ctypes
import re
import threading
from collections.abc import Callable, Sequence
from itertools import product as places_of

import numpy as np

from lumir.artifact.tensor_map import TensorMap

WARPGROUP = 128
PATIENCE = 20
"""Seconds after which a thread that waits gives up."""
_RENAMED = {
    "llvm.nvvm.shfl.sync.idx.i32": "emulated_first_of",
    "llvm.nvvm.elect.sync": "emulated_elect",
    "llvm.nvvm.mbarrier.init.shared": "emulated_make_barrier",
    "llvm.nvvm.mbarrier.arrive.shared": "emulated_arrive",
    "llvm.nvvm.mbarrier.arrive.expect.tx.scope.cta.space.cta": "emulated_arrive_expecting",
    "llvm.nvvm.bar.warp.sync": "emulated_sync_warp",
    "llvm.nvvm.barrier.cta.sync.aligned.count": "emulated_sync_threads",
    "llvm.nvvm.cp.async.bulk.tensor.g2s.tile.3d": "emulated_load_box",
    "llvm.nvvm.fence.mbarrier_init.release.cluster": "emulated_fence",
    "llvm.nvvm.fence.proxy.async.shared_cta": "emulated_fence",
    "llvm.nvvm.wgmma.fence.sync.aligned": "emulated_fence",
    "llvm.nvvm.wgmma.commit_group.sync.aligned": "emulated_fence",
}
_ELECT = """
define internal { i32, i1 } @emulated_elect(i32 %mask) {
  %thread = call i32 @emulated_thread()
  %lane = and i32 %thread, 31
  %first = icmp eq i32 %lane, 0
  %result = insertvalue { i32, i1 } zeroinitializer, i1 %first, 1
  ret { i32, i1 } %result
}
declare void @emulated_multiply_group(ptr, i32, i32, i32)
declare void @emulated_wait_barrier(ptr addrspace(3), i32)
"""
_CALL = re.compile(r'call (\{[^}]*\}) asm sideeffect "([^"]*wgmma[^"]*)", "[^"]*"\(([^)]*)\)')


def with_hopper(text: str) -> str:
    """LLVM IR whose instructions of Hopper are calls of `emulated_` functions."""
    if "mbarrier" not in text:
        return text
    for intrinsic, name in _RENAMED.items():
        text = text.replace(f"@{intrinsic}(", f"@{name}(")
    text = re.sub(r"declare [^\n]*@emulated_(elect|fence)\([^\n]*\n", "", text) + "declare void @emulated_fence()\n"
    text = re.sub(r'asm sideeffect "[^"]*try_wait[^"]*", "[^"]*"\((.*), i32 \d+\)', r"@emulated_wait_barrier(\1)", text)
    text = re.sub(r'ptr byval\([^)]*\) align 64 "nvvm.grid_constant"', "ptr", text)
    text = text.replace("internal addrspace(3) global", "addrspace(3) global")
    functions: dict[str, str] = {}
    text = _CALL.sub(lambda found: _called(functions, *found.groups()), text)
    text = re.sub(r" immarg( range\([^)]*\))?", "", text)
    text = re.sub(r"(@emulated_.*) #\d+$", r"\1", text, flags=re.MULTILINE)
    return "\n".join([text, _ELECT, *functions.values()])


def _called(functions: dict[str, str], struct: str, assembly: str, arguments: str) -> str:
    """A call of a function that stands for a piece of assembly; it is added to those that are there."""
    types = [argument.split()[0] for argument in arguments.split(", ")]
    results = struct.strip("{ }").split(", ")
    if "wait_group" in assembly:
        name = f"emulated_waited_{len(types)}"
        functions[name] = _function(name, struct, types, [f"%a{i}" for i in range(len(results))], [])
        return f"call {struct} @{name}({arguments})"
    shape = re.search(r"m64n(\d+)k16\.f32\.(b?f16)", assembly)
    assert shape is not None and types[0] == "i32", assembly
    columns, is_brain = int(shape[1]), int(shape[2] == "bf16")
    registers, count = types.count("i32"), types.count("i64")
    name = f"emulated_chain_{columns}_{count}_{is_brain}"
    words = len(results) + registers + 2 * count
    lines = [f"  %m = alloca [{words} x i32], align 16"]
    at = len(results)
    for i, type_ in enumerate(types):
        lines += [f"  %p{i} = getelementptr i32, ptr %m, i64 {at}", f"  store {type_} %a{i}, ptr %p{i}, align 4"]
        at += 2 if type_ == "i64" else 1
    lines.append(f"  call void @emulated_multiply_group(ptr %m, i32 {columns}, i32 {count}, i32 {is_brain})")
    for i in range(len(results)):
        lines += [f"  %q{i} = getelementptr i32, ptr %m, i64 {i}", f"  %r{i} = load float, ptr %q{i}, align 4"]
    functions[name] = _function(name, struct, types, [f"%r{i}" for i in range(len(results))], lines)
    return f"call {struct} @{name}({arguments})"


def _function(name: str, struct: str, types: Sequence[str], results: Sequence[str], lines: Sequence[str]) -> str:
    parts = struct.strip("{ }").split(", ")
    arguments = ", ".join(f"{type_} %a{i}" for i, type_ in enumerate(types))
    body, before = [f"define internal {struct} @{name}({arguments}) {{", *lines], "poison"
    for i, (type_, value) in enumerate(zip(parts, results, strict=True)):
        body.append(f"  %s{i} = insertvalue {struct} {before}, {type_} {value}, {i}")
        before = f"%s{i}"
    return "\n".join([*body, f"  ret {struct} {before}", "}", ""])


class _Phases:
    """A barrier in shared memory."""

    def __init__(self, arrivals: int):
        self.arrivals = self.missing = arrivals
        self.bytes = self.phase = 0

    def change(self, arrived: int, nbytes: int) -> None:
        self.missing -= arrived
        self.bytes += nbytes
        assert self.missing >= 0, "more threads arrive than the barrier counts"
        if self.missing == 0 and self.bytes == 0:
            self.phase, self.missing = self.phase + 1, self.arrivals


class Hopper:
    """Barriers, copies and products of one workgroup at a time.

    Args:
        thread: tells the number of the calling thread.
        block: threads of a workgroup.

    Attributes:
        maps: the kernel's tensor maps.
        arrays: its buffers, in their order.
        shared: the address of shared memory.
    """

    def __init__(self, thread: Callable[[], int], block: int):
        self._thread, self._changed, self._barriers = thread, threading.Condition(), {}
        self._named: dict[tuple[int, int], threading.Barrier] = {}
        self._groups = [threading.Barrier(WARPGROUP) for _ in range(block // WARPGROUP)]
        self._registers: dict[int, np.ndarray] = {}
        self._products: dict[int, np.ndarray] = {}
        self.maps: Sequence[TensorMap] = ()
        self.arrays: Sequence[np.ndarray] = ()
        self.shared = 0

    def callbacks(self) -> dict[str, tuple[type | None, list, Callable]]:
        """Result type, argument types and function by name."""
        i32, i64, pointer = ctypes.c_int32, ctypes.c_int64, ctypes.c_void_p
        box = [pointer, pointer, pointer, i32, i32, i32, ctypes.c_int16, i64, i32, i32, i32]
        return {
            "emulated_make_barrier": (None, [pointer, i32], self._make),
            "emulated_arrive": (i64, [pointer], lambda at: self._arrive(at, 0)),
            "emulated_arrive_expecting": (i64, [pointer, i32], self._arrive),
            "emulated_wait_barrier": (None, [pointer, i32], self._wait),
            "emulated_sync_threads": (None, [i32, i32], self._sync),
            "emulated_load_box": (None, box, self._load_box),
            "emulated_multiply_group": (None, [pointer, i32, i32, i32], self._multiply),
            "emulated_fence": (None, [], lambda: None),
        }

    def _make(self, at: int, arrivals: int) -> None:
        with self._changed:
            self._barriers[at] = _Phases(arrivals)

    def _arrive(self, at: int, nbytes: int) -> int:
        with self._changed:
            self._barriers[at].change(1, nbytes)
            self._changed.notify_all()
        return 0

    def _wait(self, at: int, parity: int) -> None:
        """For the end of the phase of this parity."""
        with self._changed:
            assert self._changed.wait_for(lambda: self._barriers[at].phase % 2 != parity, PATIENCE), "no end of a phase"

    def _sync(self, number: int, threads: int) -> None:
        with self._changed:
            barrier = self._named.setdefault((number, threads), threading.Barrier(threads))
        barrier.wait(PATIENCE)

    def _load_box(self, to: int, barrier: int, map_: int, *rest: int) -> None:
        tensor_map = self.maps[ctypes.c_int32.from_address(map_).value]
        box = _box(tensor_map, self.arrays[tensor_map.arg], rest[: tensor_map.rank])
        ctypes.memmove(to, box.ctypes.data, box.nbytes)
        with self._changed:
            self._barriers[barrier].change(0, -box.nbytes)
            self._changed.notify_all()

    def _multiply(self, memory: int, columns: int, count: int, is_brain: int) -> None:
        """`count` products of 64 x 16 by 16 x `columns`: sums, then registers and descriptors of each."""
        group, thread = divmod(self._thread(), WARPGROUP)
        results = columns // 2
        words = np.ctypeslib.as_array((ctypes.c_uint32 * (results + 6 * count)).from_address(memory))
        self._registers[group * WARPGROUP + thread] = words[results:].copy()
        self._groups[group].wait(PATIENCE)
        if thread == 0:
            every = np.stack([self._registers[group * WARPGROUP + i] for i in range(WARPGROUP)])
            self._products[group] = self._sums(every, columns, count, bool(is_brain))
        self._groups[group].wait(PATIENCE)
        warp, lane = divmod(thread, 32)
        line, quarter = divmod(lane, 4)
        sums = self._products[group][16 * warp :][:16].reshape(2, 8, -1, 4, 2)[:, line, :, quarter]  # [half, 8s, 2]
        words[:results] = np.ascontiguousarray(sums.transpose(1, 0, 2)).reshape(-1).view(np.uint32)
        self._groups[group].wait(PATIENCE)

    def _sums(self, every: np.ndarray, columns: int, count: int, is_brain: bool) -> np.ndarray:
        """[64, columns] of the registers and descriptors [128, ...] of all threads."""
        total = np.zeros((64, columns), np.float32)
        left = _floats(np.ascontiguousarray(every[:, : 4 * count]), is_brain).reshape(4, 8, 4, count, 2, 2, 2)
        left = left.transpose(3, 0, 5, 1, 4, 2, 6).reshape(count, 64, 16)  # warp, half, row; half of k, quarter, pair
        descriptors = np.ascontiguousarray(every[0, 4 * count :]).view(np.uint64)
        for number in range(count):
            total += left[number] @ self._right(int(descriptors[number]), columns, is_brain)
        return total

    def _right(self, descriptor: int, columns: int, is_brain: bool) -> np.ndarray:
        """[16, columns] of the operand at a descriptor, which knows 18 bits of its address."""
        assert descriptor >> 62 == 0, "a swizzle is not emulated"
        low, leading, stride = ((descriptor >> bit & 0x3FFF) << 4 for bit in (0, 16, 32))
        start = self.shared + (low - self.shared) % (1 << 18)
        found = np.empty((16, columns), np.float32)
        for half, group, row in places_of(range(2), range(columns // 8), range(8)):
            at = start + half * leading + group * stride + 16 * row
            words = np.ctypeslib.as_array((ctypes.c_uint32 * 4).from_address(at)).copy()
            found[8 * half : 8 * half + 8, 8 * group + row] = _floats(words, is_brain)
        return found


def _floats(words: np.ndarray, is_brain: bool) -> np.ndarray:
    """Two floats of each word, as float32."""
    halves = words.view(np.uint16)
    return (halves.astype(np.uint32) << 16).view(np.float32) if is_brain else halves.view(np.float16).astype(np.float32)


def _box(tensor_map: TensorMap, array: np.ndarray, start: Sequence[int]) -> np.ndarray:
    """The bytes of a box; zeros outside the tensor."""
    assert tensor_map.dtype == "uint8" and tensor_map.swizzle == 0
    source, (line, *outer) = array.reshape(-1).view(np.uint8), tensor_map.box
    box = np.zeros((*reversed(outer), line), np.uint8)
    for place in places_of(*(range(n) for n in reversed(outer))):
        at = [first + i for first, i in zip(start[1:], reversed(place), strict=True)]
        if all(0 <= i < size for i, size in zip(at, tensor_map.dims[1:], strict=True)):
            first = tensor_map.offset + start[0] + sum(i * s for i, s in zip(at, tensor_map.strides, strict=True))
            box[place] = source[first : first + line]
    return box
