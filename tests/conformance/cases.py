"""ONNX's own back-end test cases: a model with pairs of inputs and expected outputs."""

import functools
import re
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper
from onnx.backend.test.case.test_case import TestCase
from onnx.backend.test.loader import load_model_tests
from onnx.backend.test.runner import Runner

GROUPS = ("node", "simple", "pytorch-converted", "pytorch-operator", "real")
LIGHT = "onnx/backend/test/data/light/"
DataSets = list[tuple[list[Any], list[Any]]]
_EXPANDED = re.compile(r"_expanded(_ver\d+)?$")


class NotAvailable(Exception):
    """The case's model is not part of the onnx package."""


@dataclass(frozen=True)
class Facts:
    """What the report says about a case.

    Attributes:
        ops: the operators of its graph; of a case that holds a function's body in place of the function, the function.
        opset: the version of the default domain.
    """

    ops: tuple[str, ...]
    opset: int
    expanded: bool


@functools.cache
def all_cases() -> dict[str, TestCase]:
    """Every case by `group/name`."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        return {f"{group}/{case.name}": case for group in GROUPS for case in load_model_tests(kind=group)}


def model_of(case: TestCase) -> onnx.ModelProto:
    """The case's model.

    Raises:
        NotAvailable: it would have to be downloaded.
    """
    if case.model is not None:
        return case.model
    if case.model_dir:
        return onnx.load(Path(case.model_dir) / "model.onnx")
    if case.url and case.url.startswith(LIGHT):
        return onnx.load(_light_path(case.url))
    raise NotAvailable(f"the model has to be downloaded from {case.url}")


def data_sets_of(case: TestCase, model: onnx.ModelProto) -> DataSets:
    """Pairs of inputs and expected outputs."""
    if case.data_sets is not None:
        return [(_arrays(inputs), _arrays(outputs)) for inputs, outputs in case.data_sets]
    if case.model_dir:
        folders = sorted(Path(case.model_dir).glob("test_data_set_*"))
        graph = model.graph
        return [(_read(folder, "input", graph.input), _read(folder, "output", graph.output)) for folder in folders]
    return [_light_data(_light_path(case.url or ""), model)]


def facts_of(name: str) -> Facts:
    """The facts of the case `group/name`; an operator outside the default domain is named with its domain."""
    case, base = all_cases()[name], all_cases().get(_EXPANDED.sub("", name))
    expanded = bool(_EXPANDED.search(name)) and base is not None
    model = model_of(case)
    opset = next((entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")), 0)
    nodes = model_of(base).graph.node if expanded and base else model.graph.node
    ops = sorted({f"{node.domain}.{node.op_type}" if node.domain else node.op_type for node in nodes})
    return Facts(tuple(ops), opset, expanded)


def _light_path(url: str) -> Path:
    return Path(onnx.__file__).parent / url.removeprefix("onnx/")


def _light_data(path: Path, model: onnx.ModelProto) -> tuple[list[Any], list[Any]]:
    """The input that onnx's runner gives a model without weights of its own, and the output that onnx ships for it."""
    weights = {item.name for item in model.graph.initializer}
    inputs = [Runner.generate_dummy_data(item) for item in model.graph.input if item.name not in weights]
    files = sorted(path.parent.glob(f"{path.stem}_output_*.pb"))
    return list(inputs), [numpy_helper.to_array(onnx.TensorProto.FromString(file.read_bytes())) for file in files]


def _arrays(items: Sequence[Any]) -> list[Any]:
    return [numpy_helper.to_array(item) if isinstance(item, onnx.TensorProto) else item for item in items]


def _read(folder: Path, kind: str, items: Sequence[onnx.ValueInfoProto]) -> list[Any]:
    return list(_values(folder, kind, items))


def _values(folder: Path, kind: str, items: Sequence[onnx.ValueInfoProto]) -> Iterator[Any]:
    """The value in `<kind>_<number>.pb` for each graph input or output that has such a file."""
    for number, item in enumerate(items):
        file = folder / f"{kind}_{number}.pb"
        if not file.exists():
            continue
        match item.type.WhichOneof("value"):
            case "sequence_type":
                yield numpy_helper.to_list(onnx.SequenceProto.FromString(file.read_bytes()))
            case "optional_type":
                yield numpy_helper.to_optional(onnx.OptionalProto.FromString(file.read_bytes()))
            case _:
                yield numpy_helper.to_array(onnx.TensorProto.FromString(file.read_bytes()))
