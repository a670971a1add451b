"""Run every case of the corpus whose PTX is not the one that was verified, and enter what was found.

    python tests/verified/verify.py [--all] [--only TEXT] [--ledger FILE]

Needs a GPU of compute capability 9.0. A kernel that computes something else than the reference is not entered, and the
status is 1. What another machine wrote with --ledger is carried back as that one file.
"""

import datetime
import sys
from concurrent.futures import as_completed
from pathlib import Path

import click
from rich.console import Console

sys.path.append(str(Path(__file__).parents[1] / "gpu"))

import ledger
from corpus import RUNNABLE, TEXTS, Case, cases_of

from lumir.codegen.ptx import assemble
from lumir.diagnostics import LumirError
from lumir.measure import Bench
from lumir.measure.kernel import CompiledDispatch, compile_dispatch
from lumir.measure.workers import Workers

SEEDS = (0, 1)


def compiled(name: str) -> list[tuple[Case, CompiledDispatch | LumirError]]:
    """The cases of a dispatch with their kernels."""
    found: list[tuple[Case, CompiledDispatch | LumirError]] = []
    for case in cases_of(name):
        try:
            found.append((case, compile_dispatch(case.text, case.arch, case.family, case.schedule)))
        except LumirError as error:
            found.append((case, error))
    return found


class Checker:
    """Runs the kernels of one dispatch, on fresh inputs for each seed."""

    def __init__(self, bench: Bench, text: str):
        self._device = bench.gpu.name
        self._cases = [bench.case(text, seed, sets=1) for seed in SEEDS]

    def check(self, case: Case, kernel: CompiledDispatch) -> ledger.Verified:
        """Hold it whole against the reference; where it cannot run, assemble it."""
        sha, today = ledger.sha256_of(kernel.ptx), datetime.date.today().isoformat()
        if case.arch not in RUNNABLE:
            assemble(kernel.ptx, case.arch)
            return ledger.Verified(sha, None, ledger.ASSEMBLED, today)
        errors = [inputs.check(kernel, whole=True).relative for inputs in self._cases]
        return ledger.Verified(sha, float(f"{max(errors):.3g}"), self._device, today)


@click.command()
@click.option("--all", "everything", is_flag=True, help="Also what is verified already.")
@click.option("--only", default="", help="Cases whose key holds this text.")
@click.option("--ledger", "path", type=click.Path(path_type=Path), default=ledger.LEDGER, help="What to write.")
def main(everything: bool, only: str, path: Path) -> None:
    """Verify what changed; drop the entries of cases that are no more."""
    entries, wrong, ran, keys = ledger.read(), [], 0, set()
    bench, console = Bench(), Console(highlight=False, width=200)
    with Workers() as workers:
        futures = [workers.call(compiled, name) for name in TEXTS]
        for future in as_completed(futures):
            checker = None
            for case, kernel in future.result():
                keys.add(case.key)
                if only not in case.key:
                    continue
                try:
                    if isinstance(kernel, LumirError):
                        raise kernel
                    known = entries.get(case.key)
                    if everything or known is None or known.ptx_sha256 != ledger.sha256_of(kernel.ptx):
                        checker = checker or Checker(bench, case.text)
                        entries[case.key] = checker.check(case, kernel)
                        ran += 1
                except LumirError as error:
                    entries.pop(case.key, None)
                    wrong.append(case.key)
                    console.print(f"WRONG {case.key}\n  {error}", markup=False)
                    if error.code == "driver":
                        raise
    kept = {key: entry for key, entry in entries.items() if key in keys}
    ledger.write(kept, path)
    console.print(f"{ran} verified now, {len(kept)} of {len(keys)} cases in {path}, {len(wrong)} wrong")
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
