"""Extensions: packages outside lumir that add dialects, passes, lowerings and kernel families.

An extension is an object (usually a module) behind an entry point of the group `lumir.extensions`, with any of:

- `passes`: `{"my-pass": "my_package.my_pass:MyPass"}`; imported when first named,
- `dialects`: classes made with `ext.Dialect`; loaded into every context,
- `lowerings`: `{"my.op": rule}` or `{"my.op": "my_package.rules:rule"}`; rules as in `lumir/linalg/rules.py`,
- `families`: kernel families, tried before lumir's own.
"""

import functools
import importlib.metadata
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from lumir.diagnostics import UserError
from lumir.passes.table import PASSES, PIPELINES

if TYPE_CHECKING:
    from lumir.mlir import ir

GROUP = "lumir.extensions"
_PARTS = ("passes", "dialects", "lowerings", "families")
_TARGET = re.compile(r"[\w.]+:[\w.]+")


@dataclass(frozen=True)
class Extensions:
    """What all extensions add, together; `names` are their entry points."""

    names: tuple[str, ...] = ()
    passes: dict[str, str] = field(default_factory=dict)
    dialects: tuple[Any, ...] = ()
    lowerings: dict[str, Any] = field(default_factory=dict)
    families: tuple[Any, ...] = ()


@functools.cache
def load_extensions() -> Extensions:
    """Import every installed extension, once per process.

    Raises `UserError`: `broken-extension` (cannot be imported, or a part has the wrong form) or `extension-conflict`.
    """
    found = sorted(importlib.metadata.entry_points(group=GROUP), key=lambda point: point.name)
    return collect_extensions({point.name: _import(point) for point in found})


def collect_extensions(objects: Mapping[str, Any]) -> Extensions:
    """The parts of the extension objects, by entry point name, checked and put together."""
    passes, lowerings, dialects, families = {}, {}, [], []
    for name, extension in objects.items():
        _check(name, extension)
        _merge(passes, _part(extension, "passes", {}), name, "pass", {**PASSES, **PIPELINES})
        _merge(lowerings, _part(extension, "lowerings", {}), name, "lowering of", {})
        dialects += _part(extension, "dialects", ())
        families += _part(extension, "families", ())
    return Extensions(tuple(objects), passes, tuple(dialects), lowerings, tuple(families))


def find_lowering(op_name: str) -> Any:
    """The extensions' rule for the op (`toy.square`), imported now; None when there is none."""
    from lumir.passes.registry import load

    rule = load_extensions().lowerings.get(op_name)
    return load(rule) if isinstance(rule, str) else rule


def load_dialects(context: "ir.Context") -> None:
    """Load the extensions' dialects into the context, those that are not there yet."""
    from lumir.mlir import ir

    for dialect in load_extensions().dialects:
        if not context.is_dialect_loaded(dialect.DIALECT_NAMESPACE):
            with context, ir.Location.unknown():
                dialect.load()


def _import(point: importlib.metadata.EntryPoint) -> Any:
    try:
        return point.load()
    except Exception as error:
        package = point.dist.name if point.dist else "unknown"
        raise UserError(
            f"extension '{point.name}' cannot be imported",
            code="broken-extension",
            values={"entry point": point.value, "package": package, "cause": f"{type(error).__name__}: {error}"},
            hint=f"update or uninstall {package}",
        ) from error


def _part(extension: Any, part: str, default: Any) -> Any:
    return getattr(extension, part, default)


def _check(name: str, extension: Any) -> None:
    if not any(hasattr(extension, part) for part in _PARTS):
        raise _broken(name, f"it has at least one of {', '.join(_PARTS)}", type(extension).__name__)
    for part in ("passes", "lowerings"):
        if not isinstance(_part(extension, part, {}), Mapping):
            raise _broken(name, f"`{part}` is a dictionary from names", _part(extension, part, None))
    for part in ("dialects", "families"):
        if not isinstance(_part(extension, part, ()), tuple | list):
            raise _broken(name, f"`{part}` is a list or tuple", _part(extension, part, None))
    for pass_name, target in _part(extension, "passes", {}).items():
        if not (isinstance(target, str) and _TARGET.fullmatch(target)):
            raise _broken(name, f"`passes['{pass_name}']` is text like `package.module:Class`", target)
    for dialect in _part(extension, "dialects", ()):
        if not (isinstance(dialect, type) and hasattr(dialect, "DIALECT_NAMESPACE")):
            raise _broken(name, "`dialects` holds classes made with `ext.Dialect`", dialect)


def _broken(name: str, rule: str, seen: Any) -> UserError:
    return UserError(
        f"extension '{name}' is not in the right form", code="broken-extension", rule=rule, values={"found": repr(seen)}
    )


def _merge(into: dict[str, Any], added: Mapping[str, Any], name: str, what: str, taken: Mapping[str, Any]) -> None:
    for key, value in added.items():
        first = into.get(key) or taken.get(key)
        if first is not None:
            raise UserError(
                f"extension '{name}' adds {what} '{key}', which exists already",
                code="extension-conflict",
                values={"first": first, "second": value},
                hint="uninstall one of the two, or rename it",
            )
        into[key] = value
