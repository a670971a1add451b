"""Symbolic dimensions of the model's inputs, and the sizes and ranges that the user gives them."""

import difflib
from collections.abc import Mapping, Sequence

import numpy as np
import onnx

from lumir.diagnostics import UserError
from lumir.size_text import declare, parse_size
from lumir.sizes import Dim, Shape, Size, low, size_of, symbols_of
from lumir.symbols import Symbol


def declared_size(tensor: str, axis: int, dim: onnx.TensorShapeProto.Dimension) -> Dim:
    """A dimension as the model declares it: a size, a symbol, or an expression such as `past + 1`.

    A text that is no expression is a symbol of that name; a dimension without size and text is `<tensor>.<axis>`.
    """
    match dim.WhichOneof("value"):
        case "dim_value" if dim.dim_value >= 0:
            return dim.dim_value
        case "dim_param" if dim.dim_param:
            try:
                return parse_size(dim.dim_param)
            except (ValueError, ZeroDivisionError):
                return _named(dim.dim_param)
    return _named(f"{tensor}.{axis}")


def _named(name: str) -> Dim:
    quoted = name.replace("`", "'")
    return parse_size(f"`{quoted}`")


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


def input_shapes(inputs: Sequence[onnx.ValueInfoProto], symbols: Mapping[str, Symbol]) -> dict[str, Shape]:
    """The shape of each input over the given symbols.

    Raises:
        UserError: a symbol has neither size nor range (all such symbols are listed), or one is given that the model
            does not have, or a dimension could be negative.
    """
    users: dict[str, list[str]] = {}
    with declare({}):
        for name, shape in _shapes(inputs).items():
            for symbol in sorted({symbol.name for dim in shape for symbol in symbols_of(dim)}):
                users.setdefault(symbol, []).append(name)
    _check_names(symbols, users)
    missing = {symbol: names for symbol, names in users.items() if symbol not in symbols}
    if missing:
        raise UserError(
            f"the model has {len(missing)} dimension{'s' * (len(missing) > 1)} without a size: {', '.join(missing)}",
            code="dimension-missing",
            values={symbol: f"in {', '.join(names)}" for symbol, names in missing.items()},
            hint=f"give each a size: {' '.join(f'--dim {symbol}=128' for symbol in missing)}; "
            f"or the range that is to be served: {' '.join(f'--dim {symbol}=1..512' for symbol in missing)}",
        )
    with declare(symbols):
        shapes = _shapes(inputs)
        _check_not_negative(inputs, shapes)
    return shapes


def _shapes(inputs: Sequence[onnx.ValueInfoProto]) -> dict[str, Shape]:
    return {
        item.name: tuple(declared_size(item.name, i, dim) for i, dim in enumerate(item.type.tensor_type.shape.dim))
        for item in inputs
    }


def _check_not_negative(inputs: Sequence[onnx.ValueInfoProto], shapes: Mapping[str, Shape]) -> None:
    for item in inputs:
        for dim, declared in zip(shapes[item.name], item.type.tensor_type.shape.dim, strict=True):
            if low(dim) < 0:
                would = "could" if isinstance(dim, Size) else "would"
                raise UserError(
                    f"dimension '{declared.dim_param}' of input '{item.name}' {would} have size {low(dim)}",
                    code="dimension-negative",
                    values={symbol.name: symbol.range for symbol in symbols_of(dim)},
                    hint="choose sizes that make every dimension at least 0",
                )


def _check_names(dims: Mapping[str, Symbol], symbols: Mapping[str, Sequence[str]]) -> None:
    for name, symbol in dims.items():
        if name not in symbols:
            close = difflib.get_close_matches(name, symbols, n=1)
            raise UserError(
                f"the model has no dimension '{name}'",
                code="dimension-unknown",
                values={"dimensions of the model": ", ".join(symbols) or "none, every size is static"},
                hint=f"did you mean --dim {close[0]}={size_of(symbol) if symbol.low == symbol.high else symbol.range}?"
                if close
                else "leave this --dim out",
            )
