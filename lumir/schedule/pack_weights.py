"""Weights in the layout that contractions read.

On a CPU tiles of columns, each tile contiguous along the sum; on a GPU bytes, and float32 that may be rounded to tf32,
along the sum, as tensor cores take them, and the filters of depthwise convolutions along the channels, as images are.
"""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import ClassVar

from lumir.dialects import build
from lumir.dtypes import byte_size
from lumir.kernels.contraction_space import ContractionSpace, contraction_of
from lumir.kernels.cpu.dot import TOGETHER, ByteProducts
from lumir.kernels.dispatch import Dispatch, element_of, shape_of
from lumir.linalg.generic import dim_map, empty, generic
from lumir.mlir import ir
from lumir.module import callers, dispatches, main_of, symbols
from lumir.target import target_named

Value = ir.Value
Tile = tuple[int, int]
"""Columns, and rows that lie side by side for each column."""


@dataclass(frozen=True)
class PackWeights:
    """Pack the right operand of every contraction whose callers all pass a weight.

    Requires: dispatch functions in linalg.
    Guarantees: a weight w[k, n] (or [n, k]) becomes a derived weight [n / T, k, T], padded with zeros to whole tiles of
    T columns, or where the CPU multiplies bytes four at a time [n / T, k / 4, T, 4]; on a GPU a weight w[k, n] of
    bytes, or of float32 that may be rounded, becomes [n, k], and filters [c, window..., 1] of c channels each by itself
    [window..., 1, c]. The function begins by saying so:

        func @dispatch_0(%w: tensor<384x384xf32>)     func @dispatch_0(%p: tensor<12x384x32xf32>)
                                                 ->     %w = linalg.unpack %p inner_tiles = [32] ...
    """

    target: str = "cpu"
    name: ClassVar[str] = "lumir-pack-weights"

    def run(self, module: ir.Module) -> None:
        target = target_named(self.target)
        called = callers(module)
        for function in dispatches(module):
            dispatch = Dispatch(function)
            calls = called.get(dispatch.name, [])
            operand = packable(dispatch) if target.kind == "cpu" else turnable(dispatch)
            if operand is None or not calls:
                continue
            number = dispatch.arguments.index(operand.argument)
            loads = [_load_behind(call.operands[number]) for call in calls]
            if not all(loads):
                continue
            if target.kind == "cpu":
                together = TOGETHER if ByteProducts.of(_space(dispatch), target) else 1
                _pack(module, dispatch, operand, (target.lanes(4) * 2, together), list(zip(calls, loads)))
            else:
                _turn(module, dispatch, operand.argument, list(zip(calls, loads)))


def _multiplied_along_k(space: ContractionSpace) -> bool:
    """Whether tensor cores take the operands with what is summed side by side, and in no other way."""
    return byte_size(element_of(space.operand(space.rhs))) == 1 or space.rounds_to_tf32


@dataclass(frozen=True)
class Operand:
    """A function argument that is a weight, and which of its dimensions are the columns."""

    argument: Value
    columns: int


def packable(dispatch: Dispatch) -> Operand | None:
    space = contraction_of(dispatch)
    if space is None or space.batch or not space.m or len(space.n) != 1 or len(space.k) != 1:
        return None
    value = space.operand(space.rhs)
    plain = [e.position for e in _plain(space)]
    if value not in dispatch.arguments or sorted(plain) != sorted((space.n[0], space.k[0])):
        return None
    uses = list(value.uses)
    return Operand(value, plain.index(space.n[0])) if len(uses) == 1 else None


def turnable(dispatch: Dispatch) -> Operand | None:
    """What a GPU reads with the first dimension last."""
    operand = packable(dispatch)
    if operand is None:
        return _depthwise_filters(dispatch)
    return operand if operand.columns == 1 and _multiplied_along_k(_space(dispatch)) else None


def _depthwise_filters(dispatch: Dispatch) -> Operand | None:
    """Filters [c, window..., 1] of a convolution that sums no channels."""
    space = contraction_of(dispatch)
    if space is None or math.prod(space.sizes(space.batch)) == 1:
        return None
    for number in (space.lhs, space.rhs):
        value = space.operand(number)
        if isinstance(value.owner, ir.Block) or value.owner.name != "tensor.expand_shape":
            continue
        filters = value.owner.operands[0]
        if filters not in dispatch.arguments or len(list(filters.uses)) > 1 or space.extent(space.rows_of(number)) != 1:
            continue
        first, *window, channels = shape_of(filters)
        if window and (first, channels) == (space.extent(space.batch), 1):
            return Operand(filters, 0)
    return None


def _plain(space: ContractionSpace) -> list[ir.AffineDimExpr]:
    results = list(space.nest.maps[space.rhs].results)
    return results if all(isinstance(e, ir.AffineDimExpr) for e in results) else []


def _space(dispatch: Dispatch) -> ContractionSpace:
    space = contraction_of(dispatch)
    assert space is not None
    return space


def _load_behind(value: Value) -> ir.OpView | None:
    owner = value.owner
    if isinstance(owner, ir.Block) or owner.name != "lumir.load":
        return None
    return owner.opview


def _pack(module: ir.Module, dispatch: Dispatch, operand: Operand, tile: Tile, calls: list) -> None:
    columns, (width, together) = operand.columns, tile
    size, depth = shape_of(operand.argument)[columns], shape_of(operand.argument)[1 - columns]
    element = ir.RankedTensorType(operand.argument.type).element_type
    inner = [width, together][: 1 + (together > 1)]
    packed = ir.RankedTensorType.get([-(-size // width), -(-depth // together), *inner], element)
    number = dispatch.arguments.index(operand.argument)
    _unpack_inside(dispatch, operand, packed, tile)
    _load_instead(calls, number, packed, lambda load: _derive(module, load, columns, tile, packed))


def _load_instead(calls: list, number: int, type_: ir.Type, derive: Callable[[ir.OpView], str]) -> None:
    """Give the calls a load of the derived weight in the place of the one that they have."""
    for call, load in calls:
        with ir.InsertionPoint(call), call.location:
            name = derive(load)
            new = ir.Operation.create(
                "lumir.load", results=[type_], attributes={"weight": ir.FlatSymbolRefAttr.get(name)}
            )
        call.operation.operands[number] = new.results[0]
        if not any(True for _ in load.results[0].uses):
            load.operation.erase()


def _turn(module: ir.Module, dispatch: Dispatch, argument: Value, calls: list) -> None:
    """The weight with its first dimension last, and inside the function as it was."""
    first, *others = shape_of(argument)
    number = dispatch.arguments.index(argument)
    turned = ir.RankedTensorType.get([*others, first], element_of(argument))
    _inside(dispatch, argument, turned, lambda new: _turned_back(new, [first, *others]))
    _load_instead(calls, number, turned, lambda load: _derive_turned(module, load, turned))


def _turned_back(value: Value, shape: list[int]) -> Value:
    rank, start = len(shape), empty(shape, element_of(value))
    return generic([value], [dim_map(rank, [*range(1, rank), 0])], [start], 0, lambda element, _: element)[0]


def _derive_turned(module: ir.Module, load: ir.OpView, turned: ir.Type) -> str:
    name = f"{load.attributes['weight'].value}.turned"
    if name not in symbols(module):
        with _derived(module, name, turned):
            permutation = [*range(1, len(shape_of_type(turned))), 0]
            value = build("transpose", load.operation.clone().results[0], permutation=permutation)
            ir.Operation.create("lumir.yield", operands=[value])
    return name


@contextmanager
def _derived(module: ir.Module, name: str, type_: ir.Type) -> Iterator[None]:
    """Insert into the body of a new derived weight."""
    attributes = {"sym_name": ir.StringAttr.get(name), "type": ir.TypeAttr.get(type_)}
    with ir.InsertionPoint(main_of(module)):
        weight = ir.Operation.create("lumir.derived_weight", attributes=attributes, regions=1)
    with ir.InsertionPoint(weight.regions[0].blocks.append()):
        yield


def _inside(dispatch: Dispatch, argument: Value, type_: ir.Type, plain: Callable[[Value], Value]) -> None:
    """Give a function's argument another type, and its only reader what `plain` makes of it."""
    function, (use,) = dispatch.function, argument.uses
    reader, position = use.owner, use.operand_number
    argument.set_type(type_)
    with ir.InsertionPoint.at_block_begin(dispatch.block), function.location:
        reader.operation.operands[position] = plain(argument)
    inputs = [a.type for a in dispatch.block.arguments]
    old = ir.FunctionType(function.attributes["function_type"].value)
    function.attributes["function_type"] = ir.TypeAttr.get(ir.FunctionType.get(inputs, old.results))


def _unpack_inside(dispatch: Dispatch, operand: Operand, packed: ir.Type, tile: Tile) -> None:
    plain, tiled = operand.argument.type, 1 + (tile[1] > 1)

    def unpacked(argument: Value) -> Value:
        target = empty(shape_of_type(plain), ir.RankedTensorType(plain).element_type)
        return ir.Operation.create(
            "linalg.unpack",
            results=[plain],
            operands=[argument, target],
            attributes={
                "inner_dims_pos": ir.DenseI64ArrayAttr.get([operand.columns, 1 - operand.columns][:tiled]),
                "static_inner_tiles": ir.DenseI64ArrayAttr.get(list(tile[:tiled])),
                "outer_dims_perm": ir.DenseI64ArrayAttr.get([1, 0] if operand.columns == 1 else [0, 1]),
            },
        ).results[0]

    _inside(dispatch, operand.argument, packed, unpacked)


def shape_of_type(type_: ir.Type) -> list[int]:
    return list(ir.RankedTensorType(type_).shape)


def _derive(module: ir.Module, load: ir.OpView, columns: int, tile: Tile, packed: ir.Type) -> str:
    """The symbol of the packed weight, made once."""
    source, (width, together) = load.attributes["weight"].value, tile
    name = f"{source}.packed{width}{f'x{together}' if together > 1 else ''}{'t' if columns == 0 else ''}"
    if name in symbols(module):
        return name
    with _derived(module, name, packed):
        value = load.operation.clone().results[0]
        if columns == 0:
            value = build("transpose", value, permutation=[1, 0])
        depth, size = shape_of(value)
        below, beside = -depth % together, -size % width
        if below or beside:
            zero = ir.DenseElementsAttr.get_splat(
                ir.RankedTensorType.get([], element_of(value)), _zero(element_of(value))
            )
            scalar = build("constant", value=zero)
            value = build("pad", value, scalar, low=[0, 0], high=[below, beside], interior=[0, 0], mode="constant")
        rows, tiles = (depth + below) // together, (size + beside) // width
        value = build("reshape", value, shape=[rows, together, tiles, width])
        value = build("transpose", value, permutation=[2, 0, 3, 1])
        value = build("reshape", value, shape=list(ir.RankedTensorType(packed).shape))
        ir.Operation.create("lumir.yield", operands=[value])
    return name


def _zero(element: ir.Type) -> ir.Attribute:
    return ir.FloatAttr.get(element, 0.0) if isinstance(element, ir.FloatType) else ir.IntegerAttr.get(element, 0)
