"""The value of a linalg tensor at one place (or at several lanes side by side), as scalar or vector code.

This is how fusion happens: a kernel family asks for `at(tensor, place)` where it needs an element, and whatever
produced that tensor inside the dispatch (casts, activations, views, gathers, even a reduction) is written out there.
A family never knows which operations it carries.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property

from lumir.diagnostics import InternalError
from lumir.dialects import attribute_of, shape_of_type
from lumir.dialects.shapes import DYNAMIC
from lumir.kernels.index import Index, IndexMath, Place, is_fixed
from lumir.kernels.memory import Buffer, Memory, like
from lumir.linalg.scalar import ROUNDS
from lumir.mlir import arith, ir, scf
from lumir.sizes import Dim, Shape, at_least, maximum

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
        self._forms: dict[tuple[ir.OpView, bool], tuple[list[ir.Type], dict[str, ir.Attribute]]] = {}

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

    def _compute(self, tensor: Value, place: Place) -> Value:
        if tensor in self.buffers:
            return self.memory.load(self.buffers[tensor], place)
        op = tensor.owner
        if isinstance(op, ir.Block):
            raise InternalError("a kernel reads an argument that has no buffer")
        name = op.name if isinstance(op, ir.Operation) else op.operation.name
        if name not in _TENSOR_OPS:
            raise InternalError(f"no kernel can read the result of {name}", op=name, node=str(op.location))
        return _TENSOR_OPS[name](self, op.opview if isinstance(op, ir.Operation) else op, tensor, place)

    def scalar(self, value: Value) -> "Value | Index":
        """A scalar that the dispatch computes outside any tensor: a constant, a size, or an element of a tensor."""
        op = value.owner
        if op.name == "tensor.extract":
            return self.at(op.operands[0], [Index(_constant_int(i)) for i in list(op.operands)[1:]])
        if op.name == "lumir.size":
            return Index(attribute_of(op, "value"))
        if op.name == "arith.index_cast":
            return self._cast_index(self._value(self.scalar(op.operands[0])), op.results[0].type, True)
        return op.clone().results[0]

    # -- linalg.generic ------------------------------------------------------------------------------------------------

    def generic(self, op: ir.OpView, tensor: Value, place: Place) -> Value:
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

    def _reduce(self, nest: "LoopNest", dims: list[Index], place: Place) -> list[Value]:
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

    def body(self, nest: "LoopNest", dims: Sequence[Index], output: Callable[[int], Value]) -> list[Value]:
        """The values that the body yields at iteration `dims`; inputs are read only where the body uses them."""
        return self.inside(nest, dims, output, list(list(nest.block.operations)[-1].operands))

    def inside(
        self, nest: "LoopNest", dims: Sequence[Index], output: Callable[[int], Value], wanted: Sequence[Value]
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
                return self.scalar(value)
            if number < len(nest.inputs):
                place = [self.index.evaluate(e, dims) for e in nest.maps[number].results]
                known[value] = self.at(nest.inputs[number], place)
            else:
                known[value] = output(number - len(nest.inputs))
            return known[value]

        for op in nest.needed_for(wanted):
            known.update(zip(op.results, self._body_op(op, dims, lookup), strict=True))
        return [self._value(lookup(value)) for value in wanted]

    def _value(self, x: "Value | Index") -> Value:
        return self.index.value(x) if isinstance(x, Index) else x

    def _body_op(
        self, op: ir.OpView, dims: Sequence[Index], lookup: Callable[[Value], "Value | Index"]
    ) -> "list[Value | Index]":
        name = op.operation.name
        if name == "linalg.index":
            return [dims[op.attributes["dim"].value]]
        if name == "tensor.extract":
            tensor, *place = op.operands
            return [self.at(tensor, [self._as_index(lookup(i)) for i in place])]
        if name == "lumir.size":
            return [self.scalar(op.results[0])]
        if name == "arith.constant":
            value = op.attributes["value"]
            if isinstance(value.type, ir.IndexType):
                return [Index(value.value)]
            return [self._once(op, lambda: op.operation.clone().results[0])]
        operands = [lookup(v) for v in op.operands]
        folded = self._fold_index(name, operands)
        return [folded] if folded is not None else self._clone(op, operands)

    def _as_index(self, x: "Value | Index") -> Index:
        if isinstance(x, Index):
            return x
        return Index(x, None if isinstance(x.type, ir.VectorType) else 0)

    def _fold_index(self, name: str, operands: "list[Value | Index]") -> Index | None:
        """Keep sums, products and limits of indices symbolic."""
        if not operands or not all(isinstance(x, Index) for x in operands):
            return None
        constants = [x.base if is_fixed(x.base) and x.uniform else None for x in operands if isinstance(x, Index)]
        x, y = (*operands, None)[:2]
        if name == "arith.addi":
            return self.index.add(x, y)  # pyright: ignore[reportArgumentType]
        if len(constants) != 2 or constants[1] is None:
            return None
        fold = {
            "arith.muli": self.index.scale,
            "arith.subi": lambda a, by: self.index.offset(a, -by),
            "arith.minsi": self.index.minimum,
            "arith.maxsi": self.index.maximum,
            "arith.divui": lambda a, by: self.index.divmod(a, by)[0],
            "arith.remui": lambda a, by: self.index.divmod(a, by)[1],
        }.get(name)
        return fold(x, constants[1]) if fold else None  # pyright: ignore[reportArgumentType]

    def _clone(self, op: ir.OpView, operands: "list[Value | Index]") -> list[Value]:
        """The same operation on what its operands have become: vectors where any is one, integers for `index`."""
        values = [self._value(x) for x in operands]
        wide = any(isinstance(v.type, ir.VectorType) for v in values)
        values = [self.widened(v) for v in values] if wide else values
        name = op.operation.name
        if name == "arith.extf" and (narrowed := _narrowed_from(values[0], op.results[0].type)):
            return [narrowed]
        if name in ("arith.index_cast", "arith.index_castui"):
            return [self._cast_index(values[0], op.results[0].type, name == "arith.index_cast")]
        if (op, wide) not in self._forms:
            self._forms[op, wide] = self._form(op, wide)
        types, attributes = self._forms[op, wide]
        return list(ir.Operation.create(name, results=types, operands=values, attributes=attributes).results)

    def _form(self, op: ir.OpView, wide: bool) -> tuple[list[ir.Type], dict[str, ir.Attribute]]:
        """The types of the results of an operation's clones, and their attributes."""
        types = [self.index.type if isinstance(r.type, ir.IndexType) else r.type for r in op.results]
        types = [ir.VectorType.get([self.index.lanes], t) for t in types] if wide else types
        return types, dict(op.operation.attributes.items())

    def _cast_index(self, value: Value, to: ir.Type, signed: bool) -> Value:
        """index_cast between integers, now that `index` has a width."""
        element = self.index.type if isinstance(to, ir.IndexType) else to
        source = value.type.element_type if isinstance(value.type, ir.VectorType) else value.type
        have, want = ir.IntegerType(source).width, ir.IntegerType(element).width
        if have == want:
            return value
        op = arith.TruncIOp if want < have else arith.ExtSIOp if signed else arith.ExtUIOp
        return op(like(value.type, element), value).result

    # -- tensor ops ----------------------------------------------------------------------------------------------------

    def fill(self, op: ir.OpView, tensor: Value, place: Place) -> Value:
        return self._value(self.scalar(op.operands[0]))

    def dense(self, op: ir.OpView, tensor: Value, place: Place) -> Value:
        element = ir.RankedTensorType(tensor.type).element_type
        return arith.ConstantOp(element, ir.DenseElementsAttr(op.attributes["value"]).get_splat_value()).result

    def empty(self, op: ir.OpView, tensor: Value, place: Place) -> Value:
        element = ir.RankedTensorType(tensor.type).element_type
        zero = ir.FloatAttr.get(element, 0.0) if isinstance(element, ir.FloatType) else ir.IntegerAttr.get(element, 0)
        return arith.ConstantOp(element, zero).result

    def retyped(self, op: ir.OpView, tensor: Value, place: Place) -> Value:
        return self.at(op.operands[0], place)

    def reshaped(self, op: ir.OpView, tensor: Value, place: Place) -> Value:
        """collapse_shape and expand_shape: each run of dimensions that is one on the other side, by itself."""
        source = op.operands[0]
        runs = [[i.value for i in run] for run in op.attributes["reassociation"]]
        if op.operation.name == "tensor.expand_shape":
            sizes = _shape(tensor)
            moved = [self.index.linearize([place[i] for i in run], [sizes[i] for i in run]) for run in runs]
            return self.at(source, moved)
        sizes, moved = _shape(source), []
        for index, run in zip(place, runs, strict=True):
            moved += self.index.delinearize(index, [sizes[i] for i in run])
        return self.at(source, moved or [Index(0)] * len(sizes))

    def window(self, op: ir.OpView, tensor: Value, place: Place) -> Value:
        starts, steps = mixed_sizes(op, "static_offsets", 1), tuple(op.attributes["static_strides"])
        moved = [self.index.offset(self.index.scale(i, k), s) for i, s, k in zip(place, starts, steps, strict=True)]
        return self.at(op.operands[0], moved)

    def pad(self, op: ir.OpView, tensor: Value, place: Place) -> Value:
        """The source where the place is inside it, else the padding value; the source is read at a place in it."""
        source, low = op.operands[0], mixed_sizes(op, "static_low", 1)
        inside, moved = None, []
        for index, lo, size, padded in zip(place, low, _shape(source), _shape(tensor), strict=True):
            if size == padded:
                moved.append(index)
                continue
            shifted = self.index.offset(index, -lo)
            hit = self.index.below(shifted, size)
            inside = hit if inside is None else self._both(inside, hit)
            moved.append(self.index.minimum(self.index.maximum(shifted, 0), maximum(size - 1, 0)))
        value = self._value(self.scalar(list(op.regions[0].blocks[0].operations)[-1].operands[0]))
        return value if inside is None else self._select(inside, self.at(source, moved), value)

    def concat(self, op: ir.OpView, tensor: Value, place: Place) -> Value:
        """Every operand is read at a place kept inside it; the axis says which counts."""
        axis, start, result = op.attributes["dim"].value, 0, None
        for source in op.operands:
            size = _shape(source)[axis]
            here = self.index.offset(place[axis], -start)
            kept = self._kept_inside(here, start, size)
            value = self.at(source, [*place[:axis], kept, *place[axis + 1 :]])
            result = value if result is None else self._select(self._reached(place[axis], start), value, result)
            start += size
        assert result is not None
        return result

    def _kept_inside(self, here: Index, start: Dim, size: Dim) -> Index:
        """`here` limited to the operand; a lane group that cannot straddle its ends stays contiguous."""
        lanes = self.index.lanes
        whole = start % lanes == 0 and size % lanes == 0 and at_least(size, lanes)
        if here.step == 1 and whole and here.known % lanes == 0:
            first = self.index.minimum(self.index.maximum(Index(here.base, 0, here.multiple), 0), size - lanes)
            return Index(first.base, 1, lanes)
        return self.index.minimum(self.index.maximum(here, 0), maximum(size - 1, 0))

    def _reached(self, index: Index, start: Dim) -> Value:
        lanes = self.index.lanes
        if index.step == 1 and start % lanes == 0 and index.known % lanes == 0:
            index = Index(index.base, 0, index.multiple)
        limit = self.index.constant(start)
        value = self.index.value(index)
        return arith.CmpIOp(arith.CmpIPredicate.sge, value, limit if index.uniform else self.index.splat(limit)).result

    def unpack(self, op: ir.OpView, tensor: Value, place: Place) -> Value:
        """linalg.unpack: the tile's place among tiles, then the place inside it."""
        outer, inner = list(place), []
        for dim, size in zip(op.attributes["inner_dims_pos"], op.attributes["static_inner_tiles"], strict=True):
            outer[dim], rest = self.index.divmod(place[dim], size)
            inner.append(rest)
        order = tuple(op.attributes["outer_dims_perm"]) if "outer_dims_perm" in op.attributes else ()
        outer = [outer[i] for i in order] if order else outer
        return self.at(op.operands[0], [*outer, *inner])

    def _both(self, x: Value, y: Value) -> Value:
        return self._aligned(arith.AndIOp, x, y)

    def _aligned(self, op: type, *values: Value) -> Value:
        if any(isinstance(v.type, ir.VectorType) for v in values):
            values = tuple(self.widened(v) for v in values)
        return op(*values).result

    def _select(self, condition: Value, yes: Value, no: Value) -> Value:
        """select, where a scalar condition may choose between vectors."""
        if isinstance(yes.type, ir.VectorType) != isinstance(no.type, ir.VectorType) or isinstance(
            condition.type, ir.VectorType
        ):
            yes, no = self.widened(yes), self.widened(no)
        return arith.SelectOp(condition, yes, no).result


_TENSOR_OPS: dict[str, Callable[[Evaluator, ir.OpView, Value, Place], Value]] = {
    "linalg.generic": Evaluator.generic,
    "linalg.fill": Evaluator.fill,
    "linalg.unpack": Evaluator.unpack,
    "arith.constant": Evaluator.dense,
    "tensor.empty": Evaluator.empty,
    "tensor.pad": Evaluator.pad,
    "tensor.concat": Evaluator.concat,
    "tensor.extract_slice": Evaluator.window,
    "tensor.collapse_shape": Evaluator.reshaped,
    "tensor.expand_shape": Evaluator.reshaped,
    "builtin.unrealized_conversion_cast": Evaluator.retyped,
}


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


class LoopNest:
    """What a `linalg.generic` says: operands, maps, iteration sizes, which dimensions are reduced."""

    def __init__(self, op: ir.OpView):
        self.op = op
        counts = list(op.attributes["operandSegmentSizes"])
        operands = list(op.operands)
        self.inputs, self.outputs = operands[: counts[0]], operands[counts[0] :]
        maps = [a.value for a in op.attributes["indexing_maps"]]
        self.maps, self.output_maps = maps[: counts[0]], maps[counts[0] :]
        kinds = [str(k) for k in op.attributes["iterator_types"]]
        self.reductions = [i for i, kind in enumerate(kinds) if "reduction" in kind]
        self.rank = len(kinds)
        self.block = op.regions[0].blocks[0]
        self._numbers = {argument: i for i, argument in enumerate(self.block.arguments)}
        self._needed: dict[tuple[Value, ...], list[ir.OpView]] = {}

    @classmethod
    def of(cls, op: ir.OpView | ir.Operation) -> "LoopNest":
        return cls(op.opview if isinstance(op, ir.Operation) else op)

    def needed_for(self, wanted: Sequence[Value]) -> list[ir.OpView]:
        """The operations of the body that these values of it are computed by, in order."""
        key = tuple(wanted)
        if key not in self._needed:
            needed, found = set(wanted), []
            for op in reversed(list(self.block.operations)):
                if any(result in needed for result in op.results):
                    needed.update(op.operands)
                    found.append(op)
            self._needed[key] = found[::-1]
        return self._needed[key]

    def argument_number(self, value: Value) -> int | None:
        return self._numbers.get(value)

    @cached_property
    def sizes(self) -> list[Dim]:
        """The size of each iteration dimension, read off the operand that has it as a plain dimension."""
        sizes: list[Dim] = [0] * self.rank
        for operand, map_ in zip([*self.outputs, *self.inputs], [*self.output_maps, *self.maps], strict=True):
            for expression, size in zip(map_.results, _shape(operand), strict=True):
                if isinstance(expression, ir.AffineDimExpr):
                    sizes[expression.position] = size
        return sizes

    def dims_at(self, place: Place) -> list[Index]:
        """The iteration dimensions at a place of the result; reduced ones are filled in by their loops."""
        dims = [Index(0)] * self.rank
        for expression, index in zip(self.output_maps[0].results, place, strict=True):
            if isinstance(expression, ir.AffineDimExpr):
                dims[expression.position] = index
        return dims


def _shape(tensor: Value) -> Shape:
    return shape_of_type(tensor.type)


def mixed_sizes(op: ir.OpView, name: str, group: int) -> Shape:
    """Sizes that an op has partly as the attribute `name`, and partly as operands of its operand group `group`."""
    counts = list(op.attributes["operandSegmentSizes"])
    first = sum(counts[:group])
    operands = iter(list(op.operands)[first : first + counts[group]])
    static = tuple(op.attributes[name])
    return tuple(attribute_of(next(operands).owner, "value") if d == DYNAMIC else d for d in static)


def _constant_int(value: Value) -> int:
    return value.owner.attributes["value"].value


def _narrowed_from(value: Value, to: ir.Type) -> Value | None:
    """x where `value` is truncf(x) of type `to`: a fused chain stays wide, unless the model itself rounds."""
    owner = value.owner
    if isinstance(owner, ir.Block) or owner.name != "arith.truncf" or ROUNDS in owner.attributes:
        return None
    wide = owner.operands[0]
    return wide if wide.type == like(wide.type, to) else None
