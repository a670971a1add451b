"""Writes docs/errors.md: every error code, with its message and where it is raised.

python docs/make_errors.py
"""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "errors.md"
FOLDERS = ("lumir", "dialects", "pipelines", "tools")
KINDS = {"UserError": "error", "UnsupportedError": "unsupported", "InternalError": "internal error"}

INTRODUCTION = """# Errors

An error says what happened, where (the op and the ONNX node), which rule was broken, the values that were seen, and
what to do:

```
error[dimension-missing]: the model has 1 dimension without a size: seq
  seq: in input_ids, attention_mask
  help:  give each a size: --dim seq=128
```

| kind | class in `lumir.diagnostics` | meaning | status of `lumir-compile` |
|---|---|---|---|
| `error` | `UserError` | the input or the request is wrong | 1 |
| `unsupported` | `UnsupportedError` | the model is valid, and lumir cannot compile it; all such nodes are listed | 1 |
| `internal error` | `InternalError` | a defect of lumir | 70 |

Wrong usage of a tool ends with status 2. `lumir-run` ends with 1 when `--verify` finds a difference and with 2 on an
error; `lumir-opt` with 1 on any. The code in brackets is stable: scripts may rely on it, and in Python it is
`error.code`.

**Defects.** An internal error of a pass names a reproducer, an `.mlir` file whose first line is the command that shows
the failure again: `lumir-opt --run-reproducer FILE`. It lies in `~/.cache/lumir/reproducers` unless
`LUMIR_REPRODUCER_DIR` says otherwise. Please send it with your report; weights are not in it, constants of up to 1 KiB
are. A crash leaves its traceback there too.

**Warnings** are `lumir.diagnostics.LumirWarning`, raised through Python's `warnings`: weights with NaN or infinity.

## Codes

"""


@dataclass(frozen=True)
class Raised:
    """One place that raises a code."""

    code: str
    kind: str
    message: str
    module: str


def main() -> None:
    found: dict[tuple[str, str], list[Raised]] = {}
    for raised in sorted(_all(), key=lambda r: (r.code, r.module)):
        found.setdefault((raised.kind, raised.code), []).append(raised)
    parts = [INTRODUCTION]
    for kind in KINDS.values():
        parts += [f"### {kind}\n\n", "| code | message | raised in |\n|---|---|---|\n"]
        parts += [_row(places) for (of, _), places in found.items() if of == kind]
        parts.append("\n")
    PAGE.write_text("".join([*parts, "The tables are written by `python docs/make_errors.py`.\n"]))


def _row(places: list[Raised]) -> str:
    modules = ", ".join(f"`{module}`" for module in dict.fromkeys(place.module for place in places))
    return f"| `{places[0].code}` | {places[0].message} | {modules} |\n"


def _all() -> Iterator[Raised]:
    for folder in FOLDERS:
        for path in sorted((ROOT / folder).rglob("*.py")):
            if not any(parent.is_symlink() for parent in path.parents):
                yield from _in_file(path)


def _in_file(path: Path) -> Iterator[Raised]:
    for node in ast.walk(ast.parse(path.read_text())):
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in KINDS and node.args):
            continue
        code = next((keyword.value for keyword in node.keywords if keyword.arg == "code"), None)
        for value in _strings(code):
            yield Raised(value, KINDS[node.func.id], _template(node.args[0]), str(path.relative_to(ROOT)))


def _strings(node: ast.expr | None) -> Iterator[str]:
    """The constants that an expression can be: one, or both sides of a conditional."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value
    elif isinstance(node, ast.IfExp):
        yield from _strings(node.body)
        yield from _strings(node.orelse)


def _template(node: ast.expr) -> str:
    """The message with `...` where a value goes."""
    match node:
        case ast.Constant(value=str(text)):
            return text.replace("|", "\\|").replace("<", "&lt;")
        case ast.JoinedStr(values=values):
            return "".join(_template(value) for value in values)
        case ast.BinOp(left=left, right=right):
            return _template(left) + _template(right)
    return "..."


if __name__ == "__main__":
    main()
