"""Option values and passes as text, both ways."""

import enum
import math
import typing
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lumir.diagnostics import UserError
from lumir.option_values import format_value, is_supported, parse_value, split_outside
from lumir.passes import pass_text
from lumir.passes.options import build


class Layout(enum.Enum):
    ROW = "row-major"
    COLUMN = "column major"


@dataclass(frozen=True)
class Everything:
    """A pass with an option of every type."""

    name: ClassVar[str] = "lumir-everything"
    count: int
    causal: bool = False
    scale: float = 1.0
    label: str = ""
    tiles: tuple[int, ...] = (128, 64)
    names: tuple[str, ...] = ()
    mode: Literal["fast", "exact mode", 3] = "fast"
    layout: Layout = Layout.ROW
    path: Path | None = None
    limit: int | None = None
    note: str | None = None
    flags: tuple[bool, ...] | None = None
    shared: tuple[int, ...] = field(default_factory=lambda: (1, 2))

    def __post_init__(self) -> None:
        if self.mode == 3 and self.count == 0:
            raise ValueError("mode 3 needs a count")

    def run(self, module) -> None: ...


texts = st.text(max_size=12)
everything = st.builds(
    Everything,
    count=st.integers().filter(bool),
    causal=st.booleans(),
    scale=st.floats(allow_nan=False),
    label=texts,
    tiles=st.lists(st.integers(), max_size=3).map(tuple),
    names=st.lists(texts, max_size=3).map(tuple),
    mode=st.sampled_from(["fast", "exact mode", 3]),
    layout=st.sampled_from(Layout),
    path=st.none() | texts.map(Path),
    limit=st.none() | st.integers(),
    note=st.none() | texts,
    flags=st.none() | st.lists(st.booleans(), max_size=3).map(tuple),
    shared=st.lists(st.integers(), max_size=3).map(tuple),
)


@given(everything)
def test_round_trip(pass_):
    text = pass_text(pass_)
    name, _, options = text.partition("{")
    assert name == "lumir-everything"
    assert build(name, Everything, options[:-1]) == pass_


def test_text_is_what_people_write():
    text = pass_text(Everything(count=3, causal=True, tiles=(8,), label="a b", layout=Layout.COLUMN))
    assert text == 'lumir-everything{count=3 causal=true label="a b" tiles=8 layout="column major"}'


def test_values_as_people_write_them():
    built = build("lumir-everything", Everything, "count=-1 causal scale=inf names='x y',z note=\"none\" mode=3")
    assert built == Everything(-1, True, math.inf, names=("x y", "z"), note="none", mode=3)


@pytest.mark.parametrize(
    ("options", "code", "parts"),
    [
        (
            "count=1 casual=true",
            "unknown-option",
            ["has no option 'casual'", "did you mean 'causal'?", "count (integer"],
        ),
        ("count=1 zzz=true", "unknown-option", ["has no option 'zzz'", "options: count (integer; required); causal"]),
        ("count=many", "bad-option-value", ["option 'count': expected integer, got 'many'"]),
        ("count=1 causal=maybe", "bad-option-value", ["expected true or false, got 'maybe'"]),
        ("count=1 scale=fast", "bad-option-value", ["expected number, got 'fast'"]),
        ("count=1 tiles=1,x", "bad-option-value", ["option 'tiles': expected integer, got 'x'"]),
        ("count=1 mode=slow", "bad-option-value", ["expected one of fast, exact mode, 3, got 'slow'"]),
        ("count=1 layout=diagonal", "bad-option-value", ["expected one of row-major, column major"]),
        ("count=1 limit=x", "bad-option-value", ["option 'limit': expected integer"]),
        ("count=0 mode=3", "bad-option-value", ["does not accept these options: mode 3 needs a count"]),
        ("causal=true", "missing-option", ["needs option 'count'", "add count=..."]),
        ("count=1 count=2", "repeated-option", ["is given option 'count' twice"]),
        ("count=1 label='x", "pipeline-syntax", ["quote at column 15 is not closed"]),
    ],
)
def test_errors(options, code, parts):
    with pytest.raises(UserError) as error:
        build("lumir-everything", Everything, options)
    assert error.value.code == code
    assert "pass 'lumir-everything'" in str(error.value)
    for part in parts:
        assert part in str(error.value)


@pytest.mark.parametrize(
    "kind", [list[int], dict, tuple[int, int], int | str, tuple[tuple[int, ...], ...], Literal[True], object]
)
def test_types_without_text_form(kind):
    assert not is_supported(kind)


@given(st.lists(st.text(alphabet="abc=.", min_size=1), max_size=5))
def test_split_without_quotes_is_split(parts):
    assert [part for part in split_outside(" ".join(parts), " ") if part] == parts
    assert list(split_outside(",".join(parts), ",")) == (parts or [""])


def test_split_keeps_groups_whole():
    assert list(split_outside("a{b,c},'d,e',f[g,(h,i)]", ",")) == ["a{b,c}", "'d,e'", "f[g,(h,i)]"]
    assert list(split_outside('x="a\\",b",c', ",")) == ['x="a\\",b"', "c"]


@pytest.mark.parametrize("text", ["'a", '"a\\"', "{a", "{(})"])
def test_split_of_open_groups(text):
    with pytest.raises(ValueError, match="not closed"):
        list(split_outside(text, ","))


@given(st.text(), st.sampled_from([str, str | None, tuple[str, ...]]))
def test_any_text_parses_or_is_rejected(text, kind: typing.Any):
    try:
        value = parse_value(text, kind)
    except ValueError:
        return
    assert parse_value(format_value(value, kind), kind) == value
