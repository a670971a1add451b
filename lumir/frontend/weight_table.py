"""The weights and constants of a module under import."""

import numpy as np
import onnx

from lumir.artifact.dtypes import PACKED_4BIT, unpack_4bit
from lumir.dialects import build
from lumir.dtypes import dense_attribute, numpy_dtype
from lumir.frontend import emit
from lumir.frontend.initializers import initializer_type, locate, read_array
from lumir.frontend.model import Model
from lumir.frontend.values import Tensor, type_of
from lumir.mlir import ir
from lumir.weights import MEMORY, WeightStore

INLINE_BYTES = 1024
RESERVED = "main"


class WeightTable:
    """Makes `lumir.weight` symbols, each at its first use, and the ops that load them.

    Args:
        model: the model that initializers belong to.
        function: the symbols go in front of it.
    """

    def __init__(self, model: Model, function: ir.OpView):
        self.model = model
        self.store = WeightStore(model.folder)
        self._function = function
        self._symbols: set[str] = {RESERVED}

    def initializer(self, proto: onnx.TensorProto) -> Tensor:
        """A tensor for an initializer; its bytes are located and checked, and read only where their values matter."""
        type_ = initializer_type(proto)
        place = locate(proto, type_, self.model)
        small = proto.ByteSize() <= INLINE_BYTES and proto.data_location != onnx.TensorProto.EXTERNAL
        small = small and proto.name not in self.model.inline

        def load() -> np.ndarray:
            return read_array(proto, type_, self.model)

        def make() -> ir.Value:
            if small:
                return self.constant(load(), proto.name)
            if place.path == MEMORY:
                return self._load(self._memory(proto.name, load(), type_), type_)
            return self._load(self._declare(proto.name, type_, place.path, place.offset), type_)

        def view(other: ir.RankedTensorType) -> ir.Value:
            if place.path == MEMORY:
                return self._load(self._memory(proto.name, viewed(load(), other), other), other)
            return self._load(self._declare(proto.name, other, place.path, place.offset), other)

        return Tensor(type_, load=load, emit=make, view=view)

    def known(self, array: np.ndarray, name: str = "constant") -> Tensor:
        """A tensor whose elements are known; objects are sizes."""
        if array.dtype == object:
            return Tensor(type_of(array), load=lambda: array, emit=lambda: emit.sizes_value(array))
        return Tensor(type_of(array), load=lambda: array, emit=lambda: self.constant(array, name))

    def constant(self, array: np.ndarray, name: str = "constant") -> ir.Value:
        """An SSA value of known elements: `lumir.constant` up to 1 KiB or where all are equal, else a weight."""
        if array.nbytes <= INLINE_BYTES:
            return build("constant", value=dense_attribute(array))
        if (array == array.reshape(-1)[0]).all():
            single = dense_attribute(array.reshape(-1)[:1].reshape(()))
            return build("constant", value=ir.DenseElementsAttr.get_splat(type_of(array), single.get_splat_value()))
        return self._load(self._memory(name, array, type_of(array)), type_of(array))

    def _memory(self, name: str, array: np.ndarray, type_: ir.RankedTensorType) -> str:
        symbol = self._declare(name, type_, MEMORY, 0)
        self.store.memory[symbol] = array
        return symbol

    def _declare(self, name: str, type_: ir.RankedTensorType, path: str, offset: int) -> str:
        symbol = self._unique(name or "weight")
        with ir.InsertionPoint(self._function):
            build("weight", results=[], sym_name=symbol, type=type_, path=path, offset=offset)
        return symbol

    def _unique(self, name: str) -> str:
        symbol, count = name, 0
        while symbol in self._symbols:
            count += 1
            symbol = f"{name}.{count}"
        self._symbols.add(symbol)
        return symbol

    def _load(self, symbol: str, type_: ir.RankedTensorType) -> ir.Value:
        return build("load", weight=ir.FlatSymbolRefAttr.get(symbol), results=[type_])


def viewed(array: np.ndarray, type_: ir.RankedTensorType) -> np.ndarray:
    """The same bytes as a tensor of another type; 4-bit elements lie two in a byte, the first in the low bits."""
    data, dtype = np.ascontiguousarray(array).reshape(-1).view(np.uint8), numpy_dtype(type_.element_type)
    if dtype.name in PACKED_4BIT:
        return unpack_4bit(data, dtype.name, tuple(type_.shape))
    return data.view(dtype).reshape(type_.shape)
