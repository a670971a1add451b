"""Sizes against plain integers: every expression, evaluated, must be what the same arithmetic gives on numbers."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lumir import sizes
from lumir.size_text import declare, format_size, parse_size, parse_symbol
from lumir.sizes import Size
from lumir.symbols import Symbol, Undecided

SYMBOLS = {
    "batch": Symbol("batch", 1, 4),
    "seq": Symbol("seq", 8, 64, 8),
    "past": Symbol("past", 0, 5),
    "odd name:0": Symbol("odd name:0", 1, 3),
}
ATOMS = [*map(sizes.size_of, SYMBOLS.values())]
OPERATIONS = {
    "+": lambda x, y: x + y,
    "-": lambda x, y: x - y,
    "*": lambda x, y: x * y,
    "//": lambda x, y: x // y,
    "%": lambda x, y: x % y,
    "min": sizes.minimum,
    "max": sizes.maximum,
}
NUMBERS = OPERATIONS | {"min": min, "max": max}
LEAVES = st.one_of(st.integers(-6, 12), st.integers(0, len(ATOMS) - 1).map(lambda i: ("symbol", i)))
TREES = st.recursive(
    LEAVES, lambda inner: st.tuples(st.sampled_from([*OPERATIONS]), inner, inner), max_leaves=6
)  # a tree is an int, ("symbol", i), or (operation, tree, tree)
BINDINGS = st.fixed_dictionaries(
    {
        name: st.integers(s.low // s.multiple, s.high // s.multiple).map(lambda n, s=s: n * s.multiple)
        for name, s in SYMBOLS.items()
    }
)


def symbolic_and_number(tree, binding):
    """The tree on sizes, and on numbers; a division is left out in both where the symbolic one would be."""
    if not isinstance(tree, tuple):
        return tree, tree
    if tree[0] == "symbol":
        return ATOMS[tree[1]], ATOMS[tree[1]].at(binding) if isinstance(ATOMS[tree[1]], Size) else ATOMS[tree[1]]
    (x, a), (y, b) = (symbolic_and_number(part, binding) for part in tree[1:])
    if tree[0] in ("//", "%") and sizes.low(y) <= 0:
        return x, a
    return OPERATIONS[tree[0]](x, y), NUMBERS[tree[0]](a, b)


@settings(max_examples=400, deadline=None)
@given(TREES, BINDINGS)
def test_an_expression_has_the_value_of_its_numbers(tree, binding):
    size, number = symbolic_and_number(tree, binding)
    assert sizes.value_at(size, binding) == number
    least, greatest = sizes.bounds(size)
    assert least <= number <= greatest
    assert number % sizes.divisor(size) == 0 if sizes.divisor(size) else number == 0


@settings(max_examples=300, deadline=None)
@given(TREES, BINDINGS)
def test_text_goes_both_ways(tree, binding):
    size, _ = symbolic_and_number(tree, binding)
    with declare(SYMBOLS):
        again = parse_size(format_size(size))
    assert again == size
    assert hash(again) == hash(size)


@settings(max_examples=300, deadline=None)
@given(TREES, TREES, BINDINGS)
def test_a_comparison_that_is_decided_holds(left, right, binding):
    (x, a), (y, b) = (symbolic_and_number(tree, binding) for tree in (left, right))
    for symbolic, number in ((lambda: x < y, a < b), (lambda: x >= y, a >= b), (lambda: sizes.equal(x, y), a == b)):
        try:
            assert symbolic() == number
        except Undecided:
            assert isinstance(x - y, Size)


def size(text):
    with declare(SYMBOLS):
        return parse_size(text)


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("seq*2 + batch*3*seq - seq", "3*batch*seq + seq"),
        ("(batch*seq*384)//(batch*12*32)", "seq"),
        ("(batch*seq + batch)//(seq + 1)", "batch"),
        ("(12*seq + 7)//4", "3*seq + 1"),
        ("(batch*seq + 1)//seq", "batch"),
        ("seq//3//2", "(seq//6)"),
        ("(2*seq)//(4*batch)", "(seq//(2*batch))"),
        ("seq%8", "0"),
        ("(batch*12 + 5)%12", "5"),
        ("batch%(batch + 1)", "batch"),
        ("min(seq, 512)", "seq"),
        ("max(past, 1)", "max(1, past)"),
        ("`odd name:0`*2", "2*`odd name:0`"),
        ("batch - batch", "0"),
        ("-past", "-past"),
    ],
)
def test_canonical_forms(text, canonical):
    assert format_size(size(text)) == canonical


def test_equality_is_structural_and_total():
    batch = size("batch")
    assert batch != 1
    assert batch == size("2*batch - batch")
    assert bool(batch)
    assert {batch, size("batch"), 1} == {1, batch}
    assert (batch, 384) == (size("batch"), 384)
    assert math.prod((batch, 3, size("seq"))) == size("3*batch*seq")


def test_ranges_decide_comparisons_or_say_what_they_depend_on():
    assert size("batch") < 5
    assert size("batch*seq - seq") >= 0
    assert sizes.equal(size("seq"), 4) is False
    assert sizes.equal(size("seq"), 12) is False, "12 is no multiple of 8"
    with pytest.raises(Undecided, match=r"whether seq < 32 depends on seq \(8\.\.64:8\)") as caught:
        bool(size("seq") < 32)
    assert "--dim seq=64" in caught.value.hint
    with pytest.raises(Undecided, match="batch == 1"):
        sizes.equal(size("batch"), 1)


def test_a_size_is_no_int():
    with pytest.raises(TypeError):
        range(size("batch"))
    with pytest.raises(TypeError):
        _ = [0] * size("batch")


def test_symbols_of_one_value_are_ints():
    assert sizes.size_of(parse_symbol("batch", "7")) == 7
    assert parse_symbol("seq", "1..4096:8") == Symbol("seq")
    assert parse_symbol("seq", "1..100:8").range == "8..96:8"


@pytest.mark.parametrize("text", ["", "a", "1..", "5..2", "1..4:8", "1...3", "-1..3"])
def test_texts_that_are_no_range(text):
    with pytest.raises(ValueError, match=r"size|range"):
        parse_symbol("seq", text)


@pytest.mark.parametrize("text", ["", "seq +", "seq seq", "(seq", "3$", "min(seq)", "+"])
def test_texts_that_are_no_size(text):
    with pytest.raises(ValueError, match="no size"):
        parse_size(text)
