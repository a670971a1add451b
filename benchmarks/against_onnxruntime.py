"""A compiled model against onnxruntime on the same inputs."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import onnxruntime

import lumir


@dataclass(frozen=True)
class Comparison:
    """What two runs of a model gave.

    Args:
        error: the largest difference to onnxruntime over the largest magnitude, of the worst output.
        spread: the largest less the smallest element over the largest magnitude, of the most uniform output.
        deterministic: both runs gave the same bits.
    """

    error: float
    spread: float
    deterministic: bool


def compare(
    executable: lumir.Executable, session: onnxruntime.InferenceSession, inputs: Mapping[str, np.ndarray]
) -> Comparison:
    """Run the model twice, and onnxruntime's once."""
    found, again = executable.run(inputs), executable.run(inputs)
    names = [output.name for output in session.get_outputs()]
    expected = dict(zip(names, map(np.asarray, session.run(None, dict(inputs))), strict=True))
    scales = {name: np.abs(expected[name]).max() for name in names}
    errors = [np.abs(found[name].astype(np.float64) - expected[name]).max() / scales[name] for name in names]
    return Comparison(
        error=float(max(errors)),
        spread=float(min(np.ptp(expected[name]) / scales[name] for name in names)),
        deterministic=all(np.array_equal(found[name], again[name]) for name in names),
    )
