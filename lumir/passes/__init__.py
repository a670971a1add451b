"""Passes, their text form, and pipelines of them; importing this does not import MLIR.

run_pipeline("builtin.module(lumir-a{x=1},func.func(canonicalize,cse))", module)
run_pipeline([LumirA(x=1), nest("func.func", "canonicalize,cse")], module)
"""

from lumir.passes.failure import PassFailure
from lumir.passes.options import pass_text
from lumir.passes.pipeline import (
    Item,
    Nest,
    Pipeline,
    Upstream,
    as_pipeline,
    nest,
    parse_items,
    parse_pipeline,
    to_text,
)
from lumir.passes.registry import Pass, find_pass, pass_names, register_pass
from lumir.passes.run import run_pipeline, step_names

__all__ = [
    "Item",
    "Nest",
    "Pass",
    "PassFailure",
    "Pipeline",
    "Upstream",
    "as_pipeline",
    "find_pass",
    "nest",
    "parse_items",
    "parse_pipeline",
    "pass_names",
    "pass_text",
    "register_pass",
    "run_pipeline",
    "step_names",
    "to_text",
]
