"""Runs a kernel's LLVM IR on the CPU, a host thread for each thread of a workgroup: for tests without a GPU.

What only a GPU has becomes calls back into Python: thread and workgroup numbers, the barrier, the shuffle, asynchronous
copies, which are done at once. Workgroups of a one-dimensional grid run one after the other. Slow, and not for kernels
with tensor cores or inline assembly.
"""

import ctypes
import re
import threading
from collections.abc import Sequence

import llvmlite.binding as llvm
import numpy as np
from harness import Built

from lumir.codegen.host import TRIPLE, parse_ir
from lumir.codegen.nvidia import llvm_ir_of
from lumir.dtypes import numpy_dtype

WARP = 32
_NAMES = {
    "llvm.nvvm.read.ptx.sreg.tid.x": "emulated_thread",
    "llvm.nvvm.read.ptx.sreg.ctaid.x": "emulated_workgroup",
    "llvm.nvvm.barrier.cta.sync.aligned.all": "emulated_barrier",
    "llvm.nvvm.shfl.sync.bfly.i32": "emulated_shuffle",
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


def run_on_cpu(built: Built, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
    """As `harness.run`, but on this CPU."""
    outputs = [np.full(tuple(t.shape), 0x5A, np.uint8).astype(numpy_dtype(t.element_type)) for t in built.output_types]
    arrays = [_aligned(array) for array in (*inputs, *outputs)]
    text = llvm_ir_of(next(iter(built.module.body.operations)), built.arch)
    Emulator(text, built.name, built.code.block).run(built.code.grid[0], arrays)
    return arrays[len(inputs) :]


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
        self.block, self._here = block, threading.local()
        self._everyone = threading.Barrier(block)
        self._warps = [threading.Barrier(min(WARP, block)) for _ in range(-(-block // WARP))]
        self._words = [0] * block
        self._callbacks = self._make_callbacks()
        self._context = llvm.create_context()
        self._engine = _compiled(_host_text(llvm_ir), self._context)
        self._kernel = self._engine.get_function_address(name)

    def _make_callbacks(self) -> list:
        i32, make = ctypes.c_int32, ctypes.CFUNCTYPE
        callbacks = [
            make(i32)(lambda: self._here.thread),
            make(i32)(lambda: self._here.workgroup),
            make(None, i32)(lambda _: self._wait(self._everyone)),
            make(i32, i32, i32, i32, i32)(lambda _mask, word, distance, _width: self._shuffled(word, distance)),
            make(None)(lambda: None),
            make(None, i32)(lambda _: None),
            make(None)(lambda: None),
            make(None)(lambda: None),
        ]
        names = list(_NAMES.values())
        pointer = ctypes.c_void_p
        for intrinsic, size in _COPIES.items():
            names += [_plain(intrinsic), _plain(f"{intrinsic}.s")]
            callbacks.append(make(None, pointer, pointer)(lambda to, source, n=size: _copy(to, source, n, n)))
            callbacks.append(make(None, pointer, pointer, i32)(lambda to, source, k, n=size: _copy(to, source, n, k)))
        for name, callback in zip(names, callbacks, strict=True):
            llvm.add_symbol(name, ctypes.cast(callback, ctypes.c_void_p).value)
        return callbacks

    def _wait(self, barrier: threading.Barrier) -> None:
        barrier.wait(timeout=20)

    def _shuffled(self, word: int, distance: int) -> int:
        thread, warp = self._here.thread, self._warps[self._here.thread // WARP]
        self._words[thread] = word
        self._wait(warp)
        result = self._words[thread ^ distance]
        self._wait(warp)
        return result

    def run(self, workgroups: int, arrays: Sequence[np.ndarray]) -> None:
        """Run all workgroups, once, on arrays that the kernel reads and writes in place."""
        kernel = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * len(arrays))(self._kernel)
        pointers = [array.ctypes.data for array in arrays]

        def one(thread: int) -> None:
            self._here.thread = thread
            for workgroup in range(workgroups):
                self._here.workgroup = workgroup
                kernel(*pointers)
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
    text = text.replace("define ptx_kernel void", "define void")
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
