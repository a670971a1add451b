"""Values passed between the threads of a warp, whatever their type."""

from lumir.dtypes import byte_size
from lumir.mlir import arith, gpu, ir, llvm, vector

Value = ir.Value
WARP = 32


def from_thread_xor(value: Value, mask: int) -> Value:
    """The value that the thread whose lane number differs by `mask` holds; every thread of the warp must take part.

    Args:
        value: of any integer or float type of up to 64 bits, or a vector of such.
        mask: 1 to 31.
    """
    if isinstance(value.type, ir.VectorType):
        return _lanes_from_thread_xor(value, mask)
    words = [_shuffled(word, mask) for word in _as_words(value)]
    return _from_words(words, value.type)


def _lanes_from_thread_xor(value: Value, mask: int) -> Value:
    result = value
    for lane in range(ir.VectorType(value.type).shape[0]):
        other = from_thread_xor(vector.ExtractOp(value, [], [lane]).result, mask)
        result = vector.InsertOp(other, result, [], [lane]).result
    return result


def _shuffled(word: Value, mask: int) -> Value:
    i32 = ir.IntegerType.get_signless(32)
    offset, width = (arith.ConstantOp(i32, ir.IntegerAttr.get(i32, n)).result for n in (mask, WARP))
    return gpu.ShuffleOp(word, offset, width, gpu.ShuffleMode.XOR).operation.results[0]


def _as_words(value: Value) -> list[Value]:
    """The bits of a scalar in 32-bit words."""
    bits, i32 = ir.IntegerType.get_signless(_width(value.type)), ir.IntegerType.get_signless(32)
    integer = arith.BitcastOp(bits, value).result if isinstance(value.type, ir.FloatType) else value
    if bits.width == 32:
        return [integer]
    if bits.width < 32:
        return [arith.ExtUIOp(i32, integer).result]
    pair = llvm.BitcastOp(ir.VectorType.get([2], i32), integer).result
    return [_element(pair, number) for number in range(2)]


def _from_words(words: list[Value], type_: ir.Type) -> Value:
    bits, i32 = ir.IntegerType.get_signless(_width(type_)), ir.IntegerType.get_signless(32)
    integer = words[0]
    if bits.width < 32:
        integer = arith.TruncIOp(bits, integer).result
    elif bits.width == 64:
        pair = llvm.PoisonOp(ir.VectorType.get([2], i32)).result
        for number, word in enumerate(words):
            pair = llvm.InsertElementOp(pair, word, _number(number)).result
        integer = llvm.BitcastOp(bits, pair).result
    return arith.BitcastOp(type_, integer).result if isinstance(type_, ir.FloatType) else integer


def _element(pair: Value, number: int) -> Value:
    return llvm.ExtractElementOp(pair, _number(number)).result


def _number(value: int) -> Value:
    i32 = ir.IntegerType.get_signless(32)
    return arith.ConstantOp(i32, ir.IntegerAttr.get(i32, value)).result


def _width(type_: ir.Type) -> int:
    return type_.width if isinstance(type_, ir.IntegerType) else 8 * byte_size(type_)
