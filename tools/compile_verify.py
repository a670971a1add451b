"""`lumir-compile --verify`: every plan of an artifact against onnxruntime."""

from pathlib import Path

from lumir.artifact.read import Artifact
from lumir.runtime import load
from lumir.tools.run_inputs import make_inputs
from lumir.tools.run_verify import TOLERANCES, Comparison, verify

_COMPUTED_IN = {"fp16": "float16", "bf16": "bfloat16"}


def verify_plans(artifact: Artifact, model: Path, precision: str | None, seed: int = 0) -> list[Comparison]:
    """Compare each output of each plan on random inputs; the tolerance is that of the precision computed in.

    A plan that serves ranges is run at their low ends, between, and at their high ends.
    """
    executable = load(artifact)
    rtol, atol = TOLERANCES[_COMPUTED_IN[precision]] if precision in _COMPUTED_IN else (None, None)
    plans = [plan.at(sample) for plan in artifact.plans for sample in plan.samples()]
    inputs = [make_inputs(plan, [], seed + number) for number, plan in enumerate(plans)]
    return [item for values in inputs for item in verify(executable, model, values, rtol, atol)]
