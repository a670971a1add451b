"""The kernel report: for each benchmark the time, the rates, the share of the roofline, the peer's time, the errors."""

import gc
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from lumir.diagnostics import LumirError
from lumir.measure.bench import Bench, Case, Loaded
from lumir.measure.compare import Error
from lumir.measure.kernel import schedule_text
from lumir.measure.peer import PeerReplay, matrix_rate, peer_calls, torch_or_none
from lumir.measure.prepared import Prepared
from lumir.measure.suite import Benchmark
from lumir.measure.timing import Timing, time_together
from lumir.measure.turn import Turn

_THREADS = 16


RATES = {0.5: "tf32", 1.0: "16 bits", 2.0: "8 bits"}
"""How many operations tensor cores do for each of 16 bits, by what they multiply."""


@dataclass(frozen=True)
class Ceiling:
    """What this card does at best, measured in the same run.

    Args:
        bytes: a second, of a copy: read plus written.
        operations: a second, of a large bfloat16 product; 0 where it was not measured.
    """

    bytes: float
    operations: float = 0.0

    def share(self, flops: float, nbytes: float, seconds: float, rate: float = 1.0) -> float:
        """The roofline's time over the measured one: bytes or operations, whichever take longer.

        Args:
            rate: of `RATES`.
        """
        compute = flops / self.operations / rate if self.operations else 0.0
        return max(nbytes / self.bytes, compute) / seconds


@dataclass
class Row:
    """One line of the report. `seconds` is None where there is no right kernel, and `note` says why.

    Args:
        rate: of `RATES`, for the types that are multiplied.
        others: seconds of every peer.
    """

    group: str
    name: str
    flops: float
    nbytes: float
    family: str = ""
    schedule: str = ""
    seconds: float | None = None
    spread: float = 0.0
    share: float = 0.0
    error: float = 0.0
    compile_seconds: float = 0.0
    peer: str = ""
    peer_seconds: float | None = None
    peer_error: float = 0.0
    goal: float = 1.0
    model_seconds: float | None = None
    note: str = ""
    rate: float = 1.0
    others: dict[str, float] = field(default_factory=dict)

    @property
    def ratio(self) -> float | None:
        """The peer's time over ours: above 1 where lumir is faster."""
        return self.peer_seconds / self.seconds if self.seconds and self.peer_seconds else None

    @property
    def model_ratio(self) -> float | None:
        """The chosen schedule's time over that of the cost model's own choice: 1 where they are the same."""
        return self.seconds / self.model_seconds if self.seconds and self.model_seconds else None

    def to_json(self) -> dict[str, Any]:
        rates = {"gb_per_s": None, "tflops_per_s": None, "ratio": self.ratio, "model_ratio": self.model_ratio}
        if self.seconds:
            rates["gb_per_s"] = self.nbytes / self.seconds / 1e9
            rates["tflops_per_s"] = self.flops / self.seconds / 1e12
        return {**vars(self), **rates}


def ceiling(bench: Bench, with_peer: bool) -> Ceiling:
    torch = torch_or_none() if with_peer else None
    return Ceiling(bench.copy_rate(), matrix_rate(torch) if torch else 0.0)


@dataclass
class _Ready:
    """A benchmark whose operands and kernels are on the GPU.

    Args:
        ours: the compiler's kernel, and that of the cost model where it is another; or what keeps the first from it.
    """

    item: Benchmark
    case: Case
    ours: list[Loaded] | LumirError


class Reporter:
    """Makes rows.

    Args:
        with_peer: also measure what torch offers, where it is installed.
        samples: of each time.
        turn: taken while something is timed.
    """

    def __init__(self, bench: Bench, roof: Ceiling, with_peer: bool, samples: int, turn: Turn):
        self._bench, self._roof, self._samples, self._turn = bench, roof, samples, turn
        self._torch = torch_or_none() if with_peer else None
        gc.freeze()  # the modules that are loaded by now; else each collection goes through them again

    def rows(self, batch: Sequence[Prepared]) -> Iterator[Row]:
        """Measure some benchmarks, one after the other, once all of them are on the GPU.

        Nothing is made ready while something is timed: a thread that takes the interpreter would show in the times.
        """
        cases = [self._bench.case(prepared.text) for prepared in batch]  # MLIR is for one thread alone
        with ThreadPoolExecutor(_THREADS) as pool:
            ready = list(pool.map(self._ready, batch, cases))
        del cases
        while ready:
            row = self._row(ready.pop(0))
            self._free()
            yield row

    def _ready(self, prepared: Prepared, case: Case) -> _Ready:
        item = prepared.item
        if item.inputs:
            item.inputs(case.inputs)
        case.expected = prepared.expected
        case.make_ready()
        if isinstance(prepared.kernel, LumirError):
            return _Ready(item, case, prepared.kernel)
        try:
            kernels = [prepared.kernel, *([prepared.model] if prepared.model else [])]
            return _Ready(item, case, [case.prepare(kernel) for kernel in kernels])
        except LumirError as error:
            return _Ready(item, case, error)

    def _row(self, ready: _Ready) -> Row:
        item, case = ready.item, ready.case
        flops = case.reference.flops if item.flops is None else item.flops
        rate = rate_of(case.reference.inputs[0].dtype)
        row = Row(item.group, item.name, flops, case.reference.nbytes, goal=item.goal, rate=rate)
        replays: list[Any] = []
        try:
            replays = self._checked(row, ready)
        except LumirError as error:
            if error.code == "driver":
                raise
            row.note = error.message
        ours = len(replays)
        peers = list(self._peers(item, case, row))
        with self._turn:
            timings = time_together([*replays, *peers], self._samples)
        self._fill(row, timings, ours, peers)
        return row

    def _checked(self, row: Row, ready: _Ready) -> list[Loaded]:
        if isinstance(ready.ours, LumirError):
            raise ready.ours
        chosen, *model = ready.ours
        row.family, row.schedule = chosen.kernel.family, schedule_text(chosen.kernel.schedule)
        row.compile_seconds = chosen.kernel.seconds
        row.error = ready.case.check(chosen, whole=True).relative
        for loaded in model:
            ready.case.check(loaded)
        return ready.ours

    def _peers(self, item: Benchmark, case: Case, row: Row) -> Iterator[PeerReplay]:
        """Those of the peers that can do it; the error is that of the first."""
        if self._torch is None:
            return
        best: Error | None = None
        for name, peer in item.peers.items():
            try:
                replay = PeerReplay(self._torch, name, peer_calls(self._torch, peer, case.operands))
                if best is None:
                    best = replay.error(case.expected[0], case.reference.result_dims[0], case.reference.rows)
                    row.peer_error = best.relative
            except Exception as error:
                row.note += f"{'; ' if row.note else ''}{name}: {str(error).splitlines()[0][:80]}"
                continue
            yield replay

    def _free(self) -> None:
        """Give back the GPU's memory before the next benchmark wants some; what was loaded before is not looked at."""
        gc.collect()
        if self._torch is not None:
            self._torch.cuda.empty_cache()

    def _fill(self, row: Row, timings: Sequence[Timing], ours: int, peers: Sequence[PeerReplay]) -> None:
        if ours:
            row.seconds, row.spread = timings[0].median, timings[0].spread
            row.share = self._roof.share(row.flops, row.nbytes, row.seconds, row.rate)
            row.model_seconds = timings[ours - 1].median
        of_peers = {peer.name: timing.median for peer, timing in zip(peers, timings[ours:], strict=True)}
        if of_peers:
            row.peer = min(of_peers, key=lambda name: of_peers[name])
            row.peer_seconds, row.others = of_peers[row.peer], of_peers


def rate_of(dtype: str) -> float:
    """The one of `RATES` for products of this type."""
    return {"float32": 0.5, "int8": 2.0, "uint8": 2.0}.get(dtype, 2.0 if dtype.startswith("float8") else 1.0)


def geometric_mean(values: Sequence[float]) -> float:
    return float(np.exp(np.mean(np.log(values)))) if values else float("nan")
