"""Why an operator cannot be compiled, in words that help the user."""

import difflib

import onnx

from lumir.frontend.problems import Malformed, NodeProblem, Refused
from lumir.frontend.registry import MICROSOFT, known_names, oldest_opset

_RANDOM = "random numbers are not supported"
_STRING = "strings are not supported"

REASONS: dict[str, str] = {
    **dict.fromkeys(
        ("RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike", "Bernoulli", "Multinomial"), _RANDOM
    ),
    **dict.fromkeys(("RegexFullMatch", "StringConcat", "StringNormalizer", "StringSplit"), _STRING),
    "ImageDecoder": "image files are not decoded: give the pixels",
    **dict.fromkeys(("CastMap", "DictVectorizer"), "maps are not supported"),
    "ZipMap": "maps are not supported: convert the classifier with zipmap=False",
    "CategoryMapper": _STRING,
    "Gradient": "gradients are not computed: export what computes them as nodes of the graph",
}
"""By operator of ONNX's own domains."""

_STANDARD = ("", "ai.onnx.ml", "ai.onnx.preview.training")


def no_handler(op: str, domain: str, opset: int) -> NodeProblem:
    """The problem of a node that has neither handler nor function body."""
    if domain in _STANDARD and op in REASONS:
        return Refused(REASONS[op])
    if domain == "" and not onnx.defs.has(op):
        close = difflib.get_close_matches(op, known_names(""), n=1, cutoff=0.75)
        return Refused(f"ai.onnx has no operator of this name{f': did you mean {close[0]}?' if close else ''}")
    if domain == "" and not onnx.defs.has(op, max_inclusive_version=opset):
        since = min(s.since_version for s in onnx.defs.get_all_schemas_with_history() if (s.domain, s.name) == ("", op))
        return Malformed(f"the operator exists from opset {since} on, and the model imports opset {opset}")
    oldest = oldest_opset(domain, op)
    if oldest is not None:
        return Refused(f"only from opset {oldest} on: convert the model with onnx.version_converter")
    if domain in (*_STANDARD, MICROSOFT):
        return Refused("this operator has no implementation")
    return Refused(f"domain '{domain}' is not known, and the model has no function of this name")
