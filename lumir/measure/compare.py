"""Results against the reference."""

from dataclasses import dataclass

import numpy as np

from lumir.diagnostics import LumirError


class WrongResult(LumirError):
    """A kernel computes something else than the reference."""


TOLERANCES = {"float64": 1e-12, "float32": 2e-5, "float16": 2e-3, "bfloat16": 1.2e-2}
"""Error allowed in the Euclidean norm, relative to the expected result's: some units in the last place."""
_SHORT_TOLERANCE = 8e-2
COARSE_SUMS = 4e-3
"""Error allowed at least where 8-bit floats are multiplied: tensor cores add their products with about 14 bits."""
ROUNDED_FACTORS = 1e-3
"""Error allowed at least where float32 factors may be rounded to tf32, each by up to 2^-11."""
ROUNDED_SHARE = 2 * TOLERANCES["float32"] * 128
"""Of integers that are rounded from floats, how many may be one off: those whose float is next to a tie."""
_PEAK = 12
"""One element's error may be this often the tolerance, relative to the root mean square of its tensor and itself."""


@dataclass(frozen=True)
class Error:
    """How far a result is off.

    Args:
        relative: the Euclidean norm of the difference over that of the expected result.
        peak: the largest difference over the expected element's magnitude plus the root mean square.
    """

    relative: float
    peak: float

    def __str__(self) -> str:
        return f"{self.relative:.2e}"


def error_of(found: np.ndarray, wanted: np.ndarray) -> Error:
    """The error of finite numbers; infinite where NaNs or infinities are elsewhere than expected."""
    wide, wanted = found.astype(np.float64), wanted.astype(np.float64)
    finite = np.isfinite(wanted)
    same = np.array_equal(wide[~finite], wanted[~finite], equal_nan=True)
    if not same or not np.isfinite(wide[finite]).all():
        return Error(np.inf, np.inf)
    wide, wanted = wide[finite], wanted[finite]
    difference, norm = np.abs(wide - wanted), float(np.linalg.norm(wanted))
    if not difference.any():
        return Error(0.0, 0.0)
    typical = norm / max(wanted.size, 1) ** 0.5
    return Error(
        float(np.linalg.norm(difference)) / max(norm, 1e-300), float((difference / (np.abs(wanted) + typical)).max())
    )


def tolerance_of(dtype: np.dtype, least: float = 0.0) -> float:
    """What `check_result` allows for a result of this type, and at least."""
    return max(TOLERANCES.get(dtype.name, _SHORT_TOLERANCE), least)


def check_result(found: np.ndarray, wanted: np.ndarray, tolerance: float | None = None, rounded: bool = False) -> Error:
    """Hold a result against the reference's.

    Args:
        tolerance: by default that of the result's type; integers and bools must be equal.
        rounded: integers are rounded from floats, which the reference has more exactly.

    Raises:
        WrongResult.
    """
    if found.dtype.kind in "biu" or "int" in found.dtype.name:
        return _check_integers(found.astype(np.int64), wanted.astype(np.int64), rounded)
    # What overflows the result's type is expected to be infinite there too.
    with np.errstate(over="ignore"):
        in_type = wanted.astype(found.dtype).astype(np.float64)
    wanted = np.where(np.isfinite(in_type), wanted, in_type)
    error = error_of(found, wanted)
    allowed = tolerance_of(found.dtype) if tolerance is None else tolerance
    if not (error.relative <= allowed and error.peak <= _PEAK * allowed):
        raise WrongResult(
            f"error {error.relative:.3g} (one element {error.peak:.3g}), allowed {allowed:.3g} ({_PEAK * allowed:.3g})"
        )
    return error


def _check_integers(found: np.ndarray, wanted: np.ndarray, rounded: bool) -> Error:
    off = np.abs(found - wanted)
    share, most = float(np.mean(off > 0)) if off.size else 0.0, int(off.max(initial=0))
    if most > 0 and not (rounded and most == 1 and (share <= ROUNDED_SHARE or off.sum() == 1)):
        raise WrongResult(f"{share:.2%} of the integers differ, by up to {most}")
    return error_of(found, wanted)
