"""What a handler sees of its node."""

from collections.abc import Sequence
from typing import Any, NoReturn, Protocol

import numpy as np
import onnx

from lumir.dtypes import mlir_type
from lumir.frontend.problems import Malformed, Refused
from lumir.frontend.values import Operand, Ragged, Tensor, TensorSequence, Value
from lumir.mlir import ir
from lumir.sizes import Dim, Size


class Services(Protocol):
    """What the importer offers to handlers."""

    def constant(self, array: np.ndarray) -> ir.Value:
        """An array as an SSA value."""
        ...

    def tensor(self, array: np.ndarray) -> Tensor:
        """An array as a tensor with known elements."""
        ...

    def inline(self, graph: onnx.GraphProto, inputs: Sequence[Operand], label: str = "") -> list[Operand]:
        """Import a subgraph of the node in place; `inputs` are the values of the subgraph's own inputs."""
        ...

    def size(self, value: ir.Value, high: int) -> Dim:
        """A new symbol, from 0 to `high`, whose value is the int64 of rank 0 that `value` computes."""
        ...

    def origins(self, value: ir.Value) -> list[str]:
        """The graph inputs that a value is computed from."""
        ...


class NodeContext:
    """One node: its attributes, inputs and outputs.

    Args:
        node: the node, with references to a function's attributes already replaced.
        opset: the version of the node's domain.
        inputs: one entry an input, None where an optional input is left out.
        services: what the importer offers.
    """

    def __init__(
        self,
        node: onnx.NodeProto,
        opset: int,
        inputs: Sequence[Value],
        services: "Services",
    ):
        self.node, self.opset, self.inputs, self.services = node, opset, inputs, services
        self.constant = services.constant
        self._attributes = {a.name: a for a in node.attribute}

    @property
    def op(self) -> str:
        return self.node.op_type

    def input(self, index: int) -> Value:
        """Input `index`, or None where it is left out or an empty optional."""
        return self.inputs[index] if index < len(self.inputs) else None

    def has(self, index: int) -> bool:
        """Whether input `index` is given."""
        return self.input(index) is not None

    def wants(self, index: int) -> bool:
        """Whether output `index` is given a name."""
        return index < len(self.node.output) and bool(self.node.output[index])

    def tensor(self, index: int) -> Tensor:
        """Input `index`, without making an SSA value of it."""
        tensor = self.input(index)
        if isinstance(tensor, Ragged):
            raise Refused(f"the size of input {index}, {tensor}, depends on the data")
        if not isinstance(tensor, Tensor):
            raise Malformed(f"input {index} is {'missing' if tensor is None else 'a sequence, not a tensor'}")
        return tensor

    def sequence(self, index: int) -> tuple[Tensor, ...]:
        """The tensors of input `index`, a sequence."""
        sequence = self.input(index)
        if not isinstance(sequence, TensorSequence):
            raise Malformed(f"input {index} is {'missing' if sequence is None else 'a tensor, not a sequence'}")
        return sequence.items

    def value(self, index: int) -> ir.Value:
        """Input `index` as an SSA value."""
        return self.tensor(index).value()

    def values(self) -> list[ir.Value]:
        """All inputs as SSA values."""
        return [self.value(i) for i in range(len(self.inputs))]

    def optional(self, index: int) -> ir.Value | None:
        """Input `index` as an SSA value, or None where it is left out."""
        return self.value(index) if self.has(index) else None

    def known(self, index: int) -> np.ndarray | None:
        """The elements of input `index` where they are known at compile time, whatever the symbols are."""
        tensor = self.input(index)
        return tensor.array() if isinstance(tensor, Tensor) and tensor.is_known and not tensor.is_symbolic else None

    def static(self, index: int, name: str, why: str = "") -> np.ndarray:
        """The elements of an input that the compiler needs, and why; refuses the node where they are computed."""
        array = self.sized(index, name, why)
        if array.dtype == object:
            sizes = [size for size in array.flat if isinstance(size, Size)]
            names = sorted({symbol.name for size in sizes for symbol in size.symbols})
            pins = " ".join(f"--dim {symbol}=128" for symbol in names)
            self.refuse(f"needs a fixed value of input '{name}', and it is {show_sizes(array)}: pin {pins}")
        return array

    def sized(self, index: int, name: str, why: str = "") -> np.ndarray:
        """The elements of an input that the compiler needs, which may be sizes; refuses where they are computed."""
        tensor = self.tensor(index)
        if not tensor.is_known:
            origin = " and ".join(f"'{source}'" for source in self.services.origins(self.value(index)))
            came = f", and it is computed from graph input {origin}" if origin else ""
            reason = "; ".join(filter(None, (why, tensor.undecided)))
            self.refuse(f"needs the value of input '{name}' at compile time{f' ({reason})' if reason else ''}{came}")
        return tensor.array()

    def sizes(self, index: int, name: str, default: list[int] | None = None) -> list[Dim]:
        """An input of sizes that the compiler needs, as a list of ints and Sizes; `default` where it is left out."""
        if default is not None and not self.has(index):
            return default
        return [size if isinstance(size, Size) else int(size) for size in self.sized(index, name).reshape(-1)]

    def ints(self, index: int, name: str, default: list[int] | None = None) -> list[int]:
        """An integer input that the compiler needs, as a list; `default` where it is left out."""
        if default is not None and not self.has(index):
            return default
        return [int(v) for v in self.static(index, name).reshape(-1)]

    def attribute(self, name: str, default: Any = None) -> Any:
        """An attribute as a Python value: int, float, str, list, TensorProto or GraphProto.

        ONNX keeps floats in float32, and so are defaults: 1e-5 stands for the float32 that is next to it.
        """
        if name not in self._attributes:
            return float(np.float32(default)) if isinstance(default, float) else default
        value = onnx.helper.get_attribute_value(self._attributes[name])
        return _decode(value)

    def ints_attribute(self, name: str, default: list[int]) -> list[int]:
        """An attribute that is a list of ints."""
        return list(self.attribute(name, default))

    def element(self, name: str, default: ir.Type) -> ir.Type:
        """An attribute that names an element type by ONNX's number."""
        number = self.attribute(name, 0)
        return mlir_type(onnx.helper.tensor_dtype_to_np_dtype(number)) if number else default

    def refuse(self, reason: str) -> NoReturn:
        """Report that lumir cannot compile this node, and why."""
        raise Refused(reason)

    def malformed(self, rule: str) -> NoReturn:
        """Report that the node breaks a rule of its operator."""
        raise Malformed(rule)


def show_sizes(array: np.ndarray) -> str:
    return f"[{', '.join(map(str, array.flat))}]" if array.ndim else str(array.item())


def _decode(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, list) and value and isinstance(value[0], bytes):
        return [item.decode("utf-8", "replace") for item in value]
    return value
