"""Nodes against the schema of their operator: which attributes there are, and how many inputs and outputs."""

import functools

import onnx
from onnx import checker

from lumir.frontend.problems import Malformed

_GRAPHS = (onnx.AttributeProto.GRAPH, onnx.AttributeProto.GRAPHS)


def check_node(node: onnx.NodeProto, domain: str, opset: int) -> None:
    """Raise `Malformed` where a node has attributes, inputs or outputs that its operator does not.

    Operators without a schema, and those whose attributes hold tensors or graphs, are left to their handlers.
    """
    if node.op_type == "Constant" or not _has_schema(node.op_type, domain, opset):
        return
    if any(attribute.type in _GRAPHS for attribute in node.attribute):
        return
    try:
        checker.check_node(node, _context(domain, opset))
    except checker.ValidationError as error:
        raise Malformed(str(error).partition("\n")[0].rstrip(".")) from None


@functools.cache
def _has_schema(op: str, domain: str, opset: int) -> bool:
    """Whether there is a schema to check by; a deprecated operator still means what its handler makes of it."""
    if not onnx.defs.has(op, max_inclusive_version=opset, domain=domain):
        return False
    return not onnx.defs.get_schema(op, max_inclusive_version=opset, domain=domain).deprecated


@functools.cache
def _context(domain: str, opset: int):
    context = checker.C.CheckerContext()
    context.ir_version = onnx.IR_VERSION
    context.opset_imports = {domain: opset}
    return context
