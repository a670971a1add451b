"""A numpy interpreter of lumir-dialect functions: slow, plain, and what every other step is held against."""

from lumir.reference import composite, contraction, elementwise, reduction, shaping
from lumir.reference.interpreter import Interpreter, evaluate, evaluate_region, run_op
from lumir.reference.rules import RULES, Call

__all__ = [
    "RULES",
    "Call",
    "Interpreter",
    "composite",
    "contraction",
    "elementwise",
    "evaluate",
    "evaluate_region",
    "reduction",
    "run_op",
    "shaping",
]
