"""Constants between numpy and MLIR, for every element type, including those that MLIR's buffers do not export."""

import re

import numpy as np

from lumir.dialects.base import build
from lumir.dtypes import dense_attribute, numpy_dtype
from lumir.mlir import ir

_TOKEN = re.compile(r'[^\[\]<>,\s"]+')


def dense_array(attribute: ir.Attribute) -> np.ndarray:
    """The read-only array of a dense attribute; a splat is a broadcast view of one element."""
    attribute = ir.DenseElementsAttr(attribute)
    type_ = ir.RankedTensorType(attribute.type)
    dtype, dims = numpy_dtype(type_.element_type), tuple(type_.shape)
    if 0 in dims:
        return np.zeros(dims, dtype)
    array = np.array(attribute) if dtype.isbuiltin == 1 else _parse_elements(str(attribute), dtype)
    array = np.broadcast_to(array.reshape(()), dims) if array.size == 1 else array.reshape(dims)
    array.setflags(write=False)
    return array


def splat_value(value: ir.Value) -> float | int | bool | None:
    """The number that every element of `value` is known to be; else None.

    Known is a splat `lumir.constant`, and what broadcasts or reshapes one.
    """
    owner = value.owner
    while not isinstance(owner, ir.Block) and owner.name in ("lumir.broadcast", "lumir.reshape"):
        owner = owner.operands[0].owner
    if isinstance(owner, ir.Block) or owner.name != "lumir.constant":
        return None
    attribute = ir.DenseElementsAttr(owner.attributes["value"])
    if not attribute.is_splat or 0 in ir.RankedTensorType(attribute.type).shape:
        return None
    return dense_array(attribute).flat[0].item()


def constant(array: np.ndarray) -> ir.Value:
    """Build a `lumir.constant` of the array's dtype and shape at the current insertion point."""
    return build("constant", value=dense_attribute(np.asarray(array)))


def _parse_elements(text: str, dtype: np.dtype) -> np.ndarray:
    """Elements from the printed form: hex bytes of the whole buffer, or one decimal or hex token an element."""
    body = text[text.index("<") + 1 : text.rindex("> :")]
    if body.startswith('"0x'):
        return np.frombuffer(bytes.fromhex(body[3:-1]), dtype)
    bits = np.dtype(f"uint{8 * dtype.itemsize}")
    tokens = _TOKEN.findall(body)
    elements = np.empty(len(tokens), dtype)
    for i, token in enumerate(tokens):
        if token.startswith("0x"):
            elements[i] = np.array(int(token, 16), bits).view(dtype)
        else:
            elements[i] = int(token) if "int" in dtype.name else float(token)
    return elements


__all__ = ["constant", "dense_array", "splat_value"]
