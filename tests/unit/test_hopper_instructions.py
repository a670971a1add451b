"""The wrappers of Hopper's instructions: each gives the PTX it promises, and ptxas takes them together."""

import pytest
from nvidia_helpers import harness, needs_ptxas

from lumir.codegen.nvidia import ptx_of
from lumir.codegen.ptx import assemble, find_ptxas
from lumir.kernels.nvidia import mbarrier, tma, warps, wgmma
from lumir.kernels.nvidia.function import kernel_module, nvidia_kernel
from lumir.kernels.nvidia.guard import only_if
from lumir.kernels.nvidia.mma import byte_offset, constant_i32, packed_pair
from lumir.mlir import arith, ir, llvm, scf

TEXT = """func.func private @d(%x: tensor<64x64xbf16>) -> tensor<64x64xbf16> attributes {lumir.dispatch} {
  return %x : tensor<64x64xbf16> }"""


def producer(kernel, shared, barriers):
    warps.give_registers(40)
    with only_if(warps.elected()):
        mbarrier.arrive_expecting(barriers.at(0), 8192)
        tma.load_box(shared, kernel.tensor_maps[0], [0, constant_i32(7)], barriers.at(0), 3)
        tma.load_box(shared, kernel.tensor_maps[1], [0, 1, 2, 3, 4], barriers.at(0))
        mbarrier.arrive_in(constant_i32(1), barriers.at(1))


def consumer(kernel, shared, barriers):
    warps.take_registers(232)
    mbarrier.wait(barriers.at(0), 0)
    product = wgmma.Product(wgmma.Kinds("bf16", "bf16"), 64, wgmma.Operand(True), wgmma.Operand(False, 8192))
    left, right = product.left.descriptor(shared), product.right.descriptor(byte_offset(shared, 8192))
    wgmma.fence_products()
    sums = product.multiply(None, [([left], right)])
    rest = [(product.left.step(0, k), product.right.step(0, k)) for k in range(32, 128, 32)]
    sums = product.multiply(sums, [([wgmma.advanced(left, by)], wgmma.advanced(right, other)) for by, other in rest])
    wgmma.commit_products()
    wgmma.wait_products(0)
    (values,) = product.values(sums)
    pairs = [packed_pair(values[i], values[i + 1], ir.BF16Type.get()) for i in range(0, 8, 2)]
    warps.store_matrices(shared, pairs)
    tma.fence_async_proxy()
    warps.sync_threads(1, 128)
    warps.arrive_threads(2, 128)
    mbarrier.arrive(barriers.at(1))
    tma.store_box(kernel.tensor_maps[0], shared, [0, 0])
    tma.commit_stores()
    tma.wait_stores_read(0)
    tma.wait_stores(0)


def everything() -> str:
    _module, dispatch = harness.lowered(TEXT)
    module = ir.Module.create()
    with ir.InsertionPoint(module.body), kernel_module("k"), nvidia_kernel(dispatch, "k", 256, tensor_maps=2) as kernel:
        warps.declare_cluster(2)
        shared = kernel.shared([65536], ir.IntegerType.get_signless(8), 1024).pointer
        barriers = mbarrier.Barriers(kernel.shared([16], ir.IntegerType.get_signless(8)).pointer)
        warps.launch_dependents()
        warps.wait_for_dependencies()
        tma.prefetch_map(kernel.tensor_maps[0])
        mbarrier.initialize(barriers.at(0), 1)
        mbarrier.fence_initialization()
        warps.sync_cluster()
        first = arith.CmpIOp(arith.CmpIPredicate.ult, warps.warp_number(), constant_i32(4)).result
        branch = scf.IfOp(first, has_else=True)
        for block, write in ((branch.then_block, producer), (branch.else_block, consumer)):
            with ir.InsertionPoint(block):
                write(kernel, shared, barriers)
                scf.YieldOp([])
        warps.sync_cluster()
    assert module.operation.verify()
    return ptx_of(next(iter(module.body.operations)), "sm_90a")


@pytest.fixture(scope="module")
def ptx() -> str:
    with harness.kernel_context():
        return everything()


@pytest.mark.parametrize(
    "instruction",
    [
        ".param .align 64 .b8 k_param_3[128]",
        ".reqnctapercluster 2, 1, 1",
        "griddepcontrol.launch_dependents",
        "griddepcontrol.wait",
        "prefetch.param.tensormap",
        "mbarrier.init.shared.b64",
        "fence.mbarrier_init.release.cluster",
        "barrier.cluster.arrive",
        "setmaxnreg.dec.sync.aligned.u32 \t40",
        "setmaxnreg.inc.sync.aligned.u32 \t232",
        "elect.sync",
        "mbarrier.arrive.expect_tx.shared.b64",
        "cp.async.bulk.tensor.2d.shared::cluster.global.tile.mbarrier::complete_tx::bytes.multicast::cluster",
        "cp.async.bulk.tensor.5d.shared::cluster.global.tile.mbarrier::complete_tx::bytes",
        "mapa.shared::cluster.u64",
        "mbarrier.arrive.shared::cluster.b64",
        "mbarrier.try_wait.parity.shared.b64",
        "wgmma.fence.sync.aligned",
        "wgmma.mma_async.sync.aligned.m64n64k16.f32.bf16.bf16",
        "wgmma.commit_group.sync.aligned",
        "wgmma.wait_group.sync.aligned \t0",
        "stmatrix.sync.aligned.m8n8.x4.shared.b16",
        "fence.proxy.async.shared::cta",
        "bar.sync \t1, 128",
        "bar.arrive \t2, 128",
        "cp.async.bulk.tensor.2d.global.shared::cta.tile.bulk_group",
        "cp.async.bulk.wait_group.read \t0",
    ],
)
def test_instruction(ptx, instruction):
    assert instruction in ptx


@needs_ptxas
def test_ptxas_takes_them_without_spills_or_warnings(ptx):
    report = assemble(ptx, "sm_90a")
    assert not report.spills and not report.stack and not report.warnings


@pytest.mark.parametrize(
    ("element", "n", "instruction"),
    [
        ("f16", 256, "m64n256k16.f32.f16.f16"),
        ("f32", 64, "m64n64k8.f32.tf32.tf32"),
        ("f8E4M3FN", 128, "m64n128k32.f32.e4m3.e4m3"),
        ("f8E5M2", 32, "m64n32k32.f32.e5m2.e5m2"),
        ("i8", 128, "m64n128k32.s32.s8.s8"),
    ],
)
def test_every_element_type(element, n, instruction):
    with harness.kernel_context():
        _module, dispatch = harness.lowered(TEXT)
        module = ir.Module.create()
        kinds = wgmma.Kinds.of(ir.Type.parse(element), ir.Type.parse(element))
        assert kinds
        with ir.InsertionPoint(module.body), kernel_module("k"), nvidia_kernel(dispatch, "k", 128) as kernel:
            product = wgmma.Product(kinds, n, wgmma.Operand(True), wgmma.Operand(True))
            shared = kernel.shared([65536], ir.IntegerType.get_signless(8), 1024).pointer
            left = product.left.descriptor(shared)
            (sums,) = product.values(product.multiply(None, [([left], left)]))
            wgmma.commit_products()
            wgmma.wait_products(0)
            llvm.StoreOp(sums[0], kernel.outputs[0].pointer, alignment=4)
        ptx = ptx_of(next(iter(module.body.operations)), "sm_90a")
    assert f"wgmma.mma_async.sync.aligned.{instruction}" in ptx
    if find_ptxas():
        assert not assemble(ptx, "sm_90a").warnings


def test_descriptor_steps():
    along_k, along_rows = wgmma.Operand(True), wgmma.Operand(False, 64 * 128)
    assert along_k.step(0, 32) == 2 and along_k.step(64, 0) == 512
    assert along_rows.step(0, 32) == 128 and along_rows.step(64, 0) == 512
