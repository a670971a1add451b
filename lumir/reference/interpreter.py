"""Walk a function or a region, op after op, and look each one up in the table of rules."""

from collections.abc import Callable, Sequence

import numpy as np

from lumir.diagnostics import InternalError, UserError
from lumir.dialects import shape_of_type
from lumir.dialects.constants import dense_array
from lumir.dtypes import dtype_name, numpy_dtype
from lumir.mlir import ir
from lumir.reference.rules import RULES, Call, Precision, is_float
from lumir.weights import WeightStore

Observer = Callable[[ir.Operation, list[np.ndarray]], None]


class Interpreter:
    """Evaluates regions of one module, through calls of dispatches and loads of derived weights.

    Args:
        module: where `lumir.load` finds its weight.
        store: the weights' bytes.
        precision: `declared` computes as the ops say; `float64` computes every float in float64, as an oracle.
        observe: called with each op and its results, after it has run.
    """

    def __init__(
        self,
        module: ir.Operation,
        store: WeightStore | None = None,
        precision: Precision = "declared",
        observe: Observer | None = None,
    ):
        self.store, self.observe = store or WeightStore(), observe
        self.precision: Precision = precision
        self._symbols = {op.attributes["sym_name"].value: op for op in module.regions[0].blocks[0] if _is_symbol(op)}
        self._weights: dict[str, np.ndarray] = {}

    def region(self, block: ir.Block, arguments: Sequence[np.ndarray] = ()) -> list[np.ndarray]:
        """Run the block on its arguments' arrays; the terminator's operands are the results."""
        values: dict[ir.Value, np.ndarray] = dict(zip(block.arguments, arguments, strict=True))
        remaining: dict[ir.Value, int] = {}
        for view in block.operations:
            op = view.operation
            operands = [values[operand] for operand in op.operands]
            if op.name in ("lumir.yield", "func.return"):
                return operands
            results = self.run(op, operands)
            for value, array in zip(op.results, results, strict=True):
                values[value], remaining[value] = array, sum(1 for _ in value.uses)
            _forget(op.operands, values, remaining)
            if self.observe:
                self.observe(op, results)
        raise InternalError("a body ends without lumir.yield or func.return", code="malformed-body")

    def run(self, op: ir.Operation, operands: Sequence[np.ndarray]) -> list[np.ndarray]:
        """The results of one op on its operands' arrays."""
        match op.name:
            case "lumir.constant":
                return [self.hold(dense_array(op.attributes["value"]))]
            case "lumir.load":
                return [self.weight(op.attributes["weight"].value)]
            case "func.call":
                function = self._symbols[op.attributes["callee"].value]
                return self.region(function.regions[0].blocks[0], operands)
        return run_op(op, operands, self.precision)

    def weight(self, name: str) -> np.ndarray:
        """The array of a weight, or of a derived one, computed once."""
        if name not in self._weights:
            symbol = self._symbols.get(name)
            if symbol is None:
                raise InternalError(f"the module has no weight '{name}'", code="no-weight", op="lumir.load")
            if symbol.operation.name == "lumir.weight":
                self._weights[name] = self.hold(self.store.array(symbol))
            else:
                (self._weights[name],) = self.region(symbol.regions[0].blocks[0])
        return self._weights[name]

    def hold(self, array: np.ndarray) -> np.ndarray:
        """The array in the dtype that this precision holds it in."""
        wide = self.precision == "float64" and is_float(array.dtype)
        return array.astype(np.float64) if wide else array


def evaluate(
    module: ir.Module,
    store: WeightStore | None,
    inputs: dict[str, np.ndarray],
    precision: Precision = "declared",
    observe: Observer | None = None,
) -> dict[str, np.ndarray]:
    """Run `@main` on named inputs.

    Sizes over symbols are what the declared symbols say (`lumir.size_text.declare`): each must have one value.

    Args:
        module: holds `func.func @main`, whose arguments and results carry `lumir.name`.
        store: the weights' bytes.
        inputs: one array an argument, of the argument's dtype and shape.
        precision, observe: see `Interpreter`.

    Returns:
        the outputs by name; floats are float64 under precision `float64`.

    Raises:
        UserError: an input is missing, unknown, or of another dtype or shape than declared.
    """
    function = next(op for op in module.body.operations if _is_main(op))
    block, interpreter = function.regions[0].blocks[0], Interpreter(module.operation, store, precision, observe)
    names = _names(function, "arg_attrs", len(block.arguments))
    if unknown := sorted(set(inputs) - set(names)):
        raise UserError(f"unknown inputs: {', '.join(unknown)}", code="unknown-input", values={"inputs": names})
    arguments = [
        interpreter.hold(_checked(name, argument.type, inputs))
        for name, argument in zip(names, block.arguments, strict=True)
    ]
    results = interpreter.region(block, arguments)
    return dict(zip(_names(function, "res_attrs", len(results)), results, strict=True))


def evaluate_region(
    block: ir.Block,
    arguments: Sequence[np.ndarray],
    store: WeightStore | None,
    precision: Precision = "declared",
) -> list[np.ndarray]:
    """Run one block, e.g. of a `lumir.derived_weight`; weights are looked up in the module around it."""
    root = block.owner.operation
    while root.parent is not None:
        root = root.parent.operation
    return Interpreter(root, store, precision).region(block, arguments)


def run_op(op: ir.Operation, operands: Sequence[np.ndarray], precision: Precision = "declared") -> list[np.ndarray]:
    """The results of one op that needs nothing but its operands.

    Raises:
        InternalError: the op has no rule, or its rule gave another shape or dtype than the op declares.
    """
    call = Call.of(op, precision)
    if call.name not in RULES:
        raise InternalError(f"the reference interpreter has no rule for {op.name}", code="no-rule", op=op.name)
    with np.errstate(all="ignore"):
        results = RULES[call.name](call, *operands)
    results = [np.asarray(array) for array in (results if isinstance(results, list) else [results])]
    found = [(array.shape, array.dtype) for array in results]
    if found != list(zip(call.shapes, call.dtypes, strict=True)):
        raise InternalError(f"the rule of {op.name} broke the op's type", code="wrong-rule", values={"found": found})
    return results


def _is_symbol(op: ir.OpView) -> bool:
    return op.operation.name in ("lumir.weight", "lumir.derived_weight", "func.func")


def _is_main(op: ir.OpView) -> bool:
    return op.operation.name == "func.func" and op.attributes["sym_name"].value == "main"


def _names(function: ir.OpView, attribute: str, count: int) -> list[str]:
    """The `lumir.name` of each argument or result; its index where there is none."""
    if attribute not in function.attributes:
        return [str(i) for i in range(count)]
    entries = [ir.DictAttr(entry) for entry in ir.ArrayAttr(function.attributes[attribute])]
    return [e["lumir.name"].value if "lumir.name" in e else str(i) for i, e in enumerate(entries)]


def _checked(name: str, type_: ir.Type, inputs: dict[str, np.ndarray]) -> np.ndarray:
    type_ = ir.RankedTensorType(type_)
    shape = shape_of_type(type_)
    expected = f"{dtype_name(type_.element_type)}{list(shape)}"
    if name not in inputs:
        raise UserError(f"input '{name}' is missing", code="missing-input", values={"expected": expected})
    array = np.asarray(inputs[name])
    if array.dtype != numpy_dtype(type_.element_type) or array.shape != shape:
        found = f"{array.dtype.name}{list(array.shape)}"
        values = {"expected": expected, "found": found}
        raise UserError(f"input '{name}' has another type than declared", code="wrong-input", values=values)
    return array


def _forget(operands: Sequence[ir.Value], values: dict[ir.Value, np.ndarray], remaining: dict[ir.Value, int]) -> None:
    """Drop the arrays whose last use has run, so that a model's peak memory is that of its live values."""
    for operand in operands:
        if operand not in remaining:
            continue
        remaining[operand] -= 1
        if remaining[operand] == 0:
            values.pop(operand, None)
