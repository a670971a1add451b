"""A model's inputs and outputs as tensors.

A sequence `x` of three becomes the tensors `x[0]`, `x[1]`, `x[2]`; an optional is its value, or nothing. What a type
leaves open is given as a size beside the symbolic dimensions: `x.length` of a sequence, `x.given` (0 or 1) of an
optional, `x.rank` of a tensor without a declared shape.
"""

from collections.abc import Mapping, Sequence

import onnx

from lumir.diagnostics import UnsupportedError, UserError
from lumir.frontend.values import Operand, TensorSequence
from lumir.mlir import ir
from lumir.module import LISTS, SHAPES
from lumir.symbols import Symbol

Layout = str | list[str] | None
"""The tensor that an input or output is, or the tensors, or nothing."""


class Signature:
    """The inputs of a graph, flattened.

    Args:
        inputs: the graph's inputs.
        symbols: sizes and ranges by name; the sizes that the flattening needs are taken.

    Attributes:
        tensors: the tensors that the inputs become, each with a shape.
        layouts: what each input became.
        symbols: those that are left.

    Raises:
        UserError: sizes are missing, all of them are listed.
        UnsupportedError: an input is a map or a sparse tensor.
    """

    def __init__(self, inputs: Sequence[onnx.ValueInfoProto], symbols: Mapping[str, Symbol]):
        self._symbols, self._given, self._missing = dict(symbols), symbols, {}
        self.tensors: list[onnx.ValueInfoProto] = []
        self.layouts = {item.name: self._flatten(item.name, item.type) for item in inputs}
        if self._missing:
            _raise_missing(self._missing)
        self.symbols: Mapping[str, Symbol] = self._symbols

    def _flatten(self, name: str, type_: onnx.TypeProto) -> Layout:
        match type_.WhichOneof("value"):
            case "tensor_type":
                self._tensor(name, type_.tensor_type)
                return name
            case "sequence_type":
                names = [f"{name}[{i}]" for i in range(self._size(f"{name}.length", "the length of a sequence"))]
                for each in names:
                    self._tensor(each, _without_symbols(type_.sequence_type.elem_type.tensor_type))
                return names
            case "optional_type":
                given = self._size(f"{name}.given", "whether an optional has a value: 0 or 1")
                return self._flatten(name, type_.optional_type.elem_type) if given else None
            case kind:
                raise UnsupportedError(
                    f"input '{name}' is not a tensor",
                    code="unsupported-input",
                    values={"found": (kind or "no type").removesuffix("_type").replace("_", " ")},
                    hint="lumir compiles functions of tensors, sequences of tensors and optionals",
                )

    def _tensor(self, name: str, type_: onnx.TypeProto.Tensor) -> None:
        item = onnx.ValueInfoProto(name=name)
        item.type.tensor_type.CopyFrom(type_)
        if not type_.HasField("shape"):
            shape = item.type.tensor_type.shape
            shape.SetInParent()
            for _ in range(self._size(f"{name}.rank", "the rank of a tensor without a declared shape")):
                shape.dim.add()
        self.tensors.append(item)

    def _size(self, symbol: str, what: str) -> int:
        given = self._symbols.pop(symbol, Symbol(symbol, 0, 0))
        if symbol not in self._given or given.low != given.high:
            self._missing[symbol] = what
        return given.low


def _without_symbols(type_: onnx.TypeProto.Tensor) -> onnx.TypeProto.Tensor:
    """The type of one element: the sizes that a sequence names may differ from element to element."""
    own = onnx.TypeProto.Tensor()
    own.CopyFrom(type_)
    for dim in own.shape.dim:
        dim.ClearField("dim_param")
    return own


def _raise_missing(missing: Mapping[str, str]) -> None:
    raise UserError(
        f"the model has {len(missing)} size{'s' * (len(missing) > 1)} that must be given: {', '.join(missing)}",
        code="dimension-missing",
        values=dict(missing),
        hint="give each a value: " + " ".join(f"--dim {symbol}=1" for symbol in missing),
    )


def assembled(layout: Layout, tensors: Mapping[str, Operand]) -> Operand:
    """An input's value from those of its tensors."""
    if isinstance(layout, list):
        return TensorSequence(tuple(tensors[name] for name in layout))  # pyright: ignore[reportArgumentType]
    return layout if layout is None else tensors[layout]


def layout_of(name: str, value: Operand) -> Layout:
    """What an output becomes."""
    if isinstance(value, TensorSequence):
        return [f"{name}[{i}]" for i in range(len(value.items))]
    return None if value is None else name


def record_lists(module: ir.Module, **layouts: Mapping[str, Layout]) -> None:
    """Note in the module which inputs and outputs are sequences, or an optional without a value."""
    lengths = {kind: {n: x for n, x in group.items() if not isinstance(x, str)} for kind, group in layouts.items()}
    if not any(lengths.values()):
        return
    i64 = ir.IntegerType.get_signless(64)
    module.operation.attributes[LISTS] = ir.DictAttr.get(
        {
            kind: ir.DictAttr.get(
                {name: ir.IntegerAttr.get(i64, -1 if x is None else len(x)) for name, x in group.items()}
            )
            for kind, group in lengths.items()
        }
    )


def record_shapes(module: ir.Module, shapes: Mapping[str, str]) -> None:
    """Note in the module which outputs hold the shapes of other outputs."""
    if shapes:
        names = {name: ir.StringAttr.get(shape) for name, shape in shapes.items()}
        module.operation.attributes[SHAPES] = ir.DictAttr.get(names)
