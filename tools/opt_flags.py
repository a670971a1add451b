"""What of `lumir-opt`'s command line follows LLVM's conventions: `-long-flag`, `--flag[=bool]`, `--pass[=options]`."""

from collections.abc import Sequence
from dataclasses import dataclass

from lumir.diagnostics import UserError
from lumir.passes.pipeline import MODULE, Item, Nest, Upstream, make_item, nest
from lumir.passes.registry import nearest, pass_names

# Options whose value may be left out, and what it is then.
OPTIONAL_VALUES = {
    "--split-input-file": "// -----",
    "--verify-diagnostics": "all",
    "--verify-each": "true",
    "--emit-bytecode": "true",
}


def normalize(arguments: Sequence[str]) -> list[str]:
    """LLVM's spelling of options in click's: `-cse` -> `--cse`, `--verify-each` -> `--verify-each=true`."""
    normalized = []
    for argument in arguments:
        if argument.startswith("-o") and argument[2:3] in ("", "="):
            normalized.append(argument.replace("=", "", 1))
            continue
        is_long = len(argument) > 2 and argument[0] == "-" and argument[1].isalpha()
        name = f"-{argument}" if is_long else argument
        value = OPTIONAL_VALUES.get(name)
        normalized.append(f"{name}={value}" if value else name)
    return normalized


@dataclass(frozen=True)
class Rest:
    """What click left over: the input file, and passes given as flags with their options, in order."""

    file: str | None
    passes: tuple[tuple[str, str], ...]


def read_rest(arguments: Sequence[str]) -> Rest:
    """Sort the arguments that are not options of the tool. Raises `UserError` (code `usage`) for a second file."""
    files = [argument for argument in arguments if argument == "-" or not argument.startswith("-")]
    if len(files) > 1:
        raise UserError("more than one input file", code="usage", values={"files": " ".join(files)})
    flags = [argument.lstrip("-").partition("=") for argument in arguments if argument not in files]
    return Rest(files[0] if files else None, tuple((name, _unbraced(options)) for name, _, options in flags))


def pipeline_of_flags(passes: Sequence[tuple[str, str]], tool_options: Sequence[str]) -> Nest:
    """The pipeline that pass flags make; a pass that insists on another op than the module is nested in it.

    Raises `UserError`: `unknown-flag` for what is neither an option of the tool nor a pass; see also `make_item`.
    """
    items = [nested for name, options in passes for nested in _items(name, options, tool_options)]
    return nest(MODULE, *items)


def _items(name: str, options: str, tool_options: Sequence[str]) -> list[Item]:
    try:
        items = make_item(name, options)
        return [_nested(item) for item in items]
    except UserError as error:
        if error.code != "unknown-pass":
            raise
    from lumir.passes.upstream_names import UPSTREAM_PASSES

    known = [option.lstrip("-") for option in tool_options]
    raise UserError(
        f"'--{name}' is neither an option of lumir-opt nor a pass",
        code="unknown-flag",
        hint=nearest(name, [*known, *pass_names(), *UPSTREAM_PASSES]) or "see lumir-opt --help and --list-passes",
    )


def _nested(item: Item) -> Item:
    if isinstance(item, Nest):
        return item
    if isinstance(item, Upstream):
        from lumir.mlir import ir
        from lumir.passes.upstream import pass_manager, required_anchor

        context = ir.Context()
        anchor = required_anchor(item, context)
        pass_manager((anchor or MODULE,), item, context, verify=True)
    else:
        anchor = getattr(item, "anchor", MODULE)
    return item if anchor in (None, "any", MODULE) else nest(anchor, item)


def _unbraced(options: str) -> str:
    return options[1:-1] if options.startswith("{") and options.endswith("}") else options
