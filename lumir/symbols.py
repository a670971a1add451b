"""Symbols: sizes that have a name and a range until a model runs."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

UNBOUNDED = 2**31 - 1
"""The high end of a symbol that nobody declared."""


@dataclass(frozen=True)
class Symbol:
    """A size with a name: from `low` to `high`, both included, in steps of `multiple`. Its name is its identity."""

    name: str
    low: int = field(default=1, compare=False)
    high: int = field(default=UNBOUNDED, compare=False)
    multiple: int = field(default=1, compare=False)

    @property
    def range(self) -> str:
        """`1..4096`, or `8..4096:8` where it is a multiple of 8."""
        return f"{self.low}..{self.high}" + (f":{self.multiple}" if self.multiple > 1 else "")

    @property
    def key(self) -> tuple[int, str]:
        """Its place among the atoms of a product."""
        return 0, self.name

    @property
    def symbols(self) -> "frozenset[Symbol]":
        return frozenset((self,))

    def bounds(self) -> tuple[int, int]:
        return self.low, self.high

    def divisor(self) -> int:
        return self.multiple

    def at(self, binding: Mapping[str, int]) -> int:
        return binding[self.name]

    def admits(self, value: int) -> bool:
        return self.low <= value <= self.high and value % self.multiple == 0

    def typical(self, part: float) -> int:
        """The value that part up its range, counted in factors."""
        value = round(max(self.low, 1) ** (1 - part) * max(self.high, 1) ** part)
        return min(max(-(-value // self.multiple) * self.multiple, self.low), self.high)

    def __str__(self) -> str:
        return f"{self.name} ({self.range})"


class Undecided(ValueError):
    """A comparison that holds for some values of the symbols and not for others.

    Args:
        question: what was asked, e.g. `seq <= 512`.
        symbols: the symbols that it depends on.
    """

    def __init__(self, question: str, symbols: Iterable[Symbol]):
        self.question, self.symbols = question, tuple(symbols)
        ranges = ", ".join(str(symbol) for symbol in self.symbols)
        super().__init__(f"whether {question} depends on {ranges}")

    @property
    def hint(self) -> str:
        pins = " ".join(f"--dim {symbol.name}={symbol.high}" for symbol in self.symbols)
        return f"pin a size ({pins}), or narrow its range"
