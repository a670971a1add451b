"""The plan of one specialisation: tensors, buffers and the launch list, as frozen dataclasses with a JSON form.

`from_json` checks everything that can be checked from the plan alone and raises `UserError` (`bad-artifact`);
what needs the kernels and weights beside it is checked by `check_plan`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from lumir.artifact.dtypes import byte_size
from lumir.artifact.fields import (
    INT64_MIN,
    check_int,
    check_size,
    get_int,
    get_list,
    get_object,
    get_str,
    get_strings,
    malformed,
    require,
)
from lumir.artifact.manifest import SCHEMA_VERSION, KernelEntry, Manifest
from lumir.artifact.tensor_map import TensorMap
from lumir.artifact.tensors import BufferRef, Result, TensorSpec, sizes_to_json
from lumir.diagnostics import UserError
from lumir.dims import Symbols, as_symbols, as_texts
from lumir.size_text import declare, is_declared
from lumir.sizes import at_least, high, size_of, typical, value_at

MAX_GRID = (2**31 - 1, 65535, 65535)
"""The driver's limits for a grid, kept on every target."""


@dataclass(frozen=True)
class Launch:
    """One kernel launch.

    Args:
        kernel: the name of an entry of the manifest's kernels.
        grid: workgroups along x, y and z; the CPU numbers them `x + grid_x * (y + grid_y * z)`. Here, in `scalars` and
            in shapes, a Size stands for what depends on the symbols.
        args: one buffer per pointer argument, inputs then outputs, then what else the kernel needs.
        tensor_maps: passed by value after the buffers.
        scalars: int64 arguments that follow the buffers and the tensor maps.
        nodes: the ONNX nodes this launch computes.
        results: arguments that hold a named tensor after the launch.
    """

    kernel: str
    grid: tuple[int, int, int]
    args: tuple[BufferRef, ...]
    scalars: tuple[int, ...] = ()
    nodes: tuple[str, ...] = ()
    results: tuple[Result, ...] = ()
    tensor_maps: tuple[TensorMap, ...] = ()

    @property
    def workgroups(self) -> int:
        return self.grid[0] * self.grid[1] * self.grid[2]

    def at(self, binding: Mapping[str, int]) -> "Launch":
        """The launch for given values of the symbols."""
        x, y, z = (value_at(n, binding) for n in self.grid)
        scalars = tuple(value_at(size, binding) for size in self.scalars)
        results, maps = ([item.at(binding) for item in items] for items in (self.results, self.tensor_maps))
        return replace(self, grid=(x, y, z), scalars=scalars, results=tuple(results), tensor_maps=tuple(maps))

    def to_json(self) -> dict[str, Any]:
        data: dict[str, Any] = {
            "kernel": self.kernel,
            "grid": sizes_to_json(self.grid),
            "args": [arg.to_json() for arg in self.args],
            "scalars": sizes_to_json(self.scalars),
            "nodes": list(self.nodes),
        }
        lists = {"results": self.results, "tensor_maps": self.tensor_maps}
        return data | {key: [item.to_json() for item in items] for key, items in lists.items() if items}

    @classmethod
    def from_json(cls, data: Mapping[str, Any], where: str) -> "Launch":
        grid = get_list(data, "grid", where)
        require(len(grid) == 3, f"the grid of {where} does not have three sizes", grid=grid)
        x, y, z = (check_size(n, f"the grid of {where}", high=high) for n, high in zip(grid, MAX_GRID))
        args = tuple(BufferRef.from_json(arg, where) for arg in get_list(data, "args", where))
        results = tuple(Result.from_json(item, where) for item in get_list(data, "results", where, default=[]))
        for result in results:
            require(result.arg < len(args), f"a result of {where} names argument {result.arg} of {len(args)}")
        scalars = get_list(data, "scalars", where, default=[])
        return cls(
            kernel=get_str(data, "kernel", where),
            grid=(x, y, z),
            args=args,
            scalars=tuple(check_size(value, f"a scalar of {where}", low=INT64_MIN) for value in scalars),
            nodes=get_strings(data, "nodes", where),
            results=results,
            tensor_maps=tuple(TensorMap.from_json(item, where) for item in get_list(data, "tensor_maps", where, [])),
        )


@dataclass(frozen=True)
class Copy:
    """A copy of `nbytes` bytes from `args[0]` to `args[1]`; the two must not overlap."""

    nbytes: int
    args: tuple[BufferRef, BufferRef]
    nodes: tuple[str, ...] = ()

    def at(self, binding: Mapping[str, int]) -> "Copy":
        """The copy for given values of the symbols."""
        return replace(self, nbytes=value_at(self.nbytes, binding))

    def to_json(self) -> dict[str, Any]:
        return {
            "copy": sizes_to_json([self.nbytes])[0],
            "args": [arg.to_json() for arg in self.args],
            "nodes": list(self.nodes),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any], where: str) -> "Copy":
        args = [BufferRef.from_json(arg, where) for arg in get_list(data, "args", where)]
        require(len(args) == 2, f"{where} is a copy without a source and a destination", args=len(args))
        nbytes = check_size(data.get("copy"), f'"copy" of {where}')
        return cls(nbytes, (args[0], args[1]), get_strings(data, "nodes", where))


@dataclass(frozen=True)
class Bind:
    """From here on `symbol` is the int64 at `source`: what follows waits for all that stands before."""

    symbol: str
    source: BufferRef
    nodes: tuple[str, ...] = ()
    nbytes: int = 8

    @property
    def args(self) -> tuple[BufferRef]:
        return (self.source,)

    def at(self, binding: Mapping[str, int]) -> "Bind":
        return self

    def to_json(self) -> dict[str, Any]:
        return {"bind": self.symbol, "args": [self.source.to_json()], "nodes": list(self.nodes)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any], where: str) -> "Bind":
        args = [BufferRef.from_json(arg, where) for arg in get_list(data, "args", where)]
        require(len(args) == 1, f"{where} binds a symbol to other than one number", args=len(args))
        symbol = get_str(data, "bind", where)
        require(is_declared(symbol), f"{where} binds a symbol that is not there", symbol=symbol)
        return cls(symbol, args[0], get_strings(data, "nodes", where))


Entry = Launch | Copy | Bind


@dataclass(frozen=True)
class Plan:
    """All launches of one specialisation, in order; a launch may read what any earlier one wrote.

    Args:
        arena_bytes: enough for every value of the symbols.
        symbols: the size of each, or the text of its range.
        counter_bytes: memory that holds zeros whenever no launch is under way.
        input_lists, output_lists: the length of each sequence, whose tensors are `name[0]`, ...; None of an optional
            that has no value.
    """

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    launches: tuple[Entry, ...]
    arena_bytes: int = 0
    symbols: Mapping[str, int | str] = field(default_factory=dict)
    counter_bytes: int = 0
    input_lists: Mapping[str, int | None] = field(default_factory=dict)
    output_lists: Mapping[str, int | None] = field(default_factory=dict)
    output_shapes: Mapping[str, str] = field(default_factory=dict)

    @cached_property
    def ranges(self) -> Symbols:
        """The symbols by name."""
        return as_symbols(self.symbols)

    @property
    def is_static(self) -> bool:
        return all(isinstance(size, int) for size in self.symbols.values())

    @property
    def work(self) -> tuple[Launch | Copy, ...]:
        """The launches and copies: all entries, where the model computes no size itself."""
        return tuple(entry for entry in self.launches if not isinstance(entry, Bind))

    @property
    def late(self) -> list[str]:
        """The symbols whose values are computed by the model."""
        return [entry.symbol for entry in self.launches if isinstance(entry, Bind)]

    def samples(self) -> list[dict[str, int]]:
        """Values of the symbols to try the plan with: the low ends, somewhere between, the high ends."""
        symbols = self.ranges.values()
        between = {s.name: typical(size_of(s)) for s in symbols}
        ends = [{s.name: s.low for s in symbols}, between, {s.name: s.high for s in symbols}]
        return [sample for i, sample in enumerate(ends) if sample not in ends[:i]]

    def at(self, binding: Mapping[str, int]) -> "Plan":
        """The plan for given values of the symbols; launches of no workgroup are left out.

        What depends on symbols that the model computes itself stays open until they are given too.
        """
        if self.is_static:
            return self
        binding = {name: s.low for name, s in self.ranges.items() if s.low == s.high} | dict(binding)
        launches = [launch.at(binding) for launch in self.launches]
        return replace(
            self,
            inputs=tuple(spec.at(binding) for spec in self.inputs),
            outputs=tuple(spec.at(binding) for spec in self.outputs),
            launches=tuple(x for x in launches if (x.workgroups if isinstance(x, Launch) else x.nbytes)),
            symbols={name: binding.get(name, size) for name, size in self.symbols.items()},
        )

    def to_json(self) -> dict[str, Any]:
        optional = {
            "counter_bytes": self.counter_bytes,
            "input_lists": dict(self.input_lists),
            "output_lists": dict(self.output_lists),
            "output_shapes": dict(self.output_shapes),
        }
        return self._tables() | {key: value for key, value in optional.items() if value}

    def _tables(self) -> dict[str, Any]:
        return {
            "symbols": dict(self.symbols),
            "inputs": [spec.to_json() for spec in self.inputs],
            "outputs": [spec.to_json() for spec in self.outputs],
            "arena_bytes": self.arena_bytes,
            "launches": [launch.to_json() for launch in self.launches],
        }

    @classmethod
    def from_json(cls, data: Any, where: str = "the plan") -> "Plan":
        data = get_object(data, where)
        symbols = _symbols_from_json(data, where)
        with declare(symbols):
            return cls._from_json(data, as_texts(symbols), where)

    @classmethod
    def _from_json(cls, data: Mapping[str, Any], symbols: Mapping[str, int | str], where: str) -> "Plan":
        inputs, outputs = get_list(data, "inputs", where), get_list(data, "outputs", where)
        launches = enumerate(get_list(data, "launches", where))
        plan = cls(
            inputs=tuple(_spec_from_json(item, f"an input of {where}") for item in inputs),
            outputs=tuple(_spec_from_json(item, f"an output of {where}") for item in outputs),
            launches=tuple(_launch_from_json(item, f"launch {i} of {where}") for i, item in launches),
            arena_bytes=get_int(data, "arena_bytes", where, default=0),
            symbols=symbols,
            counter_bytes=get_int(data, "counter_bytes", where, default=0),
            input_lists=_lists_from_json(data, "input_lists", where),
            output_lists=_lists_from_json(data, "output_lists", where),
            output_shapes=_names_from_json(data, "output_shapes", where),
        )
        plan.check(where)
        return plan

    def check(self, where: str = "the plan") -> None:
        """Hold every buffer reference against the plan's own tables.

        Raises:
            UserError: `bad-artifact`: an input or output out of range, an offset past its buffer, a name used twice.
        """
        for kind, specs in (("input", self.inputs), ("output", self.outputs)):
            names = [spec.name for spec in specs]
            require(len(set(names)) == len(names), f"two {kind}s of {where} share a name", names=names)
            lists = self.input_lists if kind == "input" else self.output_lists
            elements = {f"{name}[{i}]" for name, length in lists.items() for i in range(length or 0)}
            if kind == "output":
                elements |= {*self.output_shapes, *self.output_shapes.values()}
            require(elements <= set(names), f"a list among the {kind}s of {where} lacks tensors", lists=lists)
        for i, launch in enumerate(self.launches):
            for arg in launch.args:
                self._check_ref(arg, 0 if isinstance(launch, Launch) else launch.nbytes, f"launch {i} of {where}")

    def _check_ref(self, ref: BufferRef, nbytes: int, where: str) -> None:
        if ref.space == "weight":
            return
        if ref.space in ("arena", "counters"):
            size = self.arena_bytes if ref.space == "arena" else self.counter_bytes
        else:
            specs = self.inputs if ref.space == "input" else self.outputs
            require(ref.index < len(specs), f"{where} names {ref.space} {ref.index} of {len(specs)}")
            size = specs[ref.index].nbytes
        fits = at_least(size, ref.offset + nbytes)
        require(fits, f"{where} reaches past its {ref.space}", offset=ref.offset, copy=nbytes, size=size)


def _names_from_json(data: Mapping[str, Any], key: str, where: str) -> dict[str, str]:
    names = get_object(data.get(key, {}), f'"{key}" of {where}')
    return {name: get_str(names, name, f'"{key}" of {where}') for name in names}


def _lists_from_json(data: Mapping[str, Any], key: str, where: str) -> dict[str, int | None]:
    lists = get_object(data.get(key, {}), f'"{key}" of {where}')
    return {
        n: x if x is None else check_int(x, f"the length of {n!r} in {where}", high=2**20) for n, x in lists.items()
    }


def _spec_from_json(data: Any, where: str) -> TensorSpec:
    return TensorSpec.from_json(data, where).with_sizes(where)


def _symbols_from_json(data: Mapping[str, Any], where: str) -> Symbols:
    symbols = get_object(data.get("symbols", {}), f'"symbols" of {where}')
    for name, size in symbols.items():
        if not isinstance(size, str):
            check_int(size, f"symbol {name!r} of {where}")
    try:
        return as_symbols(symbols)
    except UserError as error:
        raise malformed(f"a symbol of {where} is not an integer or a range", reason=error.message) from error


def _launch_from_json(data: Any, where: str) -> Entry:
    data = get_object(data, where)
    if "bind" in data:
        return Bind.from_json(data, where)
    return Copy.from_json(data, where) if "copy" in data else Launch.from_json(data, where)


def check_plan(plan: Plan, kernels: Mapping[str, KernelEntry], weight_bytes: Mapping[str, int], where: str) -> None:
    """Hold a plan against the kernels and weights of its artifact.

    Args:
        weight_bytes: the size in bytes of each weight.

    Raises:
        UserError: `bad-artifact`: a kernel or weight that is not there, a copy that reaches past its weight.
    """
    for i, launch in enumerate(plan.launches):
        known = not isinstance(launch, Launch) or launch.kernel in kernels
        require(known, f"launch {i} of {where} names a kernel that is missing", kernel=getattr(launch, "kernel", ""))
        nbytes = 0 if isinstance(launch, Launch) else launch.nbytes
        for ref in launch.args:
            if ref.space != "weight":
                continue
            require(ref.name in weight_bytes, f"launch {i} of {where} names a weight that is missing", weight=ref.name)
            size = weight_bytes[ref.name]
            require(
                at_least(size, ref.offset + nbytes),
                f"launch {i} of {where} reaches past weight {ref.name!r}",
                size=size,
            )
    check_maps(plan, weight_bytes, where)


def check_maps(plan: Plan, weight_bytes: Mapping[str, int], where: str) -> None:
    """Hold every tensor map against the size of its buffer, as far as both are known.

    Raises:
        UserError: `bad-artifact`: no values of the symbols, or not these, let the map stay inside.
    """
    for i, launch in enumerate(plan.launches):
        if isinstance(launch, Launch):
            for tensor_map in launch.tensor_maps:
                _check_map(plan, launch, tensor_map, weight_bytes, f"launch {i} of {where}")


def _check_map(plan: Plan, launch: Launch, tensor_map: TensorMap, weight_bytes: Mapping[str, int], where: str) -> None:
    count = len(launch.args)
    require(tensor_map.arg < count, f"{where} has a tensor map of argument {tensor_map.arg} of {count}")
    ref = launch.args[tensor_map.arg]
    match ref.space:
        case "weight":
            size = weight_bytes.get(ref.name, 0)
        case "arena":
            size = plan.arena_bytes
        case _:
            size = (plan.inputs if ref.space == "input" else plan.outputs)[ref.index].nbytes
    end = ref.offset + tensor_map.end
    require(high(size - end) >= 0, f"a tensor map of {where} reaches past its {ref.space}", end=end, size=size)


__all__ = [
    "SCHEMA_VERSION",
    "BufferRef",
    "Copy",
    "KernelEntry",
    "Launch",
    "Manifest",
    "Plan",
    "Result",
    "TensorMap",
    "TensorSpec",
    "byte_size",
    "check_plan",
]
