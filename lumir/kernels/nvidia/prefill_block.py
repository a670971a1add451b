"""The kernel of the family `prefill`: one warp copies, warpgroups multiply and do their softmax in between."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING

from lumir.kernels.evaluate import Evaluator
from lumir.kernels.index import Index
from lumir.kernels.nvidia import mbarrier, tma, warps
from lumir.kernels.nvidia.function import NvidiaKernel
from lumir.kernels.nvidia.guard import only_if
from lumir.kernels.nvidia.mma import WARP, byte_offset, constant_i32, i32
from lumir.kernels.nvidia.prefill_consumer import PrefillConsumer
from lumir.kernels.nvidia.tma_operand import Matrices
from lumir.kernels.nvidia.valid_keys import ValidKeys
from lumir.kernels.nvidia.wgmma import LINE, WARPGROUP
from lumir.mlir import arith, gpu, ir, scf

if TYPE_CHECKING:
    from lumir.kernels.nvidia.prefill_schedule import PrefillProblem

Value = ir.Value


class PrefillBlock:
    """Writes the code of one block: a tile of one head's queries against all keys that count for them.

    Attributes:
        batch: of the key head.
        head: among the query heads that share it.
        first_row: the tile's first query position.
        last: the last tile of keys that count for some row, the first one that is computed.
        steps: how many there are from there down to the first; at least one.
        whole: the steps, from and to, all of whose keys count for every row.
        valid: where the data says how many keys count; it is asked once the kernels ahead are done.
    """

    def __init__(self, problem: "PrefillProblem", kernel: NvidiaKernel):
        self.problem, self.kernel = problem, kernel
        self.index = kernel.narrow_index()
        i8 = ir.IntegerType.get_signless(8)
        self.shared = kernel.shared([problem.shared_bytes], i8, alignment=1024).pointer
        self.loops = Evaluator(self.index, {})
        self.batch, self.head, self.first_row = self._tile()
        self.valid: ValidKeys | None = None
        if problem.space.band.length is None:
            self._count_steps()

    def write(self) -> None:
        warps.launch_dependents()
        self._initialize()
        warps.wait_for_dependencies()
        self.kernel.take_buffers()
        if self.problem.space.band.length is not None:
            batch = self.kernel.index_of(self.batch)
            self.valid = ValidKeys(self.problem.space, self.kernel, batch, self.index)
            self._count_steps()
        multiplies = arith.CmpIOp(
            arith.CmpIPredicate.ult, self._group, self.index.constant(self.problem.schedule.groups)
        ).result
        branch = scf.IfOp(multiplies, has_else=True)
        copying, multiplying = self.problem.registers
        with ir.InsertionPoint(branch.then_block):
            warps.take_registers(multiplying)
            PrefillConsumer(self, Index(self._group)).write()
            scf.YieldOp([])
        with ir.InsertionPoint(branch.else_block):
            warps.give_registers(copying)
            self._copy()
            scf.YieldOp([])

    # -- where things lie ----------------------------------------------------------------------------------------------

    @property
    def queries(self) -> Value:
        return self.shared

    @property
    def keys(self) -> Value:
        return byte_offset(self.shared, self.problem.query_bytes)

    @property
    def values(self) -> Value:
        return byte_offset(self.keys, self.problem.schedule.stages * self.problem.key_bytes)

    @cached_property
    def barriers(self) -> dict[str, mbarrier.Barriers]:
        """`query`, and by stage `keys_full`, `keys_empty`, `values_full` and `values_empty`."""
        stages = self.problem.schedule.stages
        first = byte_offset(self.values, stages * self.problem.value_bytes)
        found = {"query": mbarrier.Barriers(first)}
        for i, name in enumerate(("keys_full", "keys_empty", "values_full", "values_empty")):
            found[name] = mbarrier.Barriers(byte_offset(first, mbarrier.BYTES * (1 + i * stages)))
        return found

    def _initialize(self) -> None:
        self._group = warps.uniform(arith.DivUIOp(warps.thread_number(), constant_i32(WARPGROUP)).result)
        first = arith.CmpIOp(arith.CmpIPredicate.eq, warps.thread_number(), constant_i32(0)).result
        barriers, s = self.barriers, self.problem.schedule
        with only_if(first):
            mbarrier.initialize(barriers["query"].at(0), 1)
            for stage in range(s.stages):
                for name in ("keys", "values"):
                    mbarrier.initialize(barriers[f"{name}_full"].at(stage), 1)
                    mbarrier.initialize(barriers[f"{name}_empty"].at(stage), s.groups * WARPGROUP // WARP)
            mbarrier.fence_initialization()
        self.kernel.barrier()

    # -- tiles ---------------------------------------------------------------------------------------------------------

    def _tile(self) -> tuple[Index, Index, Index]:
        """Heads run together as many as keep their keys in the L2 cache; under a causal mask late rows go first."""
        index, p = self.index, self.problem
        number = Index(arith.IndexCastOp(i32(), gpu.BlockIdOp(gpu.Dimension.x).result).result)
        section, inside = index.divmod(number, p.together * p.query_tiles)
        if p.space.band.last is None:
            member, tile = index.divmod(inside, p.query_tiles)
        else:
            tile, member = index.divmod(inside, p.together)
            tile = index.add(index.scale(tile, -1), Index(p.query_tiles - 1))
        batch, head = index.divmod(index.add(index.scale(section, p.together), member), p.heads)
        return batch, head, index.scale(tile, p.schedule.m)

    @cached_property
    def _last_row(self) -> Index:
        p = self.problem
        return self.index.minimum(self.index.offset(self.first_row, p.schedule.m - 1), p.space.queries - 1)

    def _count_steps(self) -> None:
        self.last, self.steps = self._steps()
        self.whole = self._whole()

    def _steps(self) -> tuple[Index, Value]:
        index, keys = self.index, self.problem.space.shape[2]
        band, n = self.problem.space.band, self.problem.schedule.n
        first, last = Index(0), Index((keys - 1) // n)
        if self.valid is not None:
            last = index.divmod(index.offset(index.maximum(self.valid.stop_of(self._last_row), 1), -1), n)[0]
        elif band.last is not None:
            seen = index.minimum(index.offset(self._last_row, band.last), keys - 1)
            last = index.divmod(index.maximum(seen, 0), n)[0]
        if band.first is not None:
            seen = self._first_of(self.first_row)
            first = Index(arith.MinSIOp(index.divmod(seen, n)[0].base, index.scalar(last.base)).result)
        return last, index.scalar(index.offset(index.add(last, index.scale(first, -1)), 1).base)

    def _whole(self) -> tuple[Value, Value]:
        index, keys = self.index, self.problem.space.shape[2]
        band, n = self.problem.space.band, self.problem.schedule.n
        stop = Index(keys)  # the first key that does not count for the first row
        if self.valid is not None:
            stop = self.valid.stop_of(self.first_row)
        elif band.last is not None:
            stop = index.maximum(index.minimum(index.offset(self.first_row, band.last + 1), keys), 0)
        begin = index.offset(index.add(self.last, index.scale(index.divmod(stop, n)[0], -1)), 1)
        if band.first is None:
            return index.scalar(begin.base), self.steps
        start = self._first_of(self._last_row)
        first = index.divmod(index.offset(start, n - 1), n)[0]
        end = index.offset(index.add(self.last, index.scale(first, -1)), 1)
        return index.scalar(begin.base), index.scalar(end.base)

    def _first_of(self, row: Index) -> Index:
        """The first key that counts for a row, where a band says that."""
        if self.valid is not None:
            return self.valid.first_of(row)
        first = self.problem.space.band.first
        assert first is not None
        return self.index.maximum(self.index.offset(row, first), 0)

    def is_whole(self, step: Index) -> Value:
        """Whether all keys of the step's tile count for every row, i1."""
        at, (begin, end) = self.index.scalar(step.base), self.whole
        after = arith.CmpIOp(arith.CmpIPredicate.sge, at, begin).result
        return arith.AndIOp(after, arith.CmpIOp(arith.CmpIPredicate.slt, at, end).result).result

    def first_key(self, step: Index) -> Index:
        """The first key of a step's tile: the last tile comes first."""
        index = self.index
        return index.scale(index.add(self.last, index.scale(step, -1)), self.problem.schedule.n)

    def stage(self, step: Index) -> tuple[Value, Value]:
        """A step's stage, and the parity of the phase in which it is filled."""
        turn, stage = self.index.divmod(step, self.problem.schedule.stages)
        parity = self.index.divmod(turn, 2)[1]
        return self.index.scalar(stage.base), self.index.scalar(parity.base)

    # -- copying -------------------------------------------------------------------------------------------------------

    def _copy(self) -> None:
        """One thread copies queries, then keys and values step by step."""
        p = self.problem
        first = arith.CmpIOp(
            arith.CmpIPredicate.eq, warps.warp_number(), constant_i32(p.schedule.groups * WARPGROUP // WARP)
        ).result
        with only_if(first), only_if(warps.elected()):
            row = self.index.add(self.index.scale(self.head, p.space.queries), self.first_row)
            query, key, value = p.reading.query, p.reading.key, p.reading.value
            barrier = self.barriers["query"].at(0)
            mbarrier.arrive_expecting(barrier, p.query_bytes)
            self._boxes(0, query, self.queries, p.schedule.m, p.depth_lines, row, barrier)
            with self.loops.loop(0, self.steps, 1) as (step, _, _done):
                at = self.first_key(step)
                with self._filling("keys", step, p.key_bytes, self.keys) as (shared, barrier):
                    self._boxes(1, key, shared, p.schedule.n, p.depth_lines, at, barrier)
                with self._filling("values", step, p.value_bytes, self.values) as (shared, barrier):
                    self._boxes(2, value, shared, p.schedule.n, p.column_lines, at, barrier)

    @contextmanager
    def _filling(self, name: str, step: Index, nbytes: int, base: Value) -> Iterator[tuple[Value, Value]]:
        """Wait until a step's stage is free; gives its memory and the barrier that the copies are to fill."""
        stage, parity = self.stage(step)
        free = arith.XOrIOp(parity, self.index.constant(1)).result
        mbarrier.wait(self.barriers[f"{name}_empty"].at(stage), free)
        barrier = self.barriers[f"{name}_full"].at(stage)
        mbarrier.arrive_expecting(barrier, nbytes)
        yield byte_offset(base, self.index.scalar(self.index.scale(Index(stage), nbytes).base)), barrier

    def _boxes(
        self, number: int, matrices: Matrices, shared: Value, lines: int, across: int, line: Index, barrier: Value
    ) -> None:
        """Copy `lines` lines from `line` on, 64 elements across at a time."""
        for i in range(across):
            place = matrices.place(self.index, self.batch, line, Index(i * LINE // 2))
            tma.load_box(byte_offset(shared, i * lines * LINE), self.kernel.tensor_maps[number], place, barrier)
