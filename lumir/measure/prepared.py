"""What a benchmark needs before it is measured, and takes no GPU: its kernels and the results that are expected."""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

import numpy as np

from lumir.diagnostics import LumirError
from lumir.measure.kernel import CompiledDispatch, compile_dispatch, model_choice
from lumir.measure.operands import random_inputs
from lumir.measure.reference import Reference
from lumir.measure.suite import Benchmark
from lumir.measure.workers import Workers

_AHEAD = 3
"""Benchmarks under way for each worker: what they expect is kept until they are measured."""
_BATCH, _BATCH_BYTES = 12, 4 << 30
"""How many benchmarks are on the GPU at once, and how many bytes their operands take about; one may take more."""


@dataclass(frozen=True)
class Prepared:
    """A benchmark that is ready to go to the GPU.

    Args:
        text: its dispatch.
        kernel: what the compiler makes of it, or why it cannot.
        model: the kernel that the cost model alone would choose, where that is another.
        expected: the results for the inputs of seed 0.
    """

    item: Benchmark
    text: str
    kernel: CompiledDispatch | LumirError
    model: CompiledDispatch | None
    expected: list[np.ndarray]

    @property
    def nbytes(self) -> int:
        """Of one set of operands."""
        plan = None if isinstance(self.kernel, LumirError) else self.kernel.plan
        return sum(spec.nbytes for spec in (*plan.inputs, *plan.outputs)) if plan else 0


def prepared(
    items: Sequence[Benchmark], arch: str, workers: Workers, tuning_db: Path | None, with_model: bool
) -> Iterator[Prepared]:
    """Benchmarks in their order, prepared by the workers some way ahead: the first ones from now on."""

    def start(item: Benchmark) -> tuple[Benchmark, Future[Prepared]]:
        alone = replace(item, peers={})  # peers are not needed there, and not all of them can cross
        return item, workers.call(_prepare, alone, arch, tuning_db, with_model)

    waiting = iter(items)
    under_way = deque(start(item) for item in islice(waiting, _AHEAD * workers.count))

    def in_order() -> Iterator[Prepared]:
        while under_way:
            item, future = under_way.popleft()
            under_way.extend(start(following) for following in islice(waiting, 1))
            yield replace(future.result(), item=item)

    return in_order()


def _prepare(item: Benchmark, arch: str, tuning_db: Path | None, with_model: bool) -> Prepared:
    text, model = item.text(), None
    try:
        kernel = compile_dispatch(text, arch, tuning_db=tuning_db)
        choice = model_choice(text, arch) if with_model else None
        if choice and (choice.family, choice.schedule) != (kernel.family, kernel.schedule):
            model = compile_dispatch(text, arch, choice.family, choice.schedule)
    except LumirError as error:
        kernel = error
    reference = Reference(text)
    inputs = random_inputs(reference.inputs, 0)
    if item.inputs:
        item.inputs(inputs)
    return Prepared(item, text, kernel, model, reference.evaluate(inputs))


def batches(found: Iterator[Prepared], ready: Callable[[Benchmark], None]) -> Iterator[list[Prepared]]:
    """Benchmarks in groups that go to the GPU together.

    Args:
        ready: returns when the peers of a benchmark can be measured.
    """
    batch: list[Prepared] = []
    for one in found:
        ready(one.item)
        batch.append(one)
        if len(batch) == _BATCH or sum(each.nbytes for each in batch) > _BATCH_BYTES:
            yield batch
            batch = []
    if batch:
        yield batch
