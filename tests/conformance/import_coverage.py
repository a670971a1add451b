"""ONNX's own test cases through the importer and the reference interpreter: what passes, what is refused, what fails.

    python tests/conformance/import_coverage.py [--kind node] [--filter REGEX] [--verbose]

A case passes when every output has the expected dtype and shape, and agrees within the case's own tolerances.
"""

import re
import sys
import traceback
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np
import onnx
from onnx import numpy_helper
from onnx.backend.test.case.test_case import TestCase
from onnx.backend.test.loader import load_model_tests

from lumir.context import make_context
from lumir.diagnostics import LumirError, UnsupportedError
from lumir.frontend import import_onnx
from lumir.mlir import ir
from lumir.reference import evaluate

Arrays = list[np.ndarray]
Named = dict[str, np.ndarray]
_QUOTED = re.compile(r"'([^']*)'")
_ASKED = re.compile(r"computed from graph input (.*?)(?:;|$)")


@dataclass(frozen=True)
class Outcome:
    """What became of a case: `passed`, `refused` (the message says why) or `failed`."""

    name: str
    verdict: str
    reason: str = ""


def run_case(case: TestCase) -> Outcome:
    """Import one case and evaluate it on each of its data sets."""
    fixed: Named = {}
    try:
        model, data_sets = _load(case)
        for inputs, expected in data_sets:
            weights = {item.name for item in model.graph.initializer}
            names = [item.name for item in model.graph.input if item.name not in weights]
            named = dict(zip(names, inputs, strict=False))
            fixed = {}
            found = _run(model, named, fixed)
            for item, array in zip(model.graph.output, expected, strict=False):
                _compare(found[item.name], array, case.rtol, case.atol)
    except UnsupportedError as error:
        return Outcome(case.name, "refused", "; ".join(error.problems) or error.message)
    except LumirError as error:
        return Outcome(case.name, "failed", str(error).replace("\n", " | "))
    except AssertionError as error:
        return Outcome(case.name, "failed", " ".join(str(error).split())[:300])
    except Exception as error:
        where = traceback.extract_tb(error.__traceback__)[-1]
        return Outcome(case.name, "failed", f"{type(error).__name__}: {error} ({where.filename}:{where.lineno})")
    return Outcome(case.name, "passed", "inputs fixed at compile time" if fixed else "")


def _run(model: onnx.ModelProto, inputs: Named, fixed: Named) -> Named:
    """Import and evaluate; inputs whose values the compiler asks for are added to `fixed`, at compile time."""
    try:
        with make_context(), ir.Location.unknown():
            module, store = import_onnx(model, dims=_dims(model, inputs), constants=fixed)
            return evaluate(module, store, inputs)
    except UnsupportedError as error:
        asked = {name for line in error.problems for part in _ASKED.findall(line) for name in _QUOTED.findall(part)}
        if not asked:
            raise
        fixed |= {name: inputs[name] for name in asked}
        return _run(model, {name: array for name, array in inputs.items() if name not in asked}, fixed)


def _load(case: TestCase) -> tuple[onnx.ModelProto, list[tuple[Arrays, Arrays]]]:
    """The case's model and its pairs of inputs and outputs, from memory or from its folder."""
    if case.model is not None:
        return case.model, [(_arrays(inputs), _arrays(outputs)) for inputs, outputs in case.data_sets or []]
    if case.url and case.url.startswith("onnx/backend"):
        return _light(Path(onnx.__file__).parents[1] / case.url)
    folder = Path(case.model_dir or "")
    model = onnx.load(folder / "model.onnx")
    sets = sorted(folder.glob("test_data_set_*"))
    return model, [
        (list(_tensors(data, "input", model.graph.input)), list(_tensors(data, "output", model.graph.output)))
        for data in sets
    ]


def _light(path: Path) -> tuple[onnx.ModelProto, list[tuple[Arrays, Arrays]]]:
    """A model without weights of its own, with the input that ONNX's runner gives it: 0, 1/n, 2/n, ..."""
    model = onnx.load(path)
    weights = {item.name for item in model.graph.initializer}
    shapes = [
        [dim.dim_value or 1 for dim in item.type.tensor_type.shape.dim]
        for item in model.graph.input
        if item.name not in weights
    ]
    inputs = [(np.arange(np.prod(s)).reshape(s) / np.prod(s)).astype(np.float32) for s in shapes]
    outputs = sorted(path.parent.glob(f"{path.stem}_output_*.pb"))
    expected = [numpy_helper.to_array(onnx.TensorProto.FromString(file.read_bytes())) for file in outputs]
    return model, [(inputs, expected)]


def _arrays(items: Sequence) -> Arrays:
    return [numpy_helper.to_array(item) if isinstance(item, onnx.TensorProto) else item for item in items]


def _tensors(folder: Path, kind: str, items: Sequence[onnx.ValueInfoProto]) -> Iterator[np.ndarray]:
    for index, item in enumerate(items):
        file = folder / f"{kind}_{index}.pb"
        if item.type.WhichOneof("value") == "tensor_type" and file.exists():
            yield numpy_helper.to_array(onnx.TensorProto.FromString(file.read_bytes()))


def _dims(model: onnx.ModelProto, inputs: Named) -> dict[str, int]:
    """Sizes for the model's symbolic dimensions, read off the inputs."""
    dims: dict[str, int] = {}
    for item in (item for item in model.graph.input if item.name in inputs):
        shape = getattr(inputs[item.name], "shape", ())
        for axis, (dim, size) in enumerate(zip(item.type.tensor_type.shape.dim, shape, strict=False)):
            if dim.WhichOneof("value") != "dim_value":
                dims[dim.dim_param or f"{item.name}.{axis}"] = size
    return dims


def _compare(found: np.ndarray, expected: np.ndarray, rtol: float, atol: float) -> None:
    assert found.dtype == expected.dtype, f"dtype {found.dtype} instead of {expected.dtype}"
    assert found.shape == expected.shape, f"shape {found.shape} instead of {expected.shape}"
    if found.dtype.kind in "biu" or "int" in found.dtype.name:
        np.testing.assert_array_equal(found.astype(np.int64), expected.astype(np.int64))
    else:
        np.testing.assert_allclose(found.astype(np.float64), expected.astype(np.float64), rtol=rtol, atol=atol)


@click.command()
@click.option("--kind", default="node", help="node, simple, pytorch-converted, pytorch-operator or real")
@click.option("--filter", "pattern", default="", help="only cases whose name matches this regular expression")
@click.option("--verbose", is_flag=True, help="also list the refused cases")
def main(kind: str, pattern: str, verbose: bool) -> None:
    """Run the cases and print the totals, then every failure."""
    warnings.simplefilter("ignore")
    cases = [case for case in load_model_tests(kind=kind) if re.search(pattern, case.name)]
    outcomes = [run_case(case) for case in cases]
    for verdict in ("refused", "failed") if verbose else ("failed",):
        for outcome in outcomes:
            if outcome.verdict == verdict:
                click.echo(f"{verdict:8} {outcome.name}: {outcome.reason[:240]}")
    counts = Counter(outcome.verdict for outcome in outcomes)
    specialised = sum(1 for outcome in outcomes if outcome.verdict == "passed" and outcome.reason)
    click.echo(
        f"{len(outcomes)} cases: {counts['passed']} passed ({specialised} of them with inputs fixed at compile time), "
        f"{counts['refused']} refused, {counts['failed']} failed"
    )
    sys.exit(1 if counts["failed"] else 0)


if __name__ == "__main__":
    main()
