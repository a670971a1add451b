"""Holds the expansions against exact functions: one operation becomes one kernel, and errors are counted in ulp.

For the tests and for benchmarks/measure_math.py; the compiler does not import it.
"""

import ctypes
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import ml_dtypes
import numpy as np

from lumir.codegen.expand_math import expand_math
from lumir.codegen.host import compile_host
from lumir.codegen.host_link import link_host
from lumir.codegen.llvm_ir import to_llvm_dialect, to_llvm_ir
from lumir.mlir import ir
from lumir.runtime.memory import LoadedImage

DTYPES = {
    "f16": np.dtype(np.float16),
    "bf16": np.dtype(ml_dtypes.bfloat16),
    "f32": np.dtype(np.float32),
    "f64": np.dtype(np.float64),
    "i1": np.dtype(np.bool_),
    **{f"i{bits}": np.dtype(f"int{bits}") for bits in (8, 16, 32, 64)},
}
_PRECISION = {"f16": (11, -14), "bf16": (8, -126), "f32": (24, -126), "f64": (53, -1022)}  # digits, least exponent
_ABI = ctypes.CFUNCTYPE(None, ctypes.c_int64, ctypes.c_void_p)


@dataclass(frozen=True)
class Case:
    """One operation on operands of the given kinds (f16, bf16, f32, f64, i32, ...); `lanes` None for scalars."""

    op: str
    operands: tuple[str, ...]
    result: str
    lanes: int | None = 16

    @property
    def name(self) -> str:
        return f"{self.op}_{'_'.join(self.operands)}_to_{self.result}_{self.lanes or 'scalar'}".replace(".", "_")

    def _type(self, kind: str) -> str:
        return f"vector<{self.lanes}x{kind}>" if self.lanes else kind

    def operation(self) -> str:
        """The operation on %x0, %x1, ... with the result %y."""
        names = ", ".join(f"%x{i}" for i in range(len(self.operands)))
        types = ", ".join(self._type(kind) for kind in self.operands)
        return f'%y = "{self.op}"({names}) : ({types}) -> {self._type(self.result)}'

    def loads(self, at: str, address_space: str = "") -> str:
        """Loads of %x0, ... from %p0, ... at the index `at`."""
        pointer, lines = f"!llvm.ptr{address_space}", []
        for i, kind in enumerate(self.operands):
            lines.append(f"%q{i} = llvm.getelementptr %p{i}[{at}] : ({pointer}, i64) -> {pointer}, {kind}")
            aligned = f"{{alignment = {DTYPES[kind].itemsize} : i64}}"
            lines.append(f"%x{i} = llvm.load %q{i} {aligned} : {pointer} -> {self._type(kind)}")
        return "\n".join(lines)

    def store(self, at: str, address_space: str = "") -> str:
        """The store of %y to %out at the index `at`."""
        kind, value, widen = self.result, "%y", ""
        if kind == "i1":
            kind, value = "i8", "%z"
            widen = f"%z = arith.extui %y : {self._type('i1')} to {self._type('i8')}\n"
        pointer = f"!llvm.ptr{address_space}"
        return (
            f"{widen}%q = llvm.getelementptr %out[{at}] : ({pointer}, i64) -> {pointer}, {kind}\n"
            f"llvm.store {value}, %q {{alignment = {DTYPES[kind].itemsize} : i64}} : {self._type(kind)}, {pointer}"
        )


def cpu_source(case: Case) -> str:
    """A CPU kernel that applies the operation to each element: args are the operands, the result, the element count."""
    slots = [*(f"p{i}" for i in range(len(case.operands))), "out"]
    pointers = "\n".join(
        f"%s{i} = llvm.getelementptr %args[{i}] : (!llvm.ptr) -> !llvm.ptr, !llvm.ptr\n"
        f"%{slot} = llvm.load %s{i} : !llvm.ptr -> !llvm.ptr"
        for i, slot in enumerate(slots)
    )
    return f"""
    func.func @{case.name}(%workgroup: i64, %args: !llvm.ptr) {{
      {pointers}
      %sn = llvm.getelementptr %args[{len(slots)}] : (!llvm.ptr) -> !llvm.ptr, i64
      %n = llvm.load %sn : !llvm.ptr -> i64
      %zero = arith.constant 0 : i64
      %step = arith.constant {case.lanes or 1} : i64
      scf.for %i = %zero to %n step %step : i64 {{
        {case.loads("%i")}
        {case.operation()}
        {case.store("%i")}
      }}
      return
    }}"""


def nvidia_source(cases: Sequence[Case]) -> str:
    """A gpu.module with a kernel for each case: parameters are the operands, the result, the element count."""
    return "gpu.module @math {" + "\n".join(_nvidia_kernel(case) for case in cases) + "}"


def _nvidia_kernel(case: Case) -> str:
    pointers = ", ".join(f"%p{i}: !llvm.ptr<1>" for i in range(len(case.operands)))
    return f"""
    gpu.func @{case.name}({pointers}, %out: !llvm.ptr<1>, %n: i64)
        kernel attributes {{known_block_size = array<i32: 128, 1, 1>}} {{
      %thread = gpu.thread_id x
      %block = gpu.block_id x
      %width = arith.constant {128 * (case.lanes or 1)} : index
      %lanes = arith.constant {case.lanes or 1} : index
      %first = arith.muli %block, %width : index
      %offset = arith.muli %thread, %lanes : index
      %place = arith.addi %first, %offset : index
      %i = arith.index_cast %place : index to i64
      %inside = arith.cmpi slt, %i, %n : i64
      scf.if %inside {{
        {case.loads("%i", "<1>")}
        {case.operation()}
        {case.store("%i", "<1>")}
      }}
      gpu.return
    }}"""


def lower_for_cpu(cases: Sequence[Case], target: str = "cpu") -> str:
    """LLVM IR of the kernels, after `expand_math` for the target."""
    with ir.Context(), ir.Location.unknown():
        module = ir.Module.parse("\n".join(map(cpu_source, cases)))
        expand_math(module, target)
        to_llvm_dialect(module.operation)
        return to_llvm_ir(module.operation)


def compile_cases(cases: Sequence[Case], cpu: str = "host") -> list[Callable[..., np.ndarray]]:
    """A function of numpy arrays for each case; linking fails where a library is called.

    The arrays have one dtype each and one length, a multiple of the lanes.
    """
    image = LoadedImage(link_host({"math": compile_host(lower_for_cpu(cases), cpu=cpu)}))
    return [_callable(case, image) for case in cases]


def _callable(case: Case, image: LoadedImage) -> Callable[..., np.ndarray]:
    function = _ABI(image.symbol(case.name))

    def run(*operands: np.ndarray) -> np.ndarray:
        arrays = [np.ascontiguousarray(x, DTYPES[kind]) for x, kind in zip(operands, case.operands, strict=True)]
        size = arrays[0].size
        assert size % (case.lanes or 1) == 0 and all(x.size == size for x in arrays)
        out = np.empty(size, DTYPES[case.result])
        slots = np.array([*(x.ctypes.data for x in arrays), out.ctypes.data, size], np.int64)
        function(0, slots.ctypes.data)
        return out

    run.image = image  # type: ignore[attr-defined]  # keeps the code mapped
    return run


def ulp_errors(got: np.ndarray, exact: np.ndarray, kind: str) -> np.ndarray:
    """Distance in units of the last place of the exact value; infinite where NaN, infinity or a zero's sign is wrong.

    Args:
        got: results in the dtype of `kind`.
        exact: the same in a wider dtype.
    """
    digits, least = _PRECISION[kind]
    wide = exact.dtype.type
    with np.errstate(all="ignore"):
        nearest = exact.astype(DTYPES[kind])
        exponent = np.maximum(np.frexp(np.abs(exact))[1] - 1, least)
        errors = np.abs(got.astype(wide) - exact) / np.ldexp(wide(1), exponent - (digits - 1))
        finite = np.isfinite(got) & np.isfinite(nearest)
        same = (got == nearest) | (np.isnan(got) & np.isnan(nearest))
        # The largest finite number stands for infinity, and infinity for it, where the exact value is next to both.
        edge = ~np.isnan(exact) & (np.abs(exact) >= wide(2) ** (least * -1 + 2) * wide(1 - 2.0 ** (1 - digits)))
        errors = np.where(finite, errors, np.where(same, 0, np.where(edge & ~np.isnan(got), 1, np.inf)))
        wrong_sign = ~np.isnan(exact) & (np.signbit(got) != np.signbit(exact))
    return np.where(wrong_sign, np.inf, errors).astype(np.float64)
