"""Operators on elements, shapes, products, reductions and indices against onnxruntime: opsets, odd sizes."""

import numpy as np
import onnx
import pytest
from import_helpers import check_node, f32, ints

# --- element-wise


@pytest.mark.parametrize("op", ["Relu", "Gelu", "Mish", "Softplus", "Softsign", "HardSwish", "Selu", "Elu", "Celu"])
def test_activations(op):
    check_node(op, [5 * f32(3, 11)])


def test_softplus_and_gelu_at_extremes():
    x = np.array([-200, -90, -20, -1e-6, 0, 1e-6, 20, 90, 200], np.float32)
    for op in ("Softplus", "Mish", "Selu", "Elu"):
        check_node(op, [x])
    for approximate in ("none", "tanh"):
        check_node("Gelu", [x], approximate=approximate)


@pytest.mark.parametrize("dtype", [np.int32, np.int64])
def test_integer_division_truncates(dtype):
    check_node("Div", [np.array([7, -7, 7, -7], dtype), np.array([2, 2, -2, -2], dtype)])


@pytest.mark.parametrize("fmod", [0, 1])
def test_modulo(fmod):
    x, y = np.array([7, -7, 7, -7, 6], np.int64), np.array([3, 3, -3, -3, 2], np.int64)
    check_node("Mod", [x, y], fmod=fmod)
    check_node("Mod", [x.astype(np.float32) + 0.5, y.astype(np.float32)], fmod=1)


def test_power_with_mixed_types():
    check_node("Pow", [np.abs(f32(3, 4)), ints(0, 1, 2, 3)])
    check_node("Pow", [np.array([1, 2, 3], np.int32), np.array([0.5, 2, 1.5], np.float32)])
    check_node("Pow", [f32(3, 4), np.array(2.0, np.float32)], static=1)
    check_node("Pow", [f32(3), np.full((2, 1), 2.0, np.float32)], static=1)


def test_clip_by_attribute_and_by_input():
    check_node("Clip", [f32(3, 4), np.float32(-0.5), np.float32(0.5)])
    check_node("Clip", [f32(3, 4), None, np.float32(0.5)])
    check_node("Clip", [f32(3, 4)], opset=7, min=-0.5, max=0.25)
    check_node("Clip", [np.arange(9, dtype=np.int8), np.array(2, np.int8)], opset=13)


def test_variadic_extrema_and_sums():
    for op in ("Max", "Min", "Sum", "Mean"):
        check_node(op, [f32(3, 1), f32(4), f32(2, 1, 1)])
        check_node(op, [f32(3)])


def test_comparisons_and_selection_of_bools():
    a, b = np.array([True, False, True]), np.array([[True], [False]])
    for op in ("Equal", "And", "Or", "Xor"):
        check_node(op, [a, b])
    check_node("Where", [a, f32(2, 3), f32(1)])
    check_node("IsInf", [np.array([1, np.inf, -np.inf, np.nan], np.float32)], detect_negative=0)


@pytest.mark.parametrize("to", [onnx.TensorProto.INT32, onnx.TensorProto.BOOL, onnx.TensorProto.FLOAT16])
def test_casts(to):
    check_node("Cast", [np.array([-1.7, -0.5, 0, 0.4, 2.5], np.float32)], to=to)


# --- shapes


@pytest.mark.parametrize(("target", "zero"), [((0, -1), 0), ((4, 3, 2), 0), ((-1,), 0), ((0, 0, 6), 0)])
def test_reshape(target, zero):
    check_node("Reshape", [f32(4, 1, 6), ints(*target)], static=1, allowzero=zero)


def test_reshape_to_empty():
    check_node("Reshape", [np.zeros((0, 3), np.float32), ints(5, 0)], static=1, allowzero=1)


def test_squeeze_and_unsqueeze_by_attribute_and_by_input():
    check_node("Squeeze", [f32(1, 3, 1)], opset=11)
    check_node("Squeeze", [f32(1, 3, 1)], opset=11, axes=[-1])
    check_node("Squeeze", [f32(1, 3, 1), ints(0)], static=1, opset=13)
    check_node("Unsqueeze", [f32(3, 4)], opset=11, axes=[0, 3])
    check_node("Unsqueeze", [f32(3, 4), ints(-1, 0)], static=1, opset=13)


@pytest.mark.parametrize(
    ("starts", "ends", "axes", "steps"),
    [
        ([1], [3], [0], [1]),
        ([-2], [2**62], [1], [1]),
        ([5, -1], [-(2**62), -6], [0, 1], [-2, -1]),
        ([0], [100], [-1], [3]),
        ([3], [1], [0], [1]),
        ([-100], [2], [0], [1]),
    ],
)
def test_slices(starts, ends, axes, steps):
    check_node("Slice", [f32(6, 7), ints(*starts), ints(*ends), ints(*axes), ints(*steps)], static=1)


def test_slice_by_attribute():
    check_node("Slice", [f32(6, 7)], opset=9, starts=[1, -3], ends=[5, 1000], axes=[0, 1])


def test_splits():
    check_node("Split", [f32(7, 4)], 3, opset=18, axis=0, num_outputs=3)
    check_node("Split", [f32(6, 4)], 3, opset=11, axis=0)
    check_node("Split", [f32(6, 4), ints(1, 2, 3)], 3, static=1, opset=13, axis=0)
    check_node("Split", [f32(6, 4)], 2, opset=11, axis=1, split=[3, 1])


@pytest.mark.parametrize("mode", ["constant", "edge", "reflect", "wrap"])
def test_pads(mode):
    check_node("Pad", [f32(4, 5), ints(1, 2, 0, 3)], static=1, mode=mode, opset=19)
    if mode == "constant":
        check_node("Pad", [f32(4, 5), ints(-1, 2, 1, -3), np.float32(7)], static=1, mode=mode)
        check_node("Pad", [f32(4, 5), ints(2, 1), np.float32(7), ints(-1)], static=1, mode=mode)
    check_node("Pad", [f32(4, 5)], opset=10, pads=[1, 0, 0, 2], mode=mode if mode != "wrap" else "edge")


def test_tile_expand_and_flatten():
    check_node("Tile", [f32(2, 3), ints(3, 2)], static=1)
    check_node("Expand", [f32(3, 1), ints(2, 1, 4)], static=1)
    for axis in (0, 1, 2, -1):
        check_node("Flatten", [f32(2, 3, 4)], axis=axis)


@pytest.mark.parametrize("mode", ["DCR", "CRD"])
def test_depth_to_space(mode):
    check_node("DepthToSpace", [f32(2, 12, 3, 2)], blocksize=2, mode=mode)
    check_node("SpaceToDepth", [f32(2, 3, 4, 6)], blocksize=2)


# --- contraction


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ((4,), (4,)),
        ((3, 4), (4,)),
        ((4,), (4, 5)),
        ((2, 3, 4), (4, 5)),
        ((4,), (2, 4, 5)),
        ((2, 3, 4), (4,)),
        ((2, 1, 3, 4), (5, 4, 6)),
        ((1, 3, 4), (7, 4, 2)),
        ((1, 3, 4), (1, 4, 2)),
        ((2, 5, 3, 4), (1, 5, 4, 1)),
        ((3, 0), (0, 2)),
    ],
)
def test_matmul_broadcasts(left, right):
    check_node("MatMul", [f32(*left), f32(*right)])


def test_gemm():
    check_node("Gemm", [f32(5, 3), f32(4, 5), f32(4)], transA=1, transB=1, alpha=0.5, beta=2.0)
    check_node("Gemm", [f32(3, 5), f32(5, 4)], opset=11)
    check_node("Gemm", [f32(3, 5), f32(5, 4), f32(3, 1)])


@pytest.mark.parametrize(
    ("equation", "shapes"),
    [
        ("ij,jk->ik", [(2, 3), (3, 4)]),
        ("ij,jk", [(2, 3), (3, 4)]),
        ("bhid,bhjd->bhij", [(2, 3, 4, 5), (2, 3, 6, 5)]),
        ("ij->ji", [(2, 3)]),
        ("ij->", [(2, 3)]),
        ("ii->i", [(3, 3)]),
        ("ii", [(3, 3)]),
        ("iji->j", [(3, 4, 3)]),
        ("...ij,...jk->...ik", [(2, 1, 3, 4), (1, 5, 4, 6)]),
        ("i,j->ij", [(3,), (4,)]),
        ("ij,j->j", [(2, 3), (3,)]),
        ("ab,bc,cd->ad", [(2, 3), (3, 4), (4, 5)]),
        ("ij,kl->jl", [(2, 3), (4, 5)]),
        ("b...,b->...", [(2, 3, 4), (2,)]),
    ],
)
def test_einsum(equation, shapes):
    check_node("Einsum", [f32(*shape) for shape in shapes], equation=equation)


@pytest.mark.parametrize("pads", [{"pads": [1, 0, 2, 1]}, {"auto_pad": "SAME_UPPER"}, {"auto_pad": "VALID"}])
def test_convolutions(pads):
    x = f32(2, 4, 9, 8)
    check_node("Conv", [x, f32(6, 2, 3, 2), f32(6)], group=2, strides=[2, 1], kernel_shape=[3, 2], **pads)
    check_node("Conv", [x, f32(4, 1, 3, 3)], group=4, dilations=[1, 2], pads=[1, 2, 1, 2])
    check_node("Conv", [f32(1, 3, 10), f32(5, 3, 4)], auto_pad="SAME_LOWER")


@pytest.mark.parametrize("group", [1, 2])
def test_transposed_convolutions(group):
    x, w = f32(2, 4, 5, 6), f32(4, 3, 3, 2)
    check_node("ConvTranspose", [x, w, f32(3 * group)], group=group, strides=[2, 3], pads=[1, 0, 1, 1], rtol=1e-4)
    check_node("ConvTranspose", [x, w], group=group, strides=[2, 3], output_padding=[1, 1], dilations=[2, 1], rtol=1e-4)
    check_node("ConvTranspose", [x, w], group=group, strides=[2, 2], auto_pad="SAME_UPPER", rtol=1e-4)
    check_node("ConvTranspose", [x, w], group=group, strides=[2, 2], output_shape=[10, 13], rtol=1e-4)
    check_node("ConvTranspose", [x, w], group=group, pads=[2, 2, 2, 1], rtol=1e-4)


# --- reductions


@pytest.mark.parametrize(
    "op",
    ["Sum", "Prod", "Max", "Min", "Mean", "L1", "L2", "LogSum", "LogSumExp", "SumSquare"],
)
def test_reductions(op):
    x = np.abs(f32(3, 4, 5)) + 0.1
    since = 13 if op == "Sum" else 18
    check_node(f"Reduce{op}", [x, ints(-1, 0)], static=1, opset=since, keepdims=0)
    check_node(f"Reduce{op}", [x], opset=since)
    check_node(f"Reduce{op}", [x], opset=since, noop_with_empty_axes=1)
    check_node(f"Reduce{op}", [x], opset=11, axes=[1])


def test_log_sum_exp_does_not_overflow():
    check_node("ReduceLogSumExp", [np.array([[1000.0, 1001.0], [-1000.0, -1001.0]], np.float32), ints(1)], static=1)


def test_arg_reductions():
    x = np.array([[3, 1, 3], [2, 2, 0]], np.float32)
    for op in ("ArgMax", "ArgMin"):
        for last in (0, 1):
            check_node(op, [x], axis=1, keepdims=0, select_last_index=last)
        check_node(op, [x], axis=-2)


def test_scans_and_top_k():
    for exclusive in (0, 1):
        for reverse in (0, 1):
            check_node("CumSum", [f32(3, 5), np.array(-1)], static=1, exclusive=exclusive, reverse=reverse)
    check_node("TopK", [f32(4, 6), ints(3)], 2, static=1, axis=0)
    check_node("TopK", [np.array([[1, 3, 3, 2]], np.float32), ints(3)], 2, static=1, largest=0)
    check_node("TopK", [f32(4, 6)], 2, opset=9, k=2)


@pytest.mark.parametrize("op", ["Softmax", "LogSoftmax", "Hardmax"])
def test_softmax_flattens_before_opset_13(op):
    for opset in (11, 13):
        for axis in (0, 1, 2, -1):
            check_node(op, [f32(2, 3, 4)], opset=opset, axis=axis)


# --- indexing


def test_gathers():
    check_node("Gather", [f32(4, 5), np.array([[0, -1], [2, 3]])], axis=0)
    check_node("Gather", [f32(4, 5), np.array(-2)], static=1, axis=1)
    check_node("GatherElements", [f32(4, 5), np.array([[0, -1, 2], [1, 1, -4]])], axis=0)
    check_node("GatherND", [f32(2, 3, 4), np.array([[[0, 1]], [[2, 3]]])], batch_dims=1)


@pytest.mark.parametrize("reduction", ["none", "add", "mul", "max", "min"])
def test_scatters(reduction):
    index = np.array([[0, 1, 2], [2, 0, 1]])
    check_node("ScatterElements", [f32(4, 3), index, f32(2, 3)], opset=18, axis=0, reduction=reduction)
    check_node("ScatterND", [f32(4, 3), np.array([[1], [3]]), f32(2, 3)], opset=18, reduction=reduction)


def test_negative_indices_in_scatters():
    check_node("ScatterElements", [f32(4, 3), np.array([[-1, -2, -3]]), f32(1, 3)], axis=0)


def test_one_hot_and_triangles():
    check_node("OneHot", [np.array([0, 2, -1, 5]), np.array(4), np.array([0.5, 3.0], np.float32)], static=1, axis=0)
    for upper in (0, 1):
        for k in (-1, 0, 2):
            check_node("Trilu", [f32(2, 4, 3), np.array(k)], static=1, upper=upper)
    check_node("EyeLike", [f32(3, 5)], k=1)
    check_node("ReverseSequence", [f32(4, 3, 2), ints(1, 2, 4)], time_axis=0, batch_axis=1)
