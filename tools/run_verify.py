"""Hold an executable against onnxruntime: whole outputs, or what each dispatch left behind."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lumir.diagnostics import UserError
from lumir.runtime import Executable

TOLERANCES = {"float64": (1e-6, 1e-7), "float32": (1e-3, 1e-4), "float16": (2e-2, 1e-2), "bfloat16": (5e-2, 3e-2)}
"""Relative and absolute tolerance by element type; other floats take those of bfloat16, integers are exact."""

_ORT_TYPES = {
    "tensor(float)": "float32",
    "tensor(double)": "float64",
    "tensor(float16)": "float16",
    **{f"tensor({name})": name for name in ("bool", "int8", "int16", "int32", "int64")},
    **{f"tensor({name})": name for name in ("uint8", "uint16", "uint32", "uint64")},
}


@dataclass(frozen=True)
class Comparison:
    """One tensor against its reference.

    Args:
        where: the launch and its nodes, empty for an output of the model.
        max_abs: the largest difference; inf where one side is not finite and the other differs.
        max_rel: the largest difference over the reference's magnitude there.
        note: why it differs by more than a number, or why there was nothing to compare it with (`compared` is false).
    """

    name: str
    where: str
    max_abs: float
    max_rel: float
    ok: bool
    note: str = ""
    compared: bool = True


def compare(
    name: str, found: np.ndarray, reference: np.ndarray, *, rtol: float | None, atol: float | None, where: str = ""
) -> Comparison:
    """Compare element by element: `|found - reference| <= atol + rtol * |reference|`; NaN equals NaN."""
    if found.shape != reference.shape:
        note = f"shape {list(found.shape)}, expected {list(reference.shape)}"
        return Comparison(name, where, np.inf, np.inf, False, note)
    default_rtol, default_atol = _tolerance(found.dtype.name, reference.dtype.name)
    rtol, atol = default_rtol if rtol is None else rtol, default_atol if atol is None else atol
    if not found.size:
        return Comparison(name, where, 0.0, 0.0, True)
    wide = np.complex128 if "complex" in found.dtype.name else np.float64
    ours, theirs = found.astype(wide), reference.astype(wide)
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        same = _same(found, reference)
        exact = np.isfinite(ours) & np.isfinite(theirs)
        difference = np.where(same, 0.0, np.where(exact, np.abs(ours - theirs), np.inf))
        relative = np.where(same, 0.0, difference / np.abs(theirs))
        allowed = atol + rtol * np.abs(np.where(exact, theirs, 0))
        close = same | ((difference > 0) & (difference <= allowed))  # 0 there: integers that float64 cannot tell apart
    return Comparison(name, where, float(difference.max()), float(relative.max()), bool(close.all()))


def _same(found: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Where the two are equal: floats after rounding to our type and NaN as NaN, integers as integers."""
    if "float" not in found.dtype.name or "float" not in reference.dtype.name:
        return np.asarray(found == reference)
    return (found == reference.astype(found.dtype)) | (np.isnan(found) & np.isnan(reference))


def _tolerance(found: str, reference: str) -> tuple[float, float]:
    """The looser of the two types' tolerances."""
    both = [TOLERANCES.get(name, TOLERANCES["bfloat16"]) for name in (found, reference) if "float" in name]
    return max(both, default=(0.0, 0.0))


def verify(
    executable: Executable, model: Path, inputs: Mapping[str, np.ndarray], rtol: float | None, atol: float | None
) -> list[Comparison]:
    """Compare each output of the model with onnxruntime's."""
    outputs = executable.run(inputs)
    reference = run_onnxruntime(model, inputs, list(outputs))
    return [compare(name, outputs[name], reference[name], rtol=rtol, atol=atol) for name in outputs]


def verify_each(
    executable: Executable, model: Path, inputs: Mapping[str, np.ndarray], rtol: float | None, atol: float | None
) -> list[Comparison]:
    """Run launch by launch and compare what each left behind with the ONNX value of that name.

    A result is named after an ONNX value, or after the node whose output it is. It is compared with the outputs of its
    shape, and the nearest counts (a Split has several). Where a later launch goes on with the node, the result may be
    a step on its way, and a difference is not held against it.

    Raises:
        UserError: `no-results`, when nothing could be compared.
    """
    launches = list(executable.run_each(inputs))
    values = _values_by_name(model)
    wanted = {value for launch in launches for name in launch.outputs for value in values.get(name, ())}
    reference = run_onnxruntime(model, inputs, sorted(wanted)) if wanted else {}
    last = {node: launch.index for launch in launches for node in launch.nodes}
    comparisons = []
    for launch in launches:
        where = f"{launch.index} {launch.kernel} {', '.join(launch.nodes)}".strip()
        for name, found in launch.outputs.items():
            candidates = {value: reference[value] for value in values.get(name, ())}
            nearest = _nearest(found, candidates, rtol=rtol, atol=atol, where=where)
            why = _why_not(found, candidates) if nearest is None else ""
            if nearest is not None and not nearest.ok and last.get(name, 0) > launch.index:
                why = f"differs, and goes on in launch {last[name]}"
            skipped = Comparison(name, where, 0.0, 0.0, True, why, compared=False)
            comparisons.append(skipped if why or nearest is None else nearest)
    if not any(comparison.compared for comparison in comparisons):
        raise UserError(
            "no dispatch could be compared with the ONNX model",
            code="no-results",
            values={"launches": len(launches), **{item.name: item.note for item in comparisons[:8]}},
        )
    return comparisons


def _nearest(found: np.ndarray, candidates: Mapping[str, np.ndarray], **options: Any) -> Comparison | None:
    fitting = [(value, array) for value, array in candidates.items() if array.shape == found.shape]
    comparisons = [compare(value, found, array, **options) for value, array in fitting]
    return min(comparisons, key=lambda comparison: (not comparison.ok, comparison.max_abs), default=None)


def _why_not(found: np.ndarray, candidates: Mapping[str, np.ndarray]) -> str:
    """Why a result has nothing to be compared with."""
    if not candidates:
        return "not in the ONNX model"
    shapes = ", ".join(str(list(array.shape)) for array in candidates.values())
    return f"shape {list(found.shape)}, ONNX has {shapes}"


def run_onnxruntime(model: Path, inputs: Mapping[str, np.ndarray], names: Sequence[str]) -> dict[str, np.ndarray]:
    """Run a model on onnxruntime's CPU provider and return the named values, inner ones too.

    Args:
        model: an ONNX file, or a Hugging Face directory.

    Raises:
        UserError: `no-onnxruntime`, `no-file`, or `onnxruntime`, when it rejects the model or the inputs.
    """
    ort = _import("onnxruntime")
    proto, folder = _read(model)
    options = ort.SessionOptions()
    options.log_severity_level = 3
    options.add_session_config_entry("session.model_external_initializers_file_folder_path", str(folder))
    try:
        session = ort.InferenceSession(_with_outputs(proto, names), options, providers=["CPUExecutionProvider"])
        wanted = {item.name: _ORT_TYPES.get(item.type) for item in session.get_inputs()}
        feeds = {name: array.astype(wanted.get(name) or array.dtype, copy=False) for name, array in inputs.items()}
        results = session.run(list(names), feeds)
    except Exception as error:
        raise UserError(f"onnxruntime cannot run {model}: {error}", code="onnxruntime") from error
    return dict(zip(names, map(np.asarray, results)))


def _with_outputs(proto: Any, names: Sequence[str]) -> bytes:
    """The model's bytes, with inner values added to its outputs; external weights are left where they are."""
    onnx = _import("onnx")
    present = {value.name for value in proto.graph.output}
    proto.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names if name not in present)
    return proto.SerializeToString()


def _values_by_name(model: Path) -> dict[str, tuple[str, ...]]:
    """The values that a name can mean: a value itself, or the outputs of the node of that name."""
    nodes = _read(model)[0].graph.node
    outputs = {node.name: tuple(filter(None, node.output)) for node in nodes if node.name}
    return outputs | {value: (value,) for node in nodes for value in node.output if value}


def _read(model: Path) -> tuple[Any, Path]:
    """The `onnx.ModelProto`, and the folder of its external weights."""
    if model.is_dir():
        from lumir.frontend.huggingface import load_huggingface

        return load_huggingface(model)
    if not model.is_file():
        raise UserError(f"there is no file {model}", code="no-file")
    try:
        return _import("onnx").load(model, load_external_data=False), model.parent
    except Exception as error:
        raise UserError(f"{model} is not an ONNX model: {error}", code="not-onnx") from error


def _import(name: str) -> Any:
    try:
        return __import__(name)
    except ImportError as error:
        raise UserError(f"--verify needs {name}", code=f"no-{name}", hint=f"pip install {name}") from error
