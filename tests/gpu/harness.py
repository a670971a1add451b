"""Holds NVIDIA kernel families against the numpy reference: from the text of one dispatch to numbers.

text = '''func.func private @d(%x: tensor<8x64xf32>) -> tensor<8x64xf32> attributes {lumir.dispatch} {
  %0 = "lumir.exp"(%x) : (tensor<8x64xf32>) -> tensor<8x64xf32>
  return %0 : tensor<8x64xf32> }'''
with kernel_context():
    built = build(text, MapFamily(), "sm_90a")    # PTX of the first legal schedule, no GPU needed
    check(built, seed=0)                          # runs it and compares
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from lumir.codegen.nvidia import ptx_of
from lumir.codegen.ptx import AssemblyReport, assemble
from lumir.context import make_context
from lumir.dtypes import numpy_dtype
from lumir.kernels.dispatch import Dispatch
from lumir.kernels.nvidia.function import kernel_module
from lumir.linalg.lower import LowerToLinalg, dispatches
from lumir.measure import compile_dispatch
from lumir.mlir import ir
from lumir.reference import Interpreter
from lumir.reference.rules import Precision
from lumir.schedule.family import Family, KernelCode
from lumir.schedule.schedule import Schedule
from lumir.target import NVIDIA_ARCHS, target_named


@contextmanager
def kernel_context() -> Iterator[None]:
    with make_context(), ir.Location.unknown():
        yield


@dataclass
class Built:
    """One dispatch as a kernel.

    Attributes:
        text: the lumir dialect text it came from.
        family: what emitted it.
        code: its launch.
        module: the builtin.module around the `gpu.module`, to print.
        ptx: for `arch`.
    """

    text: str
    family: Family
    schedule: Schedule
    code: KernelCode
    module: ir.Module
    arch: str
    name: str = "kernel"

    @cached_property
    def ptx(self) -> str:
        return ptx_of(next(iter(self.module.body.operations)), self.arch)

    @cached_property
    def function(self) -> ir.OpView:
        """The dispatch as the lumir dialect has it."""
        self._parsed = ir.Module.parse(self.text)
        return dispatches(self._parsed)[0]

    @property
    def input_types(self) -> list[ir.RankedTensorType]:
        return [ir.RankedTensorType(a.type) for a in self.function.regions[0].blocks[0].arguments]

    @property
    def output_types(self) -> list[ir.RankedTensorType]:
        terminator = list(self.function.regions[0].blocks[0].operations)[-1]
        return [ir.RankedTensorType(v.type) for v in terminator.operands]

    def assemble(self) -> AssemblyReport:
        return assemble(self.ptx, self.arch)


def lowered(text: str) -> tuple[ir.Module, Dispatch]:
    """The dispatch of a text after step 4; keep the module alive."""
    module = ir.Module.parse(text)
    LowerToLinalg().run(module)
    return module, Dispatch(dispatches(module)[0])


def legal_schedules(text: str, family: Family, arch: str = "sm_90a") -> list[Schedule]:
    """What the family offers for the dispatch, the most promising first."""
    _module, dispatch = lowered(text)
    target = target_named(arch)
    assert family.match(dispatch, target), f"{family.name} does not match"
    return [s for s in family.space(dispatch, target) if not family.legal(dispatch, s, target)]


def build(text: str, family: Family, arch: str = "sm_90a", schedule: Schedule | None = None) -> Built:
    """Emit a dispatch with a schedule, by default the first legal one of the family's space."""
    lowered_module, dispatch = lowered(text)
    target = target_named(arch)
    assert family.match(dispatch, target), f"{family.name} does not match"
    if schedule is None:
        schedule = next(s for s in family.space(dispatch, target) if not family.legal(dispatch, s, target))
    assert not (reasons := family.legal(dispatch, schedule, target)), reasons
    module = ir.Module.create()
    with ir.InsertionPoint(module.body), kernel_module("kernels"):
        code = family.emit(dispatch, schedule, target, "kernel")
    assert module.operation.verify()
    del lowered_module
    return Built(text, family, schedule, code, module, arch)


def assemble_cleanly(built: Built) -> AssemblyReport:
    """Assemble with ptxas; asserts that nothing spills, no symbol is left open, and ptxas warns of nothing."""
    assert ".extern .func" not in built.ptx
    report = built.assemble()
    assert report.spills == 0 and not report.warnings, (built.schedule, report.kernels, report.warnings)
    return report


def assemble_everywhere(text: str, family: Family, schedule: Schedule | None = None) -> dict[str, AssemblyReport]:
    """Assemble for every architecture with ptxas; asserts that nothing spills and no symbol is left open."""
    reports = {}
    for arch in NVIDIA_ARCHS:
        built = build(text, family, arch, schedule)
        assert ".extern .func" not in built.ptx, built.ptx
        reports[arch] = report = built.assemble()
        assert report.spills == 0, f"{arch}: {built.schedule} spills {report.spills} bytes"
    return reports


def random_inputs(built: Built, seed: int) -> list[np.ndarray]:
    """Standard normal floats, integers of -5..5 (0..5 if unsigned), fair coins."""
    rng = np.random.default_rng(seed)
    arrays = []
    for type_ in built.input_types:
        dtype, shape = numpy_dtype(type_.element_type), tuple(type_.shape)
        if dtype.kind == "b":
            arrays.append(rng.random(shape) < 0.5)
        elif dtype.kind in "iu":
            arrays.append(rng.integers(0 if dtype.kind == "u" else -5, 6, shape).astype(dtype))
        else:
            arrays.append(rng.standard_normal(shape).astype(dtype))
    return arrays


def expected(built: Built, inputs: Sequence[np.ndarray], precision: Precision = "float64") -> list[np.ndarray]:
    """What the reference makes of the inputs."""
    module = built.function.operation.parent
    assert module is not None
    interpreter = Interpreter(module.operation, precision=precision)
    held = [interpreter.hold(a) for a in inputs]
    return interpreter.region(built.function.regions[0].blocks[0], held)


def run(built: Built, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Run on the first GPU; outputs are poisoned before, and so is the memory around them, which must stay so."""
    import device

    return device.run(compile_dispatch(built.text, built.arch, built.family, built.schedule), inputs)


def check(
    built: Built,
    seed: int = 0,
    inputs: Sequence[np.ndarray] | None = None,
    tolerance: float | None = None,
    precision: Precision = "float64",
) -> None:
    """Run on random inputs and compare with the reference.

    Args:
        tolerance: error allowed relative to 1 + the largest expected magnitude; by default a few units in the last
            place of the output's dtype, and exact for integers.
        precision: of the reference; `declared` where integers are rounded from floats whose every operation is given,
            so that they must be the same also next to a tie.
    """
    inputs = random_inputs(built, seed) if inputs is None else list(inputs)
    for found, wanted in zip(run(built, inputs), expected(built, inputs, precision), strict=True):
        compare(found, wanted, tolerance)


def compare(found: np.ndarray, wanted: np.ndarray, tolerance: float | None = None) -> None:
    """Assert equal NaNs and infinities, and errors within the tolerance of `check`."""
    assert found.shape == wanted.shape
    if found.dtype.kind in "biu":
        np.testing.assert_array_equal(found, wanted)
        return
    wide, wanted = found.astype(np.float64), wanted.astype(found.dtype).astype(np.float64)
    finite = np.isfinite(wanted)
    np.testing.assert_array_equal(wide[~finite], wanted[~finite])
    assert np.isfinite(wide[finite]).all(), "the kernel gives infinities or NaNs where the reference does not"
    allowed = tolerance if tolerance is not None else DEFAULT_TOLERANCE[found.dtype.name]
    error = np.abs(wide[finite] - wanted[finite]).max(initial=0.0)
    scale = 1 + np.abs(wanted[finite]).max(initial=0.0)
    assert error <= allowed * scale, f"error {error:.3g} of magnitude {scale:.3g}, allowed {allowed:.3g} relative"


DEFAULT_TOLERANCE = {"float64": 1e-13, "float32": 3e-6, "float16": 1.5e-3, "bfloat16": 1.2e-2, "float8_e4m3fn": 8e-2}
