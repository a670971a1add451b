"""Gives the tests without a GPU the harness and the dispatches of those with one."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1] / "gpu"))
