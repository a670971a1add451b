"""No kernel that was not verified: the PTX of every case of the corpus is the one that ran on a GPU, and assembles.

After a change of kernels, on a machine with a GPU: make gpu-verify. Until all of them have been verified once, those
that are not are expected failures; afterwards they fail.
"""

import pytest
from corpus import RUNNABLE, TEXTS, Case, cases_of
from ledger import Ledger, sha256_of

from lumir.codegen.ptx import assemble
from lumir.kernels.families import families
from lumir.measure.kernel import CompiledDispatch, compile_dispatch
from lumir.target import NVIDIA_ARCHS, target_named

LEDGER = Ledger.read()


@pytest.mark.parametrize("name", TEXTS)
def test_kernels_are_the_verified_ones(name):
    unverified = []
    for case in cases_of(name):
        kernel = compile_dispatch(case.text, case.arch, case.family, case.schedule)
        if why := _unverified(case, kernel):  # the others were assembled when they were verified
            report = assemble(kernel.ptx, case.arch)
            assert not report.warnings, f"{case.key}: {report.warnings}"
            unverified.append(f"{why}: {case.key}")
    _require(not unverified, "\n".join(["run `make gpu-verify` on a GPU:", *unverified]))


def _unverified(case: Case, kernel: CompiledDispatch) -> str:
    entry = LEDGER.kernels.get(case.key)
    if entry is None or (case.arch in RUNNABLE and entry.error is None):
        return "never verified"
    return "" if entry.ptx_sha256 == sha256_of(kernel.ptx) else "changed"


def _require(condition: bool, what: str) -> None:
    if not condition and not LEDGER.complete:
        pytest.xfail(what)
    assert condition, what


def test_the_ledger_has_no_kernels_of_the_past():
    assert not [key for key in LEDGER.kernels if key.split(" ")[0] not in TEXTS]


def test_every_family_and_architecture_is_in_the_ledger():
    verified = {(key.split(" ")[1], key.split(" ")[2]) for key in LEDGER.kernels}
    missing = [f.name for f in families(target_named("sm_90a")) if ("sm_90a", f.name) not in verified]
    missing += [arch for arch in NVIDIA_ARCHS if not any(found == arch for found, _ in verified)]
    _require(not missing, f"no verified kernel of {', '.join(missing)}")
