"""The kernel report: for each benchmark the time, the rates, the share of the roofline, the peer's time, the errors."""

import gc
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from lumir.diagnostics import LumirError
from lumir.measure.bench import Bench, Case
from lumir.measure.compare import Error
from lumir.measure.kernel import CompiledDispatch, compile_dispatch, schedule_text
from lumir.measure.peer import PeerReplay, matrix_rate, peer_calls, torch_or_none
from lumir.measure.suite import Benchmark
from lumir.measure.timing import Timing, time_together

_QUICK = 0.2


@dataclass(frozen=True)
class Ceiling:
    """What this card does at best, measured in the same run.

    Args:
        bytes: a second, of a copy: read plus written.
        operations: a second, of a large bfloat16 product; 0 where it was not measured.
    """

    bytes: float
    operations: float = 0.0

    def share(self, flops: float, nbytes: float, seconds: float) -> float:
        """The roofline's time over the measured one: bytes or operations, whichever take longer."""
        compute = flops / self.operations if self.operations else 0.0
        return max(nbytes / self.bytes, compute) / seconds


@dataclass
class Row:
    """One line of the report. `seconds` is None where there is no right kernel, and `note` says why."""

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


class Reporter:
    """Makes rows.

    Args:
        with_peer: also measure what torch offers, where it is installed.
        samples: of each time.
    """

    def __init__(self, bench: Bench, roof: Ceiling, with_peer: bool = True, samples: int = 30):
        self._bench, self._roof, self._samples = bench, roof, samples
        self._torch = torch_or_none() if with_peer else None

    def row(self, item: Benchmark, kernel: CompiledDispatch | LumirError, model: CompiledDispatch | None = None) -> Row:
        """Measure a benchmark.

        Args:
            kernel: the compiled dispatch, or why there is none.
            model: what the cost model alone would have chosen, where that is something else.
        """
        case = self._bench.case(item.text() if isinstance(kernel, LumirError) else kernel.text)
        if item.inputs:
            item.inputs(case.inputs)
        flops = case.reference.flops if item.flops is None else item.flops
        row = Row(item.group, item.name, flops, case.reference.nbytes, goal=item.goal)
        replays: list[Any] = []
        try:
            if isinstance(kernel, LumirError):
                raise kernel
            row.family, row.schedule = kernel.family, schedule_text(kernel.schedule)
            row.compile_seconds = _compile_seconds(kernel)
            replays = self._ours(case, row, kernel, model)
        except LumirError as error:
            if error.code == "driver":
                raise
            row.note = error.message
        ours = len(replays)
        peers = list(self._peers(item, case, row))
        self._fill(row, time_together([*replays, *peers], self._samples), ours, peers)
        del case, replays, peers
        self._free()
        return row

    def _ours(self, case: Case, row: Row, kernel: CompiledDispatch, model: CompiledDispatch | None) -> list[Any]:
        loaded = case.prepare(kernel)
        row.error = case.check(loaded, whole=True).relative
        found = [loaded]
        if model is not None:
            found.append(case.prepare(model))
            case.check(found[1])
        return found

    def _peers(self, item: Benchmark, case: Case, row: Row) -> Iterator[PeerReplay]:
        """Those of the peers that can do it; the error is that of the first."""
        if self._torch is None:
            return
        best: Error | None = None
        for name, peer in item.peers.items():
            try:
                replay = PeerReplay(self._torch, name, peer_calls(self._torch, peer, case.inputs, case.operands.sets))
            except Exception as error:
                row.note += f"{'; ' if row.note else ''}{name}: {str(error).splitlines()[0][:80]}"
                continue
            if best is None:
                best = replay.error(case.expected[0], _taker(case))
                row.peer_error = best.relative
            yield replay

    def _fill(self, row: Row, timings: Sequence[Timing], ours: int, peers: Sequence[PeerReplay]) -> None:
        if ours:
            row.seconds, row.spread = timings[0].median, timings[0].spread
            row.share = self._roof.share(row.flops, row.nbytes, row.seconds)
            row.model_seconds = timings[ours - 1].median
        of_peers = {peer.name: timing.median for peer, timing in zip(peers, timings[ours:], strict=True)}
        if of_peers:
            row.peer = min(of_peers, key=lambda name: of_peers[name])
            row.peer_seconds, row.others = of_peers[row.peer], of_peers

    def _free(self) -> None:
        gc.collect()
        if self._torch is not None:
            self._torch.cuda.empty_cache()


def _compile_seconds(kernel: CompiledDispatch) -> float:
    """Of one kernel alone: the worker's own time may have been shared with its neighbours'."""
    if kernel.seconds < _QUICK:
        return kernel.seconds
    again = compile_dispatch(kernel.text, kernel.arch, kernel.family, kernel.schedule)
    return min(kernel.seconds, again.seconds)


def _taker(case: Case) -> Callable[[np.ndarray], np.ndarray]:
    dim, rows = case.reference.result_dims[0], case.reference.rows
    return (lambda array: array) if dim is None else (lambda array: array.take(rows, dim))


def geometric_mean(values: Sequence[float]) -> float:
    return float(np.exp(np.mean(np.log(values)))) if values else float("nan")
