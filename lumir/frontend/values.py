"""The values of an ONNX graph while it is imported.

How many tensors a sequence has, and whether an optional has a value, is known at import: a sequence is a tuple of
tensors, an optional is its value or None.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from lumir.dialects import shape_of_type
from lumir.dtypes import mlir_type, numpy_dtype
from lumir.mlir import ir
from lumir.sizes import Dim, Shape, Size


class Tensor:
    """A tensor of the graph: an SSA value, or elements known at import that become one when an op needs them.

    Args:
        type: shape and element type.
        value: the SSA value, when the tensor is computed.
        load: reads the elements, when they are known; called once.
        emit: builds the op that brings known elements into the program; called once.
        view: builds the op that brings the same bytes in as a tensor of another type.
    """

    def __init__(
        self,
        type: ir.RankedTensorType,
        *,
        value: ir.Value | None = None,
        load: Callable[[], np.ndarray] | None = None,
        emit: Callable[[], ir.Value] | None = None,
        view: Callable[[ir.RankedTensorType], ir.Value] | None = None,
    ):
        self.type, self.view = type, view
        self._value, self._load, self._emit = value, load, emit
        self.undecided = ""  # why its elements are not known, where a comparison of sizes could not be decided
        self._array: np.ndarray | None = None

    @property
    def shape(self) -> Shape:
        return shape_of_type(self.type)

    @property
    def dtype(self) -> np.dtype:
        return numpy_dtype(self.type.element_type)

    @property
    def size(self) -> Dim:
        return math.prod(self.shape)

    @property
    def is_known(self) -> bool:
        """Whether the elements can be read at import; some may be sizes, if `is_symbolic`."""
        return self._load is not None

    @property
    def is_symbolic(self) -> bool:
        """Whether the elements are known and some of them are sizes over symbols: the array holds objects."""
        return self.is_known and self.array().dtype == object

    def array(self) -> np.ndarray:
        """The known elements; only for a tensor that `is_known`."""
        if self._array is None:
            assert self._load is not None, "the elements of a computed tensor are not known"
            self._array = self._load()
        return self._array

    def value(self) -> ir.Value:
        """The tensor as an SSA value, built at its first use."""
        if self._value is None:
            assert self._emit is not None, "a tensor has a value or a way to make one"
            self._value = self._emit()
        return self._value

    def __str__(self) -> str:
        return f"{self.dtype.name}[{', '.join(map(str, self.shape))}]"


@dataclass(frozen=True)
class TensorSequence:
    """A sequence of tensors; their shapes may differ."""

    items: tuple[Tensor, ...]

    def __str__(self) -> str:
        return f"sequence({', '.join(map(str, self.items))})"


Extent = tuple[Dim | ir.Value, ...]
"""The size of each dimension; one that depends on the data is a scalar that is computed."""


@dataclass(frozen=True)
class Ragged:
    """A tensor of which the first elements count along some dimensions, as many as are computed."""

    tensor: Tensor
    extent: Extent

    def __str__(self) -> str:
        sizes = ("?" if isinstance(size, ir.Value) else str(size) for size in self.extent)
        return f"{self.tensor.dtype.name}[{', '.join(sizes)}]"


class Poison:
    """Stands for the output of a node that could not be imported, so that its users are not reported as well."""

    def __str__(self) -> str:
        return "?"


POISON = Poison()
Value = Tensor | TensorSequence | Ragged | None
Operand = Value | Poison


def type_of(array: np.ndarray) -> ir.RankedTensorType:
    """The tensor type of a numpy array; sizes are int64."""
    return ir.RankedTensorType.get(array.shape, mlir_type("int64" if array.dtype == object else array.dtype))


def dims_array(dims: Sequence[Dim] | Dim) -> np.ndarray:
    """Sizes as an array: of int64, or of objects where some depend on symbols."""
    array = np.array(dims, object)
    return array if any(isinstance(d, Size) for d in array.flat) else array.astype(np.int64)
