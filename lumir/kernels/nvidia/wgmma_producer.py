"""The warp of a wgmma kernel that copies: stage after stage, as soon as the consumers have left one."""

from collections.abc import Sequence

from lumir.kernels.index import Index
from lumir.kernels.nvidia import mbarrier, tma, warps
from lumir.kernels.nvidia.guard import only_if
from lumir.kernels.nvidia.mma import byte_offset, constant_i32
from lumir.kernels.nvidia.wgmma import LINE
from lumir.kernels.nvidia.wgmma_block import Ring, Tile, WgmmaBlock
from lumir.kernels.nvidia.wgmma_schedule import RAGGED_ROWS
from lumir.mlir import arith, ir, scf

_OPERANDS = (0, 1)
"""The left one and the right one, in the order of their tensor maps."""


def produce(block: WgmmaBlock) -> None:
    """Fill the stages of all tiles of the block; called by one warp, of which one thread works."""
    with only_if(warps.elected()):
        ahead = _fetch_ahead(block)
        with block.tiles(block.start().after(ahead)) as (tile, ring, end):
            last, done = block.index.constant(block.problem.steps), constant_i32(0)
            if ahead:
                first = arith.CmpIOp(
                    arith.CmpIPredicate.eq, block.index.scalar(tile.unit.base), block.first_unit
                ).result
                done = arith.SelectOp(first, constant_i32(ahead), done).result
            steps = scf.ForOp(done, last, constant_i32(1), ring.values)
            with ir.InsertionPoint(steps.body):
                stage, parity = steps.inner_iter_args
                ring = Ring(stage, parity, ring.stages)
                mbarrier.wait(block.empty.at(stage), arith.XOrIOp(parity, constant_i32(1)).result)
                _expect(block, tile, ring)
                _copy(block, tile, ring, Index(steps.induction_variable), _OPERANDS)
                scf.YieldOp(ring.next().values)
            stage, parity = steps.results
            end(Ring(stage, parity, ring.stages))


def _fetch_ahead(block: WgmmaBlock) -> int:
    """Fill the first stages; with what no kernel writes before the launches ahead are done. How many stages."""
    problem, reading = block.problem, block.problem.reading
    unwritten = [problem.dispatch.arguments.index(argument) for argument in problem.dispatch.unwritten]
    early = [n for n, operand in enumerate((reading.left, reading.right)) if operand.matrices.arg in unwritten]
    ahead = min(problem.steps, problem.schedule.stages) if early and isinstance(problem.steps, int) else 0
    tile = block.tile(Index(block.first_unit))
    for number in range(ahead):
        ring = block.start().after(number)
        _expect(block, tile, ring)
        _copy(block, tile, ring, Index(number), early)
    warps.wait_for_dependencies()
    for number in range(ahead):
        _copy(block, tile, block.start().after(number), Index(number), [n for n in _OPERANDS if n not in early])
    return ahead


def _expect(block: WgmmaBlock, tile: Tile, ring: Ring) -> None:
    problem, index = block.problem, block.index
    nbytes = problem.copied_bytes
    if problem.kept_bytes:
        less = constant_i32(nbytes - problem.kept_bytes)
        nbytes = arith.SelectOp(_first_turn(block, tile), constant_i32(nbytes), less).result
    if problem.ragged:
        m = problem.schedule.m
        left = index.add(index.scale(tile.row, -1), Index(problem.reading.shape[1]))
        rows = index.maximum(index.minimum(left, m), 0)
        copies = index.divmod(index.offset(rows, RAGGED_ROWS - 1), RAGGED_ROWS)[0]
        copied = index.offset(index.scale(copies, RAGGED_ROWS * LINE), nbytes - m * LINE)
        nbytes = index.scalar(copied.base)
    mbarrier.arrive_expecting(block.full.at(ring.stage), nbytes)


def _copy(block: WgmmaBlock, tile: Tile, ring: Ring, step: Index, operands: Sequence[int]) -> None:
    """Start the copies of the left operand (0), the right one (1) or both into a stage."""
    problem, index = block.problem, block.index
    s, reading = problem.schedule, problem.reading
    offset = arith.MulIOp(ring.stage, constant_i32(problem.stage_bytes)).result
    step = index.add(step, index.scale(tile.part, problem.steps))
    start, (first, inner) = byte_offset(block.ring, offset), index.divmod(step, problem.tap_steps)
    batch = index.add(index.scale(tile.batch, reading.taps), index.scale(first, problem.stage_taps))
    k = index.scale(inner, problem.k)
    right, wide, (_, _, n, _) = byte_offset(start, problem.right_start), problem.columns, reading.shape
    columns = [
        (reading.right, byte_offset(right, band * wide * problem.line), wide, index.offset(tile.column, band * n), 1)
        for band in range(len(reading.bands))
    ]
    for operand, shared, rows, at, number in ((reading.left, start, s.m, tile.row, 0), *columns):
        if number not in operands:
            continue
        shared_by = s.sharers if number else 1
        share = rows // shared_by
        if shared_by > 1:
            at = index.add(at, index.scale(Index(block.rank), share))
            shared = byte_offset(shared, arith.MulIOp(block.rank, constant_i32(share * problem.line)).result)
        blocks = (1 << shared_by) - 1 if shared_by > 1 else None
        offsets = operand.matrices.offsets(index, batch)
        wide = problem.boxes[number][0 if operand.along_k else 1]
        for done in range(0, share, wide):
            row, wanted = index.offset(at, done), None
            if problem.ragged and number == 0:
                wanted = index.below(row, reading.shape[1])
            if problem.kept_bytes and number == 1:
                wanted = _first_turn(block, tile)
            with only_if(wanted):
                place = operand.matrices.place(index, batch, *((row, k) if operand.along_k else (k, row)))
                box, tensor_map = byte_offset(shared, done * LINE), block.kernel.tensor_maps[number]
                tma.load_box(box, tensor_map, place, block.full.at(ring.stage), blocks, offsets)


def _first_turn(block: WgmmaBlock, tile: Tile) -> ir.Value:
    """Whether the stage of a tile of one step is filled for the first time."""
    index, at_once = block.index, block.blocks // block.size
    after = index.offset(Index(block.first_unit), block.problem.schedule.stages * at_once)
    unit, end = index.scalar(tile.unit.base), index.scalar(after.base)
    return arith.CmpIOp(arith.CmpIPredicate.ult, unit, end).result
