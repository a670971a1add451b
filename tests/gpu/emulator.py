"""Runs a kernel's LLVM IR on the CPU, a host thread for each thread of a workgroup: for tests without a GPU.

What only a GPU has becomes calls back into Python: thread and workgroup numbers, the barrier, the shuffle, asynchronous
copies, which are done at once, `mma.sync` on halves, and what `emulated_hopper` does. Workgroups run one after the
other, along one dimension. Slow.
"""

import ctypes
import re
import threading
from collections.abc import Sequence
from typing import Any

import llvmlite.binding as llvm
import numpy as np
from emulated_hopper import Hopper, with_hopper
from emulated_tensor_cores import multiplied, registers_at, transposed, with_tensor_cores
from harness import Built

from lumir.artifact.dtypes import PACKED_4BIT, pack_4bit
from lumir.artifact.tensor_map import TensorMap
from lumir.codegen.host import TRIPLE, parse_ir
from lumir.codegen.nvidia import llvm_ir_of
from lumir.dialects import shape_of_type
from lumir.dtypes import numpy_dtype
from lumir.kernels.launch_sizes import SCALARS
from lumir.size_text import parse_size
from lumir.sizes import Dim, value_at

WARP = 32
_NAMES = {
    "llvm.nvvm.read.ptx.sreg.tid.x": "emulated_thread",
    "llvm.nvvm.read.ptx.sreg.ctaid.x": "emulated_workgroup",
    "llvm.nvvm.read.ptx.sreg.ctaid.z": "emulated_layer",
    "llvm.nvvm.barrier.cta.sync.aligned.all": "emulated_barrier",
    "llvm.nvvm.shfl.sync.bfly.i32": "emulated_shuffle",
    "llvm.nvvm.shfl.sync.bfly.f32": "emulated_shuffle_of_floats",
    "llvm.nvvm.cp.async.commit.group": "emulated_commit",
    "llvm.nvvm.cp.async.wait.group": "emulated_wait",
    "llvm.nvvm.griddepcontrol.launch.dependents": "emulated_launch_dependents",
    "llvm.nvvm.griddepcontrol.wait": "emulated_dependencies",
}
_COPIES = {
    f"llvm.nvvm.cp.async.{kind}.shared.global.{n}": n for kind, n in (("ca", 4), ("ca", 8), ("ca", 16), ("cg", 16))
}
_SAME_POINTER = r'call ptr addrspace\(1\) asm sideeffect "", "=l,0,~\{memory\}"\(ptr addrspace\(1\) (%\w+)\)'
"""A pointer through assembly that does nothing: what a compiler must not look behind."""


def run_on_cpu(built: Built, inputs: Sequence[np.ndarray], **sizes: int) -> list[np.ndarray]:
    """As `harness.run`, but on this CPU.

    Args:
        sizes: the values of the dispatch's symbols.
    """
    shapes = [tuple(value_at(size, sizes) for size in shape_of_type(t)) for t in built.output_types]
    outputs = [
        np.full(shape, 0x5A, np.uint8).astype(numpy_dtype(t.element_type))
        for shape, t in zip(shapes, built.output_types, strict=True)
    ]
    arrays = [_aligned(_as_stored(array)) for array in (*inputs, *outputs)]
    assert not built.code.shared_bytes, "shared memory that is sized by the launch is not emulated"
    text = llvm_ir_of(next(iter(built.module.body.operations)), built.arch)
    workspace = _aligned(np.full(built.code.workspace_bytes, 0x5A, np.uint8))
    counters = _aligned(np.zeros(built.code.counters, np.uint32))
    extras = [extra for extra in (workspace, counters) if extra.size]
    scalars = [value_at(size, sizes) for size in _sizes(built)]
    emulator = Emulator(text, built.name, built.code.block)
    emulator.run(value_at(built.code.grid[0], sizes), [*arrays, *extras], scalars, built.code.tensor_maps)
    assert not counters.any(), "the kernel did not leave its counters at zero"
    return arrays[len(inputs) :]


def _sizes(built: Built) -> list[Dim]:
    """What the kernel gets after its buffers."""
    functions = next(iter(built.module.body.operations)).regions[0].blocks[0].operations
    found = next(op.attributes for op in functions if "sym_name" in op.attributes)
    return [parse_size(text.value) for text in found[SCALARS]] if SCALARS in found else []


def _as_stored(array: np.ndarray) -> np.ndarray:
    """4-bit elements two in a byte; other arrays as they are."""
    return pack_4bit(array) if array.dtype.name in PACKED_4BIT else array


def _aligned(array: np.ndarray) -> np.ndarray:
    """A copy whose first element stands at a multiple of 256 bytes, as a buffer on a GPU does."""
    memory = np.empty(array.nbytes + 256, np.uint8)
    start = -memory.ctypes.data % 256
    copy = memory[start : start + array.nbytes].view(array.dtype).reshape(array.shape)
    copy[...] = array
    return copy


class Emulator:
    """One kernel, compiled for this CPU.

    Args:
        llvm_ir: what `lumir.codegen.nvidia.llvm_ir_of` gives.
        name: of the kernel.
        block: threads of a workgroup.
    """

    def __init__(self, llvm_ir: str, name: str, block: int):
        self.block, self._here, self._name = block, threading.local(), name
        self._everyone = threading.Barrier(block)
        self._warps = [threading.Barrier(min(WARP, block)) for _ in range(-(-block // WARP))]
        self._words: list[Any] = [0] * block
        self._hopper = Hopper(lambda: self._here.thread, block)
        self._callbacks = self._make_callbacks()
        self._context = llvm.create_context()
        self._engine = _compiled(_host_text(llvm_ir), self._context)
        self._kernel = self._engine.get_function_address(name)

    def _make_callbacks(self) -> list:
        i32, f32, make = ctypes.c_int32, ctypes.c_float, ctypes.CFUNCTYPE
        callbacks = [
            make(i32)(lambda: self._here.thread),
            make(i32)(lambda: self._here.workgroup),
            make(i32)(lambda: 0),
            make(None, i32)(lambda _: self._wait(self._everyone)),
            make(i32, i32, i32, i32, i32)(lambda _mask, word, distance, _width: self._shuffled(word, distance)),
            make(f32, i32, f32, i32, i32)(lambda _mask, word, distance, _width: self._shuffled(word, distance)),
            make(None)(lambda: None),
            make(None, i32)(lambda _: None),
            make(None)(lambda: None),
            make(None)(lambda: None),
        ]
        names = [*_NAMES.values(), "emulated_multiply", "emulated_transpose"]
        pointer = ctypes.c_void_p
        callbacks += [make(None, pointer)(self._multiply), make(i32, i32)(self._transpose)]
        for intrinsic, size in _COPIES.items():
            names += [_plain(intrinsic), _plain(f"{intrinsic}.s")]
            callbacks.append(make(None, pointer, pointer)(lambda to, source, n=size: _copy(to, source, n, n)))
            callbacks.append(make(None, pointer, pointer, i32)(lambda to, source, k, n=size: _copy(to, source, n, k)))
        names += ["emulated_first_of", "emulated_sync_warp"]
        callbacks.append(make(i32, i32, i32, i32, i32)(lambda _mask, word, lane, _width: self._exchanged(word)[lane]))
        callbacks.append(make(None, i32)(lambda _: self._wait(self._warps[self._here.thread // WARP])))
        for name, (result, arguments, function) in self._hopper.callbacks().items():
            names.append(name)
            callbacks.append(make(result, *arguments)(function))
        for name, callback in zip(names, callbacks, strict=True):
            llvm.add_symbol(name, ctypes.cast(callback, ctypes.c_void_p).value)
        return callbacks

    def _wait(self, barrier: threading.Barrier) -> None:
        barrier.wait(timeout=20)

    def _exchanged(self, value: Any) -> list:
        """What each thread of this warp gave, by its lane."""
        thread, warp = self._here.thread, self._here.thread // WARP
        self._words[thread] = value
        self._wait(self._warps[warp])
        values = self._words[warp * WARP : (warp + 1) * WARP]
        self._wait(self._warps[warp])
        return values

    def _shuffled(self, word: Any, distance: int) -> Any:
        return self._exchanged(word)[self._here.thread % WARP ^ distance]

    def _multiply(self, pointer: int) -> None:
        registers = registers_at(pointer)
        warp = np.stack(self._exchanged(registers.copy()))
        registers[6:] = multiplied(warp, self._here.thread % WARP).view(np.uint32)

    def _transpose(self, word: int) -> int:
        words = np.array(self._exchanged(word), np.int64) & 0xFFFFFFFF
        return ctypes.c_int32(transposed(words, self._here.thread % WARP)).value

    def run(
        self,
        workgroups: int,
        arrays: Sequence[np.ndarray],
        scalars: Sequence[int] = (),
        maps: Sequence[TensorMap] = (),
    ) -> None:
        """Run all workgroups, once, on arrays that the kernel reads and writes in place.

        Args:
            maps: tensor maps; the kernel gets pointers to their numbers.
        """
        numbers = [ctypes.c_int32(number) for number in range(len(maps))]
        kinds = [*[ctypes.c_void_p] * (len(arrays) + len(maps)), *[ctypes.c_int64] * len(scalars)]
        kernel = ctypes.CFUNCTYPE(None, *kinds)(self._kernel)
        arguments = [*(array.ctypes.data for array in arrays), *map(ctypes.addressof, numbers), *scalars]
        if maps:
            shared = self._engine.get_global_value_address(f"{self._name}_shared")
            self._hopper.maps, self._hopper.arrays, self._hopper.shared = maps, arrays, shared

        def one(thread: int) -> None:
            self._here.thread = thread
            for workgroup in range(workgroups):
                self._here.workgroup = workgroup
                kernel(*arguments)
                self._wait(self._everyone)

        threads = [threading.Thread(target=one, args=(number,)) for number in range(self.block)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self._engine.close()  # the callbacks refer to the emulator: left to the collector, the context may go first


def _copy(to: int, source: int, size: int, given: int) -> None:
    """`given` bytes, and zeros up to `size`."""
    ctypes.memset(to, 0, size)
    ctypes.memmove(to, source, given)


def _plain(intrinsic: str) -> str:
    return intrinsic.replace("llvm.nvvm.", "emulated_").replace(".", "_")


def _host_text(text: str) -> str:
    """The IR with the GPU's intrinsics as plain functions, and shared memory as plain memory."""
    for intrinsic, name in _NAMES.items():
        text = text.replace(f"@{intrinsic}(", f"@{name}(")
    for copy in (name + suffix for name in _COPIES for suffix in ("", ".s")):
        text = text.replace(f"@{copy}(", f"@{_plain(copy)}(")
    text = text.replace("i32 immarg", "i32")
    text = re.sub(_SAME_POINTER, r"getelementptr i8, ptr addrspace(1) \1, i64 0", text)
    text = with_hopper(with_tensor_cores(text.replace("define ptx_kernel void", "define void")))
    return re.sub(r"(@emulated_\w+\([^)]*\)) #\d+", r"\1", text)  # calls back are not pure, as the intrinsics are


def _compiled(text: str, context: llvm.ContextRef) -> llvm.ExecutionEngine:
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    features = llvm.get_host_cpu_features().flatten()
    target = llvm.Target.from_triple(TRIPLE)
    machine = target.create_target_machine(cpu=llvm.get_host_cpu_name(), features=features, opt=1, jit=True)
    module = parse_ir(text, context)
    module.triple, module.data_layout = TRIPLE, str(machine.target_data)
    engine = llvm.create_mcjit_compiler(module, machine)
    engine.finalize_object()
    return engine
