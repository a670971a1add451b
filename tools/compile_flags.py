"""`--dim` and `--profile` -> the sizes and ranges of each specialisation."""

from collections.abc import Sequence

import click

from lumir.diagnostics import UserError
from lumir.dims import as_symbols

Sizes = dict[str, int | str]
"""A size, or the text of a range, by symbol."""


def profiles_of(dims: Sequence[str], profiles: Sequence[str]) -> list[Sizes]:
    """One mapping from symbol to size or range for each `--profile`; every `--dim` holds in all of them.

    Raises:
        click.UsageError: text that cannot be read, or two sizes for one symbol.
    """
    shared = _sizes(dims, "--dim")
    return [_merged(shared, _sizes(text.split(","), "--profile")) for text in profiles] or [shared]


def _sizes(items: Sequence[str], option: str) -> Sizes:
    sizes: Sizes = {}
    for item in items:
        name, _, text = (part.strip() for part in item.rpartition("="))
        if not name or not _is_readable(name, text):
            raise click.UsageError(
                f"{option} {item!r} cannot be read: write NAME=SIZE, for instance seq=128, or a range, seq=1..512, "
                "or one of multiples, seq=8..512:8"
            )
        sizes = _merged(sizes, {name: int(text) if text.isdecimal() else text})
    return sizes


def _is_readable(name: str, text: str) -> bool:
    try:
        as_symbols({name: text})
    except UserError:
        return False
    return True


def _merged(first: Sizes, second: Sizes) -> Sizes:
    for name, size in second.items():
        if first.get(name, size) != size:
            raise click.UsageError(f"two sizes are given for {name}: {first[name]} and {size}")
    return first | second
