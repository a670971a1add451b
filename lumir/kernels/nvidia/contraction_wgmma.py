"""NVIDIA family `wgmma`: matrix products on Hopper's tensor cores, fed by its copy engine (TMA).

One warp copies tiles of both operands through a ring of stages in shared memory; one to three warpgroups multiply
them. A block computes several tiles, one after the other, so that copies run ahead and stores run behind.
"""

import math
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import ClassVar

from lumir.artifact.tensor_map import TensorMap
from lumir.kernels.dispatch import Dispatch, remembered, shape_of
from lumir.kernels.nvidia import warps
from lumir.kernels.nvidia.function import Extra, nvidia_kernel
from lumir.kernels.nvidia.guard import only_if
from lumir.kernels.nvidia.mma import constant_i32, use_all_registers
from lumir.kernels.nvidia.wgmma import ROWS
from lumir.kernels.nvidia.wgmma_block import WgmmaBlock
from lumir.kernels.nvidia.wgmma_consumer import Consumer
from lumir.kernels.nvidia.wgmma_cost import wgmma_cost
from lumir.kernels.nvidia.wgmma_producer import produce
from lumir.kernels.nvidia.wgmma_reading import reading_of
from lumir.kernels.nvidia.wgmma_schedule import Problem, WgmmaSchedule, problem_of
from lumir.kernels.nvidia.wgmma_space import problems_of, schedules
from lumir.mlir import arith, ir, scf
from lumir.schedule.family import KernelCode
from lumir.schedule.schedule import Schedule
from lumir.target import Target


class WgmmaFamily:
    name: ClassVar[str] = "wgmma"
    schedule: ClassVar[type[Schedule]] = WgmmaSchedule
    symbolic: ClassVar[bool] = True

    def match(self, dispatch: Dispatch, target: Target) -> bool:
        """One matrix product of views of arguments that TMA can address, whose results follow element by element."""
        if target.arch != "sm_90a" or dispatch.writes_packed:
            return False
        if any(0 in shape_of(v) for v in (*dispatch.arguments, *dispatch.results)):
            return False
        reading = reading_of(dispatch)
        if reading is None:
            return False
        return any(True for _ in _legal(dispatch, target))

    def space(self, dispatch: Dispatch, target: Target) -> Iterable[WgmmaSchedule]:
        """All legal tiles, by estimated time."""
        costs = _costs(dispatch, target)
        return sorted(costs, key=costs.__getitem__)

    def legal(self, dispatch: Dispatch, schedule: WgmmaSchedule, target: Target) -> list[str]:
        return list(problems_of(problem_of(dispatch, schedule), target))

    def cost(self, dispatch: Dispatch, schedule: WgmmaSchedule, target: Target) -> float:
        known = _costs(dispatch, target).get(schedule)
        return wgmma_cost(problem_of(dispatch, schedule), target) if known is None else known

    def emit(self, dispatch: Dispatch, schedule: WgmmaSchedule, target: Target, name: str) -> KernelCode:
        problem = problem_of(dispatch, schedule)
        blocks, maps = problem.blocks(target), tensor_maps(problem)
        extras: tuple[Extra, ...] = ("workspace", "counters") if schedule.parts > schedule.cluster else ()
        with nvidia_kernel(dispatch, name, schedule.threads, extras, tensor_maps=len(maps)) as kernel:
            use_all_registers()
            if schedule.cluster > 1:
                warps.declare_cluster(schedule.cluster)
            write(WgmmaBlock(problem, kernel, blocks))
        cluster = (schedule.cluster, 1, 1)
        workspace = problem.units * problem.part_bytes if extras else 0
        counters = math.prod(problem.tiles) * schedule.consumers if extras else 0
        return KernelCode(
            (blocks, 1, 1), schedule.threads, kernel.shared_bytes, workspace, counters, maps, cluster, pdl=True
        )


def _costs(dispatch: Dispatch, target: Target) -> dict[WgmmaSchedule, float]:
    """Of every schedule of the space that can run."""

    def compute(dispatch: Dispatch) -> dict[WgmmaSchedule, float]:
        return {problem.schedule: wgmma_cost(problem, target) for problem in _legal(dispatch, target)}

    return remembered(dispatch, f"wgmma_costs_{target.arch}", compute)


def _legal(dispatch: Dispatch, target: Target) -> Iterator[Problem]:
    every = schedules(problem_of(dispatch, WgmmaSchedule()), target)
    problems = (problem_of(dispatch, schedule) for schedule in every)
    return (problem for problem in problems if not any(problems_of(problem, target)))


def tensor_maps(problem: Problem) -> tuple[TensorMap, ...]:
    """Of the left and the right operand, and of every result that is staged."""
    reading = problem.reading
    operands = [
        replace(operand.matrices.tensor_map(*box), tf32=reading.kinds.left == "tf32")
        for operand, box in zip((reading.left, reading.right), problem.boxes, strict=True)
    ]
    results = [
        matrices.tensor_map(ROWS, problem.chunk)
        for matrices in reading.results
        if matrices is not None and problem.staged(matrices)
    ]
    return (*operands, *results)


def write(block: WgmmaBlock) -> None:
    """The code of one block: the first warpgroups multiply, the first warp of the last one copies."""
    s = block.problem.schedule
    consumers, (copying, multiplying) = s.consumers, s.registers
    shared_out = multiplying > s.launched_registers
    warps.launch_dependents()
    block.initialize()
    warp = warps.warp_number()
    multiplies = arith.CmpIOp(arith.CmpIPredicate.ult, warp, constant_i32(4 * consumers)).result
    role = scf.IfOp(multiplies, has_else=True)
    with ir.InsertionPoint(role.then_block):
        if shared_out:
            warps.take_registers(multiplying)
        warps.wait_for_dependencies()
        with block.kernel.buffers_apart():
            block.kernel.take_buffers(apart=block.problem.dispatch.unwritten)
            Consumer(block, arith.DivUIOp(warp, constant_i32(4)).result).run()
        scf.YieldOp([])
    with ir.InsertionPoint(role.else_block):
        if shared_out:
            warps.give_registers(copying)
        copies = arith.CmpIOp(arith.CmpIPredicate.eq, warp, constant_i32(4 * consumers)).result
        with only_if(copies):
            produce(block)
            warps.sync_warp()
        scf.YieldOp([])
    if block.size > 1:
        block.sync()  # the others may still read this block's shared memory, and arrive at its barriers
