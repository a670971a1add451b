"""The `lumir` dialect: op families declared in Python, and `lumir.irdl.mlir` for every other MLIR toolchain."""

from lumir.dialects import composite, contraction, elementwise, quantized, reduction, shaping, structure
from lumir.dialects.base import (
    OPS,
    Lumir,
    Op,
    RuleError,
    as_sizes,
    attribute_of,
    attributes_of,
    build,
    from_attribute,
    sizes_from,
    to_attribute,
)
from lumir.dialects.elementwise import ELEMENTWISE
from lumir.dialects.shapes import shape_of_type, tensor_type
from lumir.mlir import ext, ir

ext._cext.globals.append_dialect_search_prefix("lumir.dialects")


def load() -> None:
    """Load the dialect into the current context, once."""
    if not ir.Context.current.is_dialect_loaded("lumir"):
        Lumir.load()


__all__ = [
    "ELEMENTWISE",
    "OPS",
    "Lumir",
    "Op",
    "RuleError",
    "as_sizes",
    "attribute_of",
    "attributes_of",
    "build",
    "composite",
    "contraction",
    "elementwise",
    "from_attribute",
    "load",
    "quantized",
    "reduction",
    "shape_of_type",
    "shaping",
    "sizes_from",
    "structure",
    "tensor_type",
    "to_attribute",
]
