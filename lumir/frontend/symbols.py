"""Symbolic dimensions of the model's inputs, and the sizes the user pins them to."""

import ast
import difflib
import operator
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx

from lumir.diagnostics import UserError

_OPERATORS = {ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.FloorDiv: operator.floordiv}


@dataclass(frozen=True)
class Dimension:
    """A dimension as the model declares it: a size, a symbol, or a sum, product or quotient of symbols and numbers."""

    text: str
    tree: ast.expr | None = None

    @staticmethod
    def of(tensor: str, axis: int, dim: onnx.TensorShapeProto.Dimension) -> "Dimension":
        """A dimension without size and symbol is a symbol of its own, `<input>.<axis>`."""
        match dim.WhichOneof("value"):
            case "dim_value" if dim.dim_value >= 0:
                return Dimension(str(dim.dim_value), ast.Constant(dim.dim_value))
            case "dim_param" if dim.dim_param:
                return Dimension(dim.dim_param, _expression(dim.dim_param))
        return Dimension(f"{tensor}.{axis}")

    @property
    def symbols(self) -> list[str]:
        """The symbols that a size is needed for, in order of appearance."""
        if self.tree is None:
            return [self.text]
        return list(dict.fromkeys(node.id for node in ast.walk(self.tree) if isinstance(node, ast.Name)))

    def size(self, dims: Mapping[str, int]) -> int:
        """The size for given symbols."""
        return dims[self.text] if self.tree is None else _value(self.tree, dims)


def _expression(text: str) -> ast.expr | None:
    """The parsed form of a `dim_param` such as `past + 1`; None for a name that is no such expression."""
    try:
        tree = ast.parse(text, mode="eval").body
    except SyntaxError:
        return None
    return tree if _is_arithmetic(tree) else None


def _is_arithmetic(tree: ast.expr) -> bool:
    match tree:
        case ast.Constant():
            return type(tree.value) is int
        case ast.Name():
            return True
        case ast.BinOp():
            return type(tree.op) in _OPERATORS and _is_arithmetic(tree.left) and _is_arithmetic(tree.right)
    return False


def _value(tree: ast.expr, dims: Mapping[str, int]) -> int:
    match tree:
        case ast.Constant(value=int(value)):
            return value
        case ast.Name(id=name):
            return dims[name]
        case ast.BinOp(left=left, op=op, right=right):
            return _OPERATORS[type(op)](_value(left, dims), _value(right, dims))
    raise TypeError(f"{ast.dump(tree)} is not arithmetic")


def check_constants(inputs: Sequence[onnx.ValueInfoProto], constants: Mapping[str, np.ndarray]) -> None:
    """Raise unless each constant is an input of the model, of the declared dtype and rank."""
    declared = {item.name: item.type.tensor_type for item in inputs}
    for name, array in constants.items():
        if name not in declared:
            close = difflib.get_close_matches(name, declared, n=1)
            raise UserError(
                f"the model has no input '{name}'",
                code="input-unknown",
                values={"inputs of the model": ", ".join(declared)},
                hint=f"did you mean '{close[0]}'?" if close else None,
            )
        type_ = declared[name]
        dtype = onnx.helper.tensor_dtype_to_np_dtype(type_.elem_type)
        if array.dtype != dtype or (type_.HasField("shape") and array.ndim != len(type_.shape.dim)):
            raise UserError(
                f"the constant for input '{name}' has another type than the input",
                code="input-mistyped",
                values={"declared": f"{dtype}, rank {len(type_.shape.dim)}", "given": f"{array.dtype}{array.shape}"},
            )


def pin_dimensions(inputs: Sequence[onnx.ValueInfoProto], dims: Mapping[str, int]) -> dict[str, list[int]]:
    """The static shape of each input after `dims` replaced the symbols.

    Raises:
        UserError: a symbol has no size (all such symbols are listed), or `dims` names none of the model's symbols.
    """
    shapes = {
        item.name: [Dimension.of(item.name, axis, dim) for axis, dim in enumerate(item.type.tensor_type.shape.dim)]
        for item in inputs
    }
    users: dict[str, list[str]] = {}
    for name, shape in shapes.items():
        for symbol in dict.fromkeys(symbol for dim in shape for symbol in dim.symbols):
            users.setdefault(symbol, []).append(name)
    _check_names(dims, users)
    missing = {symbol: names for symbol, names in users.items() if symbol not in dims}
    if missing:
        raise UserError(
            f"the model has {len(missing)} dimension{'s' * (len(missing) > 1)} without a size: {', '.join(missing)}",
            code="dimension-missing",
            values={symbol: f"in {', '.join(names)}" for symbol, names in missing.items()},
            hint="give each a size: " + " ".join(f"--dim {symbol}=128" for symbol in missing),
        )
    return {name: [_checked_size(dim, name, dims) for dim in shape] for name, shape in shapes.items()}


def _checked_size(dim: Dimension, tensor: str, dims: Mapping[str, int]) -> int:
    size = dim.size(dims)
    if size < 0:
        raise UserError(
            f"dimension '{dim.text}' of input '{tensor}' would have size {size}",
            code="dimension-negative",
            values={symbol: dims[symbol] for symbol in dim.symbols},
            hint="choose sizes that make every dimension at least 0",
        )
    return size


def _check_names(dims: Mapping[str, int], symbols: Mapping[str, Sequence[str]]) -> None:
    for name, size in dims.items():
        if name not in symbols:
            close = difflib.get_close_matches(name, symbols, n=1)
            raise UserError(
                f"the model has no dimension '{name}'",
                code="dimension-unknown",
                values={"dimensions of the model": ", ".join(symbols) or "none, every size is static"},
                hint=f"did you mean --dim {close[0]}={size}?" if close else "leave this --dim out",
            )
