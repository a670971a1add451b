"""Sizes that a kernel gets at its launch: one int64 argument, after the buffers, for each that it needs."""

from collections.abc import Callable

from lumir.mlir import arith, ir
from lumir.sizes import Size

SCALARS = "lumir.scalars"
"""The attribute of a kernel function that lists the sizes it takes, in order, as text."""


class LaunchSizes:
    """Hands out the values of sizes to whoever writes the kernel.

    Args:
        read: makes the i64 value of the argument of this number, at the beginning of the kernel.
        entry: the kernel's first block.
    """

    def __init__(self, read: Callable[[int], ir.Value], entry: ir.Block):
        self._read, self._entry = read, entry
        self._values: dict[tuple[Size, ir.Type], ir.Value] = {}
        self._numbers: dict[Size, int] = {}

    def value(self, size: Size, type_: ir.Type) -> ir.Value:
        """The size as an integer of a type."""
        key = (size, type_)
        if key not in self._values:
            number = self._numbers.setdefault(size, len(self._numbers))
            with ir.InsertionPoint.at_block_begin(self._entry), ir.Location.unknown():
                value = self._read(number)
                self._values[key] = value if value.type == type_ else arith.TruncIOp(type_, value).result
        return self._values[key]

    def note(self, function: ir.OpView) -> None:
        """Say in the kernel function which sizes it takes."""
        if self._numbers:
            texts = [ir.StringAttr.get(str(size)) for size in self._numbers]
            function.operation.attributes[SCALARS] = ir.ArrayAttr.get(texts)
