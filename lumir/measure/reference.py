"""What a dispatch should compute: the interpreter in float64, on some rows only where all would take too long."""

from collections.abc import Sequence
from functools import cached_property

import numpy as np

from lumir.artifact.tensors import TensorSpec
from lumir.context import make_context
from lumir.diagnostics import UserError
from lumir.dialects import attributes_of
from lumir.dialects.base import is_int
from lumir.dialects.constants import dense_array
from lumir.dialects.contraction import ALLOW_TF32, channels_second
from lumir.dtypes import dtype_name
from lumir.linalg.lower import dispatches
from lumir.measure.compare import COARSE_SUMS, ROUNDED_FACTORS
from lumir.measure.rows import Rows, parallel_rows
from lumir.mlir import ir
from lumir.module import body_of
from lumir.plan.flops import op_flops
from lumir.reference.interpreter import run_op
from lumir.reference.rules import RULES, Call, is_float

SAMPLED_ROWS = 16
_MAIN = ("contract", "conv", "attention", "softmax", "normalize", "reduce", "window_reduce", "scan", "top_k")
WHOLE_OPERATIONS = 1e9


class Reference:
    """A dispatch in lumir ops.

    Args:
        text: a module with one function marked `lumir.dispatch`.
        whole: the work up to which every element is computed, in multiplications and elements.

    Attributes:
        rows: the places that are computed of the sampled dimension.
        result_dims: for each result that dimension, or None where the whole result is computed.
    """

    def __init__(self, text: str, whole: float = WHOLE_OPERATIONS):
        self.text, self._context = text, make_context()
        with self._context, ir.Location.unknown():
            self._module = ir.Module.parse(text)
            (self.function,) = dispatches(self._module)
            _require_static(self.function)
            self._block = body_of(self.function)
            returned = list(self._block.operations)[-1].operands
            self.inputs = tuple(_spec(f"arg{i}", v.type) for i, v in enumerate(self._block.arguments))
            self.outputs = tuple(_spec(f"res{i}", v.type) for i, v in enumerate(returned))
            self._returned = list(returned)
            self._sample = self._choose_sample(whole)
        self.rows = self._sample.rows if self._sample else np.arange(0)
        dims = self._sample.dims if self._sample else {}
        self.result_dims = [dims.get(value) for value in self._returned]

    @cached_property
    def flops(self) -> int:
        """Multiplications and additions of contractions, convolutions and attentions (whole, also where causal)."""
        with self._context:
            return sum(op_flops(op) for op in self._block.operations)

    @cached_property
    def summary(self) -> str:
        """The dispatch in a line: its ops that do most, with how many others, and its operands' types."""
        with self._context:
            names = [op.operation.name.removeprefix("lumir.") for op in self._block.operations]
            main = [name for name in names if name in _MAIN] or names[:1]
            others = len(names) - 1 - len(main)
        types = " ".join(f"{spec.dtype}[{'x'.join(map(str, spec.shape))}]" for spec in self.inputs)
        return f"{' '.join(main)}{f' and {others} more' if others > 0 else ''}: {types}"

    @cached_property
    def least_tolerance(self) -> float:
        """Error that tensor cores may make before results are rounded to their type."""
        if self.flops > 0 and any(spec.dtype.startswith("float8") for spec in self.inputs):
            return COARSE_SUMS
        with self._context:
            rounds = any(ALLOW_TF32 in op.attributes for op in self._block.operations)
        return ROUNDED_FACTORS if rounds else 0.0

    @cached_property
    def rounded(self) -> list[bool]:
        """For each result whether it is integers that floats were rounded to."""
        with self._context:
            return [_is_rounded(value) for value in self._returned]

    @cached_property
    def nbytes(self) -> int:
        """Bytes that must be moved: every argument read once, every result written once.

        A convolution whose windows leave gaps reads the image without them.
        """
        total = sum(spec.nbytes for spec in (*self.inputs, *self.outputs))
        with self._context:
            for op in self._block.operations:
                if op.operation.name == "lumir.conv" and isinstance(op.operands[0].owner, ir.Block):
                    image = self.inputs[list(self._block.arguments).index(op.operands[0])]
                    total -= image.nbytes - round(image.nbytes * _part_seen(op))
        return total

    def evaluate(self, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
        """The results in float64 (integers exactly), of the sampled rows."""
        with self._context, ir.Location.unknown():
            values: dict[ir.Value, np.ndarray] = {}
            for argument, array in zip(self._block.arguments, inputs, strict=True):
                values[argument] = _wide(self._taken(argument, array))
            for view in self._block.operations:
                if view.operation.name != "func.return":
                    results = self._run(view.operation, [values[v] for v in view.operands])
                    values.update(zip(view.results, results, strict=True))
            return [values[v] for v in self._returned]

    def _taken(self, value: ir.Value, array: np.ndarray) -> np.ndarray:
        dim = self._sample.dims.get(value) if self._sample else None
        return array if dim is None else array.take(self.rows, dim)

    def _run(self, op: ir.Operation, operands: list[np.ndarray]) -> list[np.ndarray]:
        if op.name == "lumir.constant":
            return [_wide(dense_array(op.attributes["value"]))]
        if self._sample is None or not any(v in self._sample.dims for v in op.results):
            return run_op(op, operands, "float64")
        call, extra = self._sample.restricted(op, Call.of(op, "float64"))
        with np.errstate(all="ignore"):
            results = RULES[call.name](call, *operands, *extra)
        return [np.asarray(r) for r in (results if isinstance(results, list) else [results])]

    def _choose_sample(self, whole: float) -> Rows | None:
        work = sum(op_flops(op) / 2 for op in self._block.operations)
        work += sum(np.prod(spec.dims) * 20 for spec in (*self.inputs, *self.outputs))
        if work <= whole:
            return None
        return parallel_rows(self._block, self._returned, SAMPLED_ROWS)


def _is_rounded(value: ir.Value) -> bool:
    """A cast from floats to integers of more than one bit lies on the way to it, and no float after."""
    if isinstance(value.owner, ir.Block) or not is_int(_element(value)):
        return False
    operands = list(value.owner.operands)
    casts = value.owner.name == "lumir.cast" and not is_int(_element(operands[0]))
    return casts or any(_is_rounded(operand) for operand in operands)


def _element(value: ir.Value) -> ir.Type:
    return ir.RankedTensorType(value.type).element_type


def _part_seen(conv: ir.OpView) -> float:
    """The part of the image that is in some window."""
    attributes = attributes_of(conv)
    window = channels_second(tuple(ir.RankedTensorType(conv.operands[1].type).shape), attributes["channels_last"])[2:]
    return float(np.prod([min(1.0, size / stride) for size, stride in zip(window, attributes["strides"], strict=True)]))


def _require_static(function: ir.OpView) -> None:
    """Raise `UserError` where a size is a symbol: there is no one problem then to measure."""
    types = ir.FunctionType(function.attributes["function_type"].value)
    if not all(ir.RankedTensorType(type_).has_static_shape for type_ in (*types.inputs, *types.results)):
        raise UserError(
            "a dispatch whose sizes are ranges cannot be measured",
            code="dynamic-dispatch",
            values={"dispatch": str(types)},
            hint="give each symbol one value: --dim seq=128",
        )


def _spec(name: str, type_: ir.Type) -> TensorSpec:
    tensor = ir.RankedTensorType(type_)
    return TensorSpec(name, dtype_name(tensor.element_type), tuple(tensor.shape))


def _wide(array: np.ndarray) -> np.ndarray:
    return array.astype(np.float64) if is_float(array.dtype) else array
