"""Projections of one value by several weights, as one contraction."""

from dataclasses import dataclass
from typing import ClassVar

from lumir.dialects import ELEMENTWISE, build
from lumir.dialects.contraction import parse_equation
from lumir.dtypes import byte_size
from lumir.graph.derived_weights import Outliner
from lumir.graph.rewrite import erase_with_producers, functions
from lumir.graph.values import attribute, definition, element, shape, short_name, users
from lumir.mlir import ir
from lumir.passes.registry import register_pass
from lumir.sizes import Shape

LONGEST_RUN = 24
"""Ops that are looked at to find where results meet."""


@register_pass
@dataclass(frozen=True)
class MergeContractions:
    """Merge contractions of one value with weights of equal labels: query, key and value; gate and up.

    Requires: canonical form; weights as plain loads (`lumir-fold-constants`).
    Guarantees: no two contractions read one left operand under one equation with weights that differ only in the size
    of one dimension of the result, unless the merged result would be wider than `max_width`.

    Args:
        joined: merge those alone whose results, equal in size, meet element by element in one value: a kernel that
            computes both can go on to that value.

        %1 = lumir.contract(%x, load @q)  "mk,kn->mn"         %0 = lumir.contract(%x, load @q.concat)  "mk,kn->mn"
        %2 = lumir.contract(%x, load @k)  "mk,kn->mn"   ->    %1, %2 = lumir.slice(%0) ...
    """

    name: ClassVar[str] = "lumir-merge-contractions"
    max_width: int = 1 << 16
    joined: bool = False

    def run(self, module: ir.Module) -> None:
        outliner = Outliner(module)
        for block in functions(module):
            groups: dict[tuple, list[ir.Operation]] = {}
            for view in block.operations:
                if (key := _key(view.operation)) is not None:
                    groups.setdefault(key, []).append(view.operation)
            found = [part for group in groups.values() for part in (_joined(group) if self.joined else [group])]
            for group in found:
                if len(group) > 1 and sum(_width(op) for op in group) <= self.max_width:
                    _merge(group, outliner)


def _joined(group: list[ir.Operation]) -> list[list[ir.Operation]]:
    """The contractions of a group that meet, together; only of types that tensor cores multiply."""
    found: list[list[ir.Operation]] = []
    for op in group:
        if not any(op in part for part in found) and byte_size(element(op.operands[1])) == 2 and _gives_columns(op):
            found.append(_meeting(op, group))
    return found


def _gives_columns(op: ir.Operation) -> bool:
    return parse_equation(attribute(op, "equation"))[2].endswith(_free_label(op) or " ")


def _meeting(first: ir.Operation, group: list[ir.Operation]) -> list[ir.Operation]:
    """The contractions of a group whose results, with that of `first`, element-wise ops use that end in one value.

    `first` alone where there are none, one comes before it, or they differ in size.
    """
    position = {view.operation: i for i, view in enumerate(first.block.operations)}
    sources, run, dims = [first], list[ir.Operation](), shape(first.results[0])

    def left(ops: list[ir.Operation]) -> set[ir.Operation]:
        return {user for op in ops for user in users(op.results[0])} - set(run)

    while len(run) < LONGEST_RUN and (waiting := left(sources + run)):
        if len(sources) > 1 and not left(sources + run[:-1]):
            alike = all(shape(source.results[0]) == dims for source in sources)
            sources.sort(key=lambda source: position[source])
            return sources if alike and sources[0] == first else [first]
        op = min(waiting, key=lambda user: position[user])
        if not _is_pointwise(op, dims):
            break
        run = sorted([*run, op], key=lambda one: position[one])
        sources += [other for other in _behind(op, group) if other not in sources]
    return [first]


def _behind(op: ir.Operation, group: list[ir.Operation]) -> list[ir.Operation]:
    """The contractions of a group that an element-wise op's operands come from, through others like it."""
    waiting = [operand.owner for operand in op.operands]
    seen = dict[ir.Operation, None]()
    while waiting:
        producer = waiting.pop()
        if isinstance(producer, ir.Block) or producer in seen:
            continue
        seen[producer.operation] = None
        if producer not in group and _is_pointwise(producer.operation, shape(op.results[0])):
            waiting += [operand.owner for operand in producer.operands]
    return [producer for producer in seen if producer in group]


def _is_pointwise(op: ir.Operation, dims: Shape) -> bool:
    return short_name(op) in {*ELEMENTWISE, "cast", "select"} and shape(op.results[0]) == dims


def _free_label(op: ir.Operation) -> str | None:
    """The only label that the right operand alone has."""
    left, right, _ = parse_equation(attribute(op, "equation"))
    free = [label for label in right if label not in left]
    return free[0] if len(free) == 1 else None


def _width(op: ir.Operation) -> int:
    _, right, _ = parse_equation(attribute(op, "equation"))
    return shape(op.operands[1])[right.index(_free_label(op) or right[0])]


def _key(op: ir.Operation) -> tuple | None:
    """Equal for contractions that can be merged."""
    if short_name(op) != "contract" or definition(op.operands[1], "load") is None:
        return None
    label = _free_label(op)
    if label is None:
        return None
    _, right, _ = parse_equation(attribute(op, "equation"))
    dims = list(shape(op.operands[1]))
    dims[right.index(label)] = -1
    type_ = str(ir.RankedTensorType(op.operands[1].type).element_type)
    return op.operands[0], attribute(op, "equation"), str(attribute(op, "to")), tuple(dims), type_


def _merge(group: list[ir.Operation], outliner: Outliner) -> None:
    first, label = group[0], _free_label(group[0])
    _, right, out = parse_equation(attribute(first, "equation"))
    axis = right.index(label or "")
    with ir.InsertionPoint(first), ir.Location.fused([op.location for op in group]):
        weights = [_load_again(op) for op in group]
        total = weights[0]
        for weight in weights[1:]:
            total = build("concat", total, weight, axis=axis)
        merged = build(
            "contract",
            first.operands[0],
            outliner.outline(total),
            equation=attribute(first, "equation"),
            to=attribute(first, "to"),
        )
    erase_with_producers(total.owner.operation)
    start, place = 0, out.index(label or "")
    for op in group:
        sizes = shape(op.results[0])
        starts = [start if i == place else 0 for i in range(len(sizes))]
        with ir.InsertionPoint(op), op.location:
            part = build("slice", merged, starts=starts, sizes=sizes, steps=[1] * len(sizes))
        start += sizes[place]
        op.results[0].replace_all_uses_with(part)
        erase_with_producers(op)


def _load_again(op: ir.Operation) -> ir.Value:
    """The op's weight, loaded at the insertion point, which may come before the load that the op uses."""
    weight = op.operands[1]
    return build("load", results=[weight.type], weight=weight.owner.operation.attributes["weight"])
