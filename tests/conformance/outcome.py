"""Run one case in this process, and say what became of it."""

import re
import time
import traceback
from dataclasses import dataclass, field

from onnx.backend.test.runner import Runner

from lumir.diagnostics import UnsupportedError, UserError
from tests.conformance.cases import NotAvailable, all_cases, data_sets_of, model_of
from tests.conformance.known import KNOWN
from tests.conformance.lumir_backend import DEVICES, LumirBackend

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
    """

    name: str
    verdict: str
    reasons: tuple[str, ...] = ()
    fixed: tuple[str, ...] = field(default=())
    seconds: float = 0.0

    @property
    def is_defect(self) -> bool:
        """Ours to mend: neither passed nor refused, and not because of the case itself."""
        return self.verdict in DEFECTS and self.name not in KNOWN


def run_case(name: str, target: str) -> Outcome:
    """Run a case on each of its data sets, and compare with onnx's own comparison and tolerances."""
    start, fixed = time.perf_counter(), set()

    def outcome(verdict: str, *reasons: str) -> Outcome:
        return Outcome(name, verdict, reasons, tuple(sorted(fixed)), time.perf_counter() - start)

    case = all_cases()[name]
    device = next(device for device, known in DEVICES.items() if known == target)
    try:
        model = model_of(case)
        prepared = LumirBackend.prepare(model, device)
        for inputs, expected in data_sets_of(case, model):
            found = prepared.run(inputs)
            fixed |= prepared.fixed
            Runner.assert_similar_outputs(expected, found, case.rtol, case.atol, case.model_dir)
    except NotAvailable as error:
        return outcome("refused", str(error))
    except UnsupportedError as error:
        return outcome("refused", *(short_reason(line) for line in error.problems or [error.message]))
    except UserError as error:
        return outcome("refused", " ".join([error.message, *(f"{k}: {v}" for k, v in error.values.items())]))
    except AssertionError as error:
        return outcome("wrong", " ".join(str(error).split())[:400])
    except Exception as error:
        return outcome("crashed", f"{type(error).__name__}: {' '.join(str(error).split())[:500]} ({_place(error)})")
    return outcome("passed")


def short_reason(line: str) -> str:
    """`Op: why` of a problem's line, without the node's name, types and opset."""
    return _WHERE.sub(r"\1: ", line)


def _place(error: Exception) -> str:
    """The last frame of lumir's own in an error's traceback."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if "/lumir/" in frame.filename] or frames
    return f"{own[-1].filename.rpartition('/lumir/')[2]}:{own[-1].lineno}"
