"""Estimated time of a schedule of the family `skinny`. The constants were fitted to measurements on an H200.

Chains of bf16 products of 1, 4 and 16 rows with weights of 4096x4096, 14336x4096, 4096x14336 and 128256x4096.
"""

from lumir.kernels.nvidia.roofline import buffer_bytes, remembered, speeds
from lumir.kernels.nvidia.skinny_plan import SkinnyProblem
from lumir.target import Target

START, RING_START = 1.4e-6, 0.9e-6
"""What a kernel of a chain costs beside its work: a ring's first copies are under way before the kernel ahead ends."""
READ = {"simt": 1.06, "mma": 0.99, "ring": 1.01}
"""Bandwidth that each kind reaches, relative to what a copy does."""
FROM_CACHE = 1.4
"""Bandwidth of the L2 cache relative to the memory's."""
FEEDING = 0.7
"""The part of the multiprocessors that can read as fast as the memory gives."""
FROM_L1 = 15e12
"""Bytes a second that all multiprocessors together hand to registers, of loads that are in a cache beside them."""
TURN = 1.0e-6
"""How long activations are on the way; a warp waits once for every place of a ring, and for every turn of a loop."""


def skinny_cost(problem: SkinnyProblem, target: Target) -> float:
    """Seconds in a chain of such kernels."""
    schedule = problem.schedule
    kind = "ring" if schedule.stages else schedule.instruction
    nbytes = remembered(problem.dispatch, "skinny_bytes", lambda d: sum(map(buffer_bytes, (*d.arguments, *d.results))))
    rate = speeds(target).bytes * READ[kind] * _spread(problem, target)
    parts = [nbytes / rate, _from_caches(problem, nbytes, target), _latency(problem, target)]
    start = RING_START if schedule.stages else START
    return start + max(parts) + 0.05 * sum(parts)


def _spread(problem: SkinnyProblem, target: Target) -> float:
    """The part of the bandwidth that the workgroups can ask for, the last wave included."""
    workgroups = problem.grid[0] * problem.sizes[0]
    fed = min(1.0, workgroups / (FEEDING * target.multiprocessors))
    if problem.schedule.stages:
        turns = -(-problem.tiles * problem.schedule.split // problem.grid[0])
        fed *= problem.tiles * problem.schedule.split / (turns * problem.grid[0])
    return fed


def _from_caches(problem: SkinnyProblem, nbytes: float, target: Target) -> float:
    """Activations are read again for every tile of the weight's rows: from the L2 cache, and by every thread."""
    schedule, columns = problem.schedule, problem.sizes[1]
    again = columns / schedule.rows
    if schedule.instruction == "simt":
        return nbytes * (1 + again) / FROM_L1
    return nbytes * (1 + again * 16 / problem.weight_bits) / (speeds(target).bytes * FROM_CACHE)


def _latency(problem: SkinnyProblem, target: Target) -> float:
    """The loads of one warp one after the other, where too few warps share the work."""
    schedule, (batches, _, _, k) = problem.schedule, problem.sizes
    turns = -(-k // (problem.chunk * schedule.unroll * schedule.parts))
    tiles = -(-problem.tiles * batches // max(1, problem.grid[0] * batches))
    waves = -(-problem.grid[0] * batches * schedule.block // (2048 * target.multiprocessors))
    return turns * (tiles if schedule.stages else waves) * TURN
