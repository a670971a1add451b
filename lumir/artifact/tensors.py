"""Tensors and buffers as plans and manifests name them."""

import operator
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from lumir.artifact.dtypes import byte_size
from lumir.artifact.fields import (
    check_int,
    check_size,
    get_dtype,
    get_int,
    get_list,
    get_object,
    get_str,
    malformed,
    require,
)
from lumir.sizes import Size, value_at

MAX_DIMENSION = 2**48


def sizes_to_json(sizes: Sequence[int | str | Size]) -> list[int | str]:
    return [str(size) if isinstance(size, Size) else size for size in sizes]


SPACES = ("input", "output", "weight", "arena", "counters")


@dataclass(frozen=True)
class TensorSpec:
    """A named dense tensor. In a plan each dimension is an int or a Size; in a manifest it may be any text."""

    name: str
    dtype: str
    shape: tuple[int | str | Size, ...]

    @property
    def is_static(self) -> bool:
        return all(isinstance(dim, int) for dim in self.shape)

    @property
    def dims(self) -> tuple[int, ...]:
        """The shape of a static tensor."""
        return tuple(operator.index(dim) for dim in self.shape)  # pyright: ignore[reportArgumentType]

    @property
    def nbytes(self) -> int:
        return byte_size(self.dtype, self.shape)  # pyright: ignore[reportArgumentType]

    def __str__(self) -> str:
        return f"{self.name}: {self.dtype}[{', '.join(map(str, self.shape))}]"

    def to_json(self) -> dict[str, Any]:
        return {"name": self.name, "dtype": self.dtype, "shape": sizes_to_json(self.shape)}

    def at(self, binding: Mapping[str, int]) -> "TensorSpec":
        """The tensor for given values of the symbols."""
        return replace(self, shape=tuple(value_at(dim, binding) for dim in self.shape))

    def with_sizes(self, where: str) -> "TensorSpec":
        """The texts in the shape as sizes over the declared symbols."""
        what = f"a dimension of {where} ({self.name})"
        return replace(self, shape=tuple(check_size(dim, what, high=MAX_DIMENSION) for dim in self.shape))

    @classmethod
    def from_json(cls, data: Any, where: str) -> "TensorSpec":
        data = get_object(data, where)
        name = get_str(data, "name", where)
        return cls(name, get_dtype(data, f"{where} ({name})"), _shape(data, f"{where} ({name})", symbolic=True))


@dataclass(frozen=True)
class BufferRef:
    """A buffer of a launch: an input or output by `index`, a weight by `name`, or the arena; plus a byte offset.

    The space `counters` holds zeros before every launch, and each leaves it so; launches share it.
    """

    space: str
    index: int = 0
    name: str = ""
    offset: int = 0

    @classmethod
    def input(cls, index: int) -> "BufferRef":
        return cls("input", index=index)

    @classmethod
    def output(cls, index: int) -> "BufferRef":
        return cls("output", index=index)

    @classmethod
    def weight(cls, name: str) -> "BufferRef":
        return cls("weight", name=name)

    @classmethod
    def arena(cls, offset: int) -> "BufferRef":
        return cls("arena", offset=offset)

    @classmethod
    def counters(cls) -> "BufferRef":
        return cls("counters")

    def to_json(self) -> dict[str, Any]:
        if self.space in ("arena", "counters"):
            return {"space": self.space, "offset": self.offset}
        key = {"name": self.name} if self.space == "weight" else {"index": self.index}
        return {"space": self.space, **key} | ({"offset": self.offset} if self.offset else {})

    @classmethod
    def from_json(cls, data: Any, where: str) -> "BufferRef":
        where = f"an argument of {where}"
        data = get_object(data, where)
        space = data.get("space")
        if space not in SPACES:
            raise malformed(f"{where} is in an unknown space", space=space, known=", ".join(SPACES))
        offset = get_int(data, "offset", where, default=None if space == "arena" else 0)
        if space in ("arena", "counters"):
            return cls(space, offset=offset)
        if space == "weight":
            return cls("weight", name=get_str(data, "name", where), offset=offset)
        return cls(space, index=get_int(data, "index", where), offset=offset)


@dataclass(frozen=True)
class Result:
    """Argument `arg` of a launch holds tensor `name` once the launch is done; what `--every-dispatch` compares."""

    arg: int
    name: str
    dtype: str
    shape: tuple[int, ...]

    def at(self, binding: Mapping[str, int]) -> "Result":
        """The result for given values of the symbols."""
        return replace(self, shape=tuple(value_at(dim, binding) for dim in self.shape))

    def to_json(self) -> dict[str, Any]:
        return {"arg": self.arg, "name": self.name, "dtype": self.dtype, "shape": sizes_to_json(self.shape)}

    @classmethod
    def from_json(cls, data: Any, where: str) -> "Result":
        where = f"a result of {where}"
        data = get_object(data, where)
        shape = tuple(
            check_size(dim, f"a dimension of {where}", high=MAX_DIMENSION) for dim in _shape(data, where, symbolic=True)
        )
        return cls(get_int(data, "arg", where), get_str(data, "name", where), get_dtype(data, where), shape)


def _shape(data: Mapping[str, Any], where: str, *, symbolic: bool) -> tuple[int | str, ...]:
    shape = get_list(data, "shape", where)
    require(len(shape) <= 64, f"{where} has too many dimensions", rank=len(shape))
    sizes = [dim for dim in shape if not (symbolic and isinstance(dim, str))]
    for size in sizes:
        check_int(size, f"a dimension of {where}", high=MAX_DIMENSION)
    return tuple(shape)
