"""Hold what a caller passes to `run` against what the model takes, and say clearly where they differ."""

import contextlib
import difflib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from lumir.artifact.dtypes import numpy_dtype
from lumir.artifact.plan import Plan
from lumir.artifact.tensors import TensorSpec
from lumir.diagnostics import UserError
from lumir.runtime.binding import Binding, bind
from lumir.runtime.dlpack import ForeignTensor, from_dlpack
from lumir.sizes import high

Tensor = np.ndarray | ForeignTensor
"""An input: in host memory as an array, or on a GPU."""


def to_tensor(name: str, value: Any, stream: int | None) -> Tensor:
    """`value` as an array, or as a description of GPU memory.

    Args:
        stream: the CUDA stream that will read GPU memory; None when the executable runs on a CPU.

    Raises:
        UserError: `input-type` or `input-device`.
    """
    if isinstance(value, np.ndarray):
        return value
    if isinstance(value, np.generic):
        return np.asarray(value)
    if not hasattr(value, "__dlpack__"):
        raise UserError(
            f"input {name!r} is a {type(value).__name__}, not an array",
            code="input-type",
            rule="a numpy array, or an object with __dlpack__ (torch, cupy, jax)",
            hint=f"pass numpy.asarray(value, dtype) for {name!r}",
        )
    on_gpu = value.__dlpack_device__()[0] not in (1, 3)
    tensor = from_dlpack(value, stream if on_gpu and stream is not None else None)
    if not tensor.is_on_gpu:
        return tensor.to_numpy()
    if stream is None:
        raise UserError(
            f"input {name!r} is on a GPU, and this artifact runs on the CPU",
            code="input-device",
            hint="move it to host memory first (tensor.cpu())",
        )
    return tensor


def dtype_name(tensor: Tensor) -> str:
    return tensor.dtype if isinstance(tensor, ForeignTensor) else tensor.dtype.name


def match_names(inputs: Any, specs: Sequence[TensorSpec]) -> None:
    """Check that `inputs` names each of the model's inputs and nothing else."""
    if not isinstance(inputs, Mapping):
        raise UserError(
            f"the inputs are a {type(inputs).__name__}",
            code="input-type",
            rule="a mapping from input name to array",
            values={"inputs of the model": describe(specs)},
        )
    names = [spec.name for spec in specs]
    if inputs.keys() == set(names):
        return
    for name in inputs:
        if name not in names:
            close = difflib.get_close_matches(str(name), names, n=1, cutoff=0.5)
            raise UserError(
                f"the model has no input {name!r}",
                code="unknown-input",
                values={"inputs of the model": describe(specs)},
                hint=f"did you mean {close[0]!r}?" if close else None,
            )
    missing = [name for name in names if name not in inputs]
    if missing:
        raise UserError(
            f"no value for input {', '.join(map(repr, missing))}",
            code="missing-input",
            values={"inputs of the model": describe(specs)},
        )


def check_tensor(spec: TensorSpec, tensor: Tensor) -> Tensor:
    """Check one input's element type; an array comes back in native byte order."""
    if isinstance(tensor, np.ndarray) and tensor.dtype == numpy_dtype(spec.dtype):
        return tensor
    found = dtype_name(tensor)
    if found != spec.dtype:
        raise UserError(
            f"input {spec.name!r} has element type {found}, and the model takes {spec.dtype}",
            code="input-dtype",
            hint=f"convert it to {spec.dtype} before the call",
        )
    return tensor.astype(numpy_dtype(spec.dtype)) if isinstance(tensor, np.ndarray) else tensor


def choose_plan(plans: Sequence[Plan], tensors: Mapping[str, Tensor]) -> tuple[int, Binding]:
    """The index of the plan that takes inputs of these shapes, and the values of its symbols.

    Of several, the one whose largest inputs are the smallest.

    Raises:
        UserError: `no-plan`, listing the shapes that there are; with one plan, whatever `bind` says.
    """
    shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    if len(plans) == 1:
        return 0, bind(plans[0], shapes)
    fitting = []
    for i, plan in enumerate(plans):
        with contextlib.suppress(UserError):
            fitting.append((sum(high(spec.nbytes) for spec in plan.inputs), i, bind(plan, shapes)))
    if fitting:
        _, index, binding = min(fitting, key=lambda item: item[:2])
        return index, binding
    given = ", ".join(f"{name}{list(tensor.shape)}" for name, tensor in tensors.items())
    taken = [", ".join(f"{spec.name}[{', '.join(map(str, spec.shape))}]" for spec in plan.inputs) for plan in plans]
    ranges = [", ".join(str(s) for s in plan.ranges.values() if s.low < s.high) for plan in plans]
    raise UserError(
        f"the artifact has no plan for {given}",
        code="no-plan",
        values={f"plan {i}": "; ".join(filter(None, item)) for i, item in enumerate(zip(taken, ranges))},
        hint="pad the inputs to one of these shapes, or compile the model with a profile for this one",
    )


def describe(specs: Sequence[TensorSpec]) -> str:
    return "; ".join(map(str, specs)) or "none"
