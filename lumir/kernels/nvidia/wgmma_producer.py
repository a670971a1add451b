"""The warp of a wgmma kernel that copies: stage after stage, as soon as the consumers have left one."""

from lumir.kernels.index import Index
from lumir.kernels.nvidia import mbarrier, tma, warps
from lumir.kernels.nvidia.guard import only_if
from lumir.kernels.nvidia.mma import byte_offset, constant_i32
from lumir.kernels.nvidia.tma_operand import Operand
from lumir.kernels.nvidia.wgmma import LINE
from lumir.kernels.nvidia.wgmma_block import Ring, Tile, WgmmaBlock
from lumir.kernels.nvidia.wgmma_schedule import box_of
from lumir.mlir import arith, ir, scf

Value = ir.Value


def produce(block: WgmmaBlock) -> None:
    """Fill the stages of all tiles of the block; called by one warp, of which one thread works."""
    with only_if(warps.elected()), block.tiles(block.start()) as (tile, ring, end):
        last = block.index.constant(block.problem.steps)
        steps = scf.ForOp(constant_i32(0), last, constant_i32(1), ring.values)
        with ir.InsertionPoint(steps.body):
            stage, parity = steps.inner_iter_args
            ring = Ring(stage, parity, ring.stages)
            _fill(block, tile, ring, Index(steps.induction_variable))
            scf.YieldOp(ring.next().values)
        stage, parity = steps.results
        end(Ring(stage, parity, ring.stages))


def _fill(block: WgmmaBlock, tile: Tile, ring: Ring, step: Index) -> None:
    problem, index = block.problem, block.index
    s, reading = problem.schedule, problem.reading
    empty, full = block.empty.at(ring.stage), block.full.at(ring.stage)
    mbarrier.wait(empty, arith.XOrIOp(ring.parity, constant_i32(1)).result)
    mbarrier.arrive_expecting(full, problem.stage_bytes)
    offset = arith.MulIOp(ring.stage, constant_i32(problem.stage_bytes)).result
    step = index.add(step, index.scale(tile.part, problem.steps))
    left, (tap, inner) = byte_offset(block.ring, offset), index.divmod(step, problem.tap_steps)
    batch, k = index.add(index.scale(tile.batch, reading.taps), tap), index.scale(inner, problem.k)
    right = byte_offset(left, s.m * LINE)
    for operand, shared, rows, at, number in (
        (reading.left, left, s.m, tile.row, 0),
        (reading.right, right, s.n, tile.column, 1),
    ):
        shared_by = s.cluster if number else 1
        part = rows // shared_by
        if shared_by > 1:
            at = index.add(at, index.scale(Index(block.rank), part))
            shared = byte_offset(shared, arith.MulIOp(block.rank, constant_i32(part * LINE)).result)
        blocks = (1 << shared_by) - 1 if shared_by > 1 else None
        offsets = operand.matrices.offsets(index, batch)
        for done, place in _boxes(block, operand, part, batch, at, k):
            box, tensor_map = byte_offset(shared, done * LINE), block.kernel.tensor_maps[number]
            tma.load_box(box, tensor_map, place, full, blocks, offsets)


def _boxes(
    block: WgmmaBlock, operand: Operand, rows: int, batch: Index, at: Index, k: Index
) -> list[tuple[int, list[Value]]]:
    """Rows that came before, and the place, of each box of a tile of so many rows."""
    index, matrices = block.index, operand.matrices
    if operand.along_k:
        return [(0, matrices.place(index, batch, at, k))]
    _, wide = box_of(operand, rows, block.problem.k)
    return [(done, matrices.place(index, batch, k, index.offset(at, done))) for done in range(0, rows, wide)]
