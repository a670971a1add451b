"""The launch list of a plan, entry by entry: kernel launches, copies, and sizes that the model computes itself."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from lumir.artifact.fields import INT64_MIN, check_size, get_list, get_object, get_str, get_strings, require
from lumir.artifact.tensor_map import TensorMap
from lumir.artifact.tensors import BufferRef, Result, sizes_to_json
from lumir.size_text import is_declared
from lumir.sizes import value_at

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


def entry_from_json(data: Any, where: str) -> Entry:
    data = get_object(data, where)
    if "bind" in data:
        return Bind.from_json(data, where)
    return Copy.from_json(data, where) if "copy" in data else Launch.from_json(data, where)
