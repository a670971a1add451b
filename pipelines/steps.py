"""The passes of each step that ends in IR: what `lumir-compile` runs, as a function of the target and precision."""

from collections.abc import Sequence
from dataclasses import astuple, dataclass
from typing import Any, Literal

from lumir.target import Target


@dataclass(frozen=True)
class Tuning:
    """Where schedules come from before the cost model is asked.

    Args:
        database: a tuning database besides the one that ships, or a folder of them by architecture; empty for none.
        schedules: a file with schedules by dispatch, as an artifact's `schedules.json`; empty for none.
    """

    database: str = ""
    schedules: str = ""


HALF: dict[str, Literal["f16", "bf16"]] = {"fp16": "f16", "bf16": "bf16"}


def graph(target: Target, precision: str | None = None) -> list[Any]:
    """Step 2. Recognition runs after folding, because exporters hide a composite's constants in arithmetic."""
    from lumir.graph import (
        allow_tf32,
        channels_last,
        contract_integers,
        convert_precision,
        fold_columns,
        fold_constants,
        fuse_attention,
        fuse_normalization,
        lay_weights,
        merge_contractions,
        merge_groups,
    )
    from lumir.graph.canonicalize import Canonicalize

    passes: list[Any] = [
        Canonicalize(),
        contract_integers.ContractIntegers(),
        fuse_normalization.FuseNormalization(),
        # A row whose keys are all masked by a finite addend keeps ONNX's result, the mean of the values.
        fuse_attention.FuseAttention(keep_empty_rows=True),
    ]
    if precision is not None and precision in HALF:
        passes.append(convert_precision.ConvertPrecision(to=HALF[precision]))
    if target.kind == "nvidia":
        # After precision, which decides what tensor cores can multiply.
        passes += [channels_last.ChannelsLast(), fold_columns.FoldColumns(), merge_groups.MergeGroups()]
        passes += [lay_weights.LayWeights()]
    # After precision, so that the casts of weights are folded into the weights themselves.
    passes += [fold_constants.FoldConstants(), Canonicalize()]
    if _combines_bands(target):
        passes.append(merge_contractions.MergeContractions(joined=True))
    # Last, as ops that are built anew lose the mark.
    return [*passes, allow_tf32.AllowTf32()] if precision == "tf32" else passes


def dispatch(target: Target) -> list[Any]:
    """Step 3."""
    from lumir.dispatch.form import FormDispatches
    from lumir.dispatch.outline_constants import OutlineConstants

    return [OutlineConstants(), FormDispatches(bands=_combines_bands(target))]


def _combines_bands(target: Target) -> bool:
    """Whether kernels compute a value of equal bands of a product's columns."""
    return target.arch == "sm_90a"


def linalg(target: Target) -> list[Any]:
    """Step 4."""
    from lumir.linalg.lower import LowerToLinalg

    return [LowerToLinalg()]


def schedule(target: Target, tuning: Tuning | None = None) -> list[Any]:
    """Step 5."""
    from lumir.schedule.choose import ChooseSchedules
    from lumir.schedule.mark_unwritten import MarkUnwritten
    from lumir.schedule.pack_weights import PackWeights
    from lumir.schedule.split_dispatches import SplitDispatches

    # Before packing, which looks for contractions: a part that is split off may be one.
    return [
        SplitDispatches(target.name),
        PackWeights(target.name),
        MarkUnwritten(),
        ChooseSchedules(target.name, *astuple(tuning or Tuning())),
    ]


def kernel(target: Target) -> list[Any]:
    """Step 6."""
    from lumir.kernels.emit import EmitKernels

    return [EmitKernels(target.name)]


def llvm(target: Target) -> list[Any]:
    """Step 7."""
    from lumir.codegen.compile import CompileKernels

    return [CompileKernels(target.name)]


def plan(target: Target) -> list[Any]:
    """Step 8."""
    from lumir.plan.buffers import AssignBuffers

    return [AssignBuffers()]


def passes_of(step: str, target: Target, precision: str | None = None, tuning: Tuning | None = None) -> Sequence[Any]:
    """The passes of the step of this name."""
    if step == "graph":
        return graph(target, precision)
    if step == "schedule":
        return schedule(target, tuning)
    return {"dispatch": dispatch, "linalg": linalg, "kernel": kernel, "llvm": llvm, "plan": plan}[step](target)
