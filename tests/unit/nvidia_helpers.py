"""Gives the tests without a GPU the harness and the dispatches of those with one."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1] / "gpu"))

import attention_cases
import contraction_cases
import decode_cases
import emulator
import harness
import map_cases
import prefill_cases
import pytest
import row_cases
import row_parts_cases
import scan_cases
import skinny_cases
import top_k_cases
import transpose_cases

from lumir.codegen.ptx import find_ptxas

needs_ptxas = pytest.mark.skipif(find_ptxas() is None, reason="ptxas is not installed")

__all__ = [
    "attention_cases",
    "contraction_cases",
    "decode_cases",
    "emulator",
    "harness",
    "map_cases",
    "needs_ptxas",
    "prefill_cases",
    "row_cases",
    "row_parts_cases",
    "scan_cases",
    "skinny_cases",
    "top_k_cases",
    "transpose_cases",
]
