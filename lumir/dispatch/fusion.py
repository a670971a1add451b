"""Which ops may stand together in one launch."""

from lumir.dialects import ELEMENTWISE, attribute_of, shape_of_type
from lumir.dialects.base import is_float, is_int
from lumir.dialects.composite import is_length
from lumir.kernels.memory import is_packed_type
from lumir.mlir import ir
from lumir.sizes import Shape, is_static

Value = ir.Value

ELEMENTWISE_OPS = frozenset({*ELEMENTWISE, "select", "cast", "dequantize"})
VIEWS = frozenset({"reshape", "transpose", "broadcast", "slice"})
COUNTS = frozenset({"iota", "size"})
"""What is known without reading memory."""
MOVES = frozenset({*VIEWS, *COUNTS, "pad", "concat", "gather", "gather_elements", "gather_nd"})
POINTWISE = ELEMENTWISE_OPS | MOVES
"""Every result element depends on a few operand elements: can be computed where it is needed."""

ROW_ROOTS = frozenset({"reduce", "arg_reduce", "softmax", "normalize"})
CONTRACTION_ROOTS = frozenset({"contract", "conv", "attention"})
UPDATES = frozenset({"scatter_elements", "scatter_nd"})
"""Roots that change their result in place: nothing may run on an element before the last update."""
OTHER_ROOTS = frozenset({"window_reduce", "scan", "top_k", *UPDATES})
ROOTS = ROW_ROOTS | CONTRACTION_ROOTS | OTHER_ROOTS

FEW_QUERIES = 16
"""Of an attention whose keys and values are gathered where they are read, not before."""

CHEAP = frozenset(
    [
        "add",
        "sub",
        "mul",
        "neg",
        "abs",
        "max",
        "min",
        "and",
        "or",
        "xor",
        "not",
        "eq",
        "ne",
        "lt",
        "le",
        "gt",
        "ge",
        "select",
        "cast",
        "dequantize",
    ]
)


def short_name(op: ir.OpView) -> str:
    """`add` for `lumir.add`; the whole name for an op of another dialect."""
    return op.operation.name.removeprefix("lumir.")


def is_root(op: ir.OpView) -> bool:
    """The op decides a loop nest of its own. Of an extension's op nothing more is known."""
    return short_name(op) in ROOTS or not op.operation.name.startswith("lumir.")


def dims(value: Value) -> Shape:
    return shape_of_type(value.type)


def absorbs_consumer(root: ir.OpView, value: Value, consumer: ir.OpView, bands: bool = False) -> bool:
    """Whether `consumer` may run on a root's result `value` before it is stored, with all other users of it.

    Args:
        bands: equal bands of a contraction's columns may be combined.
    """
    name = short_name(consumer)
    band = band_shape(value) if bands and short_name(root) == "contract" else None
    if short_name(root) in UPDATES or is_packed_type(ir.RankedTensorType(consumer.results[0].type).element_type):
        return False
    if name in ELEMENTWISE_OPS:
        return dims(consumer.results[0]) == (band or dims(value))
    if name == "slice":
        return band is not None and consumer.operands[0] == value
    return short_name(root) in CONTRACTION_ROOTS and name in ("reshape", "transpose")


def band_shape(value: Value) -> Shape | None:
    """The shape of the bands, where all users of a value are slices that cut its last dimension into equal ones."""
    slices = [use.owner.opview for use in value.uses]
    if len(slices) < 2 or any(short_name(op) != "slice" for op in slices):
        return None
    *outer, last = dims(value)
    if not is_static(last) or last % len(slices):
        return None
    shape = (*outer, last // len(slices))
    wanted = {(*(0 for _ in outer), start) for start in range(0, last, shape[-1])}
    steps = {step for op in slices for step in attribute_of(op, "steps")}
    starts = {tuple(attribute_of(op, "starts")) for op in slices}
    return shape if starts == wanted and steps == {1} and all(dims(op.results[0]) == shape for op in slices) else None


def absorbs_producer(root: ir.OpView, producer: ir.OpView, single_use: bool, reader: ir.OpView) -> bool:
    """Whether a root's group recomputes `producer`'s elements where `reader` needs them, and reads no memory for it."""
    name = short_name(producer)
    if name not in POINTWISE:
        return False
    if name == "cast" and reads_many_times(root) and _quantizes(producer):
        return False
    if name in COUNTS or name in ("reshape", "transpose", "broadcast", "cast", "dequantize"):
        return True
    if reads_many_times(root):
        return (single_use and (name == "slice" or _is_paged_cache(root, producer))) or _counts_keys(root, producer)
    if short_name(reader) in ("pad", "concat"):
        return name in VIEWS or (name in CHEAP and single_use)
    return single_use or name in CHEAP or name in VIEWS


def _is_paged_cache(root: ir.OpView, gather: ir.OpView) -> bool:
    """Whole rows chosen for an attention of few queries, which reads them about once: a cache in pages."""
    if short_name(gather) != "gather" or short_name(root) != "attention":
        return False
    queries, depth = dims(root.operands[0])[2:]
    return is_static(queries) and queries <= FEW_QUERIES and dims(gather.results[0])[-1:] == (depth,)


def _counts_keys(root: ir.OpView, producer: ir.OpView) -> bool:
    """What numbers of keys of an attention are computed by: little, and they are then known as early as their data."""
    result = producer.results[0]
    lengths = is_length(ir.RankedTensorType(result.type).element_type) and all(n == 1 for n in dims(result)[1:])
    return short_name(root) == "attention" and short_name(producer) in CHEAP and lengths


def _quantizes(cast: ir.OpView) -> bool:
    """A float becomes a byte: better once, before it is written, than at each reading."""
    source, result = (ir.RankedTensorType(v.type).element_type for v in (cast.operands[0], cast.results[0]))
    return is_float(source) and is_int(result) and ir.IntegerType(result).width <= 8


def reads_many_times(root: ir.OpView) -> bool:
    """A root that reads each operand element more than a few times."""
    return short_name(root) in CONTRACTION_ROOTS | OTHER_ROOTS
