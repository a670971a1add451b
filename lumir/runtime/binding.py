"""The values of a plan's symbols, from the shapes of the inputs."""

from collections.abc import Iterator, Mapping, Sequence

from lumir.artifact.plan import Plan
from lumir.artifact.tensors import TensorSpec
from lumir.diagnostics import UserError
from lumir.sizes import Dim, Size, symbols_of, value_at
from lumir.symbols import Symbol

Shapes = Mapping[str, Sequence[int]]
Binding = dict[str, int]


def bind(plan: Plan, shapes: Shapes) -> Binding:
    """The value of each symbol: from dimensions that are a symbol, then from sums such as `past + 1`.

    Raises:
        UserError: `input-rank`, `input-shape`; `size-conflict`, when two inputs give a symbol different values;
            `size-out-of-range`, when a value is outside a symbol's range or no multiple of what it must be.
    """
    for spec in plan.inputs:
        _check_rank(spec, shapes[spec.name])
    binding: Binding = {}
    origins: dict[str, tuple[str, int]] = {}
    for solve in (_plain, _linear):
        for spec, axis, dim in _dimensions(plan):
            found = solve(dim, shapes[spec.name][axis], binding)
            if found is not None:
                binding |= found
                origins |= dict.fromkeys(found, (spec.name, axis))
    _check_ranges(plan, shapes, binding, origins)
    for spec, axis, dim in _dimensions(plan):
        _check_dimension(spec, axis, dim, shapes, binding, origins)
    return binding


def _dimensions(plan: Plan) -> Iterator[tuple[TensorSpec, int, Dim]]:
    return ((spec, axis, dim) for spec in plan.inputs for axis, dim in enumerate(spec.shape))


def _plain(dim: Dim, value: int, binding: Mapping[str, int]) -> Binding | None:
    symbol = _as_symbol(dim)
    return {symbol.name: value} if symbol is not None and symbol.name not in binding else None


def _as_symbol(dim: Dim) -> Symbol | None:
    if isinstance(dim, Size) and len(dim.terms) == 1 and dim.terms[0][1] == 1 and len(dim.terms[0][0]) == 1:
        (atom,) = dim.terms[0][0]
        return atom if isinstance(atom, Symbol) else None
    return None


def _linear(dim: Dim, value: int, binding: Mapping[str, int]) -> Binding | None:
    """One symbol that is left open in a dimension, if the dimension grows evenly with it and reaches the value."""
    unknown = [symbol.name for symbol in symbols_of(dim) if symbol.name not in binding]
    if len(unknown) != 1:
        return None
    (name,) = unknown
    at = [value_at(dim, {**binding, name: n}) for n in range(3)]
    slope = at[1] - at[0]
    if slope == 0 or at[2] - at[1] != slope or (value - at[0]) % slope:
        return None
    return {name: (value - at[0]) // slope}


def _check_rank(spec: TensorSpec, shape: Sequence[int]) -> None:
    if len(shape) != len(spec.shape):
        raise UserError(
            f"input {spec.name!r} has rank {len(shape)}, and the model takes rank {len(spec.shape)}",
            code="input-rank",
            values={"shape given": list(shape), "shape taken": _shown(spec)},
        )


def _check_ranges(plan: Plan, shapes: Shapes, binding: Binding, origins: Mapping[str, tuple[str, int]]) -> None:
    for name, value in binding.items():
        symbol = plan.ranges[name]
        if symbol.admits(value):
            continue
        tensor, axis = origins[name]
        multiple = f" that are multiples of {symbol.multiple}" if symbol.multiple > 1 else ""
        raise UserError(
            f"{name} is {value} in input {tensor!r}, and the model was compiled for {symbol.low} to {symbol.high}"
            + multiple,
            code="size-out-of-range",
            values={"dimension": axis, "shape given": list(shapes[tensor]), "range": symbol.range},
            hint=f"compile the model for a range that holds it: --dim {name}={_wider(symbol, value)}",
        )


def _wider(symbol: Symbol, value: int) -> str:
    return f"{min(symbol.low, value)}..{max(symbol.high, value)}"


def _check_dimension(
    spec: TensorSpec,
    axis: int,
    dim: Dim,
    shapes: Shapes,
    binding: Binding,
    origins: Mapping[str, tuple[str, int]],
) -> None:
    given = shapes[spec.name][axis]
    free = [symbol.name for symbol in symbols_of(dim) if symbol.name not in binding]
    if not free and value_at(dim, binding) == given:
        return
    symbol = _as_symbol(dim)
    if symbol is not None:
        other, place = origins[symbol.name]
        raise UserError(
            f"the inputs disagree on {symbol.name}: {binding[symbol.name]} in {other!r}, {given} in {spec.name!r}",
            code="size-conflict",
            values={other: f"dimension {place} of {list(shapes[other])}", spec.name: f"dimension {axis} of "
                    f"{list(shapes[spec.name])}"},
        )  # fmt: skip
    wanted = "" if free or not isinstance(dim, Size) else f", where {dim} is {value_at(dim, binding)}"
    raise UserError(
        f"input {spec.name!r} has shape {list(shapes[spec.name])}, and the model takes {_shown(spec)}{wanted}",
        code="input-shape",
        hint="compile the model for this shape too (--dim or --profile)",
    )


def _shown(spec: TensorSpec) -> str:
    return f"[{', '.join(map(str, spec.shape))}]"
