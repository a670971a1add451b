"""Gives the tests without a GPU the harness and the dispatches of those with one."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1] / "gpu"))

import harness  # noqa: E402
import map_cases  # noqa: E402
import row_cases  # noqa: E402

__all__ = ["harness", "map_cases", "row_cases"]
