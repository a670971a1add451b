"""The plan of one specialisation: tensors, buffers and the launch list, as frozen dataclasses with a JSON form.

`from_json` checks everything that can be checked from the plan alone and raises `UserError` (`bad-artifact`);
what needs the kernels and weights beside it is checked by `check_plan`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from lumir.artifact.fields import check_int, get_int, get_list, get_object, get_str, malformed, require
from lumir.artifact.launches import Bind, Copy, Entry, Launch, entry_from_json
from lumir.artifact.tensors import BufferRef, TensorSpec
from lumir.diagnostics import UserError
from lumir.dims import Symbols, as_symbols, as_texts
from lumir.size_text import declare
from lumir.sizes import at_least, size_of, typical


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
            launches=tuple(entry_from_json(item, f"launch {i} of {where}") for i, item in launches),
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
