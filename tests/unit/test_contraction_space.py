"""What a contraction's dimensions are, and how its operands and result are looked at."""

import cases
import contraction_cases
import pytest

from lumir.context import make_context
from lumir.kernels.contraction_space import ContractionSpace, Split, contraction_of
from lumir.kernels.dispatch import Dispatch
from lumir.kernels.index import Index, IndexMath
from lumir.linalg.lower import LowerToLinalg, dispatches
from lumir.mlir import ir


@pytest.fixture(autouse=True)
def _context():
    with make_context(), ir.Location.unknown():
        yield


def dispatch_of(text: str) -> tuple[ir.Module, Dispatch]:
    """Keep the module alive."""
    module = ir.Module.parse(text)
    LowerToLinalg().run(module)
    return module, Dispatch(dispatches(module)[0])


def space_of(text: str) -> tuple[ir.Module, ContractionSpace]:
    module, dispatch = dispatch_of(text)
    space = contraction_of(dispatch)
    assert space is not None
    return module, space


SIZES = {"b": 2, "m": 3, "n": 5, "k": 7, "g": 11}


@pytest.mark.parametrize(
    ("equation", "shape", "left"),
    [
        ("mk,kn->mn", (1, 3, 5, 7), 0),
        ("km,nk->mn", (1, 3, 5, 7), 0),
        ("mk,kn->nm", (1, 5, 3, 7), 1),
        ("bmk,bkn->bmn", (2, 3, 5, 7), 0),
        ("bmk,kn->bmn", (1, 6, 5, 7), 0),
        ("mbk,bnk->mbn", (2, 3, 5, 7), 0),
        ("mbk,kbn->mn", (1, 3, 5, 14), 0),
        ("gbmk,gkn->gbmn", (11, 6, 5, 7), 0),
        ("k,k->", (1, 1, 1, 7), 0),
    ],
)
def test_products(equation, shape, left):
    _module, space = space_of(contraction_cases.product(equation, SIZES, "float32"))
    assert space.shape == shape and space.lhs == left


def test_convolutions():
    text = contraction_cases.convolution((2, 12, 10, 10), (20, 6, 3, 3), "float32", groups=2)
    _module, space = space_of(text)
    assert space.shape == (2, 10, 2 * 8 * 8, 6 * 9)
    assert [order.sizes(order.k) for order in space.summation_orders()] == [(6, 3, 3), (3, 3, 6)]


@pytest.mark.parametrize(
    "text",
    [
        lambda: cases.op("reduce", ((4, 5), "float32"), kind="sum", axes=[1]),
        lambda: cases.op("softmax", ((4, 5), "float32"), axis=1, log=False),
        lambda: cases.op("add", ((4, 5), "float32"), ((4, 5), "float32")),
        lambda: cases.op("contract", ((4,), "float32"), ((5,), "float32"), equation="m,n->mn", to="float32"),
    ],
)
def test_what_is_no_contraction(text):
    _module, dispatch = dispatch_of(text())
    assert contraction_of(dispatch) is None


def test_dimensions_side_by_side_stay_one():
    """A pointwise convolution reads its image as [n, c, h * w]; a wider window needs h and w apart."""
    index, i = IndexMath(ir.IntegerType.get_signless(32)), Index(0)
    for window, shape in ((1, (2, 12, 100)), (3, (2, 12, 10, 10))):
        _module, space = space_of(contraction_cases.convolution((2, 12, 10, 10), (20, 12, window, window), "float32"))
        image = space.rhs if space.nest.inputs[space.rhs].type != space.nest.inputs[0].type else 0
        assert space.operand_view(index, image, i, i, i).shape == shape


def test_a_view_is_the_place_in_another_shape():
    index = IndexMath(ir.IntegerType.get_signless(32))
    _module, space = space_of(contraction_cases.product("gbmk,gkn->gbmn", SIZES, "float32"))
    view = space.operand_view(index, 0, Index(9), Index(4), Index(6))
    assert [i.base for i in view.place_in(index, (11, 2, 3, 7))] == [9, 1, 1, 6]
    view = space.result_view(index, Index(9), Index(4), Index(2))
    assert [i.base for i in view.place_in(index, (11, 2, 3, 5))] == [9, 1, 1, 2]


@pytest.mark.parametrize(("base", "window"), [(0, 8), (64, 8), (96, 32), (35, 7), (33, 1)])
def test_split_positions(base, window):
    index, sizes = IndexMath(ir.IntegerType.get_signless(32)), (5, 3, 32)
    for offset in range(window):
        place = Split(Index(base), Index(offset), window).delinearize(index, sizes)
        assert [i.base for i in place] == [(base + offset) // 96, (base + offset) // 32 % 3, (base + offset) % 32]
