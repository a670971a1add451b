"""A quick part of ONNX's back-end tests on the CPU: nothing is wrong, crashes or hangs.

`python -m tests.conformance.run --target cpu` runs all of them.
"""

import os
import zlib

import numpy as np

from tests.conformance.cases import all_cases, facts_of
from tests.conformance.outcome import Outcome, run_case
from tests.conformance.run import run_cases
from tests.conformance.workers import run_all

EVERY = 9
"""One case in so many is run, chosen by its name."""


def sample() -> list[str]:
    return [n for n in all_cases() if not n.startswith("real/") and zlib.crc32(n.encode()) % EVERY == 0]


def test_a_sample_has_no_defect():
    names = sample()
    outcomes = run_cases(names, "cpu", jobs=min(2, os.cpu_count() or 1), timeout=60)
    defects = [f"{o.name}: {o.verdict}: {o.reasons}" for o in outcomes if o.is_defect]
    assert not defects, "\n".join(defects)
    passed = sum(o.verdict == "passed" for o in outcomes)
    assert passed >= 0.9 * len(names), f"only {passed} of {len(names)} passed"
    assert all(o.reasons for o in outcomes if o.verdict == "refused")


def test_a_wrong_result_is_found(monkeypatch):
    monkeypatch.setattr(
        "lumir.runtime.executable.Executable.run", lambda self, inputs: {"y": inputs["x"] * np.float32(2)}
    )
    assert run_case("node/test_relu", "cpu").verdict == "wrong"


def test_a_refusal_names_the_reason():
    outcome = run_case("node/test_bernoulli", "cpu")
    assert outcome.verdict == "refused"
    assert "random numbers" in outcome.reasons[0]


def test_inputs_that_fix_shapes_are_told():
    assert run_case("node/test_reshape_negative_dim", "cpu").fixed == ("shape",)


def test_a_crash_and_a_hang_end_one_case_each(tmp_path):
    """The worker dies or is killed, and the cases after it still run."""
    names = ["crash", "node/test_relu", "hang", "node/test_abs"]
    found = {o.name: o for o in run_all(names, "cpu", 1, lambda name: 2.0 if name == "hang" else 60.0, run=_misbehave)}
    assert [found[name].verdict for name in names] == ["crashed", "passed", "timeout", "passed"]
    assert "SIGSEGV" in found["crash"].reasons[0]


def _misbehave(name: str, target: str) -> Outcome:
    import ctypes
    import time

    if name == "crash":
        ctypes.string_at(0)
    if name == "hang":
        time.sleep(60)
    return run_case(name, target)


def test_expanded_cases_count_for_their_function():
    facts = facts_of("node/test_softmax_example_expanded")
    assert (facts.ops, facts.expanded) == (("Softmax",), True)
