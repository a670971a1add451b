"""Hold a model's outputs against what is expected, and say who is wrong where they differ."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from tests.fuzz.child import Child, Reply
from tests.fuzz.conditioning import epsilon
from tests.fuzz.oracle import onnx_reference, reference_float64
from tests.fuzz.strategy import Case
from tests.fuzz.values import Array

SLACK = 4.0
"""How many error bounds apart two right answers may be; each lies within one of the exact result."""


@dataclass(frozen=True)
class Verdict:
    """What became of a case.

    Attributes:
        kind: `equal`, `refused`, `mismatched` or `crashed`.
        reasons: why, one line each.
    """

    kind: str
    reasons: tuple[str, ...] = ()

    @property
    def is_finding(self) -> bool:
        return self.kind in ("mismatched", "crashed")


def judge(case: Case, child: Child) -> Verdict:
    """Compile and run a case, and compare."""
    reply: Reply = child.run(case.model.SerializeToString(), case.inputs, case.dims)
    if reply.kind != "ran":
        return Verdict(reply.kind, reply.reasons)
    found = differences(case, reply.outputs)
    return Verdict("mismatched", (*found, *arbitration(case, reply.outputs))) if found else Verdict("equal")


def differences(case: Case, found: Mapping[str, Array]) -> list[str]:
    """What is wrong with each output that differs from onnxruntime's in type, shape, or value beyond the bounds."""
    lines = []
    for name, expected in case.expected.items():
        if name not in found:
            lines.append(f"{name} is missing")
            continue
        array = np.asarray(found[name])
        if (array.dtype, array.shape) != (expected.dtype, expected.shape):
            wanted = f"{expected.dtype.name}{list(expected.shape)}"
            lines.append(f"{name} is {array.dtype.name}{list(array.shape)}, not {wanted}")
        elif line := _difference(array, expected, bound(case, name)):
            lines.append(f"{name}: {line}")
    return lines


def bound(case: Case, name: str) -> Array:
    """How far a float output may lie from the expected one."""
    value = case.values[name]
    error = np.zeros(value.shape) if value.error is None else value.error
    unit = epsilon(value.array.dtype) if value.array.dtype.kind == "f" else 0.0
    return SLACK * error + 2 * unit * np.abs(np.nan_to_num(value.array.astype(np.float64), posinf=0, neginf=0))


def _difference(found: Array, expected: Array, allowed: Array) -> str:
    wrong = _wrong(found, expected, allowed)
    if not wrong.any():
        return ""
    place = tuple(int(i) for i in np.argwhere(wrong)[0])
    near = f", allowed {allowed[place]:.3g}" if found.dtype.kind == "f" else ""
    first = f"at {list(place)}: {found[place]!r}, not {expected[place]!r}{near}"
    return f"{wrong.sum()} of {wrong.size} elements differ; {first}"


def _wrong(found: Array, expected: Array, allowed: Array) -> Array:
    if expected.dtype.kind != "f":
        return np.asarray(found != expected)
    with np.errstate(all="ignore"):
        far = np.abs(found.astype(np.float64) - expected.astype(np.float64)) > allowed
    finite = np.isfinite(found) & np.isfinite(expected)
    same = (found == expected) | (np.isnan(found) & np.isnan(expected))
    return np.asarray(np.where(finite, far, ~same))


def arbitration(case: Case, found: Mapping[str, Array]) -> list[str]:
    """Which of lumir and onnxruntime two further evaluators side with.

    lumir's interpreter shares the import with the compiler: when it sides with lumir, the import may still be wrong.
    """
    judges: dict[str, Callable[[], Mapping[str, Array]]] = {
        "lumir's interpreter in float64": lambda: reference_float64(case.model, case.inputs, case.dims),
        "onnx's evaluator": lambda: onnx_reference(case.model, case.inputs),
    }
    lines = []
    for who, evaluate in judges.items():
        try:
            theirs = evaluate()
        except Exception as error:
            lines.append(f"{who} fails: {type(error).__name__}: {' '.join(str(error).split())[:200]}")
            continue
        sides = [
            side for side, outputs in (("lumir", found), ("onnxruntime", case.expected)) if agree(case, outputs, theirs)
        ]
        lines.append(f"{who} sides with {' and '.join(sides) or 'neither'}")
    return lines


def agree(case: Case, outputs: Mapping[str, Array], theirs: Mapping[str, Array]) -> bool:
    """Whether two sets of outputs are equal within the bounds."""
    return all(
        name in outputs
        and np.shape(outputs[name]) == np.shape(theirs[name]) == case.expected[name].shape
        and not _wrong(np.asarray(outputs[name]), np.asarray(theirs[name]), bound(case, name)).any()
        for name in case.expected
    )
