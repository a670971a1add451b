"""Run every case of the corpus whose PTX is not the one that was verified, and enter what was found.

    python tests/verified/verify.py [--all] [--only TEXT] [--ledger FILE]

Needs a GPU of compute capability 9.0. A kernel that computes something else than the reference is not entered, and the
status is 1. What another machine wrote with --ledger is carried back as that one file.
"""

import datetime
import os
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from pathlib import Path

import click

sys.path.append(str(Path(__file__).parents[1] / "gpu"))

import ledger
from corpus import RUNNABLE, TEXTS, Case, cases_of, runs_of

from lumir.codegen.ptx import assemble
from lumir.diagnostics import LumirError
from lumir.measure import Bench
from lumir.measure.bench import Loaded
from lumir.measure.kernel import CompiledDispatch, compile_dispatch
from lumir.measure.workers import Workers

SEEDS = (0, 1)
THREADS = 12


def compiled(name: str) -> list[tuple[Case, CompiledDispatch | LumirError]]:
    """The cases of a dispatch with their kernels."""
    found: list[tuple[Case, CompiledDispatch | LumirError]] = []
    for case in cases_of(name):
        try:
            found.append((case, compile_dispatch(case.text, case.arch, case.family, case.schedule)))
        except LumirError as error:
            found.append((case, error))
    return found


Found = ledger.Verified | LumirError


class Checker:
    """Runs the kernels of one dispatch, on fresh inputs for each seed and for all sizes that it is run with."""

    def __init__(self, bench: Bench, name: str):
        self._device = bench.gpu.name
        self._cases = [(binding, bench.case(text, seed, sets=1)) for binding, text in runs_of(name) for seed in SEEDS]
        for _, inputs in self._cases:
            inputs.make_ready()

    def check_all(
        self, kernels: list[tuple[Case, CompiledDispatch]], seen: "Seen"
    ) -> Iterator[tuple[Case, ledger.Verified | LumirError]]:
        """Hold each whole against the reference; where it cannot run, assemble it. Threads assemble, one launches."""
        with ThreadPoolExecutor(THREADS) as pool:
            for (case, kernel), loaded in zip(kernels, pool.map(self._assembled, *zip(*kernels)), strict=True):
                seen.running = case.key
                try:
                    if isinstance(loaded, LumirError):
                        raise loaded
                    yield case, self._entry(kernel, loaded)
                except LumirError as error:
                    if error.code == "driver":
                        raise
                    yield case, error

    def _assembled(self, case: Case, kernel: CompiledDispatch) -> list[Loaded] | LumirError:
        try:
            if case.arch not in RUNNABLE:
                assemble(kernel.ptx, case.arch)
                return []
            return [inputs.prepare(kernel.at(binding)) for binding, inputs in self._cases]
        except LumirError as error:
            return error

    def _entry(self, kernel: CompiledDispatch, loaded: list[Loaded]) -> ledger.Verified:
        sha, today = ledger.sha256_of(kernel.ptx), datetime.date.today().isoformat()
        if not loaded:
            return ledger.Verified(sha, None, ledger.ASSEMBLED, today)
        errors = [inputs.check(one, whole=True).relative for (_, inputs), one in zip(self._cases, loaded, strict=True)]
        return ledger.Verified(sha, float(f"{max(errors):.3g}"), self._device, today)


def _changed(known: ledger.Verified | None, kernel: CompiledDispatch) -> bool:
    return known is None or known.ptx_sha256 != ledger.sha256_of(kernel.ptx)


@click.command()
@click.option("--all", "everything", is_flag=True, help="Also what is verified already.")
@click.option("--only", default="", help="Cases whose key holds this text.")
@click.option("--ledger", "path", type=click.Path(path_type=Path), default=ledger.LEDGER, help="What to write.")
def main(everything: bool, only: str, path: Path) -> None:
    """Verify what changed; drop the entries of cases that are no more."""
    os.environ.setdefault("CUDA_CACHE_DISABLE", "1")  # kernels that are used once do not belong into the driver's cache
    old, seen = ledger.Ledger.read(), Seen()
    stopped = ""
    try:
        with Workers() as workers:
            for future in as_completed([workers.call(compiled, name) for name in TEXTS]):
                seen.take(future.result(), old.kernels if not everything else {}, only)
                ledger.Ledger(old.complete, old.kernels | seen.entries).write(path)
    except KeyboardInterrupt:
        stopped = "interrupted"
    except LumirError as error:  # of the driver: no later kernel would run
        stopped = f"{seen.running}\n  {error}"
    for key, error in seen.wrong.items():
        print(f"WRONG {key}\n  {error}")
    if stopped:
        sys.exit(f"STOPPED {stopped}\n{len(seen.entries)} verified until then are in {path}")
    kept = {key: entry for key, entry in (old.kernels | seen.entries).items() if key in seen.keys - set(seen.wrong)}
    ledger.Ledger(old.complete or len(kept) == len(seen.keys), kept).write(path)
    print(f"{len(seen.entries)} verified now, {len(kept)} of {len(seen.keys)} cases in {path}, {len(seen.wrong)} wrong")
    sys.exit(bool(seen.wrong))


@dataclass
class Seen:
    """What a run has found so far.

    Args:
        keys: of every case that was compiled.
        running: the case that is being held against the reference.
    """

    keys: set[str] = field(default_factory=set)
    entries: dict[str, ledger.Verified] = field(default_factory=dict)
    wrong: dict[str, LumirError] = field(default_factory=dict)
    running: str = ""
    bench: Bench = field(default_factory=Bench)

    def take(
        self, cases: list[tuple[Case, CompiledDispatch | LumirError]], known: dict[str, ledger.Verified], only: str
    ) -> None:
        """Verify those cases of a dispatch that are not known as they are."""
        changed: list[tuple[Case, CompiledDispatch]] = []
        for case, kernel in cases:
            self.keys.add(case.key)
            if isinstance(kernel, LumirError):
                self.wrong[case.key] = kernel
            elif only in case.key and _changed(known.get(case.key), kernel):
                changed.append((case, kernel))
        if not changed:
            return
        for case, found in Checker(self.bench, changed[0][0].name).check_all(changed, self):
            if isinstance(found, LumirError):
                self.wrong[case.key] = found
            else:
                self.entries[case.key] = found


if __name__ == "__main__":
    main()
