"""The value of a linalg tensor at one place (or at several lanes side by side), as scalar or vector code.

This is how fusion happens: a kernel family asks for `at(tensor, place)` where it needs an element, and whatever
produced that tensor inside the dispatch (casts, activations, views, gathers, even a reduction) is written out there.
A family never knows which operations it carries.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from lumir.diagnostics import InternalError
from lumir.dialects import attribute_of
from lumir.kernels.index import Index, IndexMath, Place
from lumir.kernels.loop_nest import LoopNest
from lumir.kernels.memory import Buffer, Memory
from lumir.kernels.scalar_ops import ScalarOps
from lumir.kernels.tensor_ops import RULES
from lumir.mlir import ir, scf
from lumir.sizes import Dim

Value = ir.Value
Reader = Callable[[Place], Value]


class Evaluator:
    """Writes code at the current insertion point for the values of one dispatch's tensors.

    Args:
        index: index arithmetic, which also fixes the number of lanes.
        buffers: where the dispatch's arguments lie, by SSA value.
    """

    def __init__(self, index: IndexMath, buffers: dict[Value, Buffer]):
        self.index, self.memory, self.buffers = index, Memory(index), buffers
        self.bound: dict[Value, Reader] = {}
        self._known: list[dict[object, Value]] = [{}]
        self._nests: dict[ir.OpView, LoopNest] = {}
        self._scalar_ops = ScalarOps(index)

    def bind(self, tensor: Value, reader: Reader) -> None:
        """From now on `at(tensor, place)` is `reader(place)`: an accumulator, or a row's statistic."""
        self.bound[tensor] = reader

    @contextmanager
    def scope(self) -> Iterator[None]:
        """What is computed inside is not reused outside: open one for the body of every loop and branch."""
        self._known.append({})
        try:
            yield
        finally:
            self._known.pop()

    def at(self, tensor: Value, place: Sequence[Index]) -> Value:
        """The element at `place`: a scalar where every index is uniform, else possibly a vector, one element a lane."""
        place = tuple(place)
        if tensor in self.bound:
            return self.bound[tensor](place)
        return self._once((tensor, place), lambda: self._compute(tensor, place))

    def _once(self, key: object, compute: Callable[[], Value]) -> Value:
        """What was computed under this key in a scope that is open, or is now."""
        for known in self._known:
            if key in known:
                return known[key]
        value = compute()
        self._known[-1][key] = value
        return value

    def widened(self, value: Value) -> Value:
        """The value with one element a lane."""
        if isinstance(value.type, ir.VectorType):
            return value
        return self._once(("wide", value), lambda: self.index.splat(value))

    def alike(self, *values: Value) -> tuple[Value, ...]:
        """The values, each with one element a lane if any of them has."""
        wide = any(isinstance(v.type, ir.VectorType) for v in values)
        return tuple(self.widened(v) for v in values) if wide else values

    def _compute(self, tensor: Value, place: Place) -> Value:
        if tensor in self.buffers:
            return self.memory.load(self.buffers[tensor], place)
        op = tensor.owner
        if isinstance(op, ir.Block):
            raise InternalError("a kernel reads an argument that has no buffer")
        op = op.opview if isinstance(op, ir.Operation) else op
        name = op.operation.name
        if name == "linalg.generic":
            return self._generic(op, tensor, place)
        if name not in RULES:
            raise InternalError(f"no kernel can read the result of {name}", op=name, node=str(op.location))
        return RULES[name](self, op, tensor, place)

    def scalar(self, value: Value) -> Value:
        """A scalar that the dispatch computes outside any tensor: a constant, a size, or an element of a tensor."""
        return self._value(self._scalar(value))

    def _scalar(self, value: Value) -> "Value | Index":
        """As `scalar`, with sizes symbolic."""
        op = value.owner
        if op.name == "tensor.extract":
            return self.at(op.operands[0], [Index(_constant_int(i)) for i in list(op.operands)[1:]])
        if op.name == "lumir.size":
            return Index(attribute_of(op, "value"))
        if op.name == "arith.index_cast":
            return self._scalar_ops.cast_index(self.scalar(op.operands[0]), op.results[0].type, signed=True)
        return op.clone().results[0]

    def _value(self, x: "Value | Index") -> Value:
        return self.index.value(x) if isinstance(x, Index) else x

    def _generic(self, op: ir.OpView, tensor: Value, place: Place) -> Value:
        if op not in self._nests:
            self._nests[op] = LoopNest.of(op)
        nest = self._nests[op]
        number = list(op.results).index(tensor)
        dims = nest.dims_at(place)
        if not nest.reductions:
            return self.body(nest, dims, lambda i: self.at(nest.outputs[i], place))[number]
        results = self._reduce(nest, dims, place)
        for result, value in zip(op.results, results, strict=True):
            self._known[-1][(result, place)] = value
        return results[number]

    def _reduce(self, nest: LoopNest, dims: list[Index], place: Place) -> list[Value]:
        """Loops over the reduction dimensions that carry the accumulators."""
        start = [self.at(output, place) for output in nest.outputs]
        if not all(index.uniform for index in place):
            start = [self.widened(value) for value in start]

        def nested(remaining: Sequence[int], totals: list[Value]) -> list[Value]:
            if not remaining:
                return [
                    self._as(v, t.type) for v, t in zip(self.body(nest, dims, lambda i: totals[i]), totals, strict=True)
                ]
            if nest.sizes[remaining[0]] == 1:
                dims[remaining[0]] = Index(0)
                return nested(remaining[1:], totals)
            with self.loop(0, nest.sizes[remaining[0]], 1, totals) as (position, carried, done):
                dims[remaining[0]] = position
                done(nested(remaining[1:], carried))
            return done.results

        return nested(nest.reductions, start)

    def _as(self, value: Value, type_: ir.Type) -> Value:
        return self.widened(value) if isinstance(type_, ir.VectorType) else value

    @contextmanager
    def loop(
        self, start: "Dim | Value", stop: "Dim | Value", step: int, carried: Sequence[Value] = (), multiple: int = 1
    ):
        """`scf.for` as a context: gives the position, the carried values, and `done(values)`, which must end the body.

        After the context, `done.results` holds the loop's results.
        """
        scalar = self.index.scalar
        op = scf.ForOp(scalar(start), scalar(stop), scalar(step), list(carried))
        done = LoopEnd(op)
        known = step if start == 0 else multiple
        with ir.InsertionPoint(op.body), self.scope():
            yield Index(op.induction_variable, 0, known), list(op.inner_iter_args), done
            if not done.called:
                done([])

    def body(self, nest: LoopNest, dims: Sequence[Index], output: Callable[[int], Value]) -> list[Value]:
        """The values that the body yields at iteration `dims`; inputs are read only where the body uses them."""
        return self.inside(nest, dims, output, list(list(nest.block.operations)[-1].operands))

    def inside(
        self, nest: LoopNest, dims: Sequence[Index], output: Callable[[int], Value], wanted: Sequence[Value]
    ) -> list[Value]:
        """Scalars of the body at iteration `dims`, and of what the body computes only what they need.

        Args:
            output: the value that the body gets of an output, by its number.
            wanted: SSA values of the body.
        """
        known: dict[Value, Value | Index] = {}

        def lookup(value: Value) -> Value | Index:
            if value in known:
                return known[value]
            number = nest.argument_number(value)
            if number is None:
                return self._scalar(value)
            if number < len(nest.inputs):
                place = [self.index.evaluate(e, dims) for e in nest.maps[number].results]
                known[value] = self.at(nest.inputs[number], place)
            else:
                known[value] = output(number - len(nest.inputs))
            return known[value]

        for op in nest.needed_for(wanted):
            known.update(zip(op.results, self._body_op(op, dims, lookup), strict=True))
        return [self._value(lookup(value)) for value in wanted]

    def _body_op(
        self, op: ir.OpView, dims: Sequence[Index], lookup: Callable[[Value], "Value | Index"]
    ) -> "Sequence[Value | Index]":
        """The results of an operation of the body; indices stay symbolic where they can."""
        name = op.operation.name
        if name == "linalg.index":
            return [dims[op.attributes["dim"].value]]
        if name == "tensor.extract":
            tensor, *place = op.operands
            return [self.at(tensor, [_as_index(lookup(i)) for i in place])]
        if name == "lumir.size":
            return [self._scalar(op.results[0])]
        if name == "arith.constant":
            value = op.attributes["value"]
            if isinstance(value.type, ir.IndexType):
                return [Index(value.value)]
            return [self._once(op, lambda: op.operation.clone().results[0])]
        operands = [lookup(v) for v in op.operands]
        folded = self._scalar_ops.folded(name, operands)
        if folded is not None:
            return [folded]
        return self._scalar_ops.write(op, self.alike(*map(self._value, operands)))


class LoopEnd:
    """Ends a loop's body with the values to carry on, and then holds the loop's results."""

    def __init__(self, op: scf.ForOp):
        self.op, self.called = op, False

    def __call__(self, values: Sequence[Value]) -> None:
        scf.YieldOp(list(values))
        self.called = True

    @property
    def results(self) -> list[Value]:
        return list(self.op.results)


def _as_index(x: "Value | Index") -> Index:
    if isinstance(x, Index):
        return x
    return Index(x, None if isinstance(x.type, ir.VectorType) else 0)


def _constant_int(value: Value) -> int:
    return value.owner.attributes["value"].value
