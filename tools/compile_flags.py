"""`--dim` and `--profile` -> the sizes of each specialisation."""

from collections.abc import Sequence

import click

Sizes = dict[str, int]


def profiles_of(dims: Sequence[str], profiles: Sequence[str]) -> list[Sizes]:
    """One mapping from symbol to size for each `--profile`; every `--dim` holds in all of them.

    Raises:
        click.UsageError: text that cannot be read, or two sizes for one symbol.
    """
    shared = _sizes(dims, "--dim")
    return [_merged(shared, _sizes(text.split(","), "--profile")) for text in profiles] or [shared]


def _sizes(items: Sequence[str], option: str) -> Sizes:
    sizes: Sizes = {}
    for item in items:
        name, separator, size = item.strip().rpartition("=")
        if not (name and separator and size.isascii() and size.isdecimal()):
            raise click.UsageError(f"{option} {item!r} cannot be read: write NAME=SIZE, for instance seq=128")
        sizes = _merged(sizes, {name: int(size)})
    return sizes


def _merged(first: Sizes, second: Sizes) -> Sizes:
    for name, size in second.items():
        if first.get(name, size) != size:
            raise click.UsageError(f"two sizes are given for {name}: {first[name]} and {size}")
    return first | second
