"""Pipelines as text and as data."""

from dataclasses import dataclass
from typing import ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lumir.diagnostics import UserError
from lumir.passes import Nest, Upstream, nest, parse_items, parse_pipeline, register_pass, step_names, to_text
from lumir.pipelines.boundary import CheckDialects


@register_pass
@dataclass(frozen=True)
class Configured:
    """A pass of this test."""

    name: ClassVar[str] = "test-configured"
    label: str = "plain"
    tiles: tuple[int, ...] = ()

    def run(self, module) -> None: ...


words = st.from_regex(r"[a-z][a-z0-9]*(-[a-z0-9]+){0,2}", fullmatch=True).filter(lambda w: not w.startswith("lumir-"))
values = st.one_of(st.integers().map(str), words, st.just('"a,b) {c"'), st.just("{func.func(cse)}"))
upstream = st.builds(Upstream, words, st.lists(st.tuples(words, values).map("=".join), max_size=3).map(" ".join))
configured = st.builds(Configured, st.text(max_size=8), st.lists(st.integers(), max_size=3).map(tuple))
anchors = st.sampled_from(["func.func", "gpu.module", "any", "builtin.module", "my_dialect.op_name"])


def pipelines_of(leaves: st.SearchStrategy) -> st.SearchStrategy[Nest]:
    items = st.recursive(
        leaves, lambda inner: st.builds(Nest, anchors, st.lists(inner, max_size=3).map(tuple)), max_leaves=8
    )
    return st.lists(items, max_size=4).map(lambda inner: Nest("builtin.module", tuple(inner)))


@given(pipelines_of(upstream | configured))
def test_round_trip(pipeline):
    assert parse_pipeline(to_text(pipeline)) == pipeline


@given(pipelines_of(st.builds(Upstream, words)), st.randoms())
def test_white_space_between_items_does_not_matter(pipeline, random):
    text = to_text(pipeline)
    spaced = "".join(c + random.choice(["", " ", "\n  "]) if c in "()," else c for c in text)
    assert parse_pipeline(f" {spaced} ") == pipeline


def test_lumir_and_upstream_in_one_text():
    text = "builtin.module(lumir-check-dialects{allowed=func},func.func(canonicalize,cse),gpu.module(gpu-x{a=1 b=2}))"
    assert parse_pipeline(text) == Nest(
        "builtin.module",
        (
            CheckDialects(allowed=("func",)),
            Nest("func.func", (Upstream("canonicalize"), Upstream("cse"))),
            Nest("gpu.module", (Upstream("gpu-x", "a=1 b=2"),)),
        ),
    )
    assert to_text(parse_pipeline(text)) == text
    assert step_names(text) == ["lumir-check-dialects", "canonicalize", "cse", "gpu-x"]


def test_pipelines_from_python():
    made = nest("builtin.module", CheckDialects(("func",)), nest("func.func", "canonicalize, cse"), Upstream("sccp"))
    assert to_text(made) == ("builtin.module(lumir-check-dialects{allowed=func},func.func(canonicalize,cse),sccp)")


def test_named_pipeline_is_replaced_by_its_passes():
    items = parse_items("lumir-cleanup{max-iterations=3},cse")
    assert [to_text(item) for item in items] == ["canonicalize{max-iterations=3}", "cse", "symbol-dce", "cse"]


@pytest.mark.parametrize(
    ("text", "code", "part"),
    [
        ("cse", "pipeline-syntax", "write builtin.module(cse)"),
        ("func.func(cse)", "pipeline-syntax", "a pipeline must start at the module"),
        ("", "pipeline-syntax", "a pipeline must start at the module"),
        ("builtin.module(cse", "pipeline-syntax", "expected ',' or ')', at column 19"),
        ("builtin.module(cse))", "pipeline-syntax", "expected ',' or the end of the pipeline, at column 20"),
        ("builtin.module(cse,)", "pipeline-syntax", "expected the name of a pass or an op, at column 20"),
        ("builtin.module(,cse)", "pipeline-syntax", "expected the name of a pass or an op, at column 16"),
        ("builtin.module(cse{x=1)", "pipeline-syntax", "these options are not closed, at column 19"),
        ("builtin.module{x=1}(cse)", "pipeline-syntax", "'builtin.module' is an op here and takes no options"),
        ("builtin.module(lumir-check-dialect)", "unknown-pass", "did you mean 'lumir-check-dialects'?"),
        ("builtin.module(lumir-cleanup{x=1})", "unknown-option", "max-iterations (integer; default 10)"),
        ("builtin.module(lumir-cleanup{max-iterations=x})", "bad-option-value", "expected integer"),
    ],
)
def test_errors(text, code, part):
    with pytest.raises(UserError) as error:
        parse_pipeline(text)
    assert error.value.code == code
    assert part in str(error.value)


def test_syntax_error_points_at_the_place():
    with pytest.raises(UserError) as error:
        parse_pipeline("builtin.module(cse,,cse)")
    line, caret = str(error.value).splitlines()[1:3]
    assert line[caret.index("^") :] == ",cse)"
