"""Lets the tests here import `tests.conformance`, as `python -m tests.conformance.run` does."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))
