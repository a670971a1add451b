"""Outputs and inputs that are more, or less, than a tensor.

A sequence is a list for the caller, and one tensor an element (`x[0]`, `x[1]`) for a plan. An output whose shape
depends on the data is a tensor of the largest size and its shape for a plan, the part that counts for the caller.
"""

from collections.abc import Mapping
from typing import Any

from lumir.diagnostics import UserError

Lengths = Mapping[str, int | None]
"""The length of each sequence by its name; None for an optional that has no value."""


def spread(inputs: Any, lengths: Lengths) -> Any:
    """The inputs with each list replaced by its elements.

    Raises:
        UserError: `input-list`, when a list has another length than the model was compiled for.
    """
    if not isinstance(inputs, Mapping) or not lengths.keys() & inputs.keys():
        return inputs
    tensors = {name: value for name, value in inputs.items() if name not in lengths}
    for name in lengths.keys() & inputs.keys():
        items = _items(name, inputs[name], lengths[name])
        tensors |= {f"{name}[{i}]": item for i, item in enumerate(items)}
    return tensors


def _items(name: str, value: Any, length: int | None) -> list[Any]:
    if value is None and length is None:
        return []
    if not isinstance(value, list | tuple) or len(value) != length:
        given = f"{len(value)} tensors" if isinstance(value, list | tuple) else type(value).__name__
        raise UserError(
            f"input {name!r} does not have the structure that the model was compiled for",
            code="input-list",
            values={"given": given, "compiled for": "no value" if length is None else f"a list of {length} tensors"},
            hint=f"compile the model for it: --dim {name}.{'given=1' if length is None else 'length=...'}",
        )
    return list(value)


def gathered(results: Mapping[str, Any], lengths: Lengths) -> dict[str, Any]:
    """The outputs with the elements of each sequence as a list, and None for an optional without value."""
    elements = {f"{name}[{i}]" for name, length in lengths.items() for i in range(length or 0)}
    lists = {
        name: None if length is None else [results[f"{name}[{i}]"] for i in range(length)]
        for name, length in lengths.items()
    }
    return {name: value for name, value in results.items() if name not in elements} | lists


def cut(results: Mapping[str, Any], shapes: Mapping[str, str]) -> dict[str, Any]:
    """The outputs with those in `shapes` cut to the shape that another output holds, which is left out."""
    hidden = set(shapes.values())
    return {
        name: value[tuple(slice(int(size)) for size in results[shapes[name]])] if name in shapes else value
        for name, value in results.items()
        if name not in hidden
    }
