# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportCallIssue=false
"""Rounds of random graphs. A finding ends its round, shrunk; the campaign goes on with the next one."""

import contextlib
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from hypothesis import HealthCheck, Phase, Verbosity, given, seed, settings
from hypothesis.errors import Flaky

from tests.fuzz.check import Verdict, judge
from tests.fuzz.child import Child
from tests.fuzz.strategy import Case, cases, narrowed

ROUND = 10
"""Graphs a round: after ten, hypothesis varies the graphs it has seen, which shows less than a fresh one does."""


class Found(AssertionError):
    """A case on which lumir and onnxruntime differ, or on which lumir crashes."""


class TimeIsUp(BaseException):
    """Ends a round whose finding has been shrunk for long enough; hypothesis lets nothing but these through."""


@dataclass
class Totals:
    """What a campaign has seen.

    Attributes:
        verdicts: graphs by verdict.
        refused: reasons of refusals.
        skipped: nodes that were drawn and not added, by reason.
        operators: how often each operator stood in a compared graph.
        findings: shrunk, in order.
    """

    verdicts: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    skipped: Counter[str] = field(default_factory=Counter)
    operators: Counter[str] = field(default_factory=Counter)
    findings: list[tuple[Case, Verdict]] = field(default_factory=list)

    @property
    def graphs(self) -> int:
        return self.verdicts.total()

    def count(self, case: Case, verdict: Verdict) -> None:
        self.verdicts[verdict.kind] += 1
        self.skipped += case.skipped
        if verdict.kind == "refused":
            self.refused.update(verdict.reasons)
        elif verdict.kind == "equal":
            self.operators.update(node.op_type for node in case.model.graph.node)


@dataclass
class Campaign:
    """Runs graphs and collects what they show.

    Args:
        child: where lumir runs.
        only: see `strategy.cases`.
        shrink_seconds: how long a finding may be shrunk.
        progress: called after each graph.
        found: called with each finding.
    """

    child: Child
    only: str = ""
    shrink_seconds: float = 40.0
    progress: Callable[[Totals], None] = lambda totals: None
    found: Callable[[Case, Verdict], None] = lambda case, verdict: None
    totals: Totals = field(default_factory=Totals)
    _seen: set[bytes] = field(default_factory=set)

    def run(self, graphs: int, start: int, most_findings: int = 20) -> Totals:
        """Run at least so many graphs."""
        number = 0
        while self.totals.graphs < graphs and len(self.totals.findings) < most_findings:
            self.round(start * 100_003 + number)
            number += 1
        return self.totals

    def round(self, start: int) -> None:
        """One run of hypothesis, until a finding is shrunk or the graphs are through."""
        shrinking = _Shrinking(self.shrink_seconds)

        @seed(start)
        @settings(
            max_examples=ROUND,
            deadline=None,
            database=None,
            phases=(Phase.generate, Phase.shrink),
            suppress_health_check=list(HealthCheck),
            verbosity=Verbosity.quiet,
            report_multiple_bugs=False,
        )
        @given(cases(self.only))
        def attempt(case: Case) -> None:
            if not shrinking.started and self._is_repeated(case):
                return
            shrinking.check_time()
            verdict = judge(case, self.child)
            if not shrinking.started:
                self.totals.count(case, verdict)
                self.progress(self.totals)
            if verdict.is_finding:
                shrinking.note(case, verdict)
                raise Found

        with contextlib.suppress(Found, TimeIsUp, Flaky):
            attempt()
        if shrinking.smallest is not None:
            finding = self._narrowed(*shrinking.smallest)
            self.totals.findings.append(finding)
            self.found(*finding)

    def _narrowed(self, case: Case, verdict: Verdict) -> tuple[Case, Verdict]:
        """One output alone, if that shows the same kind of finding."""
        for output in case.expected if len(case.expected) > 1 else ():
            part = narrowed(case, output)
            found = judge(part, self.child)
            if found.kind == verdict.kind:
                return part, found
        again = judge(case, self.child)
        if again.is_finding:
            return case, again
        return case, replace(verdict, reasons=(*verdict.reasons, "does not happen every time"))

    def _is_repeated(self, case: Case) -> bool:
        """Whether the same model has run before: each round begins with the simplest one."""
        key = case.model.SerializeToString(deterministic=True)
        if key in self._seen:
            return True
        self._seen.add(key)
        return False


class _Shrinking:
    """The smallest finding of a round, and how long it has been made smaller."""

    def __init__(self, seconds: float):
        self.seconds, self.since = seconds, 0.0
        self.smallest: tuple[Case, Verdict] | None = None

    @property
    def started(self) -> bool:
        return self.smallest is not None

    def check_time(self) -> None:
        if self.started and time.monotonic() - self.since > self.seconds:
            raise TimeIsUp

    def note(self, case: Case, verdict: Verdict) -> None:
        if self.smallest is None:
            self.since = time.monotonic()
        if self.smallest is None or _size(case) <= _size(self.smallest[0]):
            self.smallest = (case, verdict)


def _size(case: Case) -> tuple[int, int]:
    inputs = sum(array.nbytes for array in case.inputs.values())
    return len(case.model.graph.node), case.model.ByteSize() + inputs
