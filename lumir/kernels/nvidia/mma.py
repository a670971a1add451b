"""The PTX instructions of tiled kernels, as NVVM operations: asynchronous copies, ldmatrix, mma.sync, shuffles."""

from collections.abc import Sequence
from functools import reduce

from lumir.dtypes import byte_size
from lumir.kernels.memory import ANY_INDEX
from lumir.mlir import arith, ir, llvm, nvvm, vector

Value = ir.Value
WARP = 32
CHUNK_BYTES = 16
"""The widest access of a thread: what cp.async copies and what one row of an 8x8 matrix of 16-bit elements takes."""


def i32() -> ir.Type:
    return ir.IntegerType.get_signless(32)


def constant_i32(value: int) -> Value:
    return arith.ConstantOp(i32(), ir.IntegerAttr.get(i32(), value)).result


def use_all_registers(blocks: int = 1) -> None:
    """Tell ptxas that so many resident blocks will do: it otherwise spills a little to fit more.

    Call it at the top level of a `gpu.func`.
    """
    function = ir.InsertionPoint.current.block.owner
    function.attributes["nvvm.minctasm"] = ir.IntegerAttr.get(i32(), blocks)


def byte_offset(pointer: Value, by: Value | int) -> Value:
    """The pointer `by` bytes further on."""
    i8 = ir.IntegerType.get_signless(8)
    if isinstance(by, int):
        return llvm.GEPOp(pointer.type, pointer, [], [by], i8, None).result if by else pointer
    return llvm.GEPOp(pointer.type, pointer, [by], [ANY_INDEX], i8, None).result


def all_of(conditions: Sequence[Value | None]) -> Value | None:
    """Whether all conditions (i1) hold; None, like each None among them, holds always."""
    known = [c for c in conditions if c is not None]
    return reduce(lambda x, y: arith.AndIOp(x, y).result, known) if known else None


def copy_async(shared: Value, source: Value, size: int, valid: Value | None = None) -> None:
    """cp.async of `size` (4, 8, 16) bytes from global to shared memory; zeros where `valid` (i1) is false."""
    modifier = ir.Attribute.parse(f"#nvvm<load_cache_modifier {'cg' if size == CHUNK_BYTES else 'ca'}>")
    taken = None if valid is None else arith.SelectOp(valid, constant_i32(size), constant_i32(0)).result
    nvvm.cp_async_shared_global(shared, source, size, modifier, cp_size=taken)


def commit_copies() -> None:
    nvvm.cp_async_commit_group()


def wait_copies(pending: int) -> None:
    """Wait until at most `pending` of this thread's committed groups are under way."""
    nvvm.cp_async_wait_group(pending)


def load_matrices(shared: Value, transposed: bool) -> list[Value]:
    """ldmatrix.x4: four 8x8 matrices of 16-bit elements, lane l giving the address of row l % 8 of matrix l // 8."""
    layout = ir.Attribute.parse(f"#nvvm.mma_layout<{'col' if transposed else 'row'}>")
    shape = ir.Attribute.parse("#nvvm.ld_st_matrix_shape<m = 8, n = 8>")
    kind = ir.Attribute.parse("#nvvm.ld_st_matrix_elt_type<b16>")
    result = ir.Type.parse("!llvm.struct<(i32, i32, i32, i32)>")
    loaded = nvvm.ldmatrix(shared, 4, layout, shape, kind, results=[result])
    return [llvm.ExtractValueOp(i32(), loaded, [i]).result for i in range(4)]


def multiply_16x8x16(a: Sequence[Value], b: Sequence[Value], total: Sequence[Value], element: ir.Type) -> list[Value]:
    """mma.sync m16n8k16 with float32 accumulators.

    Args:
        a, b: 4 and 2 registers of two 16-bit elements, as i32.
        total: 4 float32; lane l holds rows l // 4 and l // 4 + 8, columns 2 * (l % 4) and the next.
        element: f16 or bf16.
    """
    if isinstance(element, ir.F16Type):
        pair = ir.VectorType.get([2], element)
        a, b = ([llvm.BitcastOp(pair, v).result for v in values] for values in (a, b))
    row, col = (ir.Attribute.parse(f"#nvvm.mma_layout<{name}>") for name in ("row", "col"))
    kind = ir.Attribute.parse(f"#nvvm.mma_type<{element}>")
    shape = ir.Attribute.parse("#nvvm.shape<m = 16, n = 8, k = 16>")
    result = ir.Type.parse("!llvm.struct<(f32, f32, f32, f32)>")
    types = {"multiplicand_a_ptx_type": kind, "multiplicand_b_ptx_type": kind}
    product = nvvm.mma_sync(result, shape, row, col, a, b, total, **types)
    return [llvm.ExtractValueOp(ir.F32Type.get(), product, [i]).result for i in range(4)]


def multiply_16x8x32(
    a: Sequence[Value], b: Sequence[Value], total: Sequence[Value], unsigned: tuple[bool, bool]
) -> list[Value]:
    """mma.sync m16n8k32 of bytes with int32 accumulators, which wrap.

    Args:
        a, b: 4 and 2 registers of four bytes, as i32.
        total: 4 int32, placed as in `multiply_16x8x16`.
        unsigned: of a and of b.
    """
    row, col = (ir.Attribute.parse(f"#nvvm.mma_layout<{name}>") for name in ("row", "col"))
    kinds = [ir.Attribute.parse(f"#nvvm.mma_type<{'u8' if flag else 's8'}>") for flag in unsigned]
    shape = ir.Attribute.parse("#nvvm.shape<m = 16, n = 8, k = 32>")
    wrapped = ir.Attribute.parse("#nvvm.mma_int_overflow<wrapped>")
    result = ir.Type.parse("!llvm.struct<(i32, i32, i32, i32)>")
    types = {"multiplicand_a_ptx_type": kinds[0], "multiplicand_b_ptx_type": kinds[1]}
    product = nvvm.mma_sync(result, shape, row, col, a, b, total, int_overflow_behavior=wrapped, **types)
    return [llvm.ExtractValueOp(i32(), product, [i]).result for i in range(4)]


def shuffle_xor(value: Value, distance: int) -> Value:
    """The value (32 bits) of the lane whose number differs in the bit `distance`."""
    kind = ir.Attribute.parse("#nvvm<shfl_kind bfly>")
    everyone, clamp = constant_i32(-1), constant_i32(WARP - 1)
    return nvvm.shfl_sync(everyone, value, constant_i32(distance), clamp, kind, results=[value.type])


def transposed_8x8(value: Value) -> Value:
    """movmatrix: an 8x8 matrix of 16-bit elements; lane l holds row l // 4, columns 2 * (l % 4) and the next."""
    text, constraints = "movmatrix.sync.aligned.m8n8.trans.b16 $0, $1;", "=r,r"
    return llvm.inline_asm(i32(), [value], text, constraints, has_side_effects=True)


def packed_pair(low: Value, high: Value, element: ir.Type) -> Value:
    """Two float32 rounded to a 16-bit type, in one i32."""
    narrow = arith.TruncFOp(ir.VectorType.get([2], element), joined([low, high])).result
    return llvm.BitcastOp(i32(), narrow).result


def joined(values: Sequence[Value]) -> Value:
    """Scalars as one vector; a single one as it is."""
    if len(values) == 1:
        return values[0]
    return vector.FromElementsOp(ir.VectorType.get([len(values)], values[0].type), values).result


def separated(value: Value) -> list[Value]:
    """The elements of a vector; a scalar alone."""
    if not isinstance(value.type, ir.VectorType):
        return [value]
    return [vector.ExtractOp(value, [], [lane]).result for lane in range(ir.VectorType(value.type).shape[0])]


def store_vector(pointer: Value, values: Sequence[Value]) -> None:
    """Store scalars side by side, at an address that is a multiple of their size together (up to 16 bytes)."""
    value = joined(values)
    llvm.StoreOp(value, pointer, alignment=byte_size(values[0].type) * len(values))
