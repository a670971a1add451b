"""Shapes in types: `tensor<?x?x384xf32, ["batch", "seq"]>` says the size of each `?` in its encoding, in order.

A dimension is an int or a `lumir.sizes.Size`. This is the one place that makes such types and reads them.
"""

from collections.abc import Sequence

from lumir.mlir import ir
from lumir.size_text import parse_size
from lumir.sizes import Dim, Shape, Size

DYNAMIC = ir.ShapedType.get_dynamic_size()


def shape_of_type(type_: ir.Type) -> Shape:
    """The dimensions of a ranked tensor type.

    Raises:
        ValueError: a dynamic dimension has no size, or one that is no expression.
    """
    tensor = ir.RankedTensorType(type_)
    dims = tuple(tensor.shape)
    if tensor.has_static_shape:
        return dims
    named = iter(_names(tensor))
    return tuple(parse_size(next(named)) if d == DYNAMIC else d for d in dims)


def tensor_type(dims: Sequence[Dim], element: ir.Type) -> ir.RankedTensorType:
    """The type of a tensor of these dimensions."""
    named = [ir.StringAttr.get(str(d), context=element.context) for d in dims if isinstance(d, Size)]
    encoding = ir.ArrayAttr.get(named, context=element.context) if named else None
    sizes = [DYNAMIC if isinstance(d, Size) else d for d in dims]
    return ir.RankedTensorType.get(sizes, element, encoding, loc=ir.Location.unknown(element.context))


def has_sizes(type_: ir.Type) -> bool:
    """Whether this is a ranked tensor type that says the size of each dimension."""
    if not isinstance(type_, ir.RankedTensorType):
        return False
    try:
        shape_of_type(type_)
    except ValueError:
        return False
    return True


def _names(tensor: ir.RankedTensorType) -> list[str]:
    encoding, count = tensor.encoding, list(tensor.shape).count(DYNAMIC)
    names = [item.value for item in encoding if isinstance(item, ir.StringAttr)] if _is_array(encoding) else []
    if len(names) != count:
        raise ValueError(f"{tensor} must name the size of each dynamic dimension")
    return names


def _is_array(encoding: ir.Attribute | None) -> bool:
    return isinstance(encoding, ir.ArrayAttr)
