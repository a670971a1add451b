"""The search for the fastest schedule of a dispatch: by cost model, then by measurement in rounds.

Every kernel is held against the reference before its time counts. Each round measures the best of the one before
longer: successive halving (Jamieson and Talwalkar, "Non-stochastic Best Arm Identification and Hyperparameter
Optimization", 2016).
"""

from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from contextlib import closing
from dataclasses import dataclass, field, replace

from lumir.diagnostics import LumirError
from lumir.measure.bench import Case, Loaded
from lumir.measure.compare import Error, WrongResult
from lumir.measure.kernel import Choice, CompiledDispatch
from lumir.measure.timing import Timing, time_together

FIRST_SAMPLES = 3
ROUNDS = ((12, 10), (4, 30))
"""How many kernels go into each further round, and how many samples each gets there."""
NOT_WORTH_IT = 4.0
"""A choice is left out where the cost model expects this many times the family's best."""
ANOTHER_FAMILY = 1.4
"""Of a family whose best the cost models expect to take so many times as long as another's, that one alone is tried."""
_ASSEMBLING = 16


@dataclass(frozen=True)
class Candidate:
    """A kernel that computes the right thing, and how long it takes."""

    choice: Choice
    loaded: Loaded
    timing: Timing
    error: Error

    @property
    def seconds(self) -> float:
        return self.timing.median


Tell = Callable[[int, int, Candidate | None], None]
"""Called as the search goes on: kernels that are done, of how many, and the fastest so far."""


@dataclass
class Outcome:
    """What a search found.

    Attributes:
        ranked: the right kernels, the fastest first; those of the last round have the most samples.
        failed: choices that do not compile, do not load or compute something else, with what they say.
    """

    ranked: list[Candidate] = field(default_factory=list)
    failed: list[tuple[Choice, LumirError]] = field(default_factory=list)

    @property
    def best(self) -> Candidate | None:
        return min(self.ranked, key=lambda c: c.seconds, default=None)

    def of(self, choice: Choice) -> Candidate | None:
        return next((c for c in self.ranked if c.choice == choice), None)


class Yardstick:
    """Times kernels as they come, each beside the first of them.

    What a card does in a second changes with its power by up to a fifth within a search. So the time of a kernel is
    what it would have been when the first one was alone.
    """

    def __init__(self) -> None:
        self._first: tuple[Loaded, float] | None = None

    def time(self, loaded: Loaded) -> Timing:
        if self._first is None:
            timing = time_together([loaded], FIRST_SAMPLES, warmup=1)[0]
            self._first = loaded, timing.median
            return timing
        first, seconds = self._first
        timing, now = time_together([loaded, first], FIRST_SAMPLES, warmup=1)
        return timing.scaled(seconds / now.median)


def pruned(choices: Sequence[Choice], most: int) -> list[Choice]:
    """The most promising choices by cost: about `most` of them, shared fairly between families that may be the best."""
    by_family: dict[str, list[Choice]] = {}
    for choice in sorted(choices, key=lambda choice: choice.cost):
        by_family.setdefault(choice.family, []).append(choice)
    near = ANOTHER_FAMILY * min((family[0].cost for family in by_family.values()), default=0.0)
    shares = sorted(by_family.values(), key=lambda family: len(family) if family[0].cost <= near else 0)
    kept: list[Choice] = []
    for left, family in zip(range(len(shares), 0, -1), shares, strict=True):
        worth = _distinct_first([choice for choice in family if choice.cost <= NOT_WORTH_IT * family[0].cost])
        kept += worth[: max((most - len(kept)) // left, 1) if family[0].cost <= near else 1]
    return kept


def _distinct_first(choices: Sequence[Choice]) -> list[Choice]:
    """Those whose cost none before has come first: between the others and them the model sees no difference."""
    first: dict[float, Choice] = {}
    again = [choice for choice in choices if first.setdefault(choice.cost, choice) is not choice]
    return [*first.values(), *again]


def search(
    case: Case,
    compiling: Sequence[tuple[Choice, Future[CompiledDispatch]]],
    tell: Tell | None = None,
    keep: Sequence[Choice] = (),
) -> Outcome:
    """Measure kernels as they are compiled; hold the winner against the whole reference.

    Args:
        compiling: the choices, and what will be their kernels.
        keep: choices that go into every round, however slow they are.

    Raises:
        InternalError: `driver`: the GPU is lost to a kernel that reads or writes where it must not.
    """
    outcome, yardstick = Outcome(), Yardstick()
    with closing(_prepared(case, compiling)) as prepared:
        for done, (choice, loaded) in enumerate(prepared, 1):
            _measure_first(case, outcome, yardstick, choice, loaded)
            if tell:
                tell(done, len(compiling), outcome.best)
    for count, samples in ROUNDS:
        _measure_again(outcome, count, samples, keep)
    _settle(case, outcome)
    return outcome


def _measure_first(
    case: Case, outcome: Outcome, yardstick: Yardstick, choice: Choice, loaded: Loaded | LumirError
) -> None:
    """A kernel's first few samples, if it is right."""
    try:
        if isinstance(loaded, LumirError):
            raise loaded
        error = case.check(loaded)
        outcome.ranked.append(Candidate(choice, loaded, yardstick.time(loaded), error))
    except LumirError as error:
        if error.code == "driver":
            error.add_note(f"schedule: {choice}")
            raise
        outcome.failed.append((choice, error))


def _prepared(
    case: Case, compiling: Sequence[tuple[Choice, Future[CompiledDispatch]]]
) -> Generator[tuple[Choice, Loaded | LumirError]]:
    """Kernels ready to be launched, in the order in which they are: assembled on threads."""
    case.make_ready()

    def prepare(compiled: Future[CompiledDispatch]) -> Loaded | LumirError:
        try:
            return case.prepare(compiled.result())
        except LumirError as error:
            return error

    pool = ThreadPoolExecutor(_ASSEMBLING)
    try:
        futures = {pool.submit(prepare, compiled): choice for choice, compiled in compiling}
        for future in as_completed(futures):
            yield futures[future], future.result()
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _measure_again(outcome: Outcome, count: int, samples: int, keep: Sequence[Choice]) -> None:
    """More samples for the first so many, in turns; the fastest of them come first."""
    outcome.ranked.sort(key=lambda c: c.seconds)
    again = [c for i, c in enumerate(outcome.ranked) if i < count or c.choice in keep]
    rest = [c for c in outcome.ranked if c not in again]
    timings = time_together([c.loaded for c in again], samples, warmup=1)
    again = [replace(c, timing=timing) for c, timing in zip(again, timings, strict=True)]
    outcome.ranked = [*sorted(again, key=lambda c: c.seconds), *rest]


def _settle(case: Case, outcome: Outcome) -> None:
    """Drop winners until one holds against the whole reference: nothing left unwritten, the same bits each time."""
    while outcome.ranked:
        winner = outcome.ranked[0]
        try:
            case.check(winner.loaded, whole=True)
            return
        except WrongResult as error:
            outcome.failed.append((winner.choice, error))
            outcome.ranked.pop(0)
