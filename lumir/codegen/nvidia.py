"""Step 7 for NVIDIA: a `gpu.module` of kernels -> the NVVM and LLVM dialects -> LLVM IR -> PTX.

    gpu.func @k(%x: !llvm.ptr<1>) kernel attributes {known_block_size = array<i32: 128, 1, 1>}

becomes an entry point with `.reqntid 128`, which the driver refuses to launch with another block.
"""

from lumir.codegen.expand_math import expand_math
from lumir.codegen.llvm_ir import run_passes, to_llvm_ir
from lumir.codegen.ptx import compile_ptx
from lumir.mlir import ir, llvm

_CLEAN_UP = ("canonicalize", "cse")
# convert-gpu-to-nvvm would turn what is left of the math dialect into calls of libdevice.
_TO_NVVM = ("gpu.module(convert-math-to-llvm,convert-gpu-to-nvvm)",)
# It refuses the LLVM dialect's own operations for these, so they become calls of the intrinsics by name.
_INTRINSICS = {
    "math.absf": "llvm.fabs",
    "math.ceil": "llvm.ceil",
    "math.copysign": "llvm.copysign",
    "math.exp2": "llvm.exp2",
    "math.floor": "llvm.floor",
    "math.round": "llvm.round",
    "math.roundeven": "llvm.roundeven",
    "math.sqrt": "llvm.sqrt",
}
_TO_LLVM = (
    "canonicalize",
    "cse",
    "convert-vector-to-llvm",
    "convert-scf-to-cf",
    "convert-cf-to-llvm",
    "convert-arith-to-llvm",
    "convert-nvvm-to-llvm",
    "reconcile-unrealized-casts",
)


def ptx_of(gpu_module: ir.Operation | ir.OpView, arch: str, *, opt_level: int = 3) -> str:
    """The PTX of every kernel in a `gpu.module`, which is left as it is.

    Args:
        arch: an architecture that `lumir.codegen.ptx` knows, such as `sm_90a`.
        opt_level: 0 to 3, as in `-O3`.

    Raises:
        InternalError: `bad-kernel` where a pass fails, `bad-llvm-ir` where LLVM refuses the result.
        UserError: `bad-arch`.
    """
    return compile_ptx(llvm_ir_of(gpu_module, arch), arch, opt_level=opt_level)


def llvm_ir_of(gpu_module: ir.Operation | ir.OpView, arch: str) -> str:
    """The LLVM IR text of a `gpu.module`, as `ptx_of` compiles it for `arch`."""
    with gpu_module.context, gpu_module.location:
        return to_llvm_ir(to_nvvm(gpu_module.operation))


def to_nvvm(gpu_module: ir.Operation) -> ir.Operation:
    """A new module with the kernels of `gpu_module` as functions of the LLVM dialect."""
    outer, plain = ir.Module.create(), ir.Module.create()
    with ir.InsertionPoint(outer.body):
        kernels = gpu_module.clone()
    run_passes(outer.operation, _CLEAN_UP)
    expand_math(outer.operation, "nvidia")
    _call_intrinsics(outer.operation)
    by_value = _by_value(kernels)
    run_passes(outer.operation, _TO_NVVM)
    for op in list(kernels.regions[0].blocks[0].operations):
        _require_block_size(op.operation)
        if "sym_name" in op.operation.attributes:
            _pass_by_value(op.operation, by_value.get(op.operation.attributes["sym_name"].value, []))
        plain.body.append(op)
    run_passes(plain.operation, _TO_LLVM)
    return plain.operation


def _call_intrinsics(root: ir.Operation) -> None:
    found: list[ir.Operation] = []

    def collect(op: ir.Operation) -> ir.WalkResult:
        if op.name in _INTRINSICS:
            found.append(op)
        return ir.WalkResult.ADVANCE

    root.walk(collect)
    for op in found:
        with op.location, ir.InsertionPoint(op):
            call = llvm.CallIntrinsicOp(op.results[0].type, _INTRINSICS[op.name], list(op.operands), [], [])
        op.results[0].replace_all_uses_with(call.operation.results[0])
        op.erase()


def _require_block_size(op: ir.Operation) -> None:
    """The known block size as what a launch must have, rather than as an upper limit."""
    if "nvvm.maxntid" in op.attributes:
        op.attributes["nvvm.reqntid"] = op.attributes["nvvm.maxntid"]
        del op.attributes["nvvm.maxntid"]


def _by_value(kernels: ir.Operation) -> dict[str, list[dict[str, ir.Attribute]]]:
    """The attributes of the arguments of each `gpu.func` that are passed by value, tensor maps say; {} for the others.

    The conversion to LLVM functions drops them, and `gpu.func` cannot be given `nvvm.grid_constant`, without which
    LLVM copies the argument to local memory.
    """
    found = {}
    for op in kernels.regions[0].blocks[0].operations:
        arguments = op.attributes.get("arg_attrs", [])
        fields = [{named.name: named.attr for named in attributes} for attributes in arguments]
        constant = {"nvvm.grid_constant": ir.UnitAttr.get()}
        found[op.attributes["sym_name"].value] = [f | constant if "llvm.byval" in f else {} for f in fields]
    return found


def _pass_by_value(op: ir.Operation, arguments: list[dict[str, ir.Attribute]]) -> None:
    if any(arguments):
        known = [{named.name: named.attr for named in attributes} for attributes in op.attributes["arg_attrs"]]
        merged = [ir.DictAttr.get(old | new) for old, new in zip(known, arguments, strict=True)]
        op.attributes["arg_attrs"] = ir.ArrayAttr.get(merged)
