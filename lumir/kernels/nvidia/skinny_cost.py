"""Estimated time of a schedule of the family `skinny`.

The constants were fitted to chains of dependent bf16 products on an H200: 1, 4 and 16 rows with weights of 4096x4096,
14336x4096, 4096x14336 and 128256x4096, 440 schedules together. What the model likes best is within 6 % of the best.
"""

import math

from lumir.kernels.nvidia.roofline import THREADS, buffer_bytes, remembered, speeds
from lumir.kernels.nvidia.skinny_facts import TILE_ROWS
from lumir.kernels.nvidia.skinny_plan import SkinnyProblem
from lumir.target import Target

START = 1.9e-6
"""What a kernel of a chain costs beside its work."""
READ = {"simt": 1.08, "mma": 0.88, "ring": 1.1}
"""Bandwidth that each kind reaches, relative to what a copy does."""
FROM_CACHE, FROM_L1 = 1.75, 12e12
"""What the L2 cache gives relative to the memory; bytes a second that registers get from the caches beside them."""
FEEDING = 0.62
"""The part of the multiprocessors that can read as fast as the memory gives."""
TURN, CHUNK, WIDE = 0.34e-6, 0.08e-6, 2.0
"""What a warp needs for a place of its ring, and for each chunk of each tile in it; more with two columns of tiles."""
LOOP, JOIN, EXCHANGE = 0.9e-6, 0.15e-6, 2.0e-6
"""A turn of loads into registers; what a workgroup that stays needs to join the sums of a tile, and a cluster."""
UNPACKED, RESIDENT = 4.7, 1024
"""Instructions for a weight of 4 or 8 bits; threads of a multiprocessor that have registers enough for them."""
OVERLAP = 0.03
"""The part of the work beside the longest that is not hidden behind it."""


def skinny_cost(problem: SkinnyProblem, target: Target) -> float:
    """Seconds in a chain of such kernels."""
    nbytes = remembered(problem.dispatch, "skinny_bytes", lambda d: sum(map(buffer_bytes, (*d.arguments, *d.results))))
    kind = "ring" if problem.schedule.stages else problem.schedule.instruction
    memory = nbytes / (speeds(target).bytes * READ[kind] * _spread(problem, target))
    parts = [memory, _from_caches(problem, nbytes, target), _latency(problem, target), _unpacking(problem, target)]
    return START + max(parts) + OVERLAP * (sum(parts) - max(parts))


def _spread(problem: SkinnyProblem, target: Target) -> float:
    """The part of the bandwidth that the workgroups can ask for, the last wave included."""
    fed = min(1.0, math.prod(problem.grid) / (FEEDING * target.multiprocessors))
    rounds = -(-problem.tiles // problem.clusters)
    return fed * problem.tiles / (rounds * problem.clusters) if problem.schedule.stages else fed


def _from_caches(problem: SkinnyProblem, nbytes: float, target: Target) -> float:
    """Activations are read again for every tile of the weight's rows: from the L2 cache, and by every thread."""
    again = problem.sizes[1] / problem.schedule.rows
    if problem.schedule.instruction == "simt":
        return nbytes * (1 + again) / FROM_L1
    return nbytes * (1 + again * 16 / problem.weight_bits) / (speeds(target).bytes * FROM_CACHE)


def _latency(problem: SkinnyProblem, target: Target) -> float:
    """The turns of one warp one after the other."""
    schedule, (batches, columns, _, k) = problem.schedule, problem.sizes
    turns = -(-k // (problem.chunk * schedule.unroll * schedule.parts))
    if not schedule.stages:
        return turns * -(-math.prod(problem.grid) * schedule.block // (THREADS * target.multiprocessors)) * LOOP
    wide = WIDE if columns > 8 else 1.0
    turn = TURN + CHUNK * wide * schedule.unroll * schedule.rows / TILE_ROWS * (16 / problem.weight_bits) ** 0.5
    tiles = -(-problem.tiles // problem.clusters) * batches
    return tiles * (turns * turn + (EXCHANGE if schedule.split > 1 else JOIN))


def _unpacking(problem: SkinnyProblem, target: Target) -> float:
    """Making real numbers of packed integers."""
    if problem.facts.packed is None:
        return 0.0
    batches, _, rows, k = problem.sizes
    threads = math.prod(problem.grid) * problem.schedule.block
    busy = min(1.0, threads / (RESIDENT * target.multiprocessors))
    return batches * rows * k * UNPACKED / (speeds(target).instructions * busy)
