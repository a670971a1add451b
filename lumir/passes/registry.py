"""Passes by name: the table, what extensions add, and classes registered while the program runs."""

import dataclasses
import difflib
import importlib
import re
import typing
from collections.abc import Callable, Iterable
from typing import Any, ClassVar, Protocol, TypeVar

from lumir.diagnostics import UserError
from lumir.option_values import is_supported
from lumir.passes.table import PASSES, PIPELINES

_KEBAB = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
_registered: dict[str, type] = {}
T = TypeVar("T", bound=type)


class Pass(Protocol):
    """A transformation of the IR: a frozen dataclass whose fields are its options.

    `run` gets the `ir.Module`, or the `ir.Operation` when the class says `anchor: ClassVar[str] = "func.func"` (an
    op's name, or `any`). It fails by raising, or by emitting an error at an op: `op.location.emit_error("...")`.
    The docstring is its contract: what it requires, what it guarantees, and a short example.
    """

    name: ClassVar[str]

    def run(self, op: Any, /) -> None: ...


def register_pass(cls: T) -> T:
    """Class decorator, above `@dataclass(frozen=True)`: the pass can be named in pipelines from now on.

    Raises `UserError` (code `bad-pass`) when the class is not a pass as `Pass` describes it.
    """
    for rule, holds in _rules(cls):
        if not holds:
            raise UserError(f"{cls.__qualname__} is not a pass", code="bad-pass", rule=rule)
    name = cls.name  # pyright: ignore[reportAttributeAccessIssue]
    known, own = _target_text(name), f"{cls.__module__}:{cls.__qualname__}"
    if known not in (None, own):
        raise UserError(f"two passes are named '{name}'", code="bad-pass", values={"first": known, "second": own})
    _registered[name] = cls
    return cls


def _rules(cls: type) -> Iterable[tuple[str, bool]]:
    parameters = getattr(cls, "__dataclass_params__", None)
    yield "it must be a frozen dataclass: @dataclass(frozen=True)", bool(parameters and parameters.frozen)
    name = getattr(cls, "name", None)
    yield "its `name: ClassVar[str]` must be in kebab-case", isinstance(name, str) and bool(_KEBAB.fullmatch(name))
    yield "it must have `run(self, op)`", callable(getattr(cls, "run", None))
    yield (
        "it must have a docstring that states its contract",
        bool(cls.__dict__.get("__doc__")) and not ((cls.__doc__ or "").startswith(f"{cls.__name__}(")),
    )
    hints = typing.get_type_hints(cls)
    for field in dataclasses.fields(cls):
        yield (
            f"option `{field.name}` must have a type with a text form (lumir.option_values)",
            is_supported(hints[field.name]),
        )


def find_pass(name: str) -> type | None:
    """The class of the pass, imported now; None when no pass of lumir or of an extension has this name."""
    if name in _registered:
        return _registered[name]
    target = PASSES.get(name) or _extension_passes().get(name)
    return load(target) if target else None


def find_pipeline(name: str) -> Callable[..., Any] | None:
    """The function that gives the named pipeline's passes; None when there is none of this name."""
    return load(PIPELINES[name]) if name in PIPELINES else None


def pass_names() -> dict[str, str]:
    """Each pass's name and where it lives (`module:Class`); imports none of them."""
    running = {name: f"{cls.__module__}:{cls.__qualname__}" for name, cls in _registered.items()}
    return dict(sorted({**PASSES, **_extension_passes(), **running}.items()))


def load(target: str) -> Any:
    """The object that `module:name` stands for.

    Raises `UserError` (code `bad-registration`) when it cannot be imported.
    """
    module, _, path = target.partition(":")
    try:
        found: Any = importlib.import_module(module)
        for part in path.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError) as error:
        raise UserError(
            f"cannot import '{target}'",
            code="bad-registration",
            values={"cause": f"{type(error).__name__}: {error}"},
            hint="mend the entry in lumir/passes/table.py, or the extension that names it",
        ) from error
    return found


def nearest(name: str, known: Iterable[str]) -> str | None:
    """A suggestion for a mistyped name, as a sentence, or None."""
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    return f"did you mean '{close[0]}'?" if close else None


def _target_text(name: str) -> str | None:
    if name in _registered:
        return f"{_registered[name].__module__}:{_registered[name].__qualname__}"
    return PASSES.get(name)


def _extension_passes() -> dict[str, str]:
    from lumir.extensions import load_extensions

    return load_extensions().passes
