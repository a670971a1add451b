"""Step 6: the kernel of every dispatch."""

from dataclasses import dataclass
from typing import ClassVar

from lumir.dialects import to_attribute
from lumir.kernels.dispatch import Dispatch
from lumir.kernels.families import family_named
from lumir.kernels.launch_sizes import SCALARS
from lumir.mlir import gpu, ir
from lumir.module import dispatches
from lumir.schedule.family import Family, KernelCode
from lumir.target import Target, target_named


@dataclass(frozen=True)
class EmitKernels:
    """Write the kernel of each dispatch with its family and schedule.

    Requires: dispatch functions in linalg that carry `lumir.family` and `lumir.schedule`.
    Guarantees: each has become a declaration with `lumir.grid`, `lumir.block` and `lumir.shared_bytes`, beside a module
    `@<name>.kernel` (a `gpu.module` for a GPU) that holds the function `@<name>`. A kernel that wants more than its
    operands and results says so with `lumir.workspace_bytes`, `lumir.counters`, `lumir.tensor_maps`, `lumir.cluster`
    and `lumir.pdl`, and with `lumir.scalars` for sizes that are not fixed.
    """

    target: str = "cpu"
    name: ClassVar[str] = "lumir-emit-kernels"

    def run(self, module: ir.Module) -> None:
        target = target_named(self.target)
        for function in dispatches(module):
            emit_kernel(function, target)


def emit_kernel(function: ir.OpView, target: Target, family: Family | None = None) -> None:
    """Write the kernel of one dispatch.

    Args:
        family: by default the target's family of the name that the function carries.
    """
    dispatch = Dispatch(function)
    family = family or family_named(function.attributes["lumir.family"].value, target)
    schedule = family.schedule.from_attribute(function.attributes["lumir.schedule"])
    with ir.InsertionPoint(function), function.location:
        kernel = _kernel_module(f"{dispatch.name}.kernel", target)
        with ir.InsertionPoint(kernel.regions[0].blocks[0]):
            code = family.emit(dispatch, schedule, target, dispatch.name)
        _declare(function, code, _sizes_of(kernel, dispatch.name))
    function.operation.erase()


def _sizes_of(kernel: ir.Operation, name: str) -> ir.Attribute | None:
    """What the kernel function says of the sizes it takes, which leaves the kernel with this."""
    for op in kernel.regions[0].blocks[0].operations:
        if "sym_name" in op.attributes and op.attributes["sym_name"].value == name and SCALARS in op.attributes:
            sizes = op.attributes[SCALARS]
            del op.attributes[SCALARS]
            return sizes
    return None


def _kernel_module(name: str, target: Target) -> ir.Operation:
    if target.kind == "nvidia":
        module = gpu.GPUModuleOp(name).operation
        if not module.regions[0].blocks:
            module.regions[0].blocks.append()
        return module
    module = ir.Operation.create("builtin.module", attributes={"sym_name": ir.StringAttr.get(name)}, regions=1)
    module.regions[0].blocks.append()
    return module


def _declare(function: ir.OpView, code: KernelCode, sizes: ir.Attribute | None = None) -> None:
    """The dispatch function without its body, and how to launch its kernel."""
    i64 = ir.IntegerType.get_signless(64)
    attributes = dict(function.operation.attributes.items())
    attributes["lumir.grid"] = to_attribute(list(code.grid))
    attributes |= {SCALARS: sizes} if sizes else {}
    attributes["lumir.block"] = ir.IntegerAttr.get(i64, code.block)
    attributes["lumir.shared_bytes"] = ir.IntegerAttr.get(i64, code.shared_bytes)
    for name, amount in (("lumir.workspace_bytes", code.workspace_bytes), ("lumir.counters", code.counters)):
        if amount:
            attributes[name] = ir.IntegerAttr.get(i64, amount)
    if code.tensor_maps:
        attributes["lumir.tensor_maps"] = to_attribute([vars(tensor_map) for tensor_map in code.tensor_maps])
    if code.cluster != (1, 1, 1):
        attributes["lumir.cluster"] = to_attribute(code.cluster)
    if code.pdl:
        attributes["lumir.pdl"] = ir.UnitAttr.get()
    ir.Operation.create("func.func", attributes=attributes, regions=1)
