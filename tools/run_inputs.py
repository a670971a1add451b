"""`--input NAME=VALUE` -> arrays."""

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from lumir.artifact.dtypes import numpy_dtype
from lumir.artifact.plan import Plan
from lumir.artifact.tensors import TensorSpec
from lumir.diagnostics import UserError
from lumir.runtime.binding import bind

_RULE = "NAME=@file.npy, NAME=random, NAME=random:LOW:HIGH, NAME=zeros or NAME=ones"


def make_inputs(plan: Plan, requests: Sequence[str], seed: int) -> dict[str, np.ndarray]:
    """The arrays to run a plan on.

    Args:
        requests: `NAME=VALUE` for some of the inputs; the others are random. Each input has its own random stream,
            so that naming one does not change another.

    Raises:
        UserError: `bad-input`: a request that cannot be read, an unknown name, a file that is no array.
    """
    values = dict(_split(request) for request in requests)
    names = [spec.name for spec in plan.inputs]
    for name in values:
        if name not in names:
            raise UserError(f"the model has no input {name!r}", code="bad-input", values={"inputs": ", ".join(names)})
    streams = np.random.default_rng(seed).spawn(len(names))
    return {spec.name: _make(spec, values.get(spec.name, "random"), rng) for spec, rng in zip(plan.inputs, streams)}


def plan_for(plans: Sequence[Plan], requests: Sequence[str], dims: Sequence[str] = ()) -> Plan:
    """A plan that takes the given files, for sizes that these and `dims` (`NAME=SIZE`) say; else the first one.

    A symbol that nothing gives a size gets one from its range.
    """
    files = {name: value for name, value in map(_split, requests) if value.startswith("@")}
    shapes: Mapping[str, tuple[int, ...]] = {name: _load(name, value[1:]).shape for name, value in files.items()}
    given = {name: _size(name, text) for name, text in map(_split_dim, dims)}
    for plan in plans:
        with contextlib.suppress(UserError):
            return _sized(plan, shapes, given)
    return _sized(plans[0], {}, given)


def _sized(plan: Plan, shapes: Mapping[str, tuple[int, ...]], given: Mapping[str, int]) -> Plan:
    specs = tuple(spec for spec in plan.inputs if spec.name in shapes)
    binding = {**plan.samples()[len(plan.samples()) // 2], **bind(replace(plan, inputs=specs), shapes), **given}
    for name, size in given.items():
        if name not in plan.ranges or not plan.ranges[name].admits(size):
            taken = {symbol.name: symbol.range for symbol in plan.ranges.values()}
            raise UserError(f"--dim {name}={size} is no size that the artifact serves", code="bad-input", values=taken)
    return plan.at(binding)


def _split_dim(text: str) -> tuple[str, str]:
    name, _, size = text.rpartition("=")
    return name, size


def _size(name: str, text: str) -> int:
    if not name or not text.isdecimal():
        raise UserError(f"--dim {name}={text} cannot be read", code="bad-input", rule="NAME=SIZE")
    return int(text)


def _split(request: str) -> tuple[str, str]:
    name, separator, value = request.rpartition("=")
    if not separator or not name or not value:
        raise UserError(f"--input {request!r} cannot be read", code="bad-input", rule=_RULE)
    return name, value


def _make(spec: TensorSpec, value: str, rng: np.random.Generator) -> np.ndarray:
    dtype = numpy_dtype(spec.dtype)
    if value.startswith("@"):
        array = _load(spec.name, value[1:])
        return array.view(dtype) if array.dtype.kind == "V" and array.dtype.itemsize == dtype.itemsize else array
    if value in ("zeros", "ones"):
        return np.full(spec.dims, value == "ones").astype(dtype)
    kind, *bounds = value.split(":")
    if kind != "random" or len(bounds) not in (0, 2):
        hint = f"a file is named by --input {spec.name}=@{value}" if Path(value).suffix == ".npy" else None
        raise UserError(f"--input {spec.name}={value} cannot be read", code="bad-input", rule=_RULE, hint=hint)
    try:
        return _random(spec, [float(bound) for bound in bounds], rng)
    except ValueError as error:
        raise UserError(f"--input {spec.name}={value}: {error}", code="bad-input", rule=_RULE) from error


def _random(spec: TensorSpec, bounds: Sequence[float], rng: np.random.Generator) -> np.ndarray:
    """Uniform in [LOW, HIGH); without bounds, integers are 0 or 1 (any mask or index takes them), floats normal."""
    dtype = numpy_dtype(spec.dtype)
    if spec.dtype == "bool" or "int" in spec.dtype:
        low, high = (int(bound) for bound in bounds) if bounds else (0, 2)
        return rng.integers(low, high, spec.dims).astype(dtype)
    values = rng.uniform(bounds[0], bounds[1], spec.dims) if bounds else rng.standard_normal(spec.dims)
    return values.astype(dtype)


def _load(name: str, path: str) -> np.ndarray:
    try:
        array = np.load(Path(path), allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise UserError(f"the file for input {name!r} cannot be read: {error}", code="bad-input") from error
    if not isinstance(array, np.ndarray):
        raise UserError(f"the file for input {name!r} cannot be read: it is no .npy file", code="bad-input")
    return array
