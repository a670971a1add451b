"""Run kernels of the corpus under compute-sanitizer: no access out of bounds, no race, no barrier that some skip.

    python tests/verified/sanitize.py [--tool memcheck] [--tool racecheck] [--only TEXT] [--every N] [--seconds N]

Needs a GPU of compute capability 9.0 and `compute-sanitizer` of the CUDA toolkit. Each buffer is an allocation of its
own, of exactly its size, so that reads past an end are seen too; numbers are not compared here, `verify.py` does that.
Kernels are compiled in parallel first; small ones run first, as many as there is time for. The status is 1 where
anything was found.

That the tools see: with `--short 4`, which takes 4 bytes from the end of each input, memcheck must find out nearly
every kernel; with `--skip all`, which takes out the barriers of workgroups, racecheck must find most that had one; with
`--skip one` thread 0 alone passes them by, for synccheck.
"""

import os
import pickle
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

import click
import numpy as np

sys.path.append(str(Path(__file__).parents[1] / "gpu"))

from lumir.artifact.dtypes import PACKED_4BIT, pack_4bit
from lumir.artifact.tensors import BufferRef
from lumir.diagnostics import LumirError
from lumir.measure.kernel import CompiledDispatch, compile_dispatch
from lumir.measure.operands import POISON, random_tensor
from lumir.measure.workers import Workers
from lumir.runtime.cuda_driver import call
from lumir.runtime.cuda_gpu import Gpu
from lumir.runtime.cuda_launch import Launcher
from lumir.runtime.cuda_memory import DeviceMemory, current
from lumir.runtime.memory import address_of

TOOLS = ("memcheck", "racecheck", "synccheck", "initcheck")
FOUND = 9
"""The status that compute-sanitizer gives where it has something to say."""
MOST_BYTES = 64 << 20
"""Of operands: what is larger takes minutes under the sanitizer, and shows nothing that ragged small ones do not."""
Kernels = list[tuple[str, CompiledDispatch]]
_BARRIER = re.compile(rb"^\s*bar\.sync\s[^;]*;", re.MULTILINE)
_SKIPPED = {
    "none": rb"\g<0>",
    "all": b"",
    "one": rb"{ .reg .pred goes; .reg .b32 lane; mov.u32 lane, %tid.x; setp.ne.u32 goes, lane, 0; @goes \g<0> }",
}
"""What becomes of a barrier of the workgroup, by who skips it."""


def compiled(name: str) -> Kernels:
    """The cases of a dispatch on the architecture that is at hand, with their kernels."""
    from corpus import MAIN, cases_of, runs_of

    found: Kernels = []
    runs = runs_of(name)
    for case in cases_of(name):
        if case.arch == MAIN:
            with suppress(LumirError):  # verify.py reports these
                kernel = compile_dispatch(case.text, case.arch, case.family, case.schedule)
                found += [(case.key, kernel.at(binding)) for binding, _ in runs]
    return found


def corpus_kernels(only: str, every: int) -> Kernels:
    """The smallest first."""
    from corpus import TEXTS

    names = [name for name in TEXTS if only in name][::every]  # those of one kind stand together
    with Workers() as workers:
        futures = [workers.call(compiled, name) for name in names]
        found = [kernel for future in as_completed(futures) for kernel in future.result()]
    return sorted((k for k in found if _bytes(k[1]) <= MOST_BYTES), key=lambda k: (_bytes(k[1]), k[0]))


def _bytes(kernel: CompiledDispatch) -> int:
    return sum(spec.nbytes for spec in (*kernel.plan.inputs, *kernel.plan.outputs))


class Buffers:
    """A plan's buffers, each an allocation of its own, with random inputs and poison elsewhere.

    Args:
        short: bytes that each input lacks.
    """

    def __init__(self, context: object, kernel: CompiledDispatch, short: int):
        plan, rng = kernel.plan, np.random.default_rng(0)
        self._memory = {
            "input": [DeviceMemory(context, max(spec.nbytes - short, 0), "input") for spec in plan.inputs],
            "output": [DeviceMemory(context, spec.nbytes, "output") for spec in plan.outputs],
            "arena": [DeviceMemory(context, plan.arena_bytes, "workspace")],
            "counters": [DeviceMemory(context, plan.counter_bytes, "counters")],
        }
        for space, memories in self._memory.items():
            for memory in memories:
                if memory.nbytes:
                    call("cuMemsetD8", memory.address, 0 if space == "counters" else POISON, memory.nbytes)
        for spec, memory in zip(plan.inputs, self._memory["input"], strict=True):
            array = random_tensor(spec, rng)
            data = pack_4bit(array) if spec.dtype in PACKED_4BIT else np.ascontiguousarray(array)
            if memory.nbytes:
                call("cuMemcpyHtoD", memory.address, address_of(data), memory.nbytes)
        call("cuCtxSynchronize")

    def address(self, ref: BufferRef) -> int:
        memories = self._memory[ref.space]
        return memories[ref.index if len(memories) > 1 else 0].address + ref.offset


def skipping(kernels: Kernels, who: str) -> Kernels:
    """The kernels with barriers, where anybody is to skip them: those that have any."""
    if who == "none":
        return kernels
    found = []
    for key, kernel in kernels:
        files = {name: _BARRIER.sub(_SKIPPED[who], code) for name, code in kernel.files.items()}
        if files != kernel.files:
            found.append((key, replace(kernel, files=files)))
    return found


def run_all(path: Path, start: int, short: int) -> None:
    """In the process that the sanitizer watches: launch each kernel of a file once, from number `start` on."""
    gpu = Gpu(0)
    for number, (key, kernel) in enumerate(pickle.loads(path.read_bytes())[start:], start):
        print(f"RUN {number} {key}", flush=True)
        with current(gpu.context):
            buffers = Buffers(gpu.context, kernel, short)
            launcher = Launcher(gpu.load(kernel.kernels, kernel.files), gpu.stream)
            for launch in kernel.plan.work:
                launcher.enqueue(launch, buffers.address)
            call("cuStreamSynchronize", gpu.stream)
    print("DONE", flush=True)


@dataclass
class Report:
    """What one tool said of one file of kernels.

    Attributes:
        ran: kernels that were launched.
        found: lines that it printed after a kernel was launched, by the kernel.
        cut: the time was over first.
    """

    tool: str
    ran: int = 0
    found: dict[str, list[str]] = field(default_factory=dict)
    cut: bool = False

    def take(self, text: str) -> int:
        """Add a run's output; returns the number of the last kernel that it came to, or -1 where it came to the end."""
        key, last = "at the start", 0
        for line in text.splitlines():
            if line.startswith("RUN "):
                number, key = line.split(" ", 2)[1:]
                last, self.ran = int(number), self.ran + 1
            elif line == "DONE":
                last, key = -1, "at the end"
            elif line.strip("= ") and not any(text in line for text in _HARMLESS):
                self.found.setdefault(key, []).append(line.removeprefix("=========").rstrip())
        return last


_HARMLESS = (
    "COMPUTE-SANITIZER",
    "SUMMARY:",
    "Host Frame",
    "Saved host",
    "Target application returned",
    "Process didn't",
)


def watch(tool: str, kernels: Kernels, path: Path, until: float, short: int) -> Report:
    """Run kernels under a tool. One that breaks the GPU's context ends its process: the rest run in a new one."""
    path.write_bytes(pickle.dumps(kernels))
    report, start = Report(tool), 0
    while 0 <= start < len(kernels) and not report.cut:
        command = ["compute-sanitizer", "--tool", tool, "--error-exitcode", str(FOUND), "--print-limit", "8"]
        command += [sys.executable, __file__, "--run", str(path), "--start", str(start), "--short", str(short)]
        text, report.cut = _output(command, max(until - time.monotonic(), 1))
        last = report.take(text)
        start = last if last < 0 else max(last, start) + 1
    return report


def _output(command: Sequence[str], seconds: float) -> tuple[str, bool]:
    """What a command prints, and whether it had to be ended."""
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    ) as process:
        try:
            return process.communicate(timeout=seconds)[0], False
        except subprocess.TimeoutExpired:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            return process.communicate()[0], True


@click.command()
@click.option("--tool", "tools", multiple=True, type=click.Choice(TOOLS), default=("memcheck",), show_default=True)
@click.option("--only", default="", help="Dispatches whose name holds this text.")
@click.option("--every", default=1, show_default=True, help="Of the dispatches each so many-th: a sample of all kinds.")
@click.option("--seconds", default=600.0, show_default=True, help="Time for each tool, after all is compiled.")
@click.option("--jobs", default=4, show_default=True, help="Processes that share the GPU.")
@click.option("--short", default=0, help="Bytes that each input lacks.")
@click.option("--skip", type=click.Choice(list(_SKIPPED)), default="none", help="Who passes the barriers by.")
@click.option("--run", "path", type=click.Path(path_type=Path), hidden=True)
@click.option("--start", default=0, hidden=True)
def main(
    tools: tuple[str, ...],
    only: str,
    every: int,
    seconds: float,
    jobs: int,
    short: int,
    skip: str,
    path: Path | None,
    start: int,
) -> None:
    """Run the corpus under compute-sanitizer."""
    if path is not None:
        run_all(path, start, short)
        return
    if shutil.which("compute-sanitizer") is None:
        raise click.ClickException("compute-sanitizer is not on the PATH: it comes with the CUDA toolkit")
    kernels = skipping(corpus_kernels(only, every), skip)
    found = False
    for tool in tools:
        report = run_tool(tool, kernels, seconds, jobs, short)
        for key, lines in report.found.items():
            print(f"{tool}: {key}", *(lines[:6] + lines[-4:] if len(lines) > 10 else lines), sep="\n  ")
        cut = "; the time was over" if report.cut else ""
        print(f"{tool}: {report.ran} of {len(kernels)} kernels ran, {len(report.found)} with findings{cut}", flush=True)
        found |= bool(report.found)
    sys.exit(found)


def run_tool(tool: str, kernels: Kernels, seconds: float, jobs: int, short: int) -> Report:
    """All kernels under one tool, by several processes."""
    until, whole = time.monotonic() + seconds, Report(tool)
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(jobs) as pool:
        parts = [kernels[i::jobs] for i in range(jobs)]
        futures = [pool.submit(watch, tool, part, Path(folder) / str(i), until, short) for i, part in enumerate(parts)]
        for future in as_completed(futures):
            part = future.result()
            whole.ran, whole.cut = whole.ran + part.ran, whole.cut or part.cut
            whole.found.update(part.found)
    return whole


if __name__ == "__main__":
    main()
