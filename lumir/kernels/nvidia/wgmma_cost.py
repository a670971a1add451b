"""What a tiled product on Hopper's tensor cores costs: steps of the slower of multiplying and copying, in waves."""

import math
from dataclasses import replace

from lumir.dtypes import byte_size
from lumir.kernels.dispatch import Dispatch, element_of, remembered
from lumir.kernels.nvidia.contraction_cost import moved_bytes
from lumir.kernels.nvidia.roofline import operations_in, speeds
from lumir.kernels.nvidia.wgmma import ROWS
from lumir.kernels.nvidia.wgmma_reading import Reading
from lumir.kernels.nvidia.wgmma_schedule import Problem
from lumir.sizes import is_static, typical
from lumir.target import Target

# Fitted to 1,352 measurements on an H200: 64x1024x1024 to 4096x4096x4096 and 2048x14336x4096, 16 to 70 schedules each;
# TURNS and FUSED_OPERATIONS to 7 to 37 schedules each of 11 products on an H100, in turns, and to what GELU takes now.
LAUNCH = 1.3e-6
"""Seconds of a kernel beside its tiles: its start, the first copy, the last store."""
BYTE_PRODUCTS = 8.3e14
"""Products times two of 16-bit operands a second that all multiprocessors reach, at the clock that power allows."""
COPIED_BYTES = 116e9
"""That one multiprocessor copies from the L2 cache in a second."""
WIDE = 0.4
"""How the copies of a lone warpgroup's tile slow down as it is wider than 64 columns: seen, not explained."""
SHORT_LINE = 2.4e-9
"""Seconds of a line of 64 bytes of filters, or of a piece of a row that is read with an overlap."""
WINDOW_COPIED = 0.7e-9
"""Seconds that a line takes longer which is found as a window of an image: fitted, as what it takes to store a tile, to
220 measurements of twelve layers of ResNet-50 on an H100, of which the model then picks 0.92 to 1.00 of the best."""
LEAST_STEP = 60e-9
"""Seconds of a step however small."""
LATENCY = 1.1e-6
"""From the start of a copy to its bytes: as many stages as there are hide it."""
STORED_BYTES = 38e9
"""Of a tile that a multiprocessor's warpgroups write in a second, while nothing multiplies."""
CHUNK_STORED = 135e-9
"""Seconds beside, for each chunk of 64 rows, however narrow: a copy of few bytes a line takes as long."""
FUSED_OPERATIONS = 1600e9
"""Fused operations on one element that a multiprocessor does in a second."""
_SHARP = 8
"""How sharply the longest of the parts of a step hides the others."""
TURNS = 1.07
"""Of teams that take turns: what one waits for the other, against the time of a step."""
JOIN = 2.1e-6
"""Seconds until a block knows that the others have left their parts of a tile, and has their first bytes."""
JOIN_IN_CLUSTER = 0.5e-6
"""The same for blocks of a cluster."""
JOINED_BYTES = 64e9
"""Of sums that a multiprocessor writes or reads in a second."""
CLUSTER, SAVED = 1.3e-6, 0.005
"""Seconds of starting clusters, and the part that is saved by copying columns once: power rather than waiting."""
_PARTS = (0.91, 0.94, 0.97, 1.0)
"""How far up their ranges, in factors, sizes are that a schedule is rated at: half of all lie above the first."""


def wgmma_cost(problem: Problem, target: Target) -> float:
    """Estimated seconds; the mean over some sizes where they are not fixed."""
    readings = remembered(problem.dispatch, "wgmma_sizes", lambda _: _at_some_sizes(problem.reading))
    return sum(_seconds(replace(problem, reading=reading), target) for reading in readings) / len(readings)


def _at_some_sizes(reading: Reading) -> list[Reading]:
    if all(map(is_static, reading.shape)):
        return [reading]
    batch, m, n, k = reading.shape
    return [replace(reading, shape=tuple(typical(x, part) for x in (batch, m, n, k))) for part in _PARTS]


def _seconds(problem: Problem, target: Target) -> float:
    s = problem.schedule
    waves = math.ceil(problem.units / problem.blocks(target))
    end = _store_seconds(problem)
    compute = waves * problem.steps * _step_seconds(problem, target) * (TURNS if s.pingpong else 1)
    compute += end * (1 if s.pingpong else waves)
    if problem.received_bytes:
        compute += JOIN_IN_CLUSTER + problem.received_bytes / JOINED_BYTES
    elif s.parts > 1:
        compute += JOIN + problem.part_bytes * (s.parts + 1) / JOINED_BYTES
    memory = remembered(problem.dispatch, "moved_bytes", moved_bytes) / speeds(target).bytes
    work = max(compute, memory) + 0.18 * min(compute, memory)
    return LAUNCH + work + (CLUSTER if s.cluster > 1 else 0) - (SAVED * work if s.sharers > 1 else 0)


def _step_seconds(problem: Problem, target: Target) -> float:
    s, size = problem.schedule, problem.reading.element_bytes
    rate = BYTE_PRODUCTS * 2 / size / target.multiprocessors
    multiply = 2 * s.m * max(s.n, (s.n + ROWS) / 2) * problem.k * problem.stage_taps / rate  # rows are read as well
    copy = max((problem.copied_bytes - problem.kept_bytes) / COPIED_BYTES, problem.short_lines * SHORT_LINE)
    copy += problem.copied_windows * WINDOW_COPIED
    if s.consumers == 1:
        copy *= max(s.n / ROWS, 1) ** WIDE
    return sum(part**_SHARP for part in (multiply, copy, LATENCY / s.stages, LEAST_STEP)) ** (1 / _SHARP)


def _store_seconds(problem: Problem) -> float:
    s = problem.schedule
    chunks = s.m // ROWS * (problem.columns // problem.chunk)
    elements = s.m * problem.columns
    return elements * remembered(problem.dispatch, "wgmma_end", _element_seconds) + chunks * CHUNK_STORED


def _element_seconds(dispatch: Dispatch) -> float:
    """Of one element of a tile once it is summed, on a multiprocessor."""
    width = sum(byte_size(element_of(v)) for v in dispatch.results)
    fused = sum(operations_in(nest) for nest in dispatch.nests if not nest.reductions)
    return width / STORED_BYTES + fused / FUSED_OPERATIONS
