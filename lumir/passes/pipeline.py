"""Pipelines as data and as text, in mlir-opt's syntax, with lumir's passes and upstream's side by side.

`builtin.module(lumir-a{x=1},func.func(canonicalize,cse),gpu.module(convert-gpu-to-nvvm{index-bitwidth=64}))`
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from lumir.diagnostics import UserError
from lumir.option_values import skip_token
from lumir.passes.options import build, pass_text
from lumir.passes.registry import Pass, find_pass, find_pipeline, nearest, pass_names
from lumir.passes.table import PIPELINES

_NAME = re.compile(r"[A-Za-z_][\w.-]*", re.ASCII)
MODULE = "builtin.module"


@dataclass(frozen=True)
class Upstream:
    """A pass of MLIR itself; `options` is the text between its braces."""

    name: str
    options: str = ""


@dataclass(frozen=True)
class Nest:
    """Items that run on the ops named `anchor` directly inside the current op."""

    anchor: str
    items: tuple["Item", ...] = ()


Item = Upstream | Nest | Pass
Pipeline = str | Nest | Iterable[str | Item]


def nest(anchor: str, *items: str | Item) -> Nest:
    """`anchor(items...)`; a string is text of one or more items: `nest("gpu.module", "convert-gpu-to-nvvm,cse")`."""
    return Nest(anchor, tuple(_flatten(items)))


def as_pipeline(pipeline: Pipeline) -> Nest:
    """The pipeline as a `Nest` on the module: from full text, or from passes and text of passes."""
    if isinstance(pipeline, str):
        return parse_pipeline(pipeline)
    return pipeline if isinstance(pipeline, Nest) else nest(MODULE, *pipeline)


def parse_pipeline(text: str) -> Nest:
    """Parse `builtin.module(...)`. Raises `UserError`: `pipeline-syntax`, or what `parse_items` raises."""
    items = parse_items(text)
    if len(items) != 1 or not isinstance(items[0], Nest) or items[0].anchor not in (MODULE, "any"):
        raise UserError(
            "a pipeline must start at the module",
            code="pipeline-syntax",
            values={"pipeline": text},
            hint=f"write {MODULE}({text})",
        )
    return items[0]


def parse_items(text: str) -> tuple[Item, ...]:
    """Parse items separated by commas. A named pipeline is replaced by its items.

    Raises `UserError`: `pipeline-syntax` (with the column), `unknown-pass` for a name of lumir's that does not exist,
    and what `lumir.passes.options.build` raises. Names of upstream passes are checked when the pipeline is prepared.
    """
    parser = _Parser(text)
    items = parser.items()
    if parser.position < len(text):
        raise parser.error("expected ',' or the end of the pipeline")
    return items


def to_text(item: Item) -> str:
    """The item in the syntax that `parse_items` reads."""
    if isinstance(item, Nest):
        return f"{item.anchor}({','.join(map(to_text, item.items))})"
    if isinstance(item, Upstream):
        return item.name + (f"{{{item.options}}}" if item.options else "")
    return pass_text(item)


def make_item(name: str, options: str = "") -> tuple[Item, ...]:
    """What a name and its options stand for: one pass, or the items of a named pipeline."""
    if cls := find_pass(name):
        return (build(name, cls, options),)
    if function := find_pipeline(name):
        return tuple(_flatten(build(name, function, options)))
    if name.startswith("lumir-"):
        raise UserError(f"unknown pass '{name}'", code="unknown-pass", hint=nearest(name, [*pass_names(), *PIPELINES]))
    return (Upstream(name, options.strip()),)


def _flatten(items: Iterable[str | Item]) -> Iterable[Item]:
    for item in items:
        if isinstance(item, str):
            yield from parse_items(item)
        else:
            yield item


class _Parser:
    """Recursive descent over the text; `position` is the next character."""

    def __init__(self, text: str):
        self.text, self.position = text, 0
        self._skip_space()

    def items(self) -> tuple[Item, ...]:
        items: list[Item] = []
        if self._peek() in ("", ")"):
            return ()
        items += self._element()
        while self._accept(","):
            items += self._element()
        return tuple(items)

    def error(self, what: str) -> UserError:
        caret = " " * (self.position + len("  pipeline: ")) + "^"
        return UserError(
            f"{what}, at column {self.position + 1}",
            code="pipeline-syntax",
            values={"pipeline": f"{self.text}\n{caret}"},
        )

    def _element(self) -> tuple[Item, ...]:
        match = _NAME.match(self.text, self.position)
        if not match:
            raise self.error("expected the name of a pass or an op")
        start, self.position = self.position, match.end()
        options = self._options()
        if not self._accept("("):
            return make_item(match.group(), options)
        if options:
            self.position = start
            raise self.error(f"'{match.group()}' is an op here and takes no options")
        items = self.items()
        if not self._accept(")"):
            raise self.error("expected ',' or ')'")
        return (Nest(match.group(), items),)

    def _options(self) -> str:
        self._skip_space()
        if self._peek() != "{":
            return ""
        start = self.position
        try:
            self.position = skip_token(self.text, start)
        except ValueError:
            raise self.error("these options are not closed") from None
        options = self.text[start + 1 : self.position - 1]
        self._skip_space()
        return options

    def _peek(self) -> str:
        return self.text[self.position : self.position + 1]

    def _accept(self, character: str) -> bool:
        if self._peek() != character:
            return False
        self.position += 1
        self._skip_space()
        return True

    def _skip_space(self) -> None:
        while self._peek().isspace():
            self.position += 1
