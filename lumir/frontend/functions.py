"""Function bodies: of the model's own functions, and of ONNX operators that are defined by one."""

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import onnx

from lumir.diagnostics import UserError
from lumir.frontend.model import opset_table
from lumir.frontend.topology import check_nodes
from lumir.frontend.values import Operand, Tensor

Attributes = Mapping[str, onnx.AttributeProto]


@dataclass(frozen=True)
class Function:
    """A function that can be expanded.

    Attributes:
        key: its domain and name.
        opsets: the opset version of each domain in its body.
        defaults: the attributes that have a value where a call gives none.
    """

    key: str
    proto: onnx.FunctionProto
    opsets: Mapping[str, int]
    defaults: Attributes

    @property
    def inputs(self) -> Sequence[str]:
        return list(self.proto.input)

    @property
    def outputs(self) -> Sequence[str]:
        return list(self.proto.output)

    @property
    def nodes(self) -> Sequence[onnx.NodeProto]:
        return self.proto.node

    def bind(self, call: onnx.NodeProto) -> Attributes:
        """The value of each of the function's attributes at a call; those without value or default are absent."""
        return {**self.defaults, **{attribute.name: attribute for attribute in call.attribute}}


class Functions:
    """Finds the function that a node calls.

    Args:
        local: the functions of the model; they come before operators of the same name.
    """

    def __init__(self, local: Sequence[onnx.FunctionProto]):
        self._local = {(f.domain, f.name, f.overload): f for f in local}
        self._checked: set[str] = set()

    def is_local(self, node: onnx.NodeProto) -> bool:
        """Whether the node calls one of the model's own functions."""
        return bool(self._local) and (node.domain, node.op_type, node.overload) in self._local

    def find(
        self, node: onnx.NodeProto, domain: str, opsets: Mapping[str, int], inputs: Sequence[Operand]
    ) -> Function | None:
        """The function to expand for a node, or None where there is none."""
        opset = opsets.get(domain, 1)
        proto = self._local.get((node.domain, node.op_type, node.overload))
        defaults = {attribute.name: attribute for attribute in proto.attribute_proto} if proto else {}
        if proto is None:
            proto, defaults = _operator_body(node, domain, opset, inputs), _operator_defaults(node, domain, opset)
        if proto is None:
            return None
        key = f"{domain or 'ai.onnx'}::{proto.name}"
        self._check(key, proto)
        return Function(key, proto, {**opsets, **opset_table(proto.opset_import)}, defaults)

    def may_expand(self, node: onnx.NodeProto, domain: str, opset: int) -> bool:
        """Whether a node could be expanded if the types of its inputs were known."""
        schema = _schema(node.op_type, opset, domain)
        return schema is not None and schema.has_context_dependent_function

    def check_call(self, key: str, calls: Sequence[str], node: str) -> None:
        """Raise where a function would call itself."""
        if key not in calls:
            return
        raise UserError(
            f"function '{key}' calls itself",
            code="function-recursive",
            node=node,
            values={"calls": " -> ".join([*calls, key])},
            hint="ONNX functions must not be recursive: export the model again",
        )

    def _check(self, key: str, proto: onnx.FunctionProto) -> None:
        if key not in self._checked:
            self._checked.add(key)
            check_nodes(proto.node, set(proto.input), set(proto.input))


def resolve(node: onnx.NodeProto, attributes: Attributes) -> onnx.NodeProto:
    """The node with references to a function's attributes replaced by their values, also in its subgraphs."""
    if not any(a.ref_attr_name or a.HasField("g") for a in node.attribute):
        return node
    resolved = onnx.NodeProto()
    resolved.CopyFrom(node)
    del resolved.attribute[:]
    for attribute in node.attribute:
        if attribute.ref_attr_name and attribute.ref_attr_name not in attributes:
            continue
        copy = resolved.attribute.add()
        copy.CopyFrom(attributes[attribute.ref_attr_name] if attribute.ref_attr_name else attribute)
        copy.name = attribute.name
        if copy.HasField("g") and attributes:
            inner = [resolve(child, attributes) for child in copy.g.node]
            del copy.g.node[:]
            copy.g.node.extend(inner)
    return resolved


@functools.cache
def _schema(op: str, opset: int, domain: str) -> Any:
    try:
        return onnx.defs.get_schema(op, opset, domain)
    except onnx.defs.SchemaError:
        return None


def _operator_defaults(node: onnx.NodeProto, domain: str, opset: int) -> Attributes:
    schema = _schema(node.op_type, opset, domain)
    attributes = schema.attributes.items() if schema is not None else ()
    return {name: item.default_value for name, item in attributes if item.default_value.type}


def _operator_body(
    node: onnx.NodeProto, domain: str, opset: int, inputs: Sequence[Operand]
) -> onnx.FunctionProto | None:
    schema = _schema(node.op_type, opset, domain)
    if schema is None:
        return None
    if schema.has_function:
        versions = [v for v in schema.function_opset_versions if v <= opset]
        body = schema.get_function_with_opset_version(max(versions)) if versions else None
        return onnx.FunctionProto.FromString(body) if body else None
    types = [_type_proto(x) for x in inputs]
    if not schema.has_context_dependent_function or None in types:
        return None
    versions = [v for v in schema.context_dependent_function_opset_versions if v <= opset]
    if not versions:
        return None
    body = schema.get_context_dependent_function_with_opset_version(
        max(versions), node.SerializeToString(), [t for t in types if t is not None]
    )
    return onnx.FunctionProto.FromString(body) if body else None


def _type_proto(operand: Operand) -> bytes | None:
    if operand is None:
        return onnx.TypeProto().SerializeToString()
    if not isinstance(operand, Tensor):
        return None
    number = onnx.helper.np_dtype_to_tensor_dtype(operand.dtype)
    return onnx.helper.make_tensor_type_proto(number, operand.shape).SerializeToString()
