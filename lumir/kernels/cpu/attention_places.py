"""Where the CPU's attention kernel reads and writes: the iteration dimensions that step 4 gives `lumir.attention`."""

from dataclasses import dataclass

from lumir.kernels.attention_space import AttentionSpace
from lumir.kernels.dispatch import Dispatch
from lumir.kernels.index import Index, IndexMath, Place
from lumir.kernels.loop_nest import LoopNest
from lumir.sizes import Dim


@dataclass(frozen=True)
class AttentionPlaces:
    """Places by batch b, key/value head g, query head r of its group, query m, key n, and head dimensions d and e.

    Args:
        space: its first product runs over b, g, r, m, n, d, its second over b, g, r, m, e, n.
    """

    space: AttentionSpace

    @staticmethod
    def of(dispatch: Dispatch) -> "AttentionPlaces | None":
        """The places of an attention dispatch; None for any other."""
        space = AttentionSpace.of(dispatch)
        if space is None or space.first.nest.rank != 6 or space.second.nest.rank != 6:
            return None
        return AttentionPlaces(space)

    @property
    def sizes(self) -> tuple[Dim, Dim, Dim, Dim, Dim, Dim, Dim]:
        """b, g, r, m, n, d, e."""
        b, g, r, m, n, d = self.space.first.nest.sizes
        return b, g, r, m, n, d, self.space.second.nest.sizes[4]

    def query(self, index: IndexMath, outer: Place, m: Index, d: Index) -> Place:
        return _evaluate(index, self.space.first.nest, 0, [*outer, m, Index(0), d])

    def key(self, index: IndexMath, outer: Place, n: Index, d: Index) -> Place:
        return _evaluate(index, self.space.first.nest, 1, [*outer, Index(0), n, d])

    def value(self, index: IndexMath, outer: Place, n: Index, e: Index) -> Place:
        return _evaluate(index, self.space.second.nest, 1, [*outer, Index(0), e, n])

    def score(self, index: IndexMath, outer: Place, m: Index, n: Index) -> Place:
        """Where the changed scores are read."""
        return self.space.path.place(index, (*outer, m, n))

    def result(self, outer: Place, m: Index, e: Index) -> Place:
        return *outer, m, e


def _evaluate(index: IndexMath, nest: LoopNest, number: int, dims: list[Index]) -> Place:
    return tuple(index.evaluate(e, dims) for e in nest.maps[number].results)
