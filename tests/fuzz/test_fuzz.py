# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportCallIssue=false
"""Forty random graphs with a fixed seed, and that the harness would notice what it looks for."""

from collections.abc import Iterator

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, given, settings

from tests.fuzz.campaign import Campaign, Totals
from tests.fuzz.check import Verdict
from tests.fuzz.child import Child, Reply
from tests.fuzz.oracle import session
from tests.fuzz.strategy import Case, cases, narrowed

SEED = 20


@pytest.fixture(scope="module")
def child() -> Iterator[Child]:
    with Child("cpu") as process:
        yield process


def test_random_graphs_equal_onnxruntime(child: Child):
    totals = Campaign(child, shrink_seconds=5).run(40, SEED, most_findings=1)
    assert not totals.findings, describe(*totals.findings[0])
    assert totals.verdicts["equal"] >= 38, totals.refused
    assert len(totals.operators) > 50, totals.operators


def describe(case: Case, verdict: Verdict) -> str:
    rows = [f"  {n.op_type}({', '.join(n.input)}) -> {', '.join(n.output)}" for n in case.model.graph.node]
    return "\n".join(
        [f"{verdict.kind}; shrink it with: python -m tests.fuzz.run --seed {SEED}", *rows, *verdict.reasons]
    )


class Stub:
    """In the place of a child: replies with what `answer` makes of the expected outputs."""

    def __init__(self, answer):
        self.answer = answer

    def run(self, model, inputs, dims) -> Reply:
        runner = session(onnx.ModelProto.FromString(model))
        outputs = runner.run(None, inputs)
        return self.answer(dict(zip([o.name for o in runner.get_outputs()], outputs, strict=True)))


def run_stub(answer, only: str, graphs: int = 10) -> Totals:
    return Campaign(Stub(answer), only, shrink_seconds=2).run(graphs, 3, most_findings=1)  # pyright: ignore[reportArgumentType]


def test_right_answers_are_equal():
    totals = run_stub(lambda outputs: Reply("ran", outputs), "")
    assert totals.verdicts["equal"] == totals.graphs


@pytest.mark.parametrize("only", ["elementwise/(Relu|Add)$", "contraction/MatMul$", "normalization/Layer", "shaping/"])
def test_an_error_in_the_fourth_digit_is_found(only):
    def wrong(outputs):
        changed = {name: array * 1.0005 if array.dtype == np.float32 else array for name, array in outputs.items()}
        return Reply("ran", {name: np.asarray(array, outputs[name].dtype) for name, array in changed.items()})

    (finding,) = run_stub(wrong, only).findings
    assert finding[1].kind == "mismatched"


@pytest.mark.parametrize(
    "change",
    [lambda x: x + np.ones((), x.dtype), lambda x: x.reshape(-1), lambda x: x.astype(np.float64), lambda x: None],
    ids=["value", "shape", "type", "missing"],
)
def test_a_wrong_output_is_found(change):
    def wrong(outputs):
        return Reply("ran", {name: change(array) for name, array in outputs.items() if change(array) is not None})

    (finding,) = run_stub(wrong, "sizing/Shape|shaping/Transpose", 20).findings
    assert finding[1].kind == "mismatched"


def test_a_finding_is_shrunk_and_narrowed():
    (finding,) = run_stub(lambda outputs: Reply("crashed", reasons=("boom",)), "", 10).findings
    case, verdict = finding
    assert verdict == Verdict("crashed", ("boom",))
    assert len(case.expected) == 1
    assert len([node for node in case.model.graph.node if node.op_type != "Constant"]) <= 2


def test_a_crash_and_a_hang_are_replies():
    with Child("cpu", timeout=0.01) as process:
        reply = process.run(b"", {}, {})
    assert reply.kind == "crashed" and "hangs" in reply.reasons[0]


def test_an_invalid_model_is_a_finding(child: Child):
    reply = child.run(b"not a model", {}, {})
    assert reply.kind == "crashed"


@settings(max_examples=10, derandomize=True, deadline=None, database=None, suppress_health_check=list(HealthCheck))
@given(cases())
def test_a_case_narrowed_to_an_output_still_computes_it(case: Case):
    for name, expected in case.expected.items():
        part = narrowed(case, name)
        (found,) = session(part.model).run(None, part.inputs)
        np.testing.assert_allclose(found, expected, rtol=1e-2, atol=1e-2)
