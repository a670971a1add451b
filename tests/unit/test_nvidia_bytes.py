"""Products of bytes on NVIDIA GPUs, without one: instructions, wide copies, weights that lie along the sum."""

import numpy as np
import pytest
from import_helpers import model, node
from nvidia_helpers import contraction_cases, harness, needs_ptxas

from lumir.compile import Request, compile_to
from lumir.kernels.nvidia.contraction import ContractionFamily

SQUARE = {"m": 1024, "n": 1024, "k": 1024}


@needs_ptxas
@pytest.mark.parametrize(("dtype", "name"), [("int8", "s8"), ("uint8", "u8")])
def test_bytes_run_on_tensor_cores_by_wide_asynchronous_copies(dtype, name):
    with harness.kernel_context():
        built = harness.build(contraction_cases.product("mk,nk->mn", SQUARE, dtype, "int32"), ContractionFamily())
        assert f"mma.sync.aligned.m16n8k32.row.col.s32.{name}.{name}.s32" in built.ptx and "ldmatrix" in built.ptx
        assert "cp.async.cg.shared.global" in built.ptx and "ld.global" not in built.ptx
        report = built.assemble()
        assert report.spills == 0 and not report.warnings


@needs_ptxas
@pytest.mark.parametrize("name", [name for name in contraction_cases.CASES if name.startswith("bytes")])
def test_byte_contractions_assemble(name):
    with harness.kernel_context():
        report = harness.build(contraction_cases.CASES[name](), ContractionFamily()).assemble()
        assert report.spills == 0 and not report.warnings


def test_a_weight_of_bytes_lies_along_the_sum():
    """[k, n] is stored as [n, k]: ldmatrix turns 16-bit numbers around, and no bytes."""
    rng, texts = np.random.default_rng(0), []
    weights = {"w": rng.integers(-128, 128, (256, 128)).astype(np.int8)}
    proto = model([node("MatMulInteger", "x w")], {"x": np.zeros((64, 256), np.uint8)}, ["y"], weights)

    def keep(step, number, module, store) -> None:
        texts.append(str(module))

    compile_to(Request(proto, target="sm_89", observe=keep), last="kernel")
    assert "w.turned" in texts[-1] and "mma.sync" in texts[-1] and "#nvvm.mma_type<u8>" in texts[-1]
