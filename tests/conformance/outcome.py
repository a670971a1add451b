"""Run one case in this process, and say what became of it."""

import re
import time
import traceback
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from onnx.backend.test.case.test_case import TestCase
from onnx.backend.test.runner import Runner

from lumir.diagnostics import UnsupportedError, UserError
from lumir.runtime.executable import Executable
from tests.conformance.cases import NotAvailable, all_cases, data_sets_of, model_of
from tests.conformance.lumir_backend import DEVICES, LumirBackend, Prepared

VERDICTS = ("passed", "refused", "wrong", "crashed", "timeout")
DEFECTS = ("wrong", "crashed", "timeout")
_WHERE = re.compile(r'^(\S+) at ".*?" \(.*?\): ', re.DOTALL)


@dataclass(frozen=True)
class Outcome:
    """What became of a case.

    Attributes:
        name: `group/name`.
        verdict: `passed`; `refused` by the compiler before it started, for the reasons; `wrong` results; `crashed`,
            by an exception that is not meant for users or by a signal; or `timeout`.
        reasons: why, one line each.
        fixed: the inputs whose values became constants.
        inputs: how many inputs the model has.
    """

    name: str
    verdict: str
    reasons: tuple[str, ...] = ()
    fixed: tuple[str, ...] = field(default=())
    seconds: float = 0.0
    inputs: int = 0

    @property
    def is_constant(self) -> bool:
        """Every input became a constant: the compiler computed the result itself."""
        return 0 < self.inputs == len(self.fixed)

    @property
    def is_defect(self) -> bool:
        """Neither passed nor refused."""
        return self.verdict in DEFECTS


class Refused(Exception):
    """The compiler said, before anything ran, that it cannot compile a case's model; the arguments are its reasons."""


def run_case(name: str, target: str) -> Outcome:
    """Run a case on each of its data sets, and compare with onnx's own comparison and tolerances."""
    start, fixed, count = time.perf_counter(), set(), 0

    def outcome(verdict: str, *reasons: str) -> Outcome:
        return Outcome(name, verdict, reasons, tuple(sorted(fixed)), time.perf_counter() - start, count)

    case = all_cases()[name]
    device = next(device for device, known in DEVICES.items() if known == target)
    try:
        model = model_of(case)
        prepared = LumirBackend.prepare(model, device)
        count = len(prepared.inputs)
        for inputs, expected in data_sets_of(case, model):
            executable = _compiled(prepared, inputs)
            fixed |= prepared.fixed
            found = prepared.execute(executable, inputs)
            assert len(found) == len(expected), f"{len(found)} outputs instead of {len(expected)}"
            for value, result in zip(expected, found, strict=True):
                _compare(case, value, result)
    except NotAvailable as error:
        return outcome("refused", str(error))
    except Refused as error:
        return outcome("refused", *error.args)
    except AssertionError as error:
        return outcome("wrong", " ".join(str(error).split())[:400])
    except Exception as error:
        return outcome("crashed", f"{type(error).__name__}: {' '.join(str(error).split())[:500]} ({_place(error)})")
    return outcome("passed")


def _compare(case: TestCase, expected: Any, found: Any) -> None:
    """onnx's comparison of one output; of a sequence, for each element (onnx's own takes none of rank 0)."""
    if not isinstance(expected, list | tuple):
        Runner.assert_similar_outputs([expected], [found], case.rtol, case.atol, case.model_dir)
        return
    assert isinstance(found, list) and len(found) == len(expected), f"{found} instead of {len(expected)} tensors"
    for value, result in zip(expected, found, strict=True):
        _compare(case, value, result)


def _compiled(prepared: Prepared, inputs: Sequence[Any]) -> Executable:
    try:
        return prepared.compile(inputs)
    except UnsupportedError as error:
        raise Refused(*(short_reason(line) for line in error.problems or [error.message])) from error
    except UserError as error:
        raise Refused(" ".join([error.message, *(f"{k}: {v}" for k, v in error.values.items())])) from error


def short_reason(line: str) -> str:
    """`Op: why` of a problem's line, without the node's name, types and opset."""
    return _WHERE.sub(r"\1: ", line)


def _place(error: Exception) -> str:
    """The last frame of lumir's own in an error's traceback."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if "/lumir/" in frame.filename] or frames
    return f"{own[-1].filename.rpartition('/lumir/')[2]}:{own[-1].lineno}"
