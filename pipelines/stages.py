"""The line: one `Stage` for each of the ten steps, in order. Folders, dumps, tests and the manifest use these names."""

from dataclasses import dataclass

_TENSORS = frozenset({"builtin", "func", "lumir"})
_LINALG = _TENSORS | {"linalg", "arith", "math", "tensor"}
_KERNEL = frozenset({"scf", "vector", "gpu", "nvgpu", "nvvm", "llvm"})


@dataclass(frozen=True)
class Stage:
    """A step of the compiler.

    Args:
        name: the step's name, as in the design's table.
        summary: what goes in and what comes out.
        dialects: the dialects that may appear in the IR after it; None when the step does not end in IR.
    """

    name: str
    summary: str
    dialects: frozenset[str] | None = None


STAGES: tuple[Stage, ...] = (
    Stage("import", "ONNX or a Hugging Face directory -> lumir, weights by reference", _TENSORS),
    Stage("graph", "lumir -> lumir: shapes, constants, recognition, precision, layouts", _TENSORS),
    Stage("dispatch", "lumir -> functions marked lumir.dispatch: what is fused with what", _TENSORS),
    Stage("linalg", "each dispatch -> linalg on tensors", _LINALG),
    Stage("schedule", "each dispatch gets a schedule of one kernel family", _LINALG),
    Stage("kernel", "linalg and schedule -> gpu.func, or a vectorised func of a workgroup id", _LINALG | _KERNEL),
    Stage("llvm", "kernels -> PTX or object code", _TENSORS),
    Stage("plan", "calls -> buffers in one arena and a launch list", _TENSORS),
    Stage("artifact", "everything -> one .lumir file"),
    Stage("run", "artifact -> results"),
)


def stage(name: str) -> Stage:
    """The stage of this name; raises `KeyError`."""
    return {stage.name: stage for stage in STAGES}[name]
