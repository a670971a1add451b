"""The weights of several specialisations of one model: equal ones are kept once."""

import hashlib
import warnings
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from lumir.artifact.weights import WeightSource
from lumir.diagnostics import LumirWarning
from lumir.dtypes import dtype_name
from lumir.mlir import ir
from lumir.module import symbols
from lumir.weights import MEMORY, WeightStore

Key = tuple[Any, ...]


class SharedWeights:
    """Collects weights, module by module.

    Two weights are equal when they are the same bytes of the same file, the same array, or the same computation on
    equal weights. Different weights of one name (a constant that depends on a shape) get names of their own.

    Attributes:
        sources: the weights to write, by their name in the artifact.
    """

    def __init__(self) -> None:
        self.sources: dict[str, WeightSource] = {}
        self._names: dict[Key, str] = {}

    def add(self, module: ir.Module, store: WeightStore, used: Iterable[str]) -> dict[str, str]:
        """Take the weights `used` of a module: for each symbol, its name in the artifact."""
        named = symbols(module)
        return {name: self._add(name, named, store) for name in dict.fromkeys(used)}

    def _add(self, symbol: str, named: dict[str, ir.OpView], store: WeightStore) -> str:
        key = _key(named[symbol], named, store)
        if key not in self._names:
            self._names[key] = name = self._unused(symbol)
            self.sources[name] = _source(name, named[symbol], store)
        return self._names[key]

    def _unused(self, name: str) -> str:
        candidate, number = name, 0
        while candidate in self.sources:
            number += 1
            candidate = f"{name}.{number}"
        return candidate


def _source(name: str, weight: ir.OpView, store: WeightStore) -> WeightSource:
    type_ = ir.RankedTensorType(weight.attributes["type"].value)

    def load() -> np.ndarray:
        if weight.operation.name == "lumir.weight":
            return _checked(name, store.array(weight))
        from lumir.reference import evaluate_region

        return _checked(name, evaluate_region(weight.regions[0].blocks[0], [], store)[0])

    return WeightSource(name, dtype_name(type_.element_type), tuple(type_.shape), load)


def _checked(name: str, array: np.ndarray) -> np.ndarray:
    """The array; warns when it holds NaN or +inf, which no trained model does. Masks are full of -inf."""
    if array.size == 0 or "float" not in array.dtype.name:
        return array
    with np.errstate(invalid="ignore"):
        largest = array.max()  # a NaN anywhere is the largest
    if np.isnan(largest) or largest == np.inf:
        what = "NaN" if np.isnan(largest) else "infinity"
        warnings.warn(f"weight '{name}' holds {what}: the file may be damaged", LumirWarning, stacklevel=2)
    return array


def _key(weight: ir.OpView, named: dict[str, ir.OpView], store: WeightStore) -> Key:
    """Equal for equal weights, whatever they are called."""
    type_ = str(weight.attributes["type"].value)
    if weight.operation.name != "lumir.weight":
        return ("derived", type_, *_computation(weight, named, store))
    path = weight.attributes["path"].value
    if path == MEMORY:
        array = np.ascontiguousarray(store.array(weight))
        return ("memory", type_, hashlib.sha256(array.reshape(-1).view(np.uint8).data).digest())
    return ("file", type_, str((store.folder / path).resolve()), weight.attributes["offset"].value)


def _computation(weight: ir.OpView, named: dict[str, ir.OpView], store: WeightStore) -> Iterator[Any]:
    """The text of a derived weight's body with numbers for the weights that it loads, and their keys."""
    block = weight.regions[0].blocks[0]
    text = "\n".join(op.operation.get_asm(assume_verified=True) for op in block.operations)
    loads = [op.attributes["weight"] for op in block.operations if op.operation.name == "lumir.load"]
    for number, load in enumerate(loads):
        text = text.replace(f"{{weight = {load}}}", f"{{weight = {number}}}")
    yield text
    for load in loads:
        yield _key(named[load.value], named, store)
