"""A pass, or a named pipeline, and its options as text: `lumir-fuse-attention{max-head-dim=128 causal=true}`."""

import dataclasses
import inspect
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from lumir.diagnostics import UserError
from lumir.option_values import describe_type, format_value, parse_value, split_outside
from lumir.passes.registry import Pass, nearest

_REQUIRED = object()


@dataclass(frozen=True)
class Option:
    """One option: its name in text (kebab-case), its type and its default."""

    name: str
    kind: Any
    default: Any = _REQUIRED

    @property
    def required(self) -> bool:
        return self.default is _REQUIRED

    @property
    def field(self) -> str:
        return self.name.replace("-", "_")

    def __str__(self) -> str:
        default = "required" if self.required else f"default {format_value(self.default, self.kind)}"
        return f"{self.name} ({describe_type(self.kind)}; {default})"


def options_of(target: type | Callable[..., Any]) -> dict[str, Option]:
    """The options of a pass class, or of the function of a named pipeline, by their names in text."""
    hints = typing.get_type_hints(target)
    if isinstance(target, type):
        defaults = {field.name: _default(field) for field in dataclasses.fields(target) if field.init}
    else:
        parameters = inspect.signature(target).parameters
        defaults = {p.name: _REQUIRED if p.default is p.empty else p.default for p in parameters.values()}
    options = [Option(name.replace("_", "-"), hints[name], default) for name, default in defaults.items()]
    return {option.name: option for option in options}


def _default(field: dataclasses.Field) -> Any:
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return _REQUIRED if field.default is dataclasses.MISSING else field.default


def pass_text(pass_: Pass) -> str:
    """The pass with those options that differ from their defaults."""
    written = []
    for option in options_of(type(pass_)).values():
        value = getattr(pass_, option.field)
        if option.required or not _same(value, option.default):
            written.append(f"{option.name}={format_value(value, option.kind)}")
    return pass_.name + (f"{{{' '.join(written)}}}" if written else "")


def build(name: str, target: type | Callable[..., Any], text: str) -> Any:
    """Call the pass class or pipeline function with the options that `text` (what stands between the braces) gives.

    A `ValueError` from it (a `__post_init__` that checks) becomes `bad-option-value`.

    Raises `UserError`: `unknown-option`, `bad-option-value`, `missing-option`, `repeated-option` or `pipeline-syntax`.
    """
    known = options_of(target)
    given: dict[str, Any] = {}
    for item in _items(name, text):
        option_name, has_value, value = item.partition("=")
        option = known.get(option_name)
        if option is None:
            raise _error(name, known, f"has no option '{option_name}'", "unknown-option", nearest(option_name, known))
        if option.field in given:
            raise _error(name, known, f"is given option '{option_name}' twice", "repeated-option", None)
        given[option.field] = _value(name, known, option, value if has_value else "true")
    for option in known.values():
        if option.required and option.field not in given:
            raise _error(name, known, f"needs option '{option.name}'", "missing-option", f"add {option.name}=...")
    try:
        return target(**given)
    except ValueError as error:
        raise _error(name, known, f"does not accept these options: {error}", "bad-option-value", None) from None


def _items(name: str, text: str) -> list[str]:
    try:
        return [item for item in split_outside(text, " ") if item]
    except ValueError as error:
        raise UserError(
            f"the options of pass '{name}' are wrong: {error}", code="pipeline-syntax", values={"options": text}
        ) from None


def _value(name: str, known: Mapping[str, Option], option: Option, text: str) -> Any:
    try:
        return parse_value(text, option.kind)
    except ValueError as error:
        raise _error(name, known, f"option '{option.name}': {error}", "bad-option-value", None) from None


def _error(name: str, known: Mapping[str, Option], what: str, code: str, hint: str | None) -> UserError:
    options = "; ".join(map(str, known.values())) or "none"
    return UserError(f"pass '{name}' {what}", code=code, values={"options": options}, hint=hint)


def _same(value: Any, default: Any) -> bool:
    return type(value) is type(default) and repr(value) == repr(default)
