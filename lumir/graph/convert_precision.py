"""A float32 model computed in a 16-bit float type."""

from dataclasses import dataclass
from typing import ClassVar, Literal

import ml_dtypes
import numpy as np

from lumir.dialects import ELEMENTWISE, attributes_of, build
from lumir.dialects.constants import constant, dense_array
from lumir.dtypes import numpy_dtype
from lumir.graph.fold_constants import FoldConstants
from lumir.graph.rewrite import drop_dead, functions
from lumir.graph.values import attribute, definition, element, short_name, users
from lumir.mlir import ir
from lumir.passes.registry import register_pass

HUGE = 1e30
FULL = frozenset(["exp", "expm1", "log", "log1p", "pow", "sin", "cos", "tan", "asin", "acos", "atan"]).union(
    ["sinh", "cosh", "asinh", "acosh", "atanh", "dequantize"]
)
KINDED = frozenset(["reduce", "scan", "window_reduce"])
FULL_KINDS = frozenset((name, kind) for name in KINDED for kind in ("sum", "prod"))


@register_pass
@dataclass(frozen=True)
class ConvertPrecision:
    """Compute a float32 model in float16 or bfloat16.

    Requires: the `lumir` and `func` dialects; attention, normalisation and softmax as one op each, since those
    accumulate in float32 by themselves.
    Guarantees: inputs and outputs keep their types, with casts at the edges; other types than float32 stay. Weights and
    activations are in the short type, except: exponentials, logarithms, powers, trigonometric functions, sums and
    products read and give float32, and so do element-wise ops that only feed those; values counted from integers stay
    float32 until they meet an activation (positions of rotary embeddings); a contraction whose result is only returned
    keeps its float32 sums. Constants become finite: a mask's -inf or
    -3.4e38 is the short type's lowest number, also where it stays float32.

        %0 = lumir.load @w                                    %0 = lumir.load @w.cast
        %1 = lumir.contract(%x, %0) ... to = f32     ->       %1 = lumir.contract(%y, %0) ... to = f16
    """

    name: ClassVar[str] = "lumir-convert-precision"
    to: Literal["f16", "bf16"] = "f16"

    def run(self, module: ir.Module) -> None:
        half = ir.F16Type.get() if self.to == "f16" else ir.BF16Type.get()
        for block in functions(module):
            _Conversion(block, half).run()
        drop_dead(module)
        FoldConstants(max_growth=0).run(module)


class _Conversion:
    """The conversion of one function, op after op; users of a converted op follow it, so types agree at the end.

    Attributes:
        inputs: the function's arguments: float32, but activations.
        neutral: values that no argument reaches; they take the type of what they meet.
        casts: made so far, by value and element type.
    """

    def __init__(self, block: ir.Block, half: ir.Type):
        self.block, self.half, self.full = block, half, ir.F32Type.get()
        self.inputs: set[ir.Value] = set(block.arguments)
        self.neutral: set[ir.Value] = set()
        self.casts: dict[tuple[ir.Value, str], ir.Value] = {}

    def run(self) -> None:
        ops = [view.operation for view in self.block.operations]
        feeding = self._only_feeding_full(ops)
        declared = [[element(operand) for operand in op.operands] for op in ops]
        for op, types in zip(ops, declared, strict=True):
            with ir.InsertionPoint(op), op.location:
                if op.name.startswith("lumir."):
                    self._convert(op, _is_full(op) or any(result in feeding for result in op.results))
                    continue
                for i, (operand, type_) in enumerate(zip(op.operands, types, strict=True)):
                    op.operands[i] = self._as(operand, type_)

    def _only_feeding_full(self, ops: list[ir.Operation]) -> set[ir.Value]:
        """Results of element-wise ops that go only to ops that compute in float32."""
        found: set[ir.Value] = set()
        for op in reversed(ops):
            if short_name(op) in ELEMENTWISE and element(op.results[0]) == self.full:
                readers = users(op.results[0])
                if readers and all(_is_full(r) or any(result in found for result in r.results) for r in readers):
                    found.add(op.results[0])
        return found

    def _convert(self, op: ir.Operation, in_full: bool) -> None:
        if short_name(op) == "constant":
            self._tame(op)
        elif all(operand in self.neutral for operand in op.operands):
            self.neutral.update(op.results)
        elif short_name(op) != "cast" and any(self._is_float(v) for v in (*op.operands, *op.results)):
            self._retype(op, self.full if in_full else self._type_of(op))

    def _is_float(self, value: ir.Value) -> bool:
        return element(value) in (self.half, self.full)

    def _type_of(self, op: ir.Operation) -> ir.Type:
        """float32 if that is what the op's operands are, weights and constants aside."""
        active = [v for v in op.operands if v not in self.neutral and self._is_float(v)]
        in_full = active and all(element(v) == self.full and v not in self.inputs for v in active)
        return self.full if in_full else self.half

    def _retype(self, op: ir.Operation, type_: ir.Type) -> None:
        """Build the op again on operands of the type; results that were float32 take the type too."""
        if type_ == self.full and all(element(v) != self.half for v in op.operands):
            return
        operands = [self._as(operand, type_) for operand in op.operands]
        attributes = attributes_of(op)
        if attributes.get("to") == self.full and any(user.name != "func.return" for user in users(op.results[0])):
            attributes["to"] = type_
        results = build(short_name(op), *operands, **attributes)
        for old, new in zip(op.results, results if isinstance(results, list) else [results], strict=True):
            old.replace_all_uses_with(new)
        op.erase()

    def _as(self, value: ir.Value, type_: ir.Type) -> ir.Value:
        """The value in the short type or float32, cast at the insertion point if it is in the other one."""
        if not self._is_float(value) or element(value) == type_:
            return value
        key = (value, str(type_))
        if key not in self.casts:
            source = definition(value, "constant")
            if source is None:
                self.casts[key] = build("cast", value, to=type_)
            else:
                self.casts[key] = constant(self._in_range(dense_array(source.attributes["value"]), type_))
        return self.casts[key]

    def _in_range(self, array: np.ndarray, type_: ir.Type) -> np.ndarray:
        limit = np.float32(ml_dtypes.finfo(numpy_dtype(self.half)).max)
        return np.clip(array.astype(np.float32), -limit, limit).astype(numpy_dtype(type_))

    def _tame(self, op: ir.Operation) -> None:
        """Bring elements of a float32 constant that stand for infinity into the short type's range."""
        value = op.results[0]
        array = dense_array(op.attributes["value"]) if element(value) == self.full else np.zeros(())
        if (np.abs(array) >= HUGE).any():
            tamed = constant(np.where(np.abs(array) >= HUGE, self._in_range(array, self.full), array))
            value.replace_all_uses_with(tamed)
            op.erase()
            value = tamed
        self.neutral.add(value)


def _is_full(op: ir.Operation) -> bool:
    """Whether the op computes in float32 whatever it is given."""
    name = short_name(op)
    return name in FULL or (name in KINDED and (name, attribute(op, "kind")) in FULL_KINDS)
