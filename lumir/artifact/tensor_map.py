"""Tensor maps: how the copy engine of a Hopper GPU (TMA) sees a buffer, encoded by the driver for each binding."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from lumir.artifact.dtypes import byte_size
from lumir.artifact.fields import check_size, get_bool, get_dtype, get_int, get_ints, get_list, get_object, require
from lumir.artifact.tensors import sizes_to_json
from lumir.sizes import Dim, high, value_at

MAX_RANK, MAX_BOX, MAX_ELEMENT_STRIDE = 5, 256, 8
MAX_PIXELS = 1024
"""Of an im2col box."""
CORNERS = {3: 2**15, 4: 2**7, 5: 2**4}
"""For each rank: a corner of an im2col map is less than this above zero, and no more below."""
MAX_STRIDE = 2**40
"""Bytes that the offset and every stride stay below."""
ALIGNMENT = 16
"""What the first byte and every stride must be a multiple of."""
SWIZZLES = (0, 32, 64, 128)
PROMOTIONS = (0, 64, 128, 256)


@dataclass(frozen=True)
class TensorMap:
    """A view of one buffer of a launch, copied box by box; what lies outside `dims` reads as zero and is not written.

    Dimensions count from the innermost, whose elements lie side by side. In dims, strides and offset a Size stands for
    what depends on the symbols; `at` gives the map of ints that the driver takes.

    A map with corners is in im2col mode: its dimensions are channels, one to three spatial ones, and images. A box is
    channels of so many pixels, taken row by row and image by image from between the corners, by steps of the element
    strides. An offset of the copy moves each of them, so that box after box is one place of all windows of a
    convolution.

    Args:
        arg: the buffer's number among the launch's arguments.
        dtype: of an element.
        dims: sizes in elements, 1 to 5 of them.
        strides: distances in bytes along each dimension but the innermost.
        box: what one copy moves, in elements; in im2col mode channels and pixels.
        element_strides: every n-th element along a dimension is taken; all of them by default.
        offset: the view's first byte in the buffer.
        swizzle: bytes of a line whose 16-byte chunks are permuted in shared memory; 0 for none.
        nan_fill: what lies outside reads as a NaN instead.
        promotion: bytes that a miss brings to the L2 cache at once.
        lower, upper: the corners of an im2col map along its spatial dimensions: the first place that is visited, and
            the last one counted from the end of the dimension. Below zero, or above it, lies padding.
        tf32: float32 elements are rounded to tf32 on their way to shared memory.
    """

    arg: int
    dtype: str
    dims: tuple[Dim, ...]
    strides: tuple[Dim, ...]
    box: tuple[int, ...]
    element_strides: tuple[int, ...] = ()
    offset: Dim = 0
    swizzle: int = 128
    nan_fill: bool = False
    promotion: int = 128
    lower: tuple[int, ...] = ()
    upper: tuple[int, ...] = ()
    tf32: bool = False

    @property
    def rank(self) -> int:
        return len(self.dims)

    @property
    def im2col(self) -> bool:
        return bool(self.lower)

    @property
    def steps(self) -> tuple[int, ...]:
        """The stride in elements of a box along each dimension."""
        return self.element_strides or (1,) * self.rank

    @property
    def end(self) -> Dim:
        """The first byte of the buffer after all that the view spans."""
        outer = sum((size - 1) * stride for size, stride in zip(self.dims[1:], self.strides, strict=True))
        return self.offset + outer + byte_size(self.dtype, (self.dims[0],))

    def at(self, binding: Mapping[str, int]) -> "TensorMap":
        """The map for given values of the symbols."""
        dims, strides = (tuple(value_at(n, binding) for n in sizes) for sizes in (self.dims, self.strides))
        return replace(self, dims=dims, strides=strides, offset=value_at(self.offset, binding))

    def problems(self) -> list[str]:
        """The driver's rules that this map breaks; a launch that a size of 0 leaves without work needs none."""
        rank = self.rank
        if not 1 <= rank <= MAX_RANK:
            return [f"a tensor map has 1 to {MAX_RANK} dimensions, not {rank}"]
        if (len(self.strides), len(self.box), len(self.steps)) != (rank - 1, 2 if self.im2col else rank, rank):
            return ["dims, strides, box and element strides do not go together"]
        if self.im2col and (rank not in CORNERS or not len(self.lower) == len(self.upper) == rank - 2):
            return ["an im2col map has two corners, for 1 to 3 spatial dimensions"]
        line = byte_size(self.dtype, (self.box[0],))
        broken = {
            "a dimension is not in 1..2^32": not all(1 <= high(n) <= 2**32 for n in self.dims),
            f"a box is not in 1..{MAX_BOX}": not all(1 <= n <= MAX_BOX for n in self.box[: 1 if self.im2col else None]),
            f"an element stride is not in 1..{MAX_ELEMENT_STRIDE}": not all(
                1 <= n <= MAX_ELEMENT_STRIDE for n in self.steps
            ),
            f"the offset or a stride is not a multiple of {ALIGNMENT} bytes": any(
                n % ALIGNMENT or high(n) >= MAX_STRIDE for n in (self.offset, *self.strides)
            ),
            f"a line of the box is not a multiple of {ALIGNMENT} bytes": line % ALIGNMENT > 0,
            "a line of the box is wider than the swizzle": 0 < self.swizzle < line,
            "the swizzle is unknown": self.swizzle not in SWIZZLES,
            "only float32 is rounded to tf32": self.tf32 and self.dtype != "float32",
            "the L2 promotion is unknown": self.promotion not in PROMOTIONS,
        }
        reasons = [rule for rule, is_broken in broken.items() if is_broken]
        return reasons + self._broken_windows() if self.im2col else reasons

    def _broken_windows(self) -> list[str]:
        """The rules of im2col mode that this map breaks."""
        most = CORNERS[self.rank]
        visited = zip(self.dims[1:-1], self.lower, self.upper, strict=True)
        broken = {
            f"a box is not 1..{MAX_PIXELS} pixels": not 1 <= self.box[1] <= MAX_PIXELS,
            f"a corner is not in {-most}..{most - 1}": any(not -most <= n < most for n in self.lower + self.upper),
            "no pixel lies between the corners": any(low > high(size) - 1 + up for size, low, up in visited),
        }
        return [rule for rule, is_broken in broken.items() if is_broken]

    def to_json(self) -> dict[str, Any]:
        data = {key: sizes_to_json(value) if isinstance(value, tuple) else value for key, value in vars(self).items()}
        return data | {"offset": sizes_to_json([self.offset])[0]}

    @classmethod
    def from_json(cls, data: Any, where: str) -> "TensorMap":
        """Raises `UserError` (`bad-artifact`) for a map that the driver would not take."""
        where = f"a tensor map of {where}"
        data = get_object(data, where)
        tensor_map = cls(
            arg=get_int(data, "arg", where),
            dtype=get_dtype(data, where),
            dims=_sizes(data, "dims", where),
            strides=_sizes(data, "strides", where),
            box=_ints(data, "box", where),
            element_strides=_ints(data, "element_strides", where),
            offset=check_size(data.get("offset", 0), f'"offset" of {where}', high=2**48),
            swizzle=get_int(data, "swizzle", where, default=128),
            nan_fill=get_bool(data, "nan_fill", where, default=False),
            promotion=get_int(data, "promotion", where, default=128),
            lower=_corner(data, "lower", where),
            upper=_corner(data, "upper", where),
            tf32=get_bool(data, "tf32", where, default=False),
        )
        problems = tensor_map.problems()
        require(not problems, f"{where} cannot be encoded", why="; ".join(problems))
        return tensor_map


def swizzle_of(line: int) -> int:
    """The widest swizzle for lines of so many bytes, up to 128; none for a single chunk."""
    return line if line > ALIGNMENT else 0


def _sizes(data: Mapping[str, Any], key: str, where: str) -> tuple[Dim, ...]:
    return tuple(check_size(n, f'"{key}" of {where}', high=2**48) for n in get_list(data, key, where, []))


def _ints(data: Mapping[str, Any], key: str, where: str) -> tuple[int, ...]:
    return get_ints(data, key, where, default=[], high=2**48)


def _corner(data: Mapping[str, Any], key: str, where: str) -> tuple[int, ...]:
    return get_ints(data, key, where, default=[], low=-(2**15), high=2**15)
