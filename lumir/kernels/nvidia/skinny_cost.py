"""Estimated time of a schedule of the family `skinny`.

The constants were fitted to chains of dependent products on an H200, with weights of 4096x4096, 14336x4096, 4096x14336
and 128256x4096: 1, 4 and 16 rows of bf16, 440 schedules together; 1 to 64 rows by wgmma, 81 schedules; one row with
4-bit weights, 86 schedules. What the model likes best is within 6 % of the best; of 4-bit weights within 16 %. Packed
weights with 16 rows, and all of them by wgmma, were fitted to the same chains on an H100, 20 schedules.
"""

import math

from lumir.kernels.dispatch import Dispatch, remembered, shape_of
from lumir.kernels.nvidia.mma import CHUNK_BYTES
from lumir.kernels.nvidia.roofline import THREADS, buffer_bytes, speeds
from lumir.kernels.nvidia.skinny_facts import TILE_COLUMNS, TILE_ROWS, SkinnyFacts
from lumir.kernels.nvidia.skinny_packed_stream import PackedStream
from lumir.kernels.nvidia.skinny_plan import SkinnyProblem
from lumir.kernels.nvidia.skinny_stream import clusters_at_once
from lumir.kernels.nvidia.tma_operand import results_of
from lumir.kernels.nvidia.wgmma import LINE
from lumir.target import Target

START = {"simt": 1.9e-6, "mma": 1.9e-6, "ring": 1.1e-6, "wgmma": 1.0e-6, "packed": 1.6e-6, "packed wgmma": 2.7e-6}
"""What a kernel of a chain costs beside its work."""
READ = {"simt": 1.08, "mma": 0.88, "ring": 1.1, "wgmma": 1.035, "packed": 1.09}
"""Bandwidth that each kind reaches, relative to what a copy does."""
FROM_CACHE, COPIED, FROM_L1 = 1.3, 1.5, 12e12
"""What the L2 cache gives relative to the memory, to loads and to the copy engine; bytes a second that registers get
from the caches beside them."""
FEEDING = 0.62
"""The part of the multiprocessors that can read as fast as the memory gives."""
TURN, CHUNK, WIDE = 0.34e-6, 0.08e-6, 2.0
"""What a warp needs for a place of its ring, and for each chunk of each tile in it; more with two columns of tiles."""
LOOP, JOIN = 0.9e-6, 0.15e-6
"""A turn of loads into registers; what a workgroup that stays needs to join the sums of a tile."""
RETURN = {"wgmma": 1.1e-6, "packed": 0.86e-6}
"""From the start of a copy or load to the next one in its place."""
TOGETHER, ALONE = 0.39e-6, 1.7e-6
"""For two workgroups to sum a tile together; where the next kernel's first copies find no room beside this one."""
UNPACKING, COLUMN = {4: 39e-9, 8: 24e-9}, 0.7
"""Seconds in which a multiprocessor unpacks 64 bytes of each row of a tile, by the bits of a weight; how much longer
it takes for each eight further rows of activations."""
ACTIVATION_BYTES, FROM_CACHE_PACKED = 2, 0.88
"""Of an activation: each workgroup with packed weights in registers reads all rows of them again, and with more than
eight of them the L2 cache gives so much, relative to the memory."""
STREAMED, STREAMED_COLUMN = {4: 60e-9, 8: 40e-9}, 35e-9
"""Seconds in which a multiprocessor unpacks 64 bytes of each of 64 rows for wgmma, by the bits of a weight; and in
which it multiplies them with eight rows of activations."""
SETTLING, SETTLED = 0.7e-6, 130e9
"""Until the first activations are there; bytes of them a second that a multiprocessor puts into order."""
UNPACKED_TURN, BLUNT = 0.61e-6, 3.8
"""Seconds of a turn with one load a thread; how bluntly the longest part of the work hides the others."""
SCATTERED = 16e-12
"""Seconds for each element of a result in which those of the weight's neighbouring rows are not side by side, as of
images times filters: fitted to one product of 100,352 rows, on an H100."""
OVERLAP = 0.03
"""The part of the work beside the longest that is not hidden behind it."""


def skinny_cost(problem: SkinnyProblem, target: Target) -> float:
    """Seconds in a chain of such kernels."""
    nbytes = remembered(problem.dispatch, "skinny_bytes", lambda d: sum(map(buffer_bytes, (*d.arguments, *d.results))))
    if isinstance(problem.stream, PackedStream) and problem.schedule.instruction == "wgmma":
        return START["packed wgmma"] + _packed_stream(problem, problem.stream, nbytes, target)
    if problem.schedule.instruction == "wgmma":
        return START["wgmma"] + _streamed(problem, nbytes, target)
    if problem.facts.packed is not None:
        return START["packed"] + _unpacked(problem, nbytes, target)
    kind = "ring" if problem.schedule.stages else problem.schedule.instruction
    memory = nbytes / (speeds(target).bytes * READ[kind] * _spread(problem, target))
    parts = [memory, _from_caches(problem, nbytes, target), _latency(problem, target)]
    return START[kind] + max(parts) + OVERLAP * (sum(parts) - max(parts))


def _spread(problem: SkinnyProblem, target: Target) -> float:
    """The part of the bandwidth that the workgroups can ask for, the last wave included."""
    fed = min(1.0, math.prod(problem.grid) / (FEEDING * target.multiprocessors))
    rounds = -(-problem.tiles // problem.staying)
    return fed * problem.tiles / (rounds * problem.staying) if problem.schedule.stages else fed


def _from_caches(problem: SkinnyProblem, nbytes: float, target: Target) -> float:
    """Activations are read again for every tile of the weight's rows: from the L2 cache, and by every thread."""
    again = problem.sizes[1] / problem.schedule.rows
    if problem.schedule.instruction == "simt":
        return nbytes * (1 + again) / FROM_L1
    return nbytes * (1 + again) / (speeds(target).bytes * FROM_CACHE)


def _latency(problem: SkinnyProblem, target: Target) -> float:
    """The turns of one warp one after the other."""
    schedule, (batches, columns, _, _) = problem.schedule, problem.sizes
    turns = _turns(problem)
    if not schedule.stages:
        return turns * -(-math.prod(problem.grid) * schedule.block // (THREADS * target.multiprocessors)) * LOOP
    wide = WIDE if columns > TILE_COLUMNS else 1.0
    turn = TURN + CHUNK * wide * schedule.unroll * schedule.rows / TILE_ROWS
    return -(-problem.tiles // problem.staying) * batches * (turns * turn + JOIN)


def _turns(problem: SkinnyProblem) -> int:
    return -(-problem.sizes[3] // (problem.chunk * problem.schedule.unroll * problem.schedule.warps))


def _streamed(problem: SkinnyProblem, nbytes: float, target: Target) -> float:
    """Both operands through one ring: of the memory and the L2 cache, the slower."""
    schedule, stream, bandwidth = problem.schedule, problem.stream, speeds(target).bytes
    workgroups, most = math.prod(problem.grid), target.multiprocessors * schedule.resident
    under_way = min(workgroups, most) * stream.stages * stream.rows * LINE
    memory = nbytes * _blunt([1 / (bandwidth * READ["wgmma"]), RETURN["wgmma"] / under_way], 2.0)
    cached = nbytes * (1 + stream.columns / stream.rows) / (bandwidth * COPIED)
    alone = 0.0 if 2 * workgroups <= most else ALONE
    alone += SCATTERED * remembered(problem.dispatch, "skinny_scattered", _scattered)
    return max(memory, cached) + OVERLAP * min(memory, cached) + TOGETHER * math.log2(schedule.split) ** 2 + alone


def _scattered(dispatch: Dispatch) -> int:
    """Elements of results that a warp stores apart from one another."""
    facts = SkinnyFacts.of(dispatch)
    assert facts is not None
    found = zip(dispatch.results, results_of(dispatch, facts.space), strict=True)
    return sum(math.prod(shape_of(result)) for result, matrices in found if matrices is None)


def _packed_stream(problem: SkinnyProblem, stream: PackedStream, nbytes: float, target: Target) -> float:
    """Packed weights through a ring into registers, once the activations are in order."""
    schedule, workgroups = problem.schedule, math.prod(problem.grid)
    most = clusters_at_once(schedule.split, target) * schedule.split * schedule.resident
    waves = -(-workgroups // most)
    idle = waves * most / workgroups if waves > 1 else max(1.0, target.multiprocessors / workgroups)
    lines = workgroups * schedule.across * stream.chunks / target.multiprocessors * idle
    unpacking = lines * (STREAMED[problem.weight_bits] + STREAMED_COLUMN * stream.columns / TILE_COLUMNS)
    memory = nbytes * idle / (speeds(target).bytes * READ["packed"])
    beside = min(schedule.resident, -(-workgroups // target.multiprocessors))
    settling = waves * (SETTLING + stream.activation_bytes * beside / SETTLED)
    return settling + _blunt([memory, unpacking], BLUNT) + TOGETHER * math.log2(schedule.split) ** 2


def _unpacked(problem: SkinnyProblem, nbytes: float, target: Target) -> float:
    """Packed weights into registers and made real numbers there."""
    schedule, workgroups, turns = problem.schedule, math.prod(problem.grid), _turns(problem)
    most, loads = target.multiprocessors * schedule.resident, schedule.unroll * schedule.rows // TILE_ROWS
    waves, at_once = -(-workgroups // most), min(workgroups, most)
    under_way = at_once * schedule.block * 2 * CHUNK_BYTES * loads * min(turns, 2)
    idle = waves * most / workgroups if waves > 1 else 1.0
    memory = nbytes * (idle / (speeds(target).bytes * READ["packed"]) + RETURN["packed"] / under_way)
    chunks = problem.sizes[3] // problem.chunk * -(-workgroups // target.multiprocessors) * schedule.across
    columns = -(-problem.sizes[1] // TILE_COLUMNS)
    unpacking = chunks * UNPACKING[problem.weight_bits] * (1 + COLUMN * (columns - 1))
    further = workgroups * (columns - 1) * TILE_COLUMNS * problem.sizes[3] * ACTIVATION_BYTES
    asking = min(1.0, workgroups / target.multiprocessors)
    cached = (nbytes + further) / (speeds(target).bytes * FROM_CACHE_PACKED * asking) if further else 0.0
    return _blunt([memory, unpacking, cached, waves * turns * UNPACKED_TURN * loads**0.5], BLUNT)


def _blunt(parts: list[float], power: float) -> float:
    """The longest of the parts, and the longer the less it stands out: a norm."""
    return sum(part**power for part in parts) ** (1 / power)
